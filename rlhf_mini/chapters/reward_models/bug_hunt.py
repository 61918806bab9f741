"""The chapter's bug hunt: a reward model that is better in its own test than it should be, and worse in use."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
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

LOOKS = (10, 20, 40, 60, 80, 100)  # updates after which the model is tested
UPDATES, HELD_OUT = LOOKS[-1], 1000

Reading = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def pair_scores_wrong(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (B,) of the chosen and (B,) of the rejected answers: values (2B, T), mask (2B, T) bool."""
    chosen, rejected = values.chunk(2)  # one number a position; the chosen rows stand first
    last_chosen, last_rejected = (mask.sum(1) - 1).chunk(2)
    last = torch.maximum(last_chosen, last_rejected)
    rows = torch.arange(len(last))
    return chosen[rows, last], rejected[rows, last]


def pair_scores_right(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (B,) of the chosen and (B,) of the rejected answers: values (2B, T), mask (2B, T) bool."""
    chosen, rejected = values.chunk(2)  # one number a position; the chosen rows stand first
    last_chosen, last_rejected = (mask.sum(1) - 1).chunk(2)
    rows = torch.arange(len(last_chosen))
    return chosen[rows, last_chosen], rejected[rows, last_rejected]


WAYS: dict[str, Reading] = {"wrong": pair_scores_wrong, "right": pair_scores_right}


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """A short training with one of `WAYS`, tested at `LOOKS` in two manners; numbers and flat lists.

    At each look: `step`; `loss`, the mean over the updates since the last look; `accuracy_in_training`, the same of
    the batches; on held-out pairs, `accuracy_own_test`, with the scores read as in training, and
    `accuracy_in_use`, with every answer read alone. At the end, in standard deviations of the scores: `moved`,
    by how much a score moves where the rival is another one, and `beside_longer`, by how much the shorter answer
    of a pair is raised (lowered, if negative) by its rival. `longer_won` is the share of held-out pairs of
    different length whose longer answer was chosen.
    """
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    test = _held_out(pipeline)
    looked: list[dict[str, float]] = []
    window: list[dict[str, float]] = []

    def look(step: int, entry: dict[str, Any]) -> None:
        window.append(entry)
        if step in LOOKS:
            loss, accuracy = (sum(row[name] for row in window) / len(window) for name in ("loss", "accuracy"))
            seen = {"accuracy_own_test": _accuracy(model, test, WAYS[way])}
            seen["accuracy_in_use"] = _accuracy(model, test, pair_scores_right)
            looked.append({"step": step, "loss": loss, "accuracy_in_training": accuracy, **seen})
            window.clear()

    _train(pipeline, model, WAYS[way], look)
    curves = {name: [entry[name] for entry in looked] for name in looked[0]}
    return {
        **curves,
        "moved": _moved(model, test, WAYS[way]),
        "beside_longer": _beside_longer(model, test, WAYS[way]),
        "longer_won": _longer_won(test),
    }


def _train(
    pipeline: Pipeline, model: PreTrainedModel, read: Reading, look: Callable[[int, dict[str, Any]], None]
) -> None:
    """`UPDATES` updates on the first training pairs, with the profile's settings."""
    config = pipeline.profile.reward_model
    rows = pipeline.preferences("train").select(range(UPDATES * config.batch))
    pairs = pack_pairs(pipeline.tokenizer(), rows)
    generator = pipeline.generator("chapter 04 bug")

    def batches() -> Iterator[Pairs]:
        lengths = pairs.chosen.lengths + pairs.rejected.lengths
        for index in shuffled_batches(lengths, batch=config.batch, epochs=1, generator=generator):
            yield pairs.rows(index).to(model.device)

    def loss_fn(batch: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = read(*values_of(model, batch))
        return pairwise_loss(chosen, rejected).mean(), {"accuracy": (chosen > rejected).float().mean()}

    fit(model, batches(), loss_fn, optimizer=config.optimizer, steps=UPDATES, hooks=[look], description="bug")


def values_of(model: PreTrainedModel, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The head's number at every position of both answers, padding included, and where real tokens stand.

    Two arrays (2B, T), the chosen rows first. Real tokens look to the left only and so see no padding.
    """
    width = max(side.tokens.shape[1] for side in (pairs.chosen, pairs.rejected))
    tokens, mask = (
        torch.cat([pad(part, (0, width - part.shape[1]), value=fill) for part in parts])
        for parts, fill in (
            ((pairs.chosen.tokens, pairs.rejected.tokens), model.config.pad_token_id),
            ((pairs.chosen.mask, pairs.rejected.mask), 0),
        )
    )
    hidden = hidden_states(model, tokens, torch.ones_like(mask))
    return scalar_head(model)(hidden).squeeze(-1), mask


def _held_out(pipeline: Pipeline) -> Pairs:
    rows = pipeline.preferences("test")
    return pack_pairs(pipeline.tokenizer(), rows.select(range(min(HELD_OUT, len(rows)))))


@torch.no_grad()
def _read(model: PreTrainedModel, pairs: Pairs, read: Reading) -> tuple[Tensor, Tensor]:
    chosen, rejected = read(*values_of(model, pairs.to(model.device)))
    return chosen.float().cpu(), rejected.float().cpu()


def _accuracy(model: PreTrainedModel, pairs: Pairs, read: Reading) -> float:
    """The share of pairs whose chosen answer scores higher; a tie counts one half."""
    chosen, rejected = _read(model, pairs, read)
    return float((chosen > rejected).float().mean() + 0.5 * (chosen == rejected).float().mean())


def _moved(model: PreTrainedModel, pairs: Pairs, read: Reading) -> float:
    """Mean change of a chosen answer's score when the next pair's rejected answer becomes its rival."""
    others: Sequences = pairs.rejected.rows(torch.arange(len(pairs)).roll(1))
    before, _ = _read(model, pairs, read)
    after, _ = _read(model, dataclasses.replace(pairs, rejected=others), read)
    return float((before - after).abs().mean() / before.std())


def _beside_longer(model: PreTrainedModel, pairs: Pairs, read: Reading) -> float:
    """Mean of a shorter answer's score beside its longer rival, less its score alone."""
    chosen, rejected = _read(model, pairs, read)
    chosen_alone, rejected_alone = _read(model, pairs, pair_scores_right)
    shorter = pairs.chosen.lengths < pairs.rejected.lengths
    changes = torch.where(shorter, chosen - chosen_alone, rejected - rejected_alone)
    return float(changes[pairs.chosen.lengths != pairs.rejected.lengths].mean() / chosen_alone.std())


def _longer_won(pairs: Pairs) -> float:
    difference = pairs.chosen.lengths - pairs.rejected.lengths
    return float((difference > 0).sum() / (difference != 0).sum())


BUG_HUNT = BugHunt(
    title="placeholder",
    wrong=pair_scores_wrong,
    right=pair_scores_right,
    explanation="placeholder",
    source="sunzeyeah/RLHF issue 17",
    link="https://github.com/sunzeyeah/RLHF/issues/17",
)
