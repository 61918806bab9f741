"""GRPO on three tokens, in the book's grammar of diagrams: drawings whose numbers the library computes.

The policy writes four answers to one prompt; a program says which are right. The first, "a fox" with its end, has been
written with the probabilities 0.4, 0.6 and 0.5, and after a step the policy gives its tokens 0.6, 0.6 and 0.45.
"""

from functools import partial

import torch
from torch import Tensor

from rlhf_mini.estimators import group_scaled_advantages, kl_k3
from rlhf_mini.losses import two_bound_policy_loss
from rlhf_mini.reader import Arrow, Box, Flow
from rlhf_mini.reader.three_tokens import AFTER_A_STEP, GAP, PROBABILITIES, REFERENCE, TOKENS

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 0.0]])  # of four answers, the first of them right
CLIP_LOW, CLIP_HIGH = 0.2, 0.28


def numbers() -> dict[str, Tensor]:
    """Advantages (1, 4); of the first answer's tokens (1, 3): ratios after a step, k3, and the loss of each token, with
    one bound on both sides and with the higher one."""
    advantages = group_scaled_advantages(REWARDS)
    now, before = AFTER_A_STEP.log(), PROBABILITIES.log()
    loss = partial(two_bound_policy_loss, now, before, advantages[:, :1].expand_as(now), clip_low=CLIP_LOW)
    return {
        "advantages": advantages,
        "ratio": (now - before).exp(),
        "k3": kl_k3(now, REFERENCE.log()),
        "losses": loss(clip_high=CLIP_LOW),
        "higher": loss(clip_high=CLIP_HIGH),
    }


def _row(values: Tensor, *, decimals: int = 2) -> str:
    return GAP.join(f"{value:.{decimals}f}" for value in values.flatten().tolist()).replace("-", "−")


def grpo_example() -> Flow:
    """GRPO: four answers, a program's verdicts, advantages without a critic, a clipped loss, KL beside it."""
    found = numbers()
    return Flow(
        boxes=(
            Box(
                key="policy", title="policy", kind="model", role="policy", row=0, column=0.5,
                detail=f"writes G = 4 answers\n1: {GAP.join(TOKENS)}{GAP}π_old{GAP}{_row(PROBABILITIES)}",
            ),
            Box(
                key="verifier", title="verifier", kind="data", role="gold", row=1, column=0,
                detail=f"a program\nr{GAP}{_row(REWARDS, decimals=0)}",
            ),
            Box(
                key="reference", title="reference", kind="model", role="reference", row=1, column=1, frozen=True,
                detail=f"π_ref{GAP}{_row(REFERENCE)}",
            ),
            Box(
                key="advantages", title="compared in the group", kind="loss", role="value", row=2, column=0,
                detail=f"(r − mean)/spread\nA{GAP}{_row(found['advantages'])}",
            ),
            Box(
                key="kl", title="KL, a term of the loss", kind="loss", role="reference", row=2, column=1,
                detail=f"after a step, of 1:\nk3{GAP}{_row(found['k3'])}",
            ),
            Box(
                key="loss", title="clipped loss", kind="loss", role="loss", row=3, column=0.5,
                detail=f"ρ of 1{GAP}{_row(found['ratio'])}\nloss{GAP}{_row(found['losses'])}",
            ),
        ),
        arrows=(
            Arrow(source="policy", target="verifier", label="in words"),
            Arrow(source="policy", target="reference", label="(G, T)"),
            Arrow(source="verifier", target="advantages", label="(1, G)"),
            Arrow(source="reference", target="kl", label="(G, T)"),
            Arrow(source="advantages", target="loss", label="(G,)"),
            Arrow(source="kl", target="loss", label="(G, T)"),
            Arrow(source="loss", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip
