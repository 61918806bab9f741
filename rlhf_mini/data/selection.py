"""Choosing a few texts out of many by where a model puts them: embeddings, k-means, and a greedy k-centre.

What is chosen this way is varied. Whether it is good, an embedding does not know.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.devices import autocast
from rlhf_mini.models.forward import hidden_states
from rlhf_mini.split import by_rows


@torch.no_grad()
def text_embeddings(model: PreTrainedModel, sequences: Sequences, *, batch: int = 128) -> Tensor:
    """The mean of the model's last hidden states over each text, of length 1: ``(B, D)``, on the CPU."""

    def mean(tokens: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden_states(model, tokens, mask).float()
        counted = mask[:, :, None]
        return torch.where(counted, hidden, 0.0).sum(1) / counted.sum(1)

    parts = []
    for rows in torch.arange(len(sequences)).split(batch):
        part = sequences.rows(rows).to(model.device)
        with autocast(model.device):
            means = by_rows(mean, part.tokens, part.mask)
        parts.append(torch.nn.functional.normalize(means, dim=1).cpu())
    return torch.cat(parts)


def k_means(points: Tensor, *, clusters: int, generator: torch.Generator, rounds: int = 25) -> Tensor:
    """The centres that Lloyd's algorithm finds from a random start: points ``(N, D)`` -> ``(clusters, D)``.

    A centre that no point is nearest to stays where it is. Raises ValueError for fewer points than clusters.
    """
    _check_count(points, clusters)
    centres = points[torch.randperm(len(points), generator=generator)[:clusters]].clone()
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=clusters)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


def nearest_points(points: Tensor, centres: Tensor) -> list[int]:
    """For each centre the nearest point that no earlier centre has taken.

    >>> nearest_points(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.9], [1.1]]))
    [1, 0]
    """
    _check_count(points, len(centres))
    distances = torch.cdist(points, centres)
    chosen: list[int] = []
    for centre in range(len(centres)):
        nearest = int(distances[:, centre].argmin())
        chosen.append(nearest)
        distances[nearest] = torch.inf
    return chosen


def k_centre(points: Tensor, *, count: int, first: int) -> list[int]:
    """`count` points, each in turn the farthest from all that were chosen before; `first` begins.

    The greedy answer to: choose so that no point is far from a chosen one. Its largest distance is at most
    twice the smallest possible (Gonzalez, 1985). Raises ValueError for fewer points than `count`.

    >>> k_centre(torch.tensor([[0.0], [1.0], [5.0], [9.0]]), count=3, first=0)
    [0, 3, 2]
    """
    _check_count(points, count)
    chosen = [first]
    distance = torch.cdist(points, points[first : first + 1]).squeeze(1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, torch.cdist(points, points[chosen[-1:]]).squeeze(1))
    return chosen


def _check_count(points: Tensor, count: int) -> None:
    if not 1 <= count <= len(points):
        raise ValueError(f"asked for {count} of {len(points)} points; give a number from 1 to {len(points)}")
