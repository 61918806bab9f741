"""Writers of demonstrations, of uneven quality: the reason why there is room above supervised fine-tuning.

A careful writer meets every wish. A hasty one misses some. A rambling one loses the thread: it repeats a sentence,
swaps two, or stops before the end. Unkind requests are declined by most careful writers and by few of the others, who
now and then decline a kind one instead.
"""

import random
from dataclasses import dataclass

from rlhf_mini.worlds.stories import plots
from rlhf_mini.worlds.stories.grammar import KIND_DEEDS, LENGTHS, draw_facts, write_sentences
from rlhf_mini.worlds.stories.lexicon import MOODS
from rlhf_mini.worlds.stories.requests import Request, draw_requests


@dataclass(frozen=True, kw_only=True)
class Demonstrator:
    """One kind of writer; every number is a probability."""

    name: str
    misses_noun: float  # takes another hero or object than asked
    misses_wish: float  # for each of mood, length and style
    loses_thread: float
    declines: float  # an unkind request
    overcautious: float  # declines a kind request


CAREFUL = Demonstrator(name="careful", misses_noun=0.0, misses_wish=0.0, loses_thread=0.0, declines=0.9, overcautious=0.0)
HASTY = Demonstrator(name="hasty", misses_noun=0.15, misses_wish=0.5, loses_thread=0.1, declines=0.4, overcautious=0.08)
RAMBLING = Demonstrator(name="rambling", misses_noun=0.15, misses_wish=0.4, loses_thread=0.8, declines=0.2, overcautious=0.08)
CREW = ((CAREFUL, 0.4), (HASTY, 0.35), (RAMBLING, 0.25))


def shapes_for(request: Request) -> list[tuple[str, ...]]:
    """The shapes that meet the wishes for length and style."""
    lengths = [request.length] if request.length else LENGTHS
    shapes = [shape for length in lengths for shape in plots.SHAPES[length]]
    return [shape for shape in shapes if request.style is None or request.style in shape]


def _wander(sentences: list[str], rng: random.Random) -> list[str]:
    """Repeat a sentence, swap two neighbours, or stop before the end."""
    place = rng.randrange(1, len(sentences))
    slip = rng.randrange(3)
    if slip == 0:
        return [*sentences[:place], sentences[place - 1], *sentences[place:]]
    if slip == 1:
        return [*sentences[: place - 1], sentences[place], sentences[place - 1], *sentences[place + 1 :]]
    return sentences[:place]


def demonstrate(request: Request, writer: Demonstrator, rng: random.Random) -> str:
    """An answer to the request as this writer would give it."""
    if rng.random() < (writer.declines if request.unkind else writer.overcautious):
        return rng.choice(plots.DECLINES)
    nouns = {"hero": request.hero, "object": request.object}
    if rng.random() < writer.misses_noun:
        missed = rng.choice(("hero", "object"))
        nouns[missed] = getattr(draw_facts(rng), missed)
    mood = rng.choice(MOODS) if rng.random() < writer.misses_wish else request.mood
    deed = request.unkind or rng.choice(KIND_DEEDS)
    heeded = Request(**nouns, mood=mood) if rng.random() < writer.misses_wish else request
    facts = draw_facts(rng, **nouns, mood=mood, deed=deed)
    facts = type(facts)(**{**vars(facts), "shape": rng.choice(shapes_for(heeded))})
    sentences = write_sentences(facts, rng)
    if rng.random() < writer.loses_thread:
        sentences = _wander(sentences, rng)
    return " ".join(sentences)


def demonstrations(count: int, *, seed: int, crew: tuple[tuple[Demonstrator, float], ...] = CREW) -> list[dict[str, str]]:
    """`count` rows with `prompt`, `completion` and `writer`, on training requests."""
    rng = random.Random(f"demonstrations {seed}")
    rows = []
    for request in draw_requests(count, seed=seed):
        writer = rng.choices([w for w, _ in crew], weights=[share for _, share in crew])[0]
        rows.append({"prompt": request.text, "completion": demonstrate(request, writer, rng), "writer": writer.name})
    return rows
