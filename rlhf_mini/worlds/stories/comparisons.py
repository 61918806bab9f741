"""Judgements with known truth: which of two answers keeps a principle better, why, and how good an answer is.

They train a small judge and test any judge. Two answers are compared only where the principle tells them
apart, and each is shown first as often as second, so that a judge that looks at the place alone is right half
of the time.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_mini.data.judging import Comparison
from rlhf_mini.worlds.stories.critiques import critique
from rlhf_mini.worlds.stories.demonstrators import CREW, demonstrate
from rlhf_mini.worlds.stories.gold import BEST, gold
from rlhf_mini.worlds.stories.principles import CONSTITUTION, OVERALL, Principle
from rlhf_mini.worlds.stories.requests import draw_requests

WORST_RATED = -1.0  # gold from here down gets the lowest rating, and the best reachable gold the highest


@dataclass(frozen=True)
class Judged:
    """A comparison, the name of its principle, the truth about it, and the reason in words."""

    comparison: Comparison
    principle: str
    first_better: bool
    reason: str


@dataclass(frozen=True)
class Rated:
    """An answer and its true rating, from 1."""

    prompt: str
    answer: str
    rating: int


def writer_pairs(count: int, *, seed: int, held_out: bool = False) -> list[dict[str, str]]:
    """`count` rows with `prompt`, `first`, `second`: two different writers answer each request."""
    rng = random.Random(f"writer pairs {seed}")
    rows = []
    for request in draw_requests(count, seed=seed, held_out=held_out):
        first, second = rng.sample([writer for writer, _ in CREW], 2)
        rows.append(
            {
                "prompt": request.text,
                "first": demonstrate(request, first, rng),
                "second": demonstrate(request, second, rng),
            }
        )
    return rows


def judge_by(principle: Principle, prompt: str, first: str, second: str) -> float:
    """1 if the first answer keeps the principle better, 0 if the second does, ½ if neither."""
    one, other = principle.measure(prompt, first), principle.measure(prompt, second)
    return 0.5 if abs(one - other) < 1e-9 else float(one > other)


def reason_for(principle: Principle, prompt: str, first: str, second: str) -> str:
    """What there is to say about each answer under a principle of the constitution, in the order shown."""
    return f"A: {critique(principle, prompt, first)} B: {critique(principle, prompt, second)}"


def judged_comparisons(
    rows: Sequence[dict[str, str]], *, principles: Sequence[Principle] = CONSTITUTION, seed: int
) -> list[Judged]:
    """One comparison a row, under a principle drawn from those that tell its two answers apart, if any does.

    The order of the answers, and the principle's wording, are drawn too. `rows` have `prompt`, `first` and
    `second`. Principles on an answer as a whole come without a reason. Raises ValueError without principles.
    """
    if not principles:
        raise ValueError("need at least one principle to judge by, got none")
    rng = random.Random(f"comparisons {seed}")
    judged = []
    for row in rows:
        prompt, first, second = row["prompt"], row["first"], row["second"]
        if rng.random() < 0.5:
            first, second = second, first
        telling = [p for p in principles if judge_by(p, prompt, first, second) != 0.5]
        if telling:
            principle = rng.choice(telling)
            reason = "" if principle in OVERALL else reason_for(principle, prompt, first, second)
            comparison = Comparison(rng.choice(principle.wordings), prompt, first, second)
            better = judge_by(principle, prompt, first, second) == 1
            judged.append(Judged(comparison, principle.name, better, reason))
    return judged


def true_rating(prompt: str, answer: str, *, highest: int = 5) -> int:
    """Gold as a rating from 1 to `highest`: in equal steps from `WORST_RATED` to the best, rounded.

    >>> true_rating("Tell me a happy story about a fox and a kite.", "")  # gold 0, a fifth of the way up
    2
    """
    if highest < 2:
        raise ValueError(f"the highest rating must be at least 2, got {highest}")
    share = (gold(prompt, answer).total - WORST_RATED) / (BEST - WORST_RATED)
    return 1 + round((highest - 1) * min(max(share, 0.0), 1.0))


def rated_answers(rows: Sequence[dict[str, str]], *, highest: int = 5) -> list[Rated]:
    """Both answers of every row with their true ratings."""
    return [
        Rated(row["prompt"], row[side], true_rating(row["prompt"], row[side], highest=highest))
        for row in rows
        for side in ("first", "second")
    ]
