"""The words of the story world: who, what, where, and the small change of every sentence.

A story's facts (hero, object, place, friend, mood, plot) are drawn from the lists in capitals. `FILLERS` are
drawn afresh each time a sentence asks for one, and carry no fact. No word stands in two of the fact lists, so
that a fact can be recognised by its word alone.
"""

HEROES = tuple(
    "fox rabbit owl bear mouse cat dog duck goose hen frog turtle squirrel beaver badger otter hedgehog deer "
    "wolf lion tiger monkey elephant giraffe zebra camel horse pony donkey goat sheep pig cow penguin seal "
    "whale dolphin crab parrot eagle swan raven mole ferret lizard dragon robot panda".split()
)

OBJECTS = tuple(
    "kite lantern drum flute ladder bucket basket blanket mirror compass map rope boat wagon bicycle sled "
    "hammer "
    "needle button ribbon feather candle bell whistle trumpet violin guitar piano kettle teapot spoon "
    "bowl cake "
    "pie apple pumpkin carrot umbrella raincoat boot mitten hat scarf pillow chair table clock key lock "
    "box book "
    "letter pencil brush painting puppet doll ball balloon marble puzzle crown ring necklace coin shell "
    "pebble "
    "jar bottle net shovel rake broom wheel telescope magnet".split()
)

PLACES = tuple(
    "river lake pond forest meadow hill mountain valley beach harbour island bridge castle tower mill "
    "barn farm "
    "garden orchard market village school library bakery station lighthouse cave desert swamp field park "
    "square "
    "fountain stable cabin tunnel canyon waterfall theatre playground".split()
)

FRIENDS = tuple(
    "baker farmer teacher sailor painter doctor tailor gardener miller shepherd king queen princess "
    "knight wizard "
    "giant grandmother grandfather neighbour postman fisherman musician carpenter librarian".split()
)

MOODS = ("happy", "sad", "funny", "scary", "calm", "proud")

FILLERS: dict[str, tuple[str, ...]] = {
    "daytime": ("morning", "afternoon", "evening", "day", "night"),
    "colour": tuple("red blue green yellow purple crimson pink silver white brown grey violet".split()),
    "smell": tuple("honey pine roses mint smoke salt cinnamon hay lavender bread vanilla clover".split()),
    "plant": tuple("grass reeds bushes leaves flowers ferns branches weeds ivy moss nettles daisies".split()),
    "thing": tuple("stone log fence bench barrel stump gate hedge haystack rock cart well".split()),
    "food": tuple(
        "soup porridge pancakes berries cheese nuts plums jam noodles pudding biscuits rice".split()
    ),
    "meal": ("breakfast", "lunch", "supper", "dinner"),
    "season": ("spring", "summer", "autumn", "winter"),
    "ordinal": tuple("first second third fourth fifth last".split()),
    "material": tuple("wood paper string glue cloth wire clay leather wool straw paint sand".split()),
    "tool": tuple("scissors pliers tape nails pins chalk thread sandpaper".split()),
    "creature": tuple("bees crickets sparrows butterflies beetles moths larks swallows".split()),
}

# Fillers that colour a story: which words can be drawn depends on its mood.
MOOD_FILLERS: dict[str, dict[str, tuple[str, ...]]] = {
    "weather": {
        "happy": ("sunny", "golden", "bright", "merry"),
        "sad": ("rainy", "grey", "dull", "weary"),
        "funny": ("silly", "crazy", "topsy-turvy", "wobbly"),
        "scary": ("dark", "foggy", "stormy", "moonless"),
        "calm": ("quiet", "mild", "warm", "lazy"),
        "proud": ("grand", "glorious", "splendid", "festive"),
    },
    "trait": {
        "happy": ("cheerful", "jolly", "lucky", "playful"),
        "sad": ("lonely", "tearful", "homesick", "gloomy"),
        "funny": ("clumsy", "cheeky", "dizzy", "goofy"),
        "scary": ("nervous", "timid", "worried", "restless"),
        "calm": ("sleepy", "patient", "gentle", "dreamy"),
        "proud": ("brave", "clever", "noble", "bold"),
    },
}


def with_article(noun: str) -> str:
    """The noun with its indefinite article.

    >>> with_article("owl"), with_article("kite")
    ('an owl', 'a kite')
    """
    return ("an " if noun[0] in "aeiou" else "a ") + noun
