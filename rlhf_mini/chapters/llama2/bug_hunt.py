"""The chapter's bug hunt: margins that do something, but not what they are for."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.llama2.margins import mean_by_rating
from rlhf_mini.loop import fit
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.margin import LARGE_MARGINS, margins
from rlhf_mini.methods.reward_model import raw_scores, scores
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.reader import BugHunt

PAIRS = 2048
LOOKS = (8, 16, 32, 64)
MEASURES = ("step", "loss", "accuracy", "clear", "unclear", "loss_of_1", "loss_of_32")

PairLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


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


WAYS: dict[str, PairLoss] = {
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
            entry |= {"step": step, **_seen(pipeline, model, pair_loss)}
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
    return {name: [entry[name] for entry in looked] for name in MEASURES}


def _seen(pipeline: Pipeline, model: Any, pair_loss: PairLoss) -> dict[str, float]:
    """On the test pairs: accuracy, the mean gap of the clearest and of the least clear rating, and the loss in
    batches of one pair and of 32.
    """
    rows = pipeline.preferences("test")
    packed = pack_pairs(pipeline.tokenizer(), rows)
    chosen, rejected = scores(model, packed.chosen), scores(model, packed.rejected)
    margin, gap = margins(rows["rating"], LARGE_MARGINS), chosen - rejected
    by_rating = mean_by_rating(gap, list(rows["rating"]))
    return {
        "accuracy": float((gap > 0).float().mean()),
        "clear": by_rating[-1],
        "unclear": by_rating[0],
        **{f"loss_of_{size}": in_batches(pair_loss, chosen, rejected, margin, size=size) for size in (1, 32)},
    }


def in_batches(pair_loss: PairLoss, chosen: Tensor, rejected: Tensor, margin: Tensor, *, size: int) -> float:
    """The mean loss of pairs (N,), computed in batches of `size`: what a batch is must not matter."""
    parts = zip(chosen.split(size), rejected.split(size), margin.split(size), strict=True)
    return sum(float(pair_loss(c[:, None], r[:, None], m)) * len(c) for c, r, m in parts) / len(chosen)


BUG_HUNT = BugHunt(
    title="A loss that depends on the company",
    wrong=pair_loss_wrong,
    right=pair_loss_right,
    explanation=(
        "The head gives (B, 1), the margins are (B,), and their difference is (B, B): every pair is held against "
        "every margin of the batch. Nothing complains. In a batch of one pair all is well; in a larger one each "
        "pair sees the same mixture of margins, whatever its own rating, so that the loss depends on the batch. "
        "It is also higher: rightly paired, the large margins go to the pairs with the large leads, and any other "
        "pairing of the same leads and margins costs more, for −log σ is convex. Scores move apart nearly as far as "
        "they should, which is why the bug is easy to miss; but a pair's own rating no longer plays a part. The "
        "library's losses begin with require_same_shape for that reason."
    ),
    source="ms-swift pull request 9927, which mended it in two of its trainers",
    link="https://github.com/modelscope/ms-swift/pull/9927",
)
