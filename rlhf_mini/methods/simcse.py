"""Unsupervised SimCSE: a text's second view, under another dropout, is its own best match.

Simplifications compared with Gao et al. (2021): dropout acts on the input embeddings only, where theirs is in
every layer; the vector is the mean over the tokens, where theirs is the first token's with a layer
on top.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import in_batch_contrastive_loss
from rlhf_mini.models.embedding import text_vectors


def simcse(
    model: PreTrainedModel,
    batches: Iterator[Sequences],
    *,
    steps: int,
    optimizer: OptimizerConfig,
    generator: torch.Generator,
    dropout: float = 0.1,
    temperature: float = 0.05,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place; returns the history of `fit`.

    Minimises the mean of −log ( e^{cos(h_i, h_i⁺)/τ} / Σ_j e^{cos(h_i, h_j⁺)/τ} ), in which h and h⁺ are two
    views of one text under two draws of dropout; nats a text. Equation 4 of the paper.
    """

    def loss_fn(batch: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
        first, second = (
            normalize(
                text_vectors(model, batch.tokens, batch.mask, dropout=dropout, generator=generator), dim=-1
            )
            for _ in range(2)
        )
        return in_batch_contrastive_loss(first @ second.T / temperature).mean(), {}

    model.train()
    return fit(model, batches, loss_fn, optimizer=optimizer, steps=steps, hooks=hooks, description="SimCSE")
