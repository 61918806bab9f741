"""Pairs in which the longer answer wins as often as the shorter one, whatever the difference in length.

People, and the models that stand in for them, often prefer the longer answer, and a reward model learns
that before anything else. Where length says nothing about who won, it cannot be learned from these pairs.
"""

import torch
from torch import Tensor

from rlhf_mini.batch import Pairs


def length_buckets(pairs: Pairs, *, buckets: int) -> list[Tensor]:
    """The pairs of unequal length in `buckets` parts of equal size, by the difference of their lengths.

    The difference is that of the answers' counted tokens, without its sign. The first part has the smallest
    differences; each is a ``(n,)`` tensor of places in `pairs`. Raises ValueError on fewer than one bucket.
    """
    if buckets < 1:
        raise ValueError(f"buckets must be at least 1, got {buckets}")
    difference = _longer_by(pairs).abs()
    order = difference.argsort(stable=True)
    return list(order[difference[order] > 0].tensor_split(buckets))


def length_balanced(pairs: Pairs, *, buckets: int, generator: torch.Generator) -> Pairs:
    """As many pairs whose longer answer was preferred as pairs whose shorter one was, in each bucket of
    lengths.

    The surplus of the commoner kind is dropped at random, bucket by bucket; pairs of equal length stay. So
    "the longer one wins" is right in exactly half of what is left, and nearly so at any difference in
    length.

    Raises ValueError on fewer than one bucket, or if no pair is left.

    Paper: Hou et al. 2024 (ChatGLM-RLHF), arXiv 2404.00934. How many buckets there are, and whether the
    surplus is dropped or the rest repeated, was not found; here buckets hold equally many pairs, and the
    surplus is dropped.

    >>> from rlhf_mini.batch import pack_rows
    >>> long, short = [5, 6, 2], [5, 2]
    >>> pairs = Pairs(pack_rows([[1]] * 4, [long, long, long, short], pad_token=0),
    ...               pack_rows([[1]] * 4, [short, short, short, long], pad_token=0))
    >>> balanced = length_balanced(pairs, buckets=1, generator=torch.Generator().manual_seed(0))
    >>> balanced.chosen.response.sum(1).tolist()  # one that the longer won, one that the shorter did
    [3, 2]
    """
    longer_by = _longer_by(pairs)
    kept = [(longer_by == 0).nonzero().flatten()]
    for bucket in length_buckets(pairs, buckets=buckets):
        won, lost = bucket[longer_by[bucket] > 0], bucket[longer_by[bucket] < 0]
        count = min(len(won), len(lost))
        for kind in (won, lost):
            kept.append(kind[torch.randperm(len(kind), generator=generator)[:count]])
    rows = torch.cat(kept).sort().values
    if not len(rows):
        raise ValueError(
            f"of {len(pairs)} pairs none is left: in every bucket the preferred answer is always the longer "
            "or always the shorter; give more pairs, or fewer buckets"
        )
    return pairs.rows(rows)


def _longer_by(pairs: Pairs) -> Tensor:
    """By how many counted tokens the chosen answer is the longer, ``(B,)``."""
    return pairs.chosen.response.sum(1) - pairs.rejected.response.sum(1)
