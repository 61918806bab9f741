"""One batch on two processes, in the book's grammar of diagrams: drawings whose numbers the library computes.

Two answers, "a fox" with its end and "no" with its end: three tokens on one process, two on the other. Each
process computes the log-probabilities of its own row; both get those of both rows, and compute one loss.
"""

import torch
from torch import Tensor

from rlhf_mini.losses import next_token_loss
from rlhf_mini.reader import Arrow, Box, Flow
from rlhf_mini.reader.three_tokens import GAP, PROBABILITIES, TOKENS
from rlhf_mini.tensors import masked_mean

SHORT = torch.tensor([[0.2, 0.8]])  # what the policy gives to the tokens of "no ●"


def numbers() -> dict[str, Tensor]:
    """−log π of either process's tokens, (1, 3) and (1, 2); the mean of each; the mean of all five; and the mean
    of the two means, which is another number."""
    rows = {"first": next_token_loss(PROBABILITIES.log()), "second": next_token_loss(SHORT.log())}
    means = {
        f"mean of {name}": masked_mean(row, torch.ones_like(row, dtype=torch.bool))
        for name, row in rows.items()
    }
    together = torch.cat([row.flatten() for row in rows.values()])
    return {
        **rows,
        **means,
        "mean of all": masked_mean(together, torch.ones_like(together, dtype=torch.bool)),
        "mean of means": torch.stack([*means.values()]).mean(),
    }  # fmt: skip


def _row(values: Tensor) -> str:
    return GAP.join(f"{value:.2f}" for value in values.flatten().tolist()).replace("-", "−")


def two_processes_example() -> Flow:
    """A batch of two rows on two processes: rows are divided, numbers gathered, gradients averaged."""
    found = numbers()
    whole, apart = float(found["mean of all"]), float(found["mean of means"])
    return Flow(
        boxes=(
            Box(
                key="batch", title="batch", kind="data", role="data", row=0, column=0.5,
                detail=f"the same on both\n{GAP.join(TOKENS)}{GAP}and{GAP}no{GAP}●",
            ),
            Box(
                key="first", title="policy, process 0", kind="model", role="policy", row=1, column=0,
                detail=f"row 0{GAP}π\n{_row(PROBABILITIES)}",
            ),
            Box(
                key="second", title="policy, process 1", kind="model", role="policy", row=1, column=1,
                detail=f"row 1{GAP}π\n{_row(SHORT)}",
            ),
            Box(
                key="gathered", title="gathered: −log π of all rows", kind="data", role="data", row=2, column=0.5,
                detail=f"{_row(found['first'])}\n{_row(found['second'])}",
            ),
            Box(
                key="loss", title="one loss, on both", kind="loss", role="loss", row=3, column=0.5,
                detail=f"mean of 5 tokens{GAP}{whole:.2f}\n(mean of means{GAP}{apart:.2f})",
            ),
            Box(
                key="own first", title="gradient, process 0", kind="loss", role="loss", row=4, column=0,
                detail="2 × row 0's\nthe mean of both goes up",
            ),
            Box(
                key="own second", title="gradient, process 1", kind="loss", role="loss", row=4, column=1,
                detail="2 × row 1's\nthe mean of both goes up",
            ),
        ),
        arrows=(
            Arrow(source="batch", target="first", label="(1, T)"),
            Arrow(source="batch", target="second", label="(1, T)"),
            Arrow(source="first", target="gathered", label="(1, T)"),
            Arrow(source="second", target="gathered", label="(1, T)"),
            Arrow(source="gathered", target="loss", label="(2, T)"),
            Arrow(source="loss", target="own first", kind="gradient"),
            Arrow(source="loss", target="own second", kind="gradient"),
            Arrow(source="own first", target="first", kind="gradient"),
            Arrow(source="own second", target="second", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip
