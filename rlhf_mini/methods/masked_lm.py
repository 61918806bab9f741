"""Masked language modelling: fill holes in a text that is read from both sides (BERT).

Simplifications compared with Devlin et al. (2019): masks are drawn anew whenever a document is seen; there is
no next-sentence task, no segment embedding, and a row is one document. Any causal language model of
`transformers` serves as the encoder, since only its mask is replaced.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.data.corruption import Masked, mask_tokens
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import masked_token_loss
from rlhf_mini.models.masks import bidirectional_attention_mask, logits_under_mask
from rlhf_mini.split import by_rows
from rlhf_mini.tensors import masked_mean


def masked_batches(
    batches: Iterator[Sequences],
    *,
    rate: float,
    mask_token: int,
    words: int,
    generator: torch.Generator,
) -> Iterator[tuple[Sequences, Masked]]:
    """Each batch with its holes; only tokens that count as response, so not the begin token, are hidden.

    `rate` is the share of tokens that become targets; BERT's is 0.15. `words` is the number of tokens that a
    replacement may be.
    """
    for batch in batches:
        holes = mask_tokens(
            batch.tokens,
            batch.response,
            rate=rate,
            mask_token=mask_token,
            words=words,
            generator=generator,
        )
        yield batch, holes


def masked_lm(
    model: PreTrainedModel,
    batches: Iterator[tuple[Sequences, Masked]],
    *,
    steps: int,
    optimizer: OptimizerConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place to predict the targets of `masked_batches`; returns the history of `fit`.

    Minimises the mean of −log p(token i | the text with holes) over the targets of a batch; nats a target.
    """

    def loss_fn(batch: tuple[Sequences, Masked]) -> tuple[Tensor, dict[str, Tensor]]:
        original, holes = batch

        def losses(read: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
            logits = logits_under_mask(model, read, bidirectional_attention_mask(mask))
            return masked_token_loss(logits, wanted)

        return masked_mean(by_rows(losses, holes.tokens, original.mask, original.tokens), holes.targets), {}

    model.train()
    return fit(
        model,
        batches,
        loss_fn,
        optimizer=optimizer,
        steps=steps,
        hooks=hooks,
        description="masked language modelling",
    )
