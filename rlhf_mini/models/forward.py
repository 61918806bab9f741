"""What methods ask of a model: log-probabilities of a response, the score of a text, values of prefixes.

Every function takes right-padded batches and returns numbers aligned with the tokens: column t speaks
about token t, given the tokens before it. A plain Llama goes through the lean forward of
`rlhf_mini.models.llama`, every other architecture through its own `forward`. The rows are divided among
processes, and read a few at a time, as `rlhf_mini.split` says.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.models.build import scalar_head
from rlhf_mini.models.linear import linear
from rlhf_mini.models.llama import is_plain_llama, llama_hidden
from rlhf_mini.split import by_rows
from rlhf_mini.tensors import align_to_tokens, last_true_index


class ResponseLogp(NamedTuple):
    """Per token, (B, T), zero where the response mask is false; both in nats."""

    logp: Tensor
    entropy: Tensor


def hidden_states(model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> Tensor:
    """The backbone's last hidden state at every position, (B, T, D); junk where `mask` is false."""
    _check_batch(model, tokens, mask)
    return by_rows(partial(_hidden, model), tokens, mask)


def token_logits(model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> Tensor:
    """The logits at every position, (B, T, V): row t is about token t + 1, as the model gives them.

    Gradients flow to the model. Where only the log-probabilities of a response are wanted,
    `response_logp` is cheaper.
    """
    _check_batch(model, tokens, mask)
    return by_rows(lambda *rows: _project(model, _hidden(model, *rows)), tokens, mask)


def response_logp(
    model: PreTrainedModel, tokens: Tensor, mask: Tensor, response: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """log p(token t | tokens before t) in nats for every response token, (B, T); zero elsewhere.

    Only the response's tokens pay for the vocabulary's projection. Column 0 is zero even where
    `response` includes it, since nothing comes before it. Logits are divided by `temperature` first.
    Gradients flow to the model.

    Raises ValueError where shapes differ, where a mask is not boolean or has real tokens after padding, where
    a sequence exceeds the model's context, and where `temperature` is not above 0.
    """
    _check_batch(model, tokens, mask)
    _check_response(tokens, response, temperature)
    return by_rows(
        lambda *rows: _response(model, *rows, temperature=temperature, with_entropy=False).logp,
        tokens,
        mask,
        response,
    )


def response_logp_and_entropy(
    model: PreTrainedModel, tokens: Tensor, mask: Tensor, response: Tensor, *, temperature: float = 1.0
) -> ResponseLogp:
    """As `response_logp`, and the entropy of the distribution that each response token came from."""
    _check_batch(model, tokens, mask)
    _check_response(tokens, response, temperature)
    return by_rows(
        partial(_response, model, temperature=temperature, with_entropy=True), tokens, mask, response
    )


def sequence_scores(reward_model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> Tensor:
    """The reward model's score of each sequence, (B,), read at its last real token.

    Equal to the model's own pooled logits, and found by the mask rather than by the padding token's
    id, so that a text which contains that id is scored at its true end.
    """
    _check_batch(reward_model, tokens, mask)

    def score(tokens: Tensor, mask: Tensor) -> Tensor:
        rows = torch.arange(len(tokens), device=tokens.device)
        last = _hidden(reward_model, tokens, mask)[rows, last_true_index(mask)]
        return scalar_head(reward_model)(last).squeeze(-1)

    return by_rows(score, tokens, mask)


def token_values(value_model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> Tensor:
    """V(tokens before t) for every token t, (B, T); zero in column 0 and where `mask` is false.

    The value that stands beside a token is the one that was known before the token was written.
    """
    _check_batch(value_model, tokens, mask)

    def value(tokens: Tensor, mask: Tensor) -> Tensor:
        per_position = scalar_head(value_model)(_hidden(value_model, tokens, mask)).squeeze(-1)
        return align_to_tokens(per_position).masked_fill(~mask, 0.0)

    return by_rows(value, tokens, mask)


def _hidden(model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> Tensor:
    if is_plain_llama(model):
        return llama_hidden(model, tokens, mask)
    return model.base_model(input_ids=tokens, attention_mask=mask.long(), use_cache=False).last_hidden_state


def _response(
    model: PreTrainedModel,
    tokens: Tensor,
    mask: Tensor,
    response: Tensor,
    *,
    temperature: float,
    with_entropy: bool,
) -> ResponseLogp:
    counted = response.clone()
    counted[:, 0] = False
    before = align_to_tokens(_hidden(model, tokens, mask))  # what each token is predicted from
    logits = _project(model, before[counted]).float()  # (N, V)
    logp_all = (logits if temperature == 1 else logits / temperature).log_softmax(dim=-1)
    logp = logp_all.gather(-1, tokens[counted][:, None]).squeeze(-1)
    zeros = torch.zeros(tokens.shape, device=tokens.device)
    entropy = -(logp_all.exp() * logp_all).sum(dim=-1) if with_entropy else torch.zeros_like(logp)
    return ResponseLogp(zeros.masked_scatter(counted, logp), zeros.masked_scatter(counted, entropy))


def _project(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """From hidden states (…, D) to logits (…, V)."""
    projection = model.get_output_embeddings()
    if type(projection) is not torch.nn.Linear or projection.bias is not None:
        return projection(hidden)
    return linear(hidden, projection.weight)


def _check_batch(model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> None:
    if tokens.ndim != 2 or mask.shape != tokens.shape or mask.dtype != torch.bool:
        raise ValueError(
            f"tokens of shape {tuple(tokens.shape)} came with a {mask.dtype} mask of shape "
            f"{tuple(mask.shape)}; expected tokens (B, T) and a bool mask of the same shape"
        )
    if mask.shape[1] > 1 and (mask[:, 1:] & ~mask[:, :-1]).any():
        row = int((mask[:, 1:] & ~mask[:, :-1]).any(dim=1).nonzero()[0])
        raise ValueError(f"row {row} of the mask has real tokens after padding; pad batches on the right")
    context = model.config.max_position_embeddings
    if tokens.shape[1] > context:
        row, length = int(mask.sum(dim=1).argmax()), int(mask.sum(dim=1).max())
        raise ValueError(
            f"the batch is {tokens.shape[1]} tokens wide (row {row} has {length}), and the model's context "
            f"is {context}: shorten the texts"
        )


def _check_response(tokens: Tensor, response: Tensor, temperature: float) -> None:
    if response.shape != tokens.shape or response.dtype != torch.bool:
        raise ValueError(
            f"tokens of shape {tuple(tokens.shape)} came with a {response.dtype} response mask of shape "
            f"{tuple(response.shape)}; expected bool of the same shape"
        )
    if not temperature > 0:
        raise ValueError(
            f"temperature must be above 0, got {temperature}: greedy text has no log-probability"
        )
