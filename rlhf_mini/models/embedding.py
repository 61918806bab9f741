"""One vector for a text: the mean of its tokens' hidden states, read from both sides."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.models.masks import bidirectional_attention_mask
from rlhf_mini.split import by_rows


def text_vectors(
    model: PreTrainedModel,
    tokens: Tensor,
    mask: Tensor,
    *,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mean hidden state of each text's real tokens, (B, D), under a bidirectional mask.

    With `dropout` each number of the input embeddings is set to 0 with that probability, and the others are
    divided by what is left, so that two calls give two views of one text; `generator` draws which. Gradients
    flow to the model. Raises ValueError if `dropout` is outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1), got {dropout}")

    def mean(tokens: Tensor, mask: Tensor, *views: Tensor) -> Tensor:
        embedded = model.get_input_embeddings()(tokens)
        for kept in views:
            embedded = embedded * kept / (1 - dropout)
        look = bidirectional_attention_mask(mask)
        output = model.base_model(inputs_embeds=embedded, attention_mask=look[:, None], use_cache=False)
        real = mask[..., None]
        return (output.last_hidden_state * real).sum(1) / real.sum(1)

    if not dropout:
        return by_rows(mean, tokens, mask)
    width = model.get_input_embeddings().weight.shape[1]
    kept = torch.rand(*tokens.shape, width, generator=generator).to(tokens.device) >= dropout
    return by_rows(mean, tokens, mask, kept)
