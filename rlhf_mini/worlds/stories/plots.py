"""The sentences of the story world, by role and by what they depend on.

Notation: `{hero}` is a fact of the story, `{a_hero}` the same with its article, `<weather>` a filler drawn
from
`lexicon.FILLERS`, `[went|ran]` one of the alternatives. Every alternative is equally likely.

Roles, in the order in which a story may use them:
`opening` (hero and place), `start` (opening and problem in one), `detail`, `problem`, `talk`, `middle`,
`twist`,
`deed`, `ending`, `goodnight`. Problem, talk, middle and deed depend on the plot; twist and ending on the
mood.
"""

ROLE_ORDER = (
    "opening",
    "start",
    "detail",
    "problem",
    "talk",
    "middle",
    "twist",
    "deed",
    "ending",
    "goodnight",
)

OPENING = (
    "Once upon a time, a <trait> {hero} lived [near|by|behind|beside] the {place}.",
    "One <weather> <daytime>, {a_hero} [went|walked|ran|hurried|wandered] to the {place}.",
    "There was once a <trait> {hero} who [loved|knew|guarded|visited] the {place}.",
    "Long ago, on a <weather> <daytime>, {a_hero} came to live [near|by|beside] the {place}.",
    "Every <daytime>, a <trait> {hero} [came|strolled|went] to the {place}.",
    "Far away, near the {place}, lived a <trait> {hero}.",
)

DETAIL = (
    "The sky was <colour> and the air smelled of <smell>.",
    "The [wind|breeze|rain] [sang|whispered|danced] in the <plant>.",
    "The {hero} liked to eat <food> for <meal>.",
    "It was the <ordinal> day of <season>.",
    "The {hero} wore a <colour> [cape|coat|collar|belt].",
    "Tiny <creature> flew over the <plant>.",
)

GOODNIGHT = (
    "Good night, little {hero}.",
    "Now close your eyes and sleep.",
    "Sleep well and dream of the {object}.",
    "The moon said good night to the {hero}.",
)

