"""Batches of rows of similar length: less padding, and so less to compute."""

from collections.abc import Iterator

import torch
from torch import Tensor

BUCKET = 16  # batches that are drawn together and sorted by length


def shuffled_batches(
    lengths: Tensor, *, batch: int, epochs: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Row numbers in batches of rows of similar length, which need little padding.

    Every epoch comes in a new order: rows are shuffled, sorted by length within buckets of `BUCKET` batches,
    cut into batches, and these shuffled again. What does not fill a last batch is left out until the next
    epoch.
    Raises ValueError if not even one batch can be filled.
    """
    if len(lengths) < batch:
        raise ValueError(
            f"{len(lengths)} rows do not fill one batch of {batch}: give more rows or a smaller batch"
        )
    for _ in range(epochs):
        order = torch.randperm(len(lengths), generator=generator)
        for bucket in order[: len(order) // batch * batch].split(BUCKET * batch):
            by_length = bucket[lengths[bucket].argsort()].split(batch)
            for place in torch.randperm(len(by_length), generator=generator):
                yield by_length[place]
