"""Several demonstrations in one row, so that little of a batch is padding, and how each stays by itself.

Rows of one length waste nothing, but attention must be told where one text ends and the next begins: no token
may see another text, and every text counts its positions from 0. With both, a text's losses and gradients are
what they are in a row of its own. With neither, texts leak into one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.split import by_rows
from rlhf_mini.tensors import token_logp


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Rows that hold several texts each, padded on the right.

    Attributes:
        tokens: ``(R, W)`` int64.
        text: ``(R, W)`` int64, which of the texts a token belongs to; -1 on padding.
        position: ``(R, W)`` int64, the token's place in its own text, counted from 0.
        response: ``(R, W)`` bool, true on the tokens that count for learning.
    """

    tokens: Tensor
    text: Tensor
    position: Tensor
    response: Tensor

    def __len__(self) -> int:
        """The number of rows, R."""
        return len(self.tokens)

    @property
    def visible(self) -> Tensor:
        """``(R, W, W)`` bool: whether the token in the second place may look at the one in the third.

        It may if both belong to one text and the other is not later.
        """
        same = self.text[:, :, None] == self.text[:, None, :]
        return same & torch.ones_like(same).tril()


def assign_rows(lengths: Sequence[int], *, width: int) -> list[list[int]]:
    """Which texts share a row of `width` tokens: the longest first, each into the first row with room.

    First-fit decreasing, which needs at most 11/9 of the fewest possible rows, and a constant.

    Raises:
        ValueError: for a text that is longer than a row, or without a token.

    Example:
        >>> assign_rows([3, 9, 4, 2], width=10)
        [[1], [2, 0, 3]]
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for text in sorted(range(len(lengths)), key=lambda text: -lengths[text]):
        length = lengths[text]
        if not 1 <= length <= width:
            raise ValueError(f"text {text} has {length} tokens; a row holds from 1 to {width}")
        row = next((row for row, left in enumerate(room) if left >= length), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(width)
        rows[row].append(text)
        room[row] -= length
    return rows


def pack_several(sequences: Sequences, *, width: int, pad_token: int) -> PackedRows:
    """The same texts, several in a row of `width` tokens.

    `text` numbers them as the rows of `sequences` are numbered. Raises ValueError as `assign_rows` does.
    """
    lengths = sequences.lengths.tolist()
    rows = assign_rows(lengths, width=width)
    shape = (len(rows), width)
    tokens, text, position = (torch.full(shape, fill, dtype=torch.int64) for fill in (pad_token, -1, 0))
    response = torch.zeros(shape, dtype=torch.bool)
    for row, members in enumerate(rows):
        start = 0
        for member in members:
            length = lengths[member]
            place = slice(start, start + length)
            tokens[row, place] = sequences.tokens[member, :length].cpu()
            text[row, place] = member
            position[row, place] = torch.arange(length)
            response[row, place] = sequences.response[member, :length].cpu()
            start += length
    return PackedRows(tokens, text, position, response)


def packed_logp(model: PreTrainedModel, rows: PackedRows) -> Tensor:
    """log p of every token given the tokens before it in its own text, ``(R, W)``, nats per token.

    What stands at a text's first token is meaningless (it is about the text before it): like padding, it must
    not count, and `Sequences` makes sure that it does not. Gradients flow to the model. Works with every
    `transformers` model that takes a four-dimensional attention mask.
    """

    def logp(tokens: Tensor, position: Tensor, visible: Tensor) -> Tensor:
        output = model(
            input_ids=tokens, position_ids=position, attention_mask=visible[:, None], use_cache=False
        )
        return token_logp(output.logits.float(), tokens)

    device = model.device
    return by_rows(logp, rows.tokens.to(device), rows.position.to(device), rows.visible.to(device))