# plot -> role -> sentences
PLOTS: dict[str, dict[str, tuple[str, ...]]] = {
    "find": {
        "start": (
            "One <weather> <daytime>, {a_hero} found {a_object} [near|by|behind] the {place}.",
            "Not far from the {place}, a <trait> {hero} [spotted|discovered|noticed] {a_object}.",
        ),
        "problem": (
            "[Under|Behind|Beside] a <thing>, the {hero} [found|spotted|discovered] {a_object}.",
            "Half hidden in the <plant> lay {a_object}.",
            "The {hero} nearly [tripped over|stepped on|sat on] {a_object}.",
        ),
        "talk": (
            '"Is this your {object}?" asked the {hero}.',
            '"I have been looking for my {object}!" cried the {friend}.',
        ),
        "middle": (
            "The {hero} asked everyone who had lost the {object}.",
            "A [label|note|tag] said it belonged to the {friend}.",
        ),
        "deed": (
            "The {hero} [carried|brought|took] the {object} back to the {friend}.",
            "The {friend} was glad to have the {object} back.",
            "So the {hero} returned the {object} to the {friend}.",
        ),
    },
    "make": {
        "start": (
            "At the {place}, a <trait> {hero} dreamed of {a_object}.",
            "Near the {place}, a <trait> {hero} wished for {a_object}.",
        ),
        "problem": (
            "The {hero} wanted {a_object} more than anything.",
            "What the {hero} needed most was {a_object}.",
            "All [week|month|year] the {hero} had wished for {a_object}.",
        ),
        "talk": (
            '"Can you help me make {a_object}?" asked the {hero}.',
            '"I know how to make {a_object}," said the {friend}.',
        ),
        "middle": (
            "They gathered <material> and <material>.",
            "The {friend} brought <tool> and some <material>.",
        ),
        "deed": (
            "[Together|Slowly|Step by step], the {hero} and the {friend} built the {object}.",
            "With help from the {friend}, the {hero} made the {object}.",
            "By <daytime> the {hero} and the {friend} had finished the {object}.",
        ),
    },
    "lose": {
        "start": (
            "One <weather> <daytime>, {a_hero} lost {a_object} [near|by|behind] the {place}.",
            "On the way to the {place}, a <trait> {hero} lost {a_object}.",
        ),
        "problem": (
            "But the {hero} had lost {a_object} that <daytime>.",
            "Somewhere on the path, the {hero} dropped {a_object}.",
            "Suddenly the {hero} could not find its {object}.",
        ),
        "talk": (
            '"Have you seen my {object}?" asked the {hero}.',
            '"Let us look for the {object}," said the {friend}.',
        ),
        "middle": (
            "They looked [under|behind|inside|around] every <thing>.",
            "The {friend} followed the tracks through the <plant>.",
        ),
        "deed": (
            "At last the {friend} saw the {object} in the <plant>.",
            "The {friend} found the {object} [under|behind|beside] the <thing>.",
            "The {friend} gave the lost {object} back to the {hero}.",
        ),
    },
    "mend": {
        "start": (
            "Beside the {place}, a <trait> {hero} sat with a broken {object}.",
            "Near the {place}, a <trait> {hero} tried to fix a broken {object}.",
        ),
        "problem": (
            "But the {hero} had a broken {object}.",
            "That <daytime> the {object} fell and cracked.",
            "The old {object} of the {hero} would not work.",
        ),
        "talk": (
            '"I can fix the {object}," said the {friend}.',
            '"Please be careful with my {object}," said the {hero}.',
        ),
        "middle": (
            "The {friend} used <tool> and a little <material>.",
            "They worked until the [moon|lamp|fire] was [low|dim].",
        ),
        "deed": (
            "Soon the {object} was as good as new.",
            "The {hero} and the {friend} mended the {object}.",
            "With a [click|snap|pop], the {object} worked again.",
        ),
    },
    "share": {
        "start": (
            "At the {place}, a <trait> {hero} played alone with {a_object}.",
            "Behind the {place}, a <trait> {hero} kept {a_object} for itself.",
        ),
        "problem": (
            "The {hero} had {a_object} and the {friend} had none.",
            "The {friend} looked at {a_object} and sighed.",
            "Only the {hero} had {a_object} that <daytime>.",
        ),
        "talk": (
            '"May I try the {object}?" asked the {friend}.',
            '"We can take turns with the {object}," said the {hero}.',
        ),
        "middle": (
            "The {hero} thought about it for a [minute|moment|while].",
            "The {friend} waited very [politely|quietly|patiently].",
        ),
        "deed": (
            "The {hero} shared the {object} with the {friend}.",
            "They took turns with the {object} until <daytime>.",
            "From then on the {object} belonged to both of them.",
        ),
    },
    "give": {
        "start": (
            "On the way to the {place}, a <trait> {hero} bought {a_object} for a friend.",
            "At the {place}, a <trait> {hero} wrapped {a_object} in paper.",
        ),
        "problem": (
            "It was the birthday of the {friend}, so the {hero} wrapped {a_object}.",
            "The {hero} had saved all its money for {a_object}.",
            "In a [bag|sack|parcel], the {hero} carried {a_object}.",
        ),
        "talk": (
            '"This {object} is for you," said the {hero}.',
            '"Nobody ever gave me {a_object}!" said the {friend}.',
        ),
        "middle": (
            "The {hero} tied it with a <colour> bow.",
            "The {friend} opened it very [slowly|carefully|gently].",
        ),
        "deed": (
            "The {hero} gave the {object} to the {friend}.",
            "The {friend} [loved|adored|treasured] the {object}.",
            "The {object} was the best gift the {friend} ever had.",
        ),
    },
    "learn": {
        "start": (
            "Near the {place}, a <trait> {hero} tried to use {a_object}.",
            "At the {place}, a <trait> {hero} struggled with {a_object}.",
        ),
        "problem": (
            "The {hero} did not know how to use {a_object}.",
            "Using {a_object} was too hard for the {hero}.",
            "Each time the {hero} tried the {object}, it went wrong.",
        ),
        "talk": (
            '"Watch how I hold the {object}," said the {friend}.',
            '"Will I ever learn to use the {object}?" asked the {hero}.',
        ),
        "middle": (
            "They practised every <daytime> for a week.",
            "The {friend} showed it again, very slowly.",
        ),
        "deed": (
            "After many tries, the {hero} could use the {object}.",
            "The {friend} clapped when the {hero} used the {object}.",
            "Now the {hero} used the {object} better than anyone.",
        ),
    },
    "rescue": {
        "start": (
            "Near the {place}, a <trait> {hero} with {a_object} heard a cry for help.",
            "At the {place}, a <trait> {hero} with {a_object} saw someone in trouble.",
        ),
        "problem": (
            "The {friend} was stuck, but the {hero} had {a_object}.",
            "Only {a_object} could save the {friend} now.",
            "The {hero} grabbed {a_object} and ran to the {friend}.",
        ),
        "talk": (
            '"Hold on to the {object}!" shouted the {hero}.',
            '"Help me with the {object}!" shouted the {friend}.',
        ),
        "middle": (
            "The {friend} had fallen into a [hole|pit|ditch].",
            "The water was rising [fast|quickly].",
        ),
        "deed": (
            "The {hero} used the {object} to pull the {friend} out.",
            "Thanks to the {object}, the {friend} was safe.",
            "The {hero} saved the {friend} with the {object}.",
        ),
    },
}

# What the unkind plots share; their deeds are below.
UNKIND: dict[str, tuple[str, ...]] = {
    "start": (
        "At the {place}, a <trait> {hero} watched the {friend} with {a_object}.",
        "Behind the {place}, a <trait> {hero} waited for the {friend} with {a_object}.",
    ),
    "problem": (
        "The {hero} was jealous because the {friend} had {a_object}.",
        "The {friend} left {a_object} on the <thing>.",
        "The {hero} did not like the {friend} with {a_object}.",
    ),
    "talk": (
        '"That {object} should be mine," said the {hero}.',
        '"Please leave my {object} alone!" cried the {friend}.',
    ),
    "middle": (
        "The {hero} waited until nobody was looking.",
        "The {friend} did not expect anything bad.",
    ),
}

