"""LoRA: train a low-rank change of the weights instead of the weights.

A linear layer's weight W (out, in) is frozen and used as W + (α/r)·B·A, with A (r, in) drawn at random and B
(out, r) zero, so that nothing changes at first. Only A and B learn: r·(in + out) numbers instead of in·out.
Once trained, the change can be added to W for good, and the model is an ordinary one again.

Hu et al. 2021, arXiv 2106.09685, section 4.1. The paper draws A from a Gaussian and adapts attention only; we
draw A as `peft` does (uniform, by Kaiming) and adapt every linear layer of the backbone.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel


class LowRank(nn.Module):
    """The map W ↦ W + scale · B·A, to be registered as a parametrisation of a weight (out, in).

    A and B are float32 whatever W is, so that small steps add up in them; the sum has W's type. It is made
    anew in every forward pass, and held for the backward pass unless the layer has a checkpoint.
    """

    def __init__(self, weight: Tensor, *, rank: int, scale: float, generator: torch.Generator):
        super().__init__()
        rows, columns = weight.shape
        bound = math.sqrt(1 / columns)  # Kaiming's uniform with a = √5, as nn.Linear and peft have it
        drawn = torch.rand(rank, columns, generator=generator)
        self.a = nn.Parameter((bound * (2 * drawn - 1)).to(weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as the layer uses it."""
        return weight + (self.scale * (self.b @ self.a)).to(weight.dtype)


def add_lora(
    model: PreTrainedModel,
    *,
    rank: int,
    alpha: float | int,
    generator: torch.Generator,
    targets: Sequence[str] | None = None,
) -> list[str]:
    """Freeze `model` in place and give linear layers of its backbone a low-rank change that can learn.

    `targets` are the last parts of layers' names, such as ``["q_proj", "v_proj"]``; None means every linear
    layer. Returns the names of the adapted layers. The output projection is no part of the backbone and stays
    as it is. Raises ValueError, and leaves the model as it was, for a target that no linear layer is called,
    and for a rank below 1 or above the smaller side of an adapted weight.
    """
    layers = _target_layers(model, targets)
    smallest = min(min(layer.weight.shape) for layer in layers.values())
    if not 1 <= rank <= smallest:
        raise ValueError(f"rank must be from 1 to {smallest}, the smallest side of a weight; got {rank}")
    model.requires_grad_(False)
    for layer in layers.values():
        change = LowRank(layer.weight, rank=rank, scale=alpha / rank, generator=generator)
        parametrize.register_parametrization(layer, "weight", change)
    return list(layers)


def _target_layers(model: PreTrainedModel, targets: Sequence[str] | None) -> dict[str, nn.Linear]:
    layers = {name: part for name, part in model.base_model.named_modules() if type(part) is nn.Linear}
    known = list(dict.fromkeys(name.rsplit(".", 1)[-1] for name in layers))
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no linear layer (torch.nn.Linear) that LoRA could adapt: train all "
            "of its weights instead"
        )
    if targets is None:
        return layers
    missing = [target for target in targets if target not in known]
    if missing or not targets:
        raise ValueError(
            f"no linear layer of {type(model).__name__} is called {', '.join(missing) or 'nothing at all'}; "
            f"choose the targets from {', '.join(known)}"
        )
    return {name: part for name, part in layers.items() if name.rsplit(".", 1)[-1] in targets}


def merge_lora(model: PreTrainedModel) -> None:
    """Add every low-rank change to its weight for good: `model` becomes an ordinary one, in place."""
    for module in [*model.modules()]:
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
