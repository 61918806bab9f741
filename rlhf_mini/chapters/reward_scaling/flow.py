"""Gao's experiment on four answers, in the book's grammar of diagrams: numbers that the library computes.

Gold ranks two answers and the proxy learns from such pairs. Four others are drawn for one prompt; the proxy agrees with
gold about three of them and likes the fourth best, which is a poor one. Gold judges what best-of-n makes of that.
"""

import numpy as np
import torch
from torch import Tensor

from rlhf_mini.evaluation.best_of_n_curve import BestOfNCurve, best_of_n_curve
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.reader import Arrow, Box, Flow
from rlhf_mini.reader.three_tokens import GAP

CHOSEN, REJECTED = (
    torch.tensor([0.9]),
    torch.tensor([-0.4]),
)  # the proxy's scores of a pair that gold has ranked
CHOSEN_GOLD, REJECTED_GOLD = 1.0, -0.6
PROXIES, GOLDS = (-0.4, 0.5, 0.9, 1.4), (-0.6, 0.6, 1.0, 0.0)  # of four answers to one prompt
SIZES = (1, 2, 4)


def pair_numbers() -> dict[str, Tensor]:
    """The loss of the labelled pair (1,), and its gradient by the chosen answer's score (1,)."""
    score = CHOSEN.clone().requires_grad_()
    loss = pairwise_loss(score, REJECTED)
    (slope,) = torch.autograd.grad(loss.sum(), [score])
    return {"loss": loss.detach(), "slope": slope}


def curve() -> BestOfNCurve:
    """Proxy, gold and distance of the best of 1, 2 and 4 by the proxy."""
    return best_of_n_curve([GOLDS], [PROXIES], sizes=SIZES)


def _row(values: np.ndarray | tuple[float, ...], *, decimals: int = 2) -> str:
    texts = [f"{round(float(value), decimals) + 0.0:.{decimals}f}" for value in np.asarray(values).flatten()]
    return GAP.join(texts).replace("-", "−")


def gao_example() -> Flow:
    """Gold labels, a proxy learned from them, optimisation against the proxy, and gold once more."""
    told, pair = curve(), pair_numbers()
    sizes = GAP.join(map(str, SIZES))
    return Flow(
        boxes=(
            Box(
                key="labels", title="gold labels", kind="data", role="gold", row=0, column=0,
                detail=f"r*{GAP}{_row((CHOSEN_GOLD, REJECTED_GOLD), decimals=1)}\nthe first is chosen",
            ),
            Box(
                key="loss", title="pairwise", kind="loss", role="loss", row=0, column=1,
                detail=f"{_row(pair['loss'].numpy())} nats\nslope of r1: {_row(pair['slope'].numpy())}",
            ),
            Box(
                key="policy", title="policy", kind="model", role="policy", row=1, column=0,
                detail=f"writes N = {len(GOLDS)} answers",
            ),
            Box(
                key="proxy", title="proxy", kind="model", role="reward", row=1, column=1,
                detail=f"r{GAP}{_row(PROXIES, decimals=1)}",
            ),
            Box(
                key="choice", title="optimisation", kind="loss", role="reward", row=2, column=0.5,
                detail=f"best of n = {sizes}\nmean r{GAP}{_row(told.proxy)}\nd = √KL{GAP}{_row(told.distance)}",
            ),
            Box(
                key="gold", title="gold again", kind="model", role="gold", row=3, column=0.5, frozen=True,
                detail=f"mean r*{GAP}{_row(told.gold)}",
            ),
        ),
        arrows=(
            Arrow(source="labels", target="loss", label="(B,)"),
            Arrow(source="proxy", target="loss", label="2 (B,)"),
            Arrow(source="loss", target="proxy", kind="gradient"),
            Arrow(source="policy", target="proxy", label="N (1, T)"),
            Arrow(source="proxy", target="choice", label="(N,)"),
            Arrow(source="policy", target="choice", label="N (1, T)"),
            Arrow(source="choice", target="gold", label="the chosen"),
        ),
        columns=2,
    )  # fmt: skip
