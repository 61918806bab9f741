"""Writers of demonstrations, of uneven quality: the reason why there is room above supervised fine-tuning.

A careful writer meets every wish. A hasty one forgets the wishes for length and style, and often stops
before the end. A rambling one puts asides between the sentences, or loses the thread. Unkind requests are
declined by most careful writers and by few of the others, who now and then decline a kind one instead.
"""

import random
from dataclasses import dataclass, replace

from rlhf_mini.worlds.stories import plots
from rlhf_mini.worlds.stories.grammar import (
    KIND_DEEDS,
    LENGTHS,
    draw_facts,
    hero_object_pairs,
    is_held_out,
    write_sentences,
)
from rlhf_mini.worlds.stories.lexicon import MOODS
from rlhf_mini.worlds.stories.requests import Request, draw_requests


@dataclass(frozen=True, kw_only=True)
class Demonstrator:
    """One kind of writer; every number is a probability."""

    name: str
    misses_noun: float = 0.0  # takes another hero or object than asked
    misses_mood: float = 0.0
    forgets_wishes: float = 0.0  # for length and style
    stops_early: float = 0.0  # leaves out the last one or two sentences
    rambles: float = 0.0  # puts asides between sentences, one to three
    loses_thread: float = 0.0  # repeats a sentence, or swaps two
    declines: float = 0.0  # an unkind request
    overcautious: float = 0.0  # declines a kind request


CAREFUL = Demonstrator(name="careful", declines=0.9)
HASTY = Demonstrator(
    name="hasty",
    misses_noun=0.05,
    misses_mood=0.1,
    forgets_wishes=0.8,
    stops_early=0.5,
    rambles=0.2,
    declines=0.3,
    overcautious=0.08,
)
RAMBLING = Demonstrator(
    name="rambling",
    misses_noun=0.05,
    misses_mood=0.1,
    forgets_wishes=0.5,
    rambles=0.9,
    loses_thread=0.3,
    declines=0.1,
    overcautious=0.08,
)
CREW = ((CAREFUL, 0.35), (HASTY, 0.35), (RAMBLING, 0.3))


def shapes_for(request: Request) -> list[tuple[str, ...]]:
    """The shapes that meet the wishes for length and style."""
    lengths = [request.length] if request.length else LENGTHS
    shapes = [shape for length in lengths for shape in plots.SHAPES[length]]
    return [shape for shape in shapes if request.style is None or request.style in shape]


def _spoil(sentences: list[str], writer: Demonstrator, rng: random.Random) -> list[str]:
    """The sentences as this writer puts them down."""
    told = list(sentences)
    if rng.random() < writer.loses_thread:
        place = rng.randrange(1, len(told))
        if rng.random() < 0.5:
            told.insert(place, told[place - 1])
        else:
            told[place - 1], told[place] = told[place], told[place - 1]
    if rng.random() < writer.stops_early:
        told = told[: -rng.choice((1, 2))]
    if rng.random() < writer.rambles:
        for _ in range(rng.choice((1, 2, 3))):
            told.insert(rng.randrange(1, len(told) + 1), rng.choice(plots.ASIDES))
    return told


def _one_missed(request: Request, rng: random.Random) -> tuple[str, str]:
    """A hero and an object, one of them as asked, from the request's own side of the held-out split."""
    held_out = is_held_out(request.hero, request.object)
    pairs = hero_object_pairs(held_out=held_out)
    return rng.choice([(h, o) for h, o in pairs if (h == request.hero) != (o == request.object)])


def demonstrate(request: Request, writer: Demonstrator, rng: random.Random) -> str:
    """An answer to the request as this writer would give it."""
    if rng.random() < (writer.declines if request.unkind else writer.overcautious):
        return rng.choice(plots.DECLINES)
    hero, object_ = request.hero, request.object
    if rng.random() < writer.misses_noun:
        hero, object_ = _one_missed(request, rng)
    mood = rng.choice(MOODS) if rng.random() < writer.misses_mood else request.mood
    deed = request.unkind or rng.choice(KIND_DEEDS)
    heeded = replace(request, length=None, style=None) if rng.random() < writer.forgets_wishes else request
    shape = rng.choice(shapes_for(heeded))
    facts = replace(draw_facts(rng, mood=mood, deed=deed), hero=hero, object=object_, shape=shape)
    return " ".join(_spoil(write_sentences(facts, rng), writer, rng))


def demonstrations(
    count: int, *, seed: int, crew: tuple[tuple[Demonstrator, float], ...] = CREW
) -> list[dict[str, str]]:
    """`count` rows with `prompt`, `completion` and `writer`, on training requests."""
    rng = random.Random(f"demonstrations {seed}")
    rows = []
    for request in draw_requests(count, seed=seed):
        writer = rng.choices([w for w, _ in crew], weights=[share for _, share in crew])[0]
        rows.append(
            {"prompt": request.text, "completion": demonstrate(request, writer, rng), "writer": writer.name}
        )
    return rows
