"""Supervised fine-tuning: predict the demonstrator's answer, given the prompt.

Only the answer's tokens, the end token among them, are trained on; the prompt is read, not learned. The mean
is over the answer tokens of a batch, so that a long answer weighs more than a short one, as in the usual
implementations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.data.pretrained import check_lengths
from rlhf_mini.devices import autocast
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.models import response_logp
from rlhf_mini.tensors import masked_mean, masked_sum


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """`epochs` passes over the demonstrations in batches of `batch`; a last incomplete batch is dropped."""

    epochs: int
    batch: int
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise ValueError(f"epochs and batch must be at least 1, got {self}")


def check_fits(sequences: Sequences, model: PreTrainedModel) -> None:
    """Raise ValueError for the first row longer than the model's context."""
    lengths = sequences.lengths.tolist()
    check_lengths([range(length) for length in lengths], context=model.config.max_position_embeddings)


def sft(
    model: PreTrainedModel,
    demonstrations: Sequences,
    *,
    config: SFTConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place on demonstrations (prompt and response packed in rows); returns `fit`'s history.

    Raises ValueError, before anything is trained, for a row longer than the model's context.
    """
    check_fits(demonstrations, model)

    def batches() -> Iterator[Sequences]:
        for rows in shuffled_batches(
            demonstrations.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        ):
            yield demonstrations.rows(rows).to(model.device)

    def loss_fn(batch: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
        logp = response_logp(model, batch.tokens, batch.mask, batch.response)
        return masked_mean(next_token_loss(logp), batch.response), {}

    model.train()
    steps = config.epochs * (len(demonstrations) // config.batch)
    return fit(
        model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(steps, 1),
        hooks=hooks,
        description="fine-tuning",
    )


@torch.no_grad()
def response_loss(model: PreTrainedModel, sequences: Sequences, *, batch: int = 128) -> float:
    """Mean −log p of the response tokens, in nats per token."""
    total, count = 0.0, 0
    for rows in torch.arange(len(sequences)).split(batch):
        part = sequences.rows(rows).to(model.device)
        with autocast(model.device):
            logp = response_logp(model, part.tokens, part.mask, part.response)
        total += float(masked_sum(next_token_loss(logp), part.response))
        count += int(part.response.sum())
    return total / count
