"""Draw responses from a language model, together with the log-probability of every token drawn.

The log-probabilities come from the same logits as the tokens: PPO's `logp_old` costs nothing extra.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.models.decoding import Decoder, decoder_for
from rlhf_mini.split import by_rows

_COMPACT_BELOW = 0.8  # of the rows held; dropping rows copies the cache, so wait until it pays


class Samples(NamedTuple):
    """Prompts and responses, right-padded, rows in the order of the prompts."""

    tokens: Tensor  # (B, T) int64: prompt, response, padding
    mask: Tensor  # (B, T) bool: a real token
    response: Tensor  # (B, T) bool: a token that was drawn, its stop token included
    logp: Tensor  # (B, T) float32: log-probability of each drawn token, zero elsewhere


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_tokens: Sequence[int],
    pad_token: int,
    generator: torch.Generator | None = None,
) -> Samples:
    """Continue every prompt until a stop token or until `max_new_tokens` were drawn.

    The token is drawn from softmax(logits / temperature), restricted first to the `top_k` likeliest
    tokens, then to the smallest set of likeliest tokens whose probability reaches `top_p`, and
    renormalised. `logp` is the log-probability under that very distribution. `temperature=0` takes the
    likeliest token, and `logp` is then the unmodified model's; truncation has no effect on it.

    Row i uses row i of one table of uniform numbers drawn at the start. So a `generator` in the
    same state gives the same samples, and what a row draws does not depend on when other rows end, nor on
    how `rlhf_mini.split` divides the rows.
    `generator` may live on the CPU whatever the model's device; None uses torch's global one.

    Finished rows leave the batch. A plain Llama runs the lean decoder, every other architecture
    `transformers`' own forward and cache. No gradient is recorded; the model's training mode is restored.
    Raises ValueError for no prompt, an empty prompt, a token outside the vocabulary, a prompt that with
    `max_new_tokens` exceeds the model's context, and hyperparameters out of range.
    """
    _check_prompts(prompts, model, max_new_tokens)
    _check_options(temperature, top_k, top_p)
    was_training = model.training
    model.eval()
    try:
        uniforms = _uniforms(len(prompts), max_new_tokens, model.device, generator)
        stops = torch.tensor(list(stop_tokens), dtype=torch.long, device=model.device)
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}

        def continued(rows: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
            asked = [prompts[row] for row in rows.tolist()]
            return _generate(decoder_for(model, asked, room=max_new_tokens), uniforms, stops, options)

        drawn, logp = by_rows(continued, torch.arange(len(prompts)), uniforms)
    finally:
        model.train(was_training)
    return _assemble(prompts, drawn, logp, stops, pad_token)


def draw(
    logits: Tensor, uniform: Tensor, *, temperature: float, top_k: int | None, top_p: float | None
) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability: logits (B, V), uniform (B,) in [0, 1) -> (B,), (B,).

    The inverse of the cumulative distribution, at a uniform number, is a draw from the distribution.
    Its sums are in float64: in float32 a thousand rounded terms would bend the rarest probabilities.
    """
    if temperature == 0:
        token = logits.argmax(dim=-1)
    else:
        logits = truncate(logits / temperature, top_k=top_k, top_p=top_p)
    logp_all = logits.log_softmax(dim=-1)
    if temperature > 0:
        cumulative = logp_all.to(uniform.device, uniform.dtype).exp().cumsum(dim=-1)
        threshold = uniform[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, threshold, right=True).squeeze(-1).to(logits.device)
    return token, logp_all.gather(-1, token[:, None]).squeeze(-1)


def truncate(logits: Tensor, *, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits (B, V) with -inf for every token outside the `top_k` and then the `top_p` selection.

    Holtzman et al. (2020): the kept set is the smallest whose probability is at least `top_p`.

    >>> truncate(torch.tensor([[2.0, 1.0, 3.0]]), top_k=2, top_p=None)
    tensor([[2., -inf, 3.]])
    """
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probability = ordered.softmax(dim=-1)
        outside = probability.cumsum(dim=-1) - probability >= top_p  # what stands before already suffices
        logits = logits.masked_fill(outside.scatter(-1, order, outside), -torch.inf)
    return logits


def _generate(decoder: Decoder, uniforms: Tensor, stops: Tensor, options: dict) -> tuple[Tensor, Tensor]:
    """Drawn tokens and their log-probabilities, (B, max_new_tokens); meaningless after a row's stop token."""
    drawn = torch.zeros(uniforms.shape, dtype=torch.long, device=stops.device)
    logp = torch.zeros(uniforms.shape, device=stops.device)
    held = torch.arange(len(drawn), device=stops.device)  # the rows that the decoder holds
    unfinished = torch.ones_like(held, dtype=torch.bool)
    logits = decoder.start()
    for step in range(drawn.shape[1]):
        token, token_logp = draw(logits, uniforms[held, step], **options)
        drawn[held, step], logp[held, step] = token, token_logp
        unfinished &= ~(token[:, None] == stops).any(dim=1)
        left = int(unfinished.sum())
        if left == 0 or step + 1 == drawn.shape[1]:
            break
        if left <= _COMPACT_BELOW * len(held):
            rows = unfinished.nonzero().squeeze(-1)
            decoder.keep(rows)
            held, token, unfinished = held[rows], token[rows], unfinished[rows]
        logits = decoder.step(token)
    return drawn, logp


def _assemble(
    prompts: Sequence[Sequence[int]], drawn: Tensor, logp: Tensor, stops: Tensor, pad_token: int
) -> Samples:
    """Write prompts and responses, cut after the first stop token, into one right-padded batch."""
    stopped = torch.isin(drawn, stops)
    real = stopped.cumsum(dim=1) - stopped.long() == 0  # nothing before this token was a stop token
    prompt_length = torch.tensor([len(prompt) for prompt in prompts], device=drawn.device)
    length = prompt_length + real.sum(dim=1)
    column = torch.arange(int(length.max()), device=drawn.device)
    mask = column < length[:, None]
    response = mask & (column >= prompt_length[:, None])
    tokens = torch.full(mask.shape, pad_token, dtype=torch.long, device=drawn.device)
    flat = [token for prompt in prompts for token in prompt]
    tokens[mask & ~response] = torch.tensor(flat, device=drawn.device)
    tokens[response] = drawn[real]
    aligned_logp = torch.zeros(mask.shape, device=drawn.device).masked_scatter(response, logp[real])
    return Samples(tokens, mask, response, aligned_logp)


def _uniforms(rows: int, columns: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers (rows, columns) in [0, 1), float64; on the CPU for devices without that type."""
    source = device if generator is None else generator.device
    source = torch.device("cpu") if source.type == "mps" else source
    numbers = torch.rand(rows, columns, dtype=torch.float64, device=source, generator=generator)
    return numbers if device.type == "mps" else numbers.to(device)


def _check_prompts(prompts: Sequence[Sequence[int]], model: PreTrainedModel, max_new_tokens: int) -> None:
    if len(prompts) == 0:
        raise ValueError("prompts is empty; give at least one prompt")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
    context, vocabulary = model.config.max_position_embeddings, model.config.vocab_size
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {row} has no tokens; start it with the model's begin-of-text token")
        if len(prompt) + max_new_tokens > context:
            raise ValueError(
                f"prompt {row} has {len(prompt)} tokens; with max_new_tokens={max_new_tokens} that needs "
                f"{len(prompt) + max_new_tokens} positions, and the model's context is {context}: "
                "shorten the prompt or lower max_new_tokens"
            )
        if not 0 <= min(prompt) <= max(prompt) < vocabulary:
            raise ValueError(
                f"prompt {row} has tokens from {min(prompt)} to {max(prompt)}, and the model's vocabulary is "
                f"0 to {vocabulary - 1}: was it encoded with another tokenizer?"
            )


def _check_options(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be 0 (greedy) or above and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, or None for no limit, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], or be None for no limit, got {top_p}")
