"""The probabilistic grammar of the stories: sampling, counting, and its exact entropy.

A story is drawn in three steps: its facts (`draw_facts`), then for every role in its shape one sentence
template, then the template's fillers and alternatives (`write_story`). Every choice is independent of the
others given the facts, so that the entropy of the text is a finite sum (`entropy`), not an estimate. The sum
equals the entropy of the text, and not only bounds it, because no text can be drawn in two ways;
`tests/worlds` checks that.
"""

import math
import random
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from rlhf_mini.worlds.stories import plots
from rlhf_mini.worlds.stories.lexicon import (
    FILLERS,
    FRIENDS,
    HEROES,
    MOOD_FILLERS,
    MOODS,
    OBJECTS,
    PLACES,
    with_article,
)

KIND_DEEDS = tuple(plots.PLOTS)
UNKIND_DEEDS = tuple(plots.UNKIND_DEEDS)
DEEDS = KIND_DEEDS + UNKIND_DEEDS
LENGTHS = tuple(plots.SHAPES)

_PART = re.compile(r"\{(?P<slot>\w+)\}|<(?P<filler>\w+)>|\[(?P<choice>[^\]]+)\]|(?P<text>[^{<\[]+)")


@dataclass(frozen=True)
class Facts:
    """What a story is about. `shape` is its sequence of roles, one a sentence."""

    hero: str
    object: str
    place: str
    friend: str
    mood: str
    deed: str
    shape: tuple[str, ...]

    @property
    def length(self) -> str:
        """short, medium or long, by the number of sentences."""
        return length_name(len(self.shape))


@dataclass(frozen=True)
class Template:
    """One sentence pattern, as a sequence of parts.

    A part is ("text", words), ("slot", fact), ("choice", alternatives) or ("coloured", alternatives by mood).
    """

    parts: tuple[tuple[str, Any], ...]

    @property
    def slots(self) -> frozenset[str]:
        """The facts it mentions, without regard to articles."""
        return frozenset(str(value).removeprefix("a_") for kind, value in self.parts if kind == "slot")

    @property
    def choices(self) -> int:
        """The number of texts that it yields for given facts."""
        return math.prod(len(_alternatives(part, MOODS[0])) for part in self.parts)

    @property
    def log_choices(self) -> float:
        """log of that number: the entropy of its choices, in nats."""
        return math.log(self.choices)

    def write(self, facts: Facts, rng: random.Random) -> str:
        """The sentence for these facts, its choices drawn."""
        words = []
        for kind, value in self.parts:
            if kind == "text":
                words.append(str(value))
            elif kind == "slot":
                words.append(_slot_text(facts, str(value)))
            else:
                words.append(rng.choice(_alternatives((kind, value), facts.mood)))
        return "".join(words)


def _alternatives(part: tuple[str, Any], mood: str) -> tuple[str, ...]:
    """What may stand in a part; a text or a slot leaves no choice. Every mood has as many coloured words."""
    kind, value = part
    return value[mood] if kind == "coloured" else value if kind == "choice" else ("",)


def _slot_text(facts: Facts, slot: str) -> str:
    noun = str(getattr(facts, slot.removeprefix("a_")))
    return with_article(noun) if slot.startswith("a_") else noun


@cache
def parse_template(pattern: str) -> Template:
    """Read a sentence pattern of `plots.py`.

    >>> parse_template("The {hero} [sat|stood].").log_choices == math.log(2)
    True
    """
    parts: list[tuple[str, Any]] = []
    for match in _PART.finditer(pattern):
        if match["slot"]:
            parts.append(("slot", match["slot"]))
        elif match["filler"] in MOOD_FILLERS:
            parts.append(("coloured", MOOD_FILLERS[match["filler"]]))
        elif match["filler"]:
            parts.append(("choice", FILLERS[match["filler"]]))
        elif match["choice"]:
            parts.append(("choice", tuple(match["choice"].split("|"))))
        else:
            parts.append(("text", match["text"]))
    return Template(tuple(parts))


def templates_for(role: str, deed: str, mood: str) -> tuple[str, ...]:
    """The sentence patterns that a role may take in a story of this deed and mood."""
    free = {"opening": plots.OPENING, "detail": plots.DETAIL, "goodnight": plots.GOODNIGHT}
    if role in free:
        return free[role]
    if role == "twist":
        return plots.TWIST[mood]
    if role == "ending":
        return plots.ENDING[mood]
    if deed in plots.PLOTS:
        return plots.PLOTS[deed][role]
    return plots.UNKIND_DEEDS[deed] if role == "deed" else plots.UNKIND[role]


def length_name(sentences: int) -> str:
    """short: up to 4 sentences; medium: 5; long: 6 and more."""
    return "short" if sentences <= 4 else "medium" if sentences == 5 else "long"


def is_held_out(hero: str, object_: str) -> bool:
    """True for the tenth of all (hero, object) pairs that no training text or prompt contains."""
    return (HEROES.index(hero) * 7 + OBJECTS.index(object_) * 3) % 10 == 0


@cache
def hero_object_pairs(*, held_out: bool) -> tuple[tuple[str, str], ...]:
    """All pairs of hero and object on one side of the held-out split."""
    return tuple((h, o) for h in HEROES for o in OBJECTS if is_held_out(h, o) == held_out)


