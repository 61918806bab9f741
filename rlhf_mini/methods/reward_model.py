"""A reward model from comparisons of two, rankings of K, or ratings.

Papers: Christiano et al. 2017; Ouyang et al. 2022. The score of a sequence is read at its last token. Scores
learned from comparisons are identified only up to a shift, so that after training they are moved to mean 0
and standard deviation 1 on reference sequences (Ziegler et al. 2019, §2.1); the two numbers are kept in the
model's own configuration as `mean` and `std`, where OpenRLHF looks for them too.

Simplification: every prompt of a set of rankings has the same number of answers.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Rankings, Ratings, Sequences
from rlhf_mini.devices import autocast
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import all_pairs_loss, pairwise_loss, rating_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.sft import check_fits
from rlhf_mini.models import sequence_scores

PairLoss = Callable[..., Tensor]  # (chosen, rejected), and margin= where the pairs have one → (B,)
Measure = Callable[[Any], tuple[Tensor, dict[str, Tensor]]]  # batch → loss (B,), metrics


@dataclass(frozen=True, kw_only=True)
class RewardModelConfig:
    """`epochs` passes over the data in batches of `batch`; a last incomplete batch is dropped.

    A batch holds pairs, prompts with their K answers, or rated answers.
    """

    epochs: int
    batch: int
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise ValueError(f"epochs and batch must be at least 1, got {self}")


def raw_scores(reward_model: PreTrainedModel, sequences: Sequences) -> Tensor:
    """The scores (B,) as the model gives them, before normalisation; gradients flow to the model."""
    return sequence_scores(reward_model, sequences.tokens, sequences.mask)


def train_reward_model(
    reward_model: PreTrainedModel,
    pairs: Pairs,
    *,
    config: RewardModelConfig,
    generator: torch.Generator,
    loss: PairLoss = pairwise_loss,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train in place on pairs; returns the history of `fit`, with the batch's `accuracy`.

    `loss` takes the raw scores of the chosen and of the rejected, (B,) each, and gives one number a pair; if
    the pairs have margins, it is called with `margin=` too. What is minimised is the mean over the batch of
    loss times the pairs' weight, so that weights of mean 1 leave the learning rate its meaning.

    The model is left in eval mode. Raises ValueError, before anything is trained, for a sequence longer than
    its context.
    """
    check_fits(pairs.chosen, reward_model)
    check_fits(pairs.rejected, reward_model)

    def measure(batch: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = raw_scores(reward_model, batch.chosen), raw_scores(reward_model, batch.rejected)
        margin = {} if batch.margin is None else {"margin": batch.margin}
        losses = loss(chosen, rejected, **margin)
        if batch.weight is not None:
            losses = batch.weight * losses
        return losses, {"accuracy": (chosen > rejected).float().mean()}

    return _train(reward_model, pairs, measure, config=config, generator=generator, hooks=hooks)


def train_on_rankings(
    reward_model: PreTrainedModel,
    rankings: Rankings,
    *,
    config: RewardModelConfig,
    generator: torch.Generator,
    loss: Callable[[Tensor], Tensor] = all_pairs_loss,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train in place on rankings; returns the history of `fit`, with the batch's `accuracy` over all pairs.

    Every answer goes through the model once, however many pairs it is in, and all pairs of a prompt are in
    one batch. `loss` maps raw scores (B, K), the best answer first, to one number a prompt.

    The model is left in eval mode. Raises ValueError, before anything is trained, for a sequence longer than
    its context.
    """
    check_fits(rankings.answers, reward_model)
    better, worse = torch.triu_indices(rankings.k, rankings.k, offset=1)

    def measure(batch: Rankings) -> tuple[Tensor, dict[str, Tensor]]:
        ranked = raw_scores(reward_model, batch.answers).view(-1, batch.k)
        right = ranked[:, better] > ranked[:, worse]
        return loss(ranked), {"accuracy": right.float().mean()}

    return _train(reward_model, rankings, measure, config=config, generator=generator, hooks=hooks)


def train_on_ratings(
    reward_model: PreTrainedModel,
    ratings: Ratings,
    *,
    config: RewardModelConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train in place to predict each answer's rating by `rating_loss`; returns the history of `fit`.

    Raw scores are in rating points. The model is left in eval mode. Raises ValueError, before anything is
    trained, for a sequence longer than its context.
    """
    check_fits(ratings.answers, reward_model)

    def measure(batch: Ratings) -> tuple[Tensor, dict[str, Tensor]]:
        return rating_loss(raw_scores(reward_model, batch.answers), batch.ratings), {}

    return _train(reward_model, ratings, measure, config=config, generator=generator, hooks=hooks)


def _train(
    reward_model: PreTrainedModel,
    data: Pairs | Rankings | Ratings,
    measure: Measure,
    *,
    config: RewardModelConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook],
) -> list[dict[str, float]]:
    def batches() -> Iterator[Pairs | Rankings | Ratings]:
        rows = shuffled_batches(data.lengths, batch=config.batch, epochs=config.epochs, generator=generator)
        for row in rows:
            yield data.rows(row).to(reward_model.device)

    def loss_fn(batch: Pairs | Rankings | Ratings) -> tuple[Tensor, dict[str, Tensor]]:
        losses, metrics = measure(batch)
        return losses.mean(), metrics

    reward_model.train()
    history = fit(
        reward_model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(1, config.epochs * (len(data) // config.batch)),
        hooks=hooks,
        description="reward model",
    )
    reward_model.eval()
    return history


@torch.no_grad()
def normalise(reward_model: PreTrainedModel, reference: Sequences) -> None:
    """Set the model's `config.mean` and `config.std`: `scores` of `reference` get mean 0 and deviation 1.

    Raises ValueError if the raw scores do not differ, or are not finite: there is no scale to bring to 1.
    """
    reward_model.config.mean, reward_model.config.std = 0.0, 1.0
    raw = scores(reward_model, reference)
    mean, std = float(raw.mean()), float(raw.std()) if len(raw) > 1 else 0.0
    if not 0 < std < math.inf:
        raise ValueError(
            f"the raw scores of {len(raw)} reference sequences have standard deviation {std}, which cannot "
            "be brought to 1; give several different sequences and a trained reward model"
        )
    reward_model.config.mean, reward_model.config.std = mean, std


@torch.no_grad()
def scores(reward_model: PreTrainedModel, sequences: Sequences, *, batch: int = 256) -> Tensor:
    """The normalised scores of sequences, (B,) float32 on the CPU.

    In units of the standard deviation on the reference sequences of `normalise`.
    """
    parts = []
    for rows in torch.arange(len(sequences)).split(batch):
        part = sequences.rows(rows).to(reward_model.device)
        with autocast(reward_model.device):
            parts.append(raw_scores(reward_model, part).float().cpu())
    mean, std = getattr(reward_model.config, "mean", 0.0), getattr(reward_model.config, "std", 1.0)
    return (torch.cat(parts) - mean) / std


def pair_accuracy(reward_model: PreTrainedModel, pairs: Pairs) -> float:
    """The share of pairs whose chosen answer scores higher; a tie counts one half."""
    difference = scores(reward_model, pairs.chosen) - scores(reward_model, pairs.rejected)
    return float((difference > 0).float().mean() + 0.5 * (difference == 0).float().mean())
