"""Who may look at whom: the attention masks that make a decoder, a prefix decoder, an encoder of one block.

The weights of a transformer do not say whether it reads from left to right. The mask does. Each function
takes which positions are real, (B, T) bool, and gives (B, T, T) bool: entry (b, i, j) is true where, in row
b, position i may look at position j. Padding is never looked at.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.split import by_rows
from rlhf_mini.tensors import require_mask, require_same_shape


def causal_attention_mask(mask: Tensor) -> Tensor:
    """Every position looks at itself and to its left: a causal decoder.

    >>> causal_attention_mask(torch.ones(1, 3, dtype=torch.bool)).int().tolist()
    [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]
    """
    _check(mask)
    length = mask.shape[1]
    left = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    return left & mask[:, None, :]


def prefix_attention_mask(mask: Tensor, prefix: Tensor) -> Tensor:
    """All see the whole prefix; behind it every position looks to its left: a prefix decoder.

    `prefix` (B, T) bool is true on the tokens that are given.

    >>> given = torch.tensor([[True, True, False]])
    >>> prefix_attention_mask(torch.ones(1, 3, dtype=torch.bool), given).int().tolist()
    [[[1, 1, 0], [1, 1, 0], [1, 1, 1]]]
    """
    require_mask(prefix)
    require_same_shape(mask=mask, prefix=prefix)
    return causal_attention_mask(mask) | (prefix & mask)[:, None, :]


def bidirectional_attention_mask(mask: Tensor) -> Tensor:
    """Every position looks at every real one: an encoder.

    >>> bidirectional_attention_mask(torch.tensor([[True, True, False]])).int().tolist()
    [[[1, 1, 0], [1, 1, 0], [1, 1, 0]]]
    """
    _check(mask)
    return mask[:, None, :].expand(-1, mask.shape[1], -1)


def cross_attention_mask(mask: Tensor, source: Tensor) -> Tensor:
    """Every position of a decoder looks at every real position of its encoder: (B, T), (B, S) -> (B, T, S).

    >>> decoder, encoder = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[True, True, False]])
    >>> cross_attention_mask(decoder, encoder).int().tolist()
    [[[1, 1, 0], [1, 1, 0]]]
    """
    _check(mask)
    _check(source)
    if len(mask) != len(source):
        raise ValueError(f"decoder and encoder have {len(mask)} and {len(source)} rows; expected as many")
    return source[:, None, :].expand(-1, mask.shape[1], -1)


def hidden_under_mask(model: PreTrainedModel, tokens: Tensor, look: Tensor) -> Tensor:
    """The last hidden states (B, T, D) of a causal language model whose own mask is replaced by `look`.

    The weights stay as they are: under `bidirectional_attention_mask` a Llama is an encoder. Positions count
    from 0. Raises ValueError unless `look` is (B, T, T) bool.
    """
    _check_look(tokens, look)

    def hidden(tokens: Tensor, look: Tensor) -> Tensor:
        output = model.base_model(input_ids=tokens, attention_mask=look[:, None], use_cache=False)
        return output.last_hidden_state

    return by_rows(hidden, tokens, look)


def logits_under_mask(model: PreTrainedModel, tokens: Tensor, look: Tensor) -> Tensor:
    """The logits (B, T, V) of a causal language model whose own mask is replaced by `look`."""
    return model.get_output_embeddings()(hidden_under_mask(model, tokens, look))


def _check(mask: Tensor) -> None:
    require_mask(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask must be (B, T), true where a token is real; received {tuple(mask.shape)}.")


def _check_look(tokens: Tensor, look: Tensor) -> None:
    require_mask(look)
    rows, length = tokens.shape
    if look.shape != (rows, length, length):
        raise ValueError(
            f"tokens of shape {tuple(tokens.shape)} need a mask (B, T, T) = {(rows, length, length)}; "
            f"received {tuple(look.shape)}."
        )
