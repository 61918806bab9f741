"""ReST on three tokens, in the book's grammar of diagrams: drawings whose numbers the library computes."""

from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.rest import RewardScale
from rlhf_mini.reader import Arrow, Box, Flow
from rlhf_mini.reader.three_tokens import GAP, LOWER_SCORE, LOWEST_SCORE, PROBABILITIES, SCORE, TOKENS
from rlhf_mini.shapes import Tensor

LOW, HIGH, THRESHOLD = -1.0, 2.0, 0.5


def numbers() -> dict[str, Tensor]:
    """Three answers to a prompt: their rewards, as numbers from 0 to 1, which are kept, and the loss of the first."""
    rewards = [SCORE, LOWER_SCORE, LOWEST_SCORE]
    scaled = [RewardScale(LOW, HIGH)(reward) for reward in rewards]
    return {
        "rewards": SCORE.new_tensor([float(reward) for reward in rewards]),
        "scaled": SCORE.new_tensor([float(reward) for reward in scaled]),
        "kept": SCORE.new_tensor([float(reward > THRESHOLD) for reward in scaled]),
        "losses": next_token_loss(PROBABILITIES.log()),
    }


def _row(values: Tensor, *, decimals: int = 2) -> str:
    return GAP.join(f"{value:.{decimals}f}" for value in values.flatten().tolist()).replace("-", "−")


def rest_example() -> Flow:
    """ReST: a Grow draws and scores once; each Improve filters what was drawn and learns from it."""
    found = numbers()
    losses = found["losses"]
    return Flow(
        boxes=(
            Box(
                key="policy", title="policy", kind="model", role="policy", row=0, column=0.5,
                detail="Grow: writes K = 3 answers",
            ),
            Box(
                key="reward", title="reward model", kind="model", role="reward", row=1, column=0.5,
                detail=f"r{GAP}{_row(found['rewards'], decimals=1)}", frozen=True,
            ),
            Box(
                key="filter", title="filter", kind="loss", role="reward", row=2, column=0.5,
                detail=f"0 to 1{GAP}{_row(found['scaled'])}\nabove {THRESHOLD:g}{GAP}{_row(found['kept'], decimals=0)}",
            ),
            Box(
                key="kept", title="kept", kind="data", role="data", row=3, column=0.5,
                detail=f"1: {GAP.join(TOKENS)}, and 2",
            ),
            Box(
                key="loss", title="next token", kind="loss", role="loss", row=4, column=0.5,
                detail=f"−log π{GAP}{_row(losses)}\nsum {float(losses.sum()):.2f}",
            ),
        ),
        arrows=(
            Arrow(source="policy", target="reward", label="K (1, T)"),
            Arrow(source="reward", target="filter", label="(K,)"),
            Arrow(source="filter", target="kept", label="Improve: r > τ"),
            Arrow(source="kept", target="loss", label="(2, T)"),
            Arrow(source="loss", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip
