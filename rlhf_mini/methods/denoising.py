"""Denoising: an encoder reads a text with holes, a decoder writes the whole text (BART).

Span corruption as in T5 differs in the target: there the decoder writes only what the holes held, which is
less to compute for the same holes, and at our few updates too little to learn from. Simplifications compared
with Lewis et al. (2020): spans are drawn anew whenever a document is seen, a row is one document, sentences
are not permuted, and nothing is dropped out. The model is a T5, whose positions are relative.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration

from rlhf_mini.batch import Sequences
from rlhf_mini.data.corruption import corrupt_spans, draw_spans
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.split import by_rows
from rlhf_mini.tensors import masked_mean, token_logp

MEAN_SPAN = 2.0
EMBEDDING_SCALE = 0.1  # of the standard deviation that T5 starts with: the rates of small Llamas suit it


class SourceTarget(NamedTuple):
    """What the encoder reads (B, S) and what the decoder writes (B, T), padded on the right, with masks.

    The target's column 0 is the start token, which is given.
    """

    source: Tensor
    source_mask: Tensor
    target: Tensor
    target_mask: Tensor


def new_t5(
    *, vocab_size: int, width: int, layers: int, heads: int, feed_forward: int, pad_token: int, seed: int
) -> T5ForConditionalGeneration:
    """A freshly initialised encoder–decoder with `layers` layers on each side; the decoder starts with a pad.

    Gated feed-forward layers of `feed_forward` channels, tied embeddings, no dropout; the embedding starts
    smaller than T5's own. The same seed gives the same weights; the global random state is not touched.
    """
    config = T5Config(
        vocab_size=vocab_size,
        d_model=width,
        d_kv=width // heads,
        d_ff=feed_forward,
        num_layers=layers,
        num_heads=heads,
        feed_forward_proj="gated-silu",
        dropout_rate=0.0,
        pad_token_id=pad_token,
        decoder_start_token_id=pad_token,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(config).float().train()
    with torch.no_grad():
        model.shared.weight.mul_(EMBEDDING_SCALE)
    return model


def pack_source_target(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], *, pad_token: int
) -> SourceTarget:
    """Rows of token numbers as one padded batch; the start token, a pad, is put before each target."""
    started = [[pad_token, *target] for target in targets]
    tensors = []
    for rows in (sources, started):
        tensors.append(pad_sequence([torch.tensor(row) for row in rows], True, pad_token))
        lengths = torch.tensor([len(row) for row in rows])
        tensors.append(torch.arange(tensors[-1].shape[1]) < lengths[:, None])
    return SourceTarget(*tensors)


def noisy_batches(
    batches: Iterator[Sequences], *, rate: float, mask_token: int, pad_token: int, generator: torch.Generator
) -> Iterator[SourceTarget]:
    """Each batch of documents with spans replaced by one mask token each; the begin token always stays.

    `rate` is the share of tokens in the spans; BART's is 0.3. The target is the whole document.
    """
    for batch in batches:
        sources, targets = [], []
        for tokens, mask in zip(batch.tokens, batch.mask, strict=True):
            begin, *text = tokens[mask].tolist()
            spans = draw_spans(len(text), rate=rate, mean_length=MEAN_SPAN, generator=generator)
            source, _ = corrupt_spans(text, spans, sentinels=[mask_token] * (len(spans) + 1))
            sources.append([begin, *source])
            targets.append(text)
        yield pack_source_target(sources, targets, pad_token=pad_token)


def target_logits(model: PreTrainedModel, batch: SourceTarget) -> Tensor:
    """The decoder's logits (B, T, V); position t is about token t + 1 of the target."""
    return model(
        input_ids=batch.source,
        attention_mask=batch.source_mask.long(),
        decoder_input_ids=batch.target,
        decoder_attention_mask=batch.target_mask.long(),
        use_cache=False,
    ).logits


def denoise(
    model: PreTrainedModel,
    batches: Iterator[SourceTarget],
    *,
    steps: int,
    optimizer: OptimizerConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place to write the targets of `noisy_batches`; returns the history of `fit`.

    Minimises the mean of −log p(target t | targets before t, source) over the target tokens; nats a token.
    """

    def loss_fn(batch: SourceTarget) -> tuple[Tensor, dict[str, Tensor]]:
        written = batch.target_mask.clone()
        written[:, 0] = False
        logp = by_rows(lambda *rows: token_logp(target_logits(model, SourceTarget(*rows)), rows[2]), *batch)
        return masked_mean(next_token_loss(logp), written), {}

    model.train()
    return fit(
        model,
        batches,
        loss_fn,
        optimizer=optimizer,
        steps=steps,
        hooks=hooks,
        description="denoising",
    )
