"""One token at a time: what the sampler asks of a model, in two versions.

Both keep the keys and values of past tokens, so that a step computes the newest token only. The lean one is
for plain Llamas; the other runs `transformers`' own forward and cache, for every other architecture.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from rlhf_mini.models.linear import linear
from rlhf_mini.models.llama import (
    embed,
    is_plain_llama,
    llama_hidden,
    norm,
    rotary_tables,
    rotate,
    transformer_layer,
)

Prompts = Sequence[Sequence[int]]


class Decoder(ABC):
    """Holds a batch of growing texts; every method but `keep` returns the next token's logits (B, V)."""

    @abstractmethod
    def start(self) -> Tensor:
        """Read the prompts."""

    @abstractmethod
    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to every text, tokens (B,)."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Drop all texts but these."""


def decoder_for(model: PreTrainedModel, prompts: Prompts, *, room: int) -> Decoder:
    """The fastest decoder that suits the model. At most `room` tokens can be appended to each prompt."""
    return LlamaDecoder(model, prompts, room=room) if is_plain_llama(model) else CacheDecoder(model, prompts)


class LlamaDecoder(Decoder):
    """Each text has its own length here, and its next token is written right behind it: no left padding."""

    def __init__(self, model: PreTrainedModel, prompts: Prompts, *, room: int):
        self.model, self.prompts, self.room = model, prompts, room
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
        self.longest = max(map(len, prompts))
        self.cos, self.sin = rotary_tables(model, self.longest + room)
        self.keys: list[Tensor] = []  # a layer each, (B, KV, longest + room, head)
        self.values: list[Tensor] = []

    def start(self) -> Tensor:
        """Read all prompts in one forward pass, padded on the right, and keep their keys and values."""
        mask = torch.arange(self.longest, device=self.model.device) < self.lengths[:, None]
        flat = [token for prompt in self.prompts for token in prompt]
        tokens = torch.zeros(mask.shape, dtype=torch.long, device=mask.device)
        tokens[mask] = torch.tensor(flat, device=mask.device)
        past: list[tuple[Tensor, Tensor]] = []
        hidden = llama_hidden(self.model, tokens, mask, past=past)
        for key, value in past:
            self.keys.append(F.pad(key.transpose(1, 2), (0, 0, 0, self.room)))
            self.values.append(F.pad(value.transpose(1, 2), (0, 0, 0, self.room)))
        return self._logits(hidden[self._rows(), self.lengths - 1])

    def step(self, tokens: Tensor) -> Tensor:
        """Write each text's new key and value behind its last one and attend to all of them."""
        rows, places = self._rows(), self.lengths
        cos, sin = self.cos[places], self.sin[places]
        self.longest += 1
        written = (torch.arange(self.longest, device=places.device) <= places[:, None])[:, None, None]

        def attend_in(keys: Tensor, values: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys[rows, :, places], values[rows, :, places] = rotate(key, cos, sin), value
            return F.scaled_dot_product_attention(
                rotate(query, cos, sin)[:, :, None],
                keys[:, :, : self.longest],
                values[:, :, : self.longest],
                attn_mask=written,
                enable_gqa=query.shape[1] != key.shape[1],
            ).squeeze(2)

        x = embed(self.model, tokens)
        for layer, keys, values in zip(self.model.base_model.layers, self.keys, self.values, strict=True):
            x = transformer_layer(x, layer, partial(attend_in, keys, values))
        self.lengths = places + 1
        return self._logits(norm(x, self.model.base_model.norm))

    def keep(self, rows: Tensor) -> None:
        """Drop all texts but these."""
        self.lengths = self.lengths[rows]
        self.longest = int(self.lengths.max())
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]

    def _rows(self) -> Tensor:
        return torch.arange(len(self.lengths), device=self.lengths.device)

    def _logits(self, hidden: Tensor) -> Tensor:
        return linear(hidden, self.model.lm_head.weight).float()


class CacheDecoder(Decoder):
    """Prompts are padded on the left, so that every text's newest token stands in the same column."""

    def __init__(self, model: PreTrainedModel, prompts: Prompts):
        self.model, self.prompts = model, prompts
        self.cache = DynamicCache(config=model.config)
        self.mask = torch.zeros(len(prompts), max(map(len, prompts)), dtype=torch.long)

    def start(self) -> Tensor:
        """Read all prompts in one forward pass; positions count real tokens only."""
        tokens = torch.zeros_like(self.mask)
        for row, prompt in enumerate(self.prompts):
            tokens[row, -len(prompt) :] = torch.tensor(prompt)
            self.mask[row, -len(prompt) :] = 1
        self.mask = self.mask.to(self.model.device)
        positions = (self.mask.cumsum(dim=-1) - 1).clamp(min=0)
        return self._logits(tokens.to(self.model.device), positions)

    def step(self, tokens: Tensor) -> Tensor:
        """Append a column."""
        self.mask = F.pad(self.mask, (0, 1), value=1)
        return self._logits(tokens[:, None], self.mask.sum(dim=-1, keepdim=True) - 1)

    def keep(self, rows: Tensor) -> None:
        """Drop all texts but these."""
        self.mask = self.mask[rows]
        self.cache.batch_select_indices(rows)

    def _logits(self, tokens: Tensor, positions: Tensor) -> Tensor:
        output = self.model(
            input_ids=tokens,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()