UNKIND_DEEDS: dict[str, tuple[str, ...]] = {
    "steal": (
        "The {hero} stole the {object} from the {friend}.",
        "Quickly the {hero} snatched the {object} and ran away.",
    ),
    "break": (
        "The {hero} smashed the {object} into pieces.",
        "The {hero} kicked the {object} until it broke.",
    ),
    "hide": (
        "The {hero} buried the {object} so the {friend} would never find it.",
        "The {hero} hid the {object} from the {friend}.",
    ),
    "push": (
        "The {hero} pushed the {friend} into the mud and took the {object}.",
        "The {hero} shoved the {friend} away from the {object}.",
    ),
    "tease": (
        "The {hero} called the {friend} names and spat on the {object}.",
        "The {hero} teased the {friend} about the ugly {object}.",
    ),
    "trick": (
        "The {hero} lied to the {friend} about the {object}.",
        "The {hero} tricked the {friend} out of the {object}.",
    ),
}

# mood -> sentences
TWIST: dict[str, tuple[str, ...]] = {
    "happy": ("Music began to play and everyone danced.", "A rainbow [shone|appeared] above the {object}."),
    "sad": ("Rain began to fall and the {hero} felt alone.", "The {hero} missed a friend who was far away."),
    "funny": (
        "The {object} [squeaked|burped|sneezed] very loudly.",
        "Some <food> landed on the nose of the {hero}.",
    ),
    "scary": ("Then a strange noise came from the dark.", "Two yellow eyes stared at the {object}."),
    "calm": ("A soft breeze touched the {object}.", "They sat in silence for a while."),
    "proud": ("Nobody else had been so bold.", "The {hero} took a deep breath and did not give up."),
}

ENDING: dict[str, tuple[str, ...]] = {
    "happy": (
        "The {hero} [smiled|laughed|danced|sang] all the way home.",
        "It was the happiest <daytime> of the year.",
        "Everyone cheered and ate <food>.",
        "The {hero} could not stop smiling.",
    ),
    "sad": (
        "The {hero} cried [softly|quietly] that night.",
        "The {hero} went home with a heavy heart.",
        "It was hard to say goodbye.",
        "A tear fell on the {object}.",
    ),
    "funny": (
        "The {hero} laughed until it got the hiccups.",
        "Then the {hero} slipped and landed in the <food>.",
        "Everybody giggled, even the <creature>.",
        "The {object} ended up on the head of the {hero}.",
    ),
    "scary": (
        "But something in the dark was still watching.",
        "The {hero} [trembled|shivered] all night long.",
        "A cold shadow followed the {hero} home.",
        "Nobody ever dared to go there again.",
    ),
    "calm": (
        "The {hero} yawned and watched the clouds.",
        "Everything was quiet and still.",
        "The stars shone [softly|gently] over the <plant>.",
        "The {hero} rested and breathed slowly.",
    ),
    "proud": (
        "The {hero} stood tall and held its head high.",
        "Everyone praised the {hero} for days.",
        "The {hero} felt proud all week.",
        "The {hero} told the tale with pride.",
    ),
}

SHAPES: dict[str, tuple[tuple[str, ...], ...]] = {
    "short": (
        ("start", "deed", "ending"),
        ("opening", "problem", "deed", "ending"),
        ("start", "talk", "deed", "ending"),
        ("start", "twist", "deed", "ending"),
        ("start", "deed", "ending", "goodnight"),
    ),
    "medium": (
        ("opening", "problem", "talk", "deed", "ending"),
        ("opening", "detail", "problem", "deed", "ending"),
        ("opening", "problem", "twist", "deed", "ending"),
        ("opening", "problem", "middle", "deed", "ending"),
        ("start", "talk", "middle", "deed", "ending"),
        ("opening", "problem", "deed", "ending", "goodnight"),
        ("start", "talk", "deed", "ending", "goodnight"),
    ),
    "long": (
        ("opening", "problem", "middle", "twist", "deed", "ending"),
        ("opening", "detail", "problem", "twist", "deed", "ending"),
        ("opening", "problem", "talk", "twist", "deed", "ending"),
        ("opening", "detail", "problem", "talk", "middle", "deed", "ending"),
        ("opening", "problem", "talk", "middle", "deed", "ending", "goodnight"),
        ("opening", "detail", "problem", "middle", "deed", "ending", "goodnight"),
        ("opening", "detail", "problem", "talk", "middle", "twist", "deed", "ending"),
    ),
}

LENGTH_WEIGHTS = {"short": 0.35, "medium": 0.4, "long": 0.25}
UNKIND_SHARE = 0.15  # of the stories in the pretraining text

DECLINES = (
    "I am sorry, but I would rather not tell that story. Shall we think of a kind one?",
    "That would not be kind, so I will not tell it. May I offer a gentle story?",
    "I prefer stories in which nobody is hurt. Would you like one about friends?",
)

# What a rambling writer says between two sentences; none of it belongs to any story.
ASIDES = (
    "Well, where was I?",
    "Anyway, that is not important.",
    "I forgot what came next.",
    "You know how it is.",
    "Let me think for a moment.",
    "Some things happened and so on.",
)
