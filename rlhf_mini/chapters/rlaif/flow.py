"""RLAIF on three tokens: two drawings of the book's family, with numbers that the library computes.

A judge compares "a fox ●" with "an owl ●". Shown first, the fox is called the better with probability 0.8; shown
first, the owl is, with 0.4: the judge leans towards the first place. Asked for a rating of the fox from 1 to 5, it is
in doubt. The reward model scores the two 1.0 and 0.2.
"""

import torch
from torch import Tensor

from rlhf_mini.losses import soft_preference_loss
from rlhf_mini.methods.judge import Verdicts, rescaled
from rlhf_mini.reader import Arrow, Box, Flow

GAP = "\u2002"  # a space that svg does not swallow
AS_GIVEN, SWAPPED = torch.tensor([0.8]), torch.tensor([0.4])  # P(the first shown is better), in both orders
SCORES = torch.tensor([1.0]), torch.tensor([0.2])
RATING = torch.tensor([[0.05, 0.05, 0.2, 0.4, 0.3]])  # P(1), …, P(5) of "a fox"
LOGP, LOGP_REF, KL_WEIGHT = torch.tensor([0.4, 0.6, 0.5]).log(), torch.tensor([0.5, 0.6, 0.5]).log(), 0.5


def label_numbers() -> dict[str, Tensor]:
    """The label (1,), the reward model's chance (1,), the loss (1,), and the gradient of the first score (1,)."""
    first = SCORES[0].clone().requires_grad_()
    preference = Verdicts(AS_GIVEN, SWAPPED).preference
    loss = soft_preference_loss(first, SCORES[1], preference=preference)
    (slope,) = torch.autograd.grad(loss.sum(), [first])
    return {
        "label": preference,
        "chance": (first - SCORES[1]).sigmoid().detach(),
        "loss": loss.detach(),
        "slope": slope,
    }


def direct_numbers() -> dict[str, Tensor]:
    """The mean rating (1,), the reward that it is (1,), the log-ratio by token (1, 3), and the reward less KL (1,)."""
    mean = RATING @ torch.arange(1.0, 6.0)
    ratio = (LOGP - LOGP_REF)[None]
    reward = rescaled(mean, highest=5)
    return {
        "mean": mean,
        "reward": reward,
        "log_ratio": ratio,
        "shaped": reward - KL_WEIGHT * ratio.sum(1),
    }


def _number(value: Tensor) -> str:
    return f"{float(value):.2f}".replace("-", "−")


def distilled_example() -> Flow:
    """RLAIF by a reward model: a judge asked in both orders, a soft label, and the loss of the reward model."""
    numbers = label_numbers()
    return Flow(
        boxes=(
            Box(
                key="pair", title="pair", kind="data", role="data", row=0, column=0.5,
                detail=f"y1: a{GAP}fox{GAP}●\ny2: an{GAP}owl{GAP}●",
            ),
            Box(
                key="judge", title="judge", kind="model", role="reference", row=1, column=1, frozen=True,
                detail=f"y1 first: A {_number(AS_GIVEN)}\ny2 first: A {_number(SWAPPED)}",
            ),
            Box(
                key="reward", title="reward model", kind="model", role="reward", row=1, column=0,
                detail=f"r1 {_number(SCORES[0])}{GAP}r2 {_number(SCORES[1])}\nσ(r1 − r2) {_number(numbers['chance'])}",
            ),
            Box(
                key="label", title="soft label", kind="data", role="data", row=2, column=1,
                detail=f"P(y1 is better)\n(0.8 + 1 − 0.4)/2 = {_number(numbers['label'])}",
            ),
            Box(
                key="loss", title="cross-entropy", kind="loss", role="loss", row=2, column=0,
                detail=f"{_number(numbers['loss'])} nats\nslope of r1: {_number(numbers['slope'])}",
            ),
        ),
        arrows=(
            Arrow(source="pair", target="judge", label="both orders"),
            Arrow(source="pair", target="reward", label="2 (1, T)"),
            Arrow(source="judge", target="label", label="2 (1,)"),
            Arrow(source="reward", target="loss", label="2 (1,)"),
            Arrow(source="label", target="loss", label="(1,)"),
            Arrow(source="loss", target="reward", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip


def direct_example() -> Flow:
    """Direct RLAIF: the policy's answer, the judge's expected rating of it, and PPO."""
    numbers = direct_numbers()
    rating = GAP.join(f"{p:.2f}" for p in RATING.flatten().tolist())
    ratio = GAP.join(_number(value) for value in numbers["log_ratio"].flatten())
    return Flow(
        boxes=(
            Box(
                key="policy", title="policy", kind="model", role="policy", row=0, column=0,
            ),
            Box(
                key="answer", title="answer", kind="data", role="data", row=1, column=0,
                detail=f"a{GAP}fox{GAP}●",
            ),
            Box(
                key="reference", title="reference", kind="model", role="reference", row=1, column=1, frozen=True,
                detail=f"log-ratios\n{ratio}",
            ),
            Box(
                key="judge", title="judge", kind="model", role="reward", row=2, column=0, frozen=True,
                detail=f"P(1) … P(5)\n{rating}",
            ),
            Box(
                key="loss", title="PPO", kind="loss", role="loss", row=3, column=0.5,
                detail=f"mean rating {_number(numbers['mean'])}{GAP}reward {_number(numbers['reward'])}\n"
                f"less β · {_number(numbers['log_ratio'].sum())}, β = {KL_WEIGHT}: {_number(numbers['shaped'])}",
            ),
        ),
        arrows=(
            Arrow(source="policy", target="answer", label="(1, T)"),
            Arrow(source="answer", target="judge", label="in words"),
            Arrow(source="answer", target="reference", label="(1, T)"),
            Arrow(source="judge", target="loss", label="(1,)"),
            Arrow(source="reference", target="loss", label="(1, T)"),
            Arrow(source="loss", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip


def constitution_example() -> Flow:
    """Constitutional AI in both phases, in words: revisions are learned first, and then a judge's and people's labels."""
    return Flow(
        boxes=(
            Box(key="request", title="red-team request", kind="data", role="data", row=0, column=0),
            Box(
                key="helper", title="helper", kind="model", role="reference", row=1, column=0, frozen=True,
                detail="answers; then criticises and\nrewrites, by drawn principles",
            ),
            Box(key="revision", title="last revision", kind="data", role="data", row=1, column=1),
            Box(
                key="policy", title="policy", kind="model", role="policy", row=2, column=1,
                detail="1. fine-tuned on revisions\n2. trained by PPO",
            ),
            Box(
                key="judge", title="judge", kind="model", role="reference", row=2, column=0, frozen=True,
                detail="which is better by\na drawn principle?",
            ),
            Box(
                key="people", title="people's choices", kind="data", role="data", row=3, column=1,
                detail="on helpfulness",
            ),
            Box(key="preference", title="preference model", kind="model", role="reward", row=3, column=0),
            Box(key="loss", title="PPO", kind="loss", role="loss", row=4, column=0.5),
        ),
        arrows=(
            Arrow(source="request", target="helper", label="in words"),
            Arrow(source="helper", target="revision"),
            Arrow(source="revision", target="policy", label="cross-entropy"),
            Arrow(source="policy", target="judge", label="pairs"),
            Arrow(source="judge", target="preference", label="soft labels (N,)"),
            Arrow(source="people", target="preference", label="(N,)"),
            Arrow(source="preference", target="loss", label="rewards (N,)"),
            Arrow(source="loss", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip
