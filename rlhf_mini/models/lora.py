"""LoRA: train a low-rank change of the weights instead of the weights.

A linear layer's weight W (out, in) is frozen and used as W + (α/r)·B·A, with A (r, in) drawn at random and B
(out, r) zero, so that nothing changes at first. Only A and B learn: r·(in + out) numbers instead of in·out.
Once trained, the change can be added to W for good, and the model is an ordinary one again.

Hu et al. 2021, arXiv 2106.09685, section 4.1. The paper draws A from a Gaussian and adapts attention only; we
draw A as `peft` does (uniform, by Kaiming) and adapt every linear layer of the backbone.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel


class LowRank(nn.Module):
    """The map W ↦ W + scale · B·A, to be registered as a parametrisation of a weight (out, in)."""

    def __init__(self, weight: Tensor, *, rank: int, scale: float, generator: torch.Generator):
        super().__init__()
        rows, columns = weight.shape
        bound = math.sqrt(1 / columns)  # Kaiming's uniform with a = √5, as nn.Linear and peft have it
        drawn = torch.rand(rank, columns, generator=generator)
        self.a = nn.Parameter((bound * (2 * drawn - 1)).to(weight))
        self.b = nn.Parameter(torch.zeros(rows, rank).to(weight))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as the layer uses it."""
        return weight + self.scale * (self.b @ self.a)


def add_lora(
    model: PreTrainedModel, *, rank: int, alpha: float | int, generator: torch.Generator
) -> list[str]:
    """Freeze `model` in place and give every linear layer of its backbone a low-rank change that can learn.

    Returns the names of the adapted layers. The output projection is no part of the backbone and stays as it
    is. Raises ValueError for a rank below 1 or above the smaller side of an adapted weight.
    """
    layers = {name: part for name, part in model.base_model.named_modules() if type(part) is nn.Linear}
    smallest = min(min(layer.weight.shape) for layer in layers.values())
    if not 1 <= rank <= smallest:
        raise ValueError(f"rank must be from 1 to {smallest}, the smallest side of a weight; got {rank}")
    model.requires_grad_(False)
    for layer in layers.values():
        change = LowRank(layer.weight, rank=rank, scale=alpha / rank, generator=generator)
        parametrize.register_parametrization(layer, "weight", change)
    return list(layers)


def merge_lora(model: PreTrainedModel) -> None:
    """Add every low-rank change to its weight for good: `model` becomes an ordinary one, in place."""
    for module in [*model.modules()]:
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
