"""Hindsight relabelling on three tokens: the drawing of the book's family, with numbers that the library computes.

"a fox ●" was asked for with the instruction *right*, and is wrong. Under *wrong* the policy gives its tokens the
probabilities 0.4, 0.6 and 0.5, under *right* 0.5, 0.6 and 0.25.
"""

import torch
from torch import Tensor

from rlhf_mini.losses import next_token_loss, two_way_contrast_loss
from rlhf_mini.reader import Arrow, Box, Flow

GAP = "\u2002"  # a space that svg does not swallow
OWN, OTHER = torch.tensor([[0.4, 0.6, 0.5]]), torch.tensor([[0.5, 0.6, 0.25]])
LABEL_SMOOTHING = 0.2  # of the contrast, as in the released program


def hir_numbers() -> dict[str, Tensor]:
    """Likelihood by token (1, 3), the lead u of the means (1,), and the contrast (1,)."""
    means = [probabilities.log().mean(1) for probabilities in (OWN, OTHER)]
    return {
        "likelihood": next_token_loss(OWN.log()),
        "lead": means[0] - means[1],
        "contrast": two_way_contrast_loss(means[0], means[1], label_smoothing=LABEL_SMOOTHING),
    }


def _row(values: Tensor) -> str:
    return GAP.join(f"{value:.2f}" for value in values.flatten().tolist())


def hir_example() -> Flow:
    """HIR: an output, a script that says what it fulfils, and a loss under that instruction and another."""
    numbers = hir_numbers()
    lead, contrast = float(numbers["lead"]), float(numbers["contrast"])
    return Flow(
        boxes=(
            Box(
                key="policy", title="policy", kind="model", role="policy", row=0, column=0.5,
                detail="asked for: right",
            ),
            Box(
                key="output", title="output", kind="data", role="data", row=1, column=0,
                detail=f"a{GAP}fox{GAP}●",
            ),
            Box(
                key="script", title="script", kind="loss", role="reward", row=1, column=1,
                detail="fulfils: wrong",
            ),
            Box(
                key="likelihood", title="likelihood", kind="loss", role="loss", row=2, column=0,
                detail=f"−log π(· | wrong)\n{_row(numbers['likelihood'])}",
            ),
            Box(
                key="contrast", title="contrast", kind="loss", role="loss", row=2, column=1,
                detail=f"π(· | right){GAP}{_row(OTHER)}\nu {lead:.2f}{GAP}loss {contrast:.2f}",
            ),
        ),
        arrows=(
            Arrow(source="policy", target="output", label="(1, T)"),
            Arrow(source="output", target="script"),
            Arrow(source="output", target="likelihood", label="(1, T)"),
            Arrow(source="script", target="likelihood"),
            Arrow(source="script", target="contrast", label="2 (1,)"),
            Arrow(source="likelihood", target="policy", kind="gradient"),
            Arrow(source="contrast", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip
