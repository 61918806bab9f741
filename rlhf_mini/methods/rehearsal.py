"""Supervised fine-tuning with rehearsal: every step also predicts some documents of the pretraining text.

What is not practised is forgotten. The loss of a step is that of `sft` plus `document_weight` times the
pretraining loss on `documents_per_step` documents, each a mean over its own counted tokens. InstructGPT does
the same in its RL stage (PPO-ptx; Ouyang et al. 2022, arXiv 2203.02155, equation 2), as does
`rlhf_mini.methods.pretraining_mix`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.loop import Hook, fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.pretrain import document_batches
from rlhf_mini.methods.sft import SFTConfig, check_fits
from rlhf_mini.models import response_logp
from rlhf_mini.tensors import masked_mean


@dataclass(frozen=True, kw_only=True)
class RehearsalConfig:
    """What is rehearsed: so many documents a step, their loss weighed by `document_weight`."""

    documents_per_step: int
    document_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.documents_per_step < 1 or not self.document_weight > 0:
            raise ValueError(f"documents_per_step must be at least 1 and document_weight above 0, got {self}")


def mean_token_loss(model: PreTrainedModel, batch: Sequences) -> Tensor:
    """The mean of −log p over the counted tokens of a batch, a scalar with a gradient; nats per token."""
    logp = response_logp(model, batch.tokens, batch.mask, batch.response)
    return masked_mean(next_token_loss(logp), batch.response)


def sft_with_rehearsal(
    model: PreTrainedModel,
    demonstrations: Sequences,
    documents: Sequences,
    *,
    config: SFTConfig,
    rehearsal: RehearsalConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place on demonstrations and documents together; returns `fit`'s history.

    The history's `loss` is the sum; `answer_loss` and `document_loss` are its two parts, unweighted. Raises
    ValueError, before anything is trained, for a row longer than the model's context.
    """
    check_fits(demonstrations, model)
    check_fits(documents, model)

    def batches() -> Iterator[tuple[Sequences, Sequences]]:
        others = document_batches(documents, batch=rehearsal.documents_per_step, generator=generator)
        for rows in shuffled_batches(
            demonstrations.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        ):
            yield demonstrations.rows(rows).to(model.device), next(others).to(model.device)

    def loss_fn(both: tuple[Sequences, Sequences]) -> tuple[Tensor, dict[str, Tensor]]:
        answers, texts = (mean_token_loss(model, batch) for batch in both)
        parts = {"answer_loss": answers.detach(), "document_loss": texts.detach()}
        return answers + rehearsal.document_weight * texts, parts

    model.train()
    return fit(
        model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(config.epochs * (len(demonstrations) // config.batch), 1),
        hooks=hooks,
        description="fine-tuning with rehearsal",
    )
