"""Llama 2's margins: how far two scores should lie apart, by how clearly one answer was better.

A reward model with them is `train_reward_model` on pairs that carry them:
`Pairs(chosen, rejected, margins(ratings, SMALL_MARGINS))`.

Paper: Touvron et al. 2023, arXiv 2307.09288, eq. 2 and Table 27. ("Slightly better" and "negligibly better or
unsure" are the paper's third and fourth grade.)
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

SMALL_MARGINS: Mapping[str, float] = {
    "significantly better": 1.0,
    "better": 2 / 3,
    "slightly better": 1 / 3,
    "negligibly better": 0.0,
}
LARGE_MARGINS: Mapping[str, float] = {
    "significantly better": 3.0,
    "better": 2.0,
    "slightly better": 1.0,
    "negligibly better": 0.0,
}


def margins(ratings: Iterable[str], table: Mapping[str, float]) -> Tensor:
    """The margin of each rated pair, (B,) float32, in units of the raw score.

    Args:
        ratings: one a pair, as in the column `rating` of annotated rows.
        table: margin by rating: `SMALL_MARGINS`, `LARGE_MARGINS` or another.

    Raises:
        ValueError: on a rating that the table does not have.

    Example:
        >>> margins(["better", "negligibly better"], LARGE_MARGINS)
        tensor([2., 0.])
    """
    rated = list(ratings)
    unknown = sorted({str(rating) for rating in rated} - set(table))
    if unknown:
        raise ValueError(f"no margin for the rating {unknown[0]!r}: the table has {', '.join(table)}")
    return torch.tensor([table[rating] for rating in rated], dtype=torch.float32)
