"""The chapter's bug hunt: margins that do something, but not what they are for."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.batch import Pairs
from rlhf_mini.loop import fit
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.margin import LARGE_MARGINS, margins
from rlhf_mini.methods.reward_model import raw_scores, scores
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.reader import BugHunt
from rlhf_mini.worlds import stories

PAIRS = 2048
LOOKS = (8, 16, 32, 64)


def pair_loss_wrong(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """The mean loss of a batch: the head's scores (B, 1) of both answers, and one margin a pair, (B,)."""
    ahead = chosen - rejected - margin
    return -logsigmoid(ahead).mean()


def pair_loss_right(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """The mean loss of a batch: the head's scores (B, 1) of both answers, and one margin a pair, (B,)."""
    ahead = chosen - rejected - margin[:, None]
    return -logsigmoid(ahead).mean()


def pair_loss_without_margin(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """The same without margins."""
    return -logsigmoid(chosen - rejected).mean()


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "wrong": pair_loss_wrong,
    "right": pair_loss_right,
    "no margin": pair_loss_without_margin,
}


def symptoms(pipeline: Pipeline, *, way: str, pairs: int = PAIRS) -> dict[str, Any]:
    """Loss, accuracy and the gap in score by rating on the test pairs, along a short run with large margins."""
    rows = pipeline.preferences("train")
    rows = rows.select(range(min(pairs, len(rows))))
    packed = pack_pairs(pipeline.tokenizer(), rows)
    train = Pairs(packed.chosen, packed.rejected, margins(rows["rating"], LARGE_MARGINS))
    config, pair_loss = pipeline.profile.reward_model, WAYS[way]
    generator = pipeline.generator("chapter 06 bug")
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)

    def source() -> Iterator[Pairs]:
        lengths = train.chosen.lengths + train.rejected.lengths
        for index in shuffled_batches(lengths, batch=config.batch, epochs=1, generator=generator):
            yield train.rows(index).to(model.device)

    def loss_fn(batch: Pairs) -> tuple[Tensor, dict[str, float]]:
        chosen, rejected = (raw_scores(model, side)[:, None] for side in (batch.chosen, batch.rejected))
        assert batch.margin is not None
        return pair_loss(chosen, rejected, batch.margin), {}

    def look(step: int, entry: dict[str, Any]) -> None:
        if step in LOOKS:
            model.eval()
            entry |= {"step": step, **_seen(pipeline, model)}
            model.train()

    model.train()
    history = fit(
        model,
        source(),
        loss_fn,
        optimizer=config.optimizer,
        steps=len(rows) // config.batch,
        hooks=[look],
        description=way,
    )
    looked = [entry for entry in history if "accuracy" in entry]
    return {
        name: [entry[name] for entry in looked] for name in ("step", "loss", "accuracy", "clear", "unclear")
    }


def _seen(pipeline: Pipeline, model: Any) -> dict[str, float]:
    """On the test pairs: accuracy, and the mean gap of the clearest and of the least clear rating."""
    rows = pipeline.preferences("test")
    packed = pack_pairs(pipeline.tokenizer(), rows)
    gap = scores(model, packed.chosen) - scores(model, packed.rejected)
    rated = torch.tensor([stories.RATINGS.index(rating) for rating in rows["rating"]])
    return {
        "accuracy": float((gap > 0).float().mean()),
        "clear": float(gap[rated == len(stories.RATINGS) - 1].mean()),
        "unclear": float(gap[rated == 0].mean()),
    }


BUG_HUNT = BugHunt(
    title="The margins raise the loss, the scores move apart, and the clear pairs gain nothing by it",
    wrong=pair_loss_wrong,
    right=pair_loss_right,
    explanation=(
        "The head gives (B, 1), the margins are (B,), and their difference is (B, B): every pair is held against "
        "every margin of the batch. Nothing complains. What each pair sees is the same mixture of margins, "
        "whatever its own rating, so that the loss is higher and all scores lie further apart, and yet the one "
        "thing that margins are for, more distance where the difference is clear, does not happen. The library's "
        "losses begin with require_same_shape for that reason."
    ),
    source="ms-swift pull request 9927, which mended it in two of its trainers",
    link="https://github.com/modelscope/ms-swift/pull/9927",
)