def draw_facts(rng: random.Random, *, held_out: bool = False, **fixed: str) -> Facts:
    """Draw the facts of a story from the grammar's prior; `fixed` names those that are given.

    `fixed` may name any field of `Facts` but `shape`, and `length` (one of `LENGTHS`).
    """
    hero, object_ = rng.choice(hero_object_pairs(held_out=held_out))
    deed_group = UNKIND_DEEDS if rng.random() < plots.UNKIND_SHARE else KIND_DEEDS
    length = fixed.pop("length", None) or rng.choices(LENGTHS, weights=[*plots.LENGTH_WEIGHTS.values()])[0]
    drawn = {
        "hero": hero,
        "object": object_,
        "place": rng.choice(PLACES),
        "friend": rng.choice(FRIENDS),
        "mood": rng.choice(MOODS),
        "deed": rng.choice(deed_group),
    }
    return Facts(shape=rng.choice(plots.SHAPES[length]), **{**drawn, **fixed})


def write_sentences(facts: Facts, rng: random.Random) -> list[str]:
    """One sentence for every role of `facts.shape`."""
    return [
        parse_template(rng.choice(templates_for(role, facts.deed, facts.mood))).write(facts, rng)
        for role in facts.shape
    ]


def write_story(facts: Facts, rng: random.Random) -> str:
    """A story with these facts, its sentences joined by spaces."""
    return " ".join(write_sentences(facts, rng))


def title_of(facts: Facts) -> str:
    """The title line that half of the pretraining stories carry; it names what follows."""
    return f"A {facts.length} {facts.mood} story of the {facts.hero} and the {facts.object}:"


def draw_document(rng: random.Random, *, held_out: bool = False) -> str:
    """One document of the pretraining text: a story, under a title line half of the time."""
    facts = draw_facts(rng, held_out=held_out)
    story = write_story(facts, rng)
    return f"{title_of(facts)} {story}" if rng.random() < 0.5 else story


def _expected_over(patterns: tuple[str, ...]) -> float:
    """Entropy of drawing one pattern and then its choices, for given facts, in nats."""
    return math.log(len(patterns)) + sum(parse_template(p).log_choices for p in patterns) / len(patterns)


def _chance_unmentioned(slot: str, facts_shape: tuple[str, ...], deed: str, mood: str) -> float:
    chance = 1.0
    for role in facts_shape:
        patterns = templates_for(role, deed, mood)
        chance *= sum(slot not in parse_template(p).slots for p in patterns) / len(patterns)
    return chance


def _situations() -> list[tuple[float, str, str, tuple[str, ...]]]:
    """(probability, deed, mood, shape) of every situation of the grammar."""
    situations = []
    for deed in DEEDS:
        kind = deed in KIND_DEEDS
        p_deed = (
            (1 - plots.UNKIND_SHARE) / len(KIND_DEEDS) if kind else plots.UNKIND_SHARE / len(UNKIND_DEEDS)
        )
        for mood in MOODS:
            for length, shapes in plots.SHAPES.items():
                weight = p_deed * plots.LENGTH_WEIGHTS[length] / len(MOODS) / len(shapes)
                situations += [(weight, deed, mood, shape) for shape in shapes]
    return situations


def entropy() -> float:
    """Entropy of one document of the pretraining text, in nats per document; exact.

    H = log 2 (title or not) + log |pairs of hero and object| + H(deed, mood, shape)
    + E[ sum over roles of H(sentence | facts) ] + P(place is mentioned) log |places| + P(friend …) log
    |friends|. A fact that no sentence mentions adds nothing to the text and is not counted.
    """
    total = math.log(2) + math.log(len(hero_object_pairs(held_out=False)))
    for weight, deed, mood, shape in _situations():
        total -= weight * math.log(weight)
        total += weight * sum(_expected_over(templates_for(role, deed, mood)) for role in shape)
        for slot, words in (("place", PLACES), ("friend", FRIENDS)):
            total += weight * (1 - _chance_unmentioned(slot, shape, deed, mood)) * math.log(len(words))
    return total


def count_stories() -> int:
    """Number of distinct stories (without titles), counting only the facts that a story mentions; exact."""
    total = 0
    for _, deed, mood, shape in _situations():
        counts = {(False, False): 1}  # (place mentioned, friend mentioned) -> ways
        for role in shape:
            new: dict[tuple[bool, bool], int] = {}
            for pattern in templates_for(role, deed, mood):
                template = parse_template(pattern)
                for (place, friend), so_far in counts.items():
                    key = (place or "place" in template.slots, friend or "friend" in template.slots)
                    new[key] = new.get(key, 0) + so_far * template.choices
            counts = new
        for (place, friend), ways in counts.items():
            total += ways * (len(PLACES) if place else 1) * (len(FRIENDS) if friend else 1)
    return total * len(HEROES) * len(OBJECTS)


def vocabulary() -> frozenset[str]:
    """Every word (lower case, letters only) that the grammar can write."""
    patterns = [*plots.OPENING, *plots.DETAIL, *plots.GOODNIGHT]
    for roles in [*plots.PLOTS.values(), plots.UNKIND]:
        patterns += [p for group in roles.values() for p in group]
    for group in [*plots.UNKIND_DEEDS.values(), *plots.TWIST.values(), *plots.ENDING.values()]:
        patterns += group
    bare = re.sub(r"\{\w+\}|<\w+>", " ", " ".join(patterns)).replace("|", " ")
    coloured = [words for by_mood in MOOD_FILLERS.values() for words in by_mood.values()]
    filler_words = " ".join(word for words in [*FILLERS.values(), *coloured] for word in words)
    facts = " ".join((*HEROES, *OBJECTS, *PLACES, *FRIENDS, *MOODS))
    return frozenset(re.findall(r"[a-z]+", f"{bare} {filler_words} {facts}".lower()))
