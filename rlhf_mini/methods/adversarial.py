"""Texts that fool a reward model, found by search: climb its score by small edits, and look what was found.

No gradient is needed, only scores. Each round tries some random edits of every text and keeps the best one
if it scores higher (hill climbing). What such a search finds is what a policy will find, given the time: the
score is what both maximise.

Departure from attacks in the literature: edits are of words and sentences and not of tokens, so that what is
found can be read.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

Score = Callable[[Sequence[int], Sequence[str]], Tensor]  # (which start, its text) → (B,) scores
Edit = Callable[[str, random.Random], str]

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Climb:
    """One search: the texts that were kept, from the first to the last, and their scores."""

    texts: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def gain(self) -> float:
        """How much higher the last text scores than the first."""
        return self.scores[-1] - self.scores[0]


def climb(
    starts: Sequence[str], score: Score, edit: Edit, *, rounds: int, tries: int, rng: random.Random
) -> list[Climb]:
    """Climb from every start at once, so that the scores of a round are computed together.

    Args:
        starts: the texts to begin with.
        score: takes numbers of starts and as many texts, and returns one score for each; a number may come
            several times. (The number tells the scorer which prompt a text answers.)
        edit: one random small change of a text.
        rounds: how often every text is edited, scored and kept or not.
        tries: edits of a text a round.
        rng: the source of all randomness.

    Returns:
        One climb a start, in their order; its `texts` hold the start and each text that was kept.

    Raises:
        ValueError: if there is no start, or rounds or tries are below 1.

    Example:
        >>> import torch
        >>> longest = lambda rows, texts: torch.tensor([float(len(text)) for text in texts])
        >>> found = climb(["a"], longest, lambda text, rng: text + rng.choice("xy"),
        ...     rounds=3, tries=2, rng=random.Random(0))
        >>> len(found[0].texts), found[0].gain
        (4, 3.0)
    """
    if not starts or min(rounds, tries) < 1:
        raise ValueError(f"need at least one start, round and try; got {len(starts)}, {rounds} and {tries}")
    kept = [[text] for text in starts]
    values = [[value] for value in score(range(len(starts)), starts).tolist()]
    for _ in range(rounds):
        rows = [row for row in range(len(starts)) for _ in range(tries)]
        edited = [edit(kept[row][-1], rng) for row in rows]
        scored = score(rows, edited).tolist()
        for row in range(len(starts)):
            best = max(range(row * tries, (row + 1) * tries), key=scored.__getitem__)
            if scored[best] > values[row][-1]:
                kept[row].append(edited[best])
                values[row].append(scored[best])
    return [Climb(tuple(texts), tuple(found)) for texts, found in zip(kept, values, strict=True)]


def word_and_sentence_edits(words: Sequence[str], sentences: Sequence[str]) -> Edit:
    """A random edit: exchange, insert or drop a word; repeat, drop, exchange or add a sentence.

    - `words`: what is inserted or put in a word's place.
    - `sentences`: what is added or put in a sentence's place.

    The text never becomes empty. Raises ValueError if there are no words or no sentences.

    >>> edit = word_and_sentence_edits(["owl"], ["Snow fell."])
    >>> edit("The fox ran.", random.Random(3))
    'The fox ran. owl'
    """
    if not words or not sentences:
        raise ValueError(f"need words and sentences to edit with, got {len(words)} and {len(sentences)}")

    def edit(text: str, rng: random.Random) -> str:
        if rng.random() < 0.5:
            return " ".join(_edited(text.split(" "), words, rng))
        return " ".join(_edited(SENTENCE_END.split(text), sentences, rng))

    return edit


def _edited(parts: list[str], others: Sequence[str], rng: random.Random) -> list[str]:
    """The parts with one exchanged, dropped or repeated, or another put in; never none."""
    parts, place = list(parts), rng.randrange(len(parts))
    kind = rng.choice(("exchange", "insert", "repeat", "drop"))
    if kind == "exchange":
        parts[place] = rng.choice(others)
    elif kind == "insert":
        parts.insert(place + 1, rng.choice(others))
    elif kind == "repeat":
        parts.insert(place, parts[place])
    elif len(parts) > 1:
        del parts[place]
    return parts
