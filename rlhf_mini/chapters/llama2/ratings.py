"""How often each rating is given, and with which winner: exact, so that accuracy by rating has no label noise."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rlhf_mini.worlds.stories import PANEL, RATINGS, Annotator
from rlhf_mini.worlds.stories.annotators import RATING_CUTS

EDGES = (0.0, *RATING_CUTS, math.inf)


def rating_chances(
    prompt: str, answer: str, other: str, *, panel: tuple[Annotator, ...] = PANEL
) -> tuple[list[float], list[float]]:
    """P(`answer` wins with each rating), P(`other` wins with each), from the least clear to the clearest.

    Over the judges of the panel and both orders of showing; the eight numbers add up to 1. The felt difference
    is logistic around the difference in utility: P(felt > x) = σ((difference − x) / temperature).
    """
    wins, losses = [0.0] * len(RATINGS), [0.0] * len(RATINGS)
    for judge in panel:
        difference = judge.utility(prompt, answer) - judge.utility(prompt, other)
        for shown_first in (1, -1):
            centre = difference + shown_first * judge.position_bias
            for counts, sign in ((wins, 1), (losses, -1)):
                above = [_sigmoid((sign * centre - edge) / judge.temperature) for edge in EDGES]
                for rating in range(len(RATINGS)):
                    counts[rating] += (above[rating] - above[rating + 1]) / (2 * len(panel))
    return wins, losses


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def chances(rows: Sequence[dict], *, panel: tuple[Annotator, ...] = PANEL) -> tuple[Tensor, Tensor]:
    """`rating_chances` of the chosen over the rejected of each row, (N, 4) twice."""
    both = [rating_chances(row["prompt"], row["chosen"], row["rejected"], panel=panel) for row in rows]
    return torch.tensor([wins for wins, _ in both]), torch.tensor([losses for _, losses in both])


def accuracy_by_rating(difference: Tensor, wins: Tensor, losses: Tensor) -> list[float]:
    """The chance that a judge agrees with the sign of `difference` (N,), for each rating, and last overall.

    A tie agrees half the time. What labels these pairs happened to get does not matter.
    """
    sign = torch.sign(difference.double())[:, None]
    agrees = torch.where(sign > 0, wins, torch.where(sign < 0, losses, (wins + losses) / 2))
    by_rating = agrees.sum(0) / (wins + losses).sum(0)
    return [*by_rating.tolist(), float(agrees.sum() / (wins + losses).sum())]


def ceiling_by_rating(wins: Tensor, losses: Tensor) -> list[float]:
    """The same for the best possible judge of pairs, who knows every chance but not who judged."""
    return accuracy_by_rating(wins.sum(1) - losses.sum(1), wins, losses)


def shares(wins: Tensor, losses: Tensor) -> list[float]:
    """How often each rating is given."""
    return (wins + losses).mean(0).tolist()
