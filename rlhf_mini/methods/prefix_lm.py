"""Prefix language modelling: read the beginning of a text from both sides, then continue it from the left.

Where each document is cut is drawn anew whenever it is seen, uniformly over its tokens (Raffel et al. 2020,
§3.2.3, who train the same objective in several architectures). Only what follows the cut is learned.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.models.masks import logits_under_mask, prefix_attention_mask
from rlhf_mini.tensors import masked_mean, token_logp


def prefix_batches(batches: Iterator[Sequences], *, generator: torch.Generator) -> Iterator[Sequences]:
    """Each batch with its responses shortened to what stands behind a random cut.

    Of a row with L counted tokens the first 0 to L − 1 are given, each number equally likely.
    """
    for batch in batches:
        before = (batch.response.cumsum(1) - 1).masked_fill(~batch.response, -1)  # response tokens before it
        given = (torch.rand(len(batch), generator=generator) * batch.response.sum(1)).long()
        yield Sequences(batch.tokens, batch.mask, before >= given[:, None])


def prefix_lm(
    model: PreTrainedModel,
    batches: Iterator[Sequences],
    *,
    steps: int,
    optimizer: OptimizerConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place on the responses of `prefix_batches`; returns the history of `fit`.

    Minimises the mean of −log p(token t | tokens before t), in which everything before the response is read
    from both sides; nats a token.
    """

    def loss_fn(batch: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
        look = prefix_attention_mask(batch.mask, batch.mask & ~batch.response)
        logp = token_logp(logits_under_mask(model, batch.tokens, look), batch.tokens)
        return masked_mean(next_token_loss(logp), batch.response), {}

    model.train()
    return fit(
        model,
        batches,
        loss_fn,
        optimizer=optimizer,
        steps=steps,
        hooks=hooks,
        description="prefix language modelling",
    )
