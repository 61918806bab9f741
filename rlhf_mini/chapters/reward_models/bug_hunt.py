"""The chapter's bug hunt: a reward model whose accuracy depends on how many texts it is tested with at a time."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.loop import fit
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.models import new_reward_model
from rlhf_mini.models.build import scalar_head
from rlhf_mini.models.forward import hidden_states
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.reader import BugHunt

LOOKS = (10, 20, 30, 40)  # updates after which the model is tested
UPDATES, HELD_OUT = LOOKS[-1], 250

Reading = Callable[[Tensor, Tensor], Tensor]


def last_scores_wrong(values: Tensor, mask: Tensor) -> Tensor:
    """The score of each text, (B,): values (B, T) at every position, mask (B, T) true on its tokens."""
    width = mask.shape[1]
    last = width - 1 - mask.long().argmax(1)
    return values.gather(1, last[:, None]).squeeze(1)


def last_scores_right(values: Tensor, mask: Tensor) -> Tensor:
    """The score of each text, (B,): values (B, T) at every position, mask (B, T) true on its tokens."""
    width = mask.shape[1]
    last = width - 1 - mask.flip(1).long().argmax(1)
    return values.gather(1, last[:, None]).squeeze(1)


WAYS: dict[str, Reading] = {"wrong": last_scores_wrong, "right": last_scores_right}


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """A short training with one of `WAYS`, tested at `LOOKS`; numbers and flat lists of one number a look.

    `step`; `loss` and `accuracy_in_training`, means over the updates since the last look; the accuracy of the
    same function on held-out pairs, where it is given one text at a time (`accuracy_of_1`), as many as in
    training (`accuracy_of_32`) or all of them at once (`accuracy_of_all`). At the end `moved`: by how much a
    held-out text's score changes when 31 others stand beside it, in standard deviations of the scores alone.
    """
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    rows = pipeline.preferences("test")
    test = pack_pairs(pipeline.tokenizer(), rows.select(range(min(HELD_OUT, len(rows)))))
    looked: list[dict[str, float]] = []
    window: list[dict[str, float]] = []

    def look(step: int, entry: dict[str, Any]) -> None:
        window.append(entry)
        if step in LOOKS:
            loss, accuracy = (sum(row[name] for row in window) / len(window) for name in ("loss", "accuracy"))
            seen = {"step": step, "loss": loss, "accuracy_in_training": accuracy}
            looked.append(seen | _tested(model, test, WAYS[way]))
            window.clear()

    _train(pipeline, model, WAYS[way], look)
    moved = looked[-1]["moved"]
    return {name: [entry[name] for entry in looked] for name in looked[0]} | {"moved": moved}


def readings(pipeline: Pipeline) -> dict[str, Any]:
    """The symptoms of both ways, measured once, in flat names: `loss_wrong`, `moved_right` and so on."""
    return {
        f"{name}_{way}": value for way in WAYS for name, value in pipeline.measured(symptoms, way=way).items()
    }


def _train(
    pipeline: Pipeline, model: PreTrainedModel, read: Reading, look: Callable[[int, dict[str, Any]], None]
) -> None:
    """`UPDATES` updates on the first training pairs, with the profile's settings."""
    config = pipeline.profile.reward_model
    rows = pipeline.preferences("train").select(range(UPDATES * config.batch))
    pairs = pack_pairs(pipeline.tokenizer(), rows)
    lengths, generator = pairs.chosen.lengths + pairs.rejected.lengths, pipeline.generator("chapter 04 bug")

    def batches() -> Iterator[Pairs]:
        for index in shuffled_batches(lengths, batch=config.batch, epochs=1, generator=generator):
            yield pairs.rows(index).to(model.device)

    def loss_fn(batch: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = (
            read(values_at(model, side), side.mask) for side in (batch.chosen, batch.rejected)
        )
        return pairwise_loss(chosen, rejected).mean(), {"accuracy": (chosen > rejected).float().mean()}

    optimizer = config.optimizer
    fit(model, batches(), loss_fn, optimizer=optimizer, steps=UPDATES, hooks=[look], description="bug hunt")


def values_at(model: PreTrainedModel, sequences: Sequences) -> Tensor:
    """The head's number at every position, (B, T), padding included.

    Padding goes through the model like any token. Real tokens look to the left only, and so do not see it.
    """
    hidden = hidden_states(model, sequences.tokens, torch.ones_like(sequences.mask))
    return scalar_head(model)(hidden).squeeze(-1)


@torch.no_grad()
def _tested(model: PreTrainedModel, pairs: Pairs, read: Reading) -> dict[str, float]:
    sides = [side.to(model.device) for side in (pairs.chosen, pairs.rejected)]
    values = [values_at(model, side).float() for side in sides]

    def scores(batch: int) -> list[Tensor]:
        """Both sides' scores, read in batches of this size; each batch is as wide as its longest text."""
        return [_in_batches(read, v, side.mask, batch) for v, side in zip(values, sides, strict=True)]

    (alone, other), beside = scores(1), scores(32)
    return {
        "accuracy_of_1": _accuracy(alone, other),
        "accuracy_of_32": _accuracy(*beside),
        "accuracy_of_all": _accuracy(*scores(len(pairs))),
        "moved": float((beside[0] - alone).abs().mean() / alone.std()),
    }


def _in_batches(read: Reading, values: Tensor, mask: Tensor, batch: int) -> Tensor:
    parts = []
    for v, m in zip(values.split(batch), mask.split(batch), strict=True):
        width = int(m.sum(1).max())
        parts.append(read(v[:, :width], m[:, :width]))
    return torch.cat(parts)


def _accuracy(chosen: Tensor, rejected: Tensor) -> float:
    """The share of pairs whose chosen answer scores higher; a tie counts one half."""
    return float((chosen > rejected).float().mean() + 0.5 * (chosen == rejected).float().mean())


BUG_HUNT = BugHunt(
    title="The training looks as usual, and the accuracy depends on how many texts are tested at a time",
    wrong=last_scores_wrong,
    right=last_scores_right,
    explanation=(
        "argmax finds the first true entry. Read backwards, that is the last token, counted from the end of "
        "the row; read forwards, it is column 0 in every row, so that the score is taken from the last column "
        "of the batch. For all texts but the longest, padding stands there. Padding also sees the text before "
        "it, and so the model learns to put its verdict there: loss and accuracy in training tell little. But "
        "the verdict now depends on how far away the padding is, that is, on the batch's other texts; "
        "and a text that is scored alone, as in use, is read at its own last token, where almost nothing was "
        "learned."
    ),
    source="TRL issue 937, where the model's configuration named no padding token, and scores were read at the last column",
    link="https://github.com/huggingface/trl/issues/937",
)
