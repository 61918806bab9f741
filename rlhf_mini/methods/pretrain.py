"""Pretraining a causal language model: predict the next token of plain text.

Short documents are trained on one a row, so that no document looks back into another; long texts are cut into
blocks anywhere, as in most published runs. Both are batches of `Sequences` whose every token but the first
counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.data.text import scoring_windows, text_blocks
from rlhf_mini.data.tokenizer import encode_text
from rlhf_mini.devices import autocast
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.models import response_logp, token_logits
from rlhf_mini.split import by_rows
from rlhf_mini.tensors import masked_mean, masked_sum, token_logp


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """`steps` steps on `batch` rows each; of a long text, rows are blocks of `block` tokens."""

    steps: int
    batch: int
    block: int
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if min(self.steps, self.batch) < 1 or self.block < 2:
            raise ValueError(f"steps and batch must be at least 1 and block at least 2, got {self}")


def pack_documents(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> Sequences:
    """One document a row: the begin token, which is given, then the text and the end token, which count."""
    rows = [[*encode_text(tokenizer, document), tokenizer.eos_token_id] for document in documents]
    return pack_rows([[tokenizer.bos_token_id]] * len(rows), rows, pad_token=tokenizer.pad_token_id)


def document_batches(documents: Sequences, *, batch: int, generator: torch.Generator) -> Iterator[Sequences]:
    """Endless batches of documents of similar length, in a new order every epoch.

    In an epoch every document comes once, but for the fewer than `batch` that the last batch would lack
    company for; which these are changes with the order. Raises ValueError if there are fewer documents than
    `batch`.
    """
    if len(documents) < batch:
        raise ValueError(
            f"{len(documents)} documents do not fill one batch of {batch}: give more, or a smaller batch"
        )
    while True:
        for rows in shuffled_batches(documents.lengths, batch=batch, epochs=1, generator=generator):
            yield documents.rows(rows)


def block_batches(
    stream: Tensor, *, config: PretrainConfig, generator: torch.Generator
) -> Iterator[Sequences]:
    """Endless batches of blocks cut from a stream of tokens (1-D int64).

    Every token of a block but its first counts.
    """
    for tokens in text_blocks(stream, block=config.block, batch=config.batch, generator=generator):
        real = torch.ones_like(tokens, dtype=torch.bool)
        counts = real.clone()
        counts[:, 0] = False
        yield Sequences(tokens, real, counts)


def pretrain(
    model: PreTrainedModel,
    batches: Iterator[Sequences],
    *,
    config: PretrainConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place on batches of one of the two sources above; returns the history of `fit`.

    Minimises the mean of −log p(token t | tokens before t) over the counted tokens of a batch; nats a token.
    """

    def loss_fn(batch: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
        batch = batch.to(model.device)
        logp = response_logp(model, batch.tokens, batch.mask, batch.response)
        return masked_mean(next_token_loss(logp), batch.response), {}

    model.train()
    return fit(
        model,
        batches,
        loss_fn,
        optimizer=config.optimizer,
        steps=config.steps,
        hooks=hooks,
        description="pretraining",
    )


@torch.no_grad()
def stream_loss(
    model: PreTrainedModel, stream: Tensor, *, block: int, context: int, batch: int = 64
) -> float:
    """Total −log p in nats of every token of a held-out stream but its first.

    Each token is scored once, in windows of `block` tokens, with at least `context` tokens before it.
    """

    def logp_of(tokens: Tensor) -> Tensor:
        real = torch.ones_like(tokens, dtype=torch.bool)
        return token_logp(token_logits(model, tokens, real).float(), tokens)

    windows, counted = scoring_windows(stream, block=block, context=context)
    total = 0.0
    for tokens, scored in zip(windows.split(batch), counted.split(batch), strict=True):
        tokens, scored = tokens.to(model.device), scored.to(model.device)
        with autocast(model.device):
            logp = by_rows(logp_of, tokens)
        total += float(masked_sum(next_token_loss(logp), scored))
    return total


@torch.no_grad()
def document_loss(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, documents: Sequence[str], *, batch: int = 64
) -> float:
    """Mean −log p of a whole document, its end token included, given only the begin token; nats per document.

    It can be held against the entropy of the source that wrote the documents: it is never below it on
    average.
    """
    sequences = pack_documents(tokenizer, documents)
    total = 0.0
    for index in torch.arange(len(sequences)).split(batch):
        part = sequences.rows(index).to(model.device)
        with autocast(model.device):
            logp = response_logp(model, part.tokens, part.mask, part.response)
        total += float(masked_sum(next_token_loss(logp), part.response))
    return total / len(documents)
