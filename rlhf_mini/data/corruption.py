"""Texts with holes: BERT's masking of single tokens, and T5's replacement of spans by sentinels."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from rlhf_mini.tensors import require_mask, require_same_shape


class Masked(NamedTuple):
    """A text with holes (B, T), and where the model's prediction counts (B, T) bool."""

    tokens: Tensor
    targets: Tensor


def mask_tokens(
    tokens: Tensor, maskable: Tensor, *, rate: float, mask_token: int, words: int, generator: torch.Generator
) -> Masked:
    """Choose each maskable token with probability `rate` as a target, and hide most of the chosen ones.

    Of the targets 80% become `mask_token`, 10% a token drawn from `0 … words − 1`, 10% stay as they are, so
    that the model cannot know which of the tokens it reads are right (Devlin et al. 2019, §3.1).

    Args:
        tokens: (B, T) int64. maskable: (B, T) bool, true where a token may be chosen.
        rate: in (0, 1); BERT's is 0.15.

    A row in which chance chose nothing gets one target, so that every row teaches something. Raises
    ValueError on a rate outside (0, 1), or a row in which nothing may be chosen.
    """
    require_mask(maskable)
    require_same_shape(tokens=tokens, maskable=maskable)
    if not 0 < rate < 1:
        raise ValueError(f"rate must be between 0 and 1, got {rate}")
    if not maskable.any(1).all():
        raise ValueError(f"rows {(~maskable.any(1)).nonzero().flatten().tolist()} have nothing to mask")
    chance = torch.rand(tokens.shape, generator=generator)
    chance[~maskable] = 1.0
    targets = chance < rate
    targets[torch.arange(len(tokens)), chance.argmin(1)] = True
    fate = torch.rand(tokens.shape, generator=generator)
    drawn = torch.randint(words, tokens.shape, generator=generator)
    shown = torch.where(targets & (fate < 0.8), mask_token, tokens)
    return Masked(torch.where(targets & (fate >= 0.9), drawn, shown), targets)


def draw_spans(
    length: int, *, rate: float, mean_length: float, generator: torch.Generator
) -> list[tuple[int, int]]:
    """Where to cut holes into `length` tokens: (start, end) pairs in order, no two of which touch.

    About `rate` of the tokens, at least one and not all, are cut out in spans of `mean_length` on average.
    All ways to place so many spans are equally likely, at the text's beginning and end too. T5's own code
    differs there: it alternates rests and spans, so that its last span always ends the text (Raffel et al.
    2020, §3.3.4).

    Raises ValueError if `length` is below 2, the rate is outside (0, 1) or the mean length below 1.
    """
    if length < 2 or not 0 < rate < 1 or mean_length < 1:
        raise ValueError(
            f"need length ≥ 2, 0 < rate < 1 and mean_length ≥ 1; got {length}, {rate} and {mean_length}"
        )
    hidden = min(max(round(length * rate), 1), length - 1)
    spans = min(max(round(hidden / mean_length), 1), hidden, length - hidden + 1)
    holes = _share_out(hidden, spans, generator)
    rests = _share_out(length - hidden + 2, spans + 1, generator)
    place, result = rests[0] - 1, []  # the first and the last rest may be empty
    for hole, rest in zip(holes, rests[1:], strict=True):
        result.append((place, place + hole))
        place += hole + rest
    return result


def corrupt_spans(
    tokens: Sequence[int], spans: Sequence[tuple[int, int]], *, sentinels: Sequence[int]
) -> tuple[list[int], list[int]]:
    """A text with its spans replaced by one sentinel each, and the target that lists what they held.

    `a b c d e f` with spans (1, 3) and (4, 5) becomes the source `a X d Y f` and the target `X b c Y e Z`;
    the last sentinel says that the list is complete (Raffel et al. 2020, figure 2).

    >>> corrupt_spans([11, 12, 13, 14, 15, 16], [(1, 3), (4, 5)], sentinels=[91, 92, 93])
    ([11, 91, 14, 92, 16], [91, 12, 13, 92, 15, 93])

    Raises ValueError if the spans overlap, are empty or out of order, or there are too few sentinels.
    """
    if len(spans) + 1 > len(sentinels):
        raise ValueError(f"{len(spans)} spans need {len(spans) + 1} sentinels, got {len(sentinels)}")
    source: list[int] = []
    target: list[int] = []
    place = 0
    for (start, end), sentinel in zip(spans, sentinels, strict=False):
        if not place <= start < end <= len(tokens):
            raise ValueError(f"spans must be in order, not empty and within {len(tokens)} tokens: {spans}")
        source += [*tokens[place:start], sentinel]
        target += [sentinel, *tokens[start:end]]
        place = end
    return [*source, *tokens[place:]], [*target, sentinels[len(spans)]]


def _share_out(total: int, parts: int, generator: torch.Generator) -> list[int]:
    """`total` as a sum of `parts` numbers of at least 1, all such sums equally likely."""
    cuts = torch.randperm(total - 1, generator=generator)[: parts - 1].sort().values + 1
    bounds = [0, *cuts.tolist(), total]
    return [after - before for before, after in pairwise(bounds)]
