"""What fine-tuning added to a model's weights, and how the additions of two runs are merged.

The task vector of a model is the difference of its weights from those it started from, ``δ = θ − θ_start``
(Ilharco et al. 2022, arXiv 2212.04089). The task vectors of separate runs are close to orthogonal, and the
mean of two orthogonal vectors of one length is shorter than either, by a factor of √½: a plain average of
models goes back towards their start. Spherical interpolation keeps the length.

Paper: Ramé et al. 2024 (WARP), arXiv 2406.16768.
"""

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.models.averaging import uniform_average

LEAST_SINE = 1e-4  # below it two vectors lie on one line, and there is no arc between them


def spherical_interpolation(
    start: PreTrainedModel, first: PreTrainedModel, second: PreTrainedModel, *, share: float = 0.5
) -> PreTrainedModel:
    """The model whose task vectors lie on the arc between those of two models, tensor by tensor.

    ``θ = θ_start + sin((1 − λ)Ω)/sin Ω · δ_1 + sin(λΩ)/sin Ω · δ_2``, Ω being the angle between δ_1 and δ_2
    in this tensor. Where the two lie on one line, or one of them is 0, it is ``(1 − λ) δ_1 + λ δ_2``, which
    is the limit for Ω → 0; of two opposite vectors no arc is the shortest.

    A reward model's normalisation is reset, as by `models.averaging.weighted_average`.

    Args:
        start: the model that both were trained from.
        first, second: models of its class, names and shapes.
        share: λ, from 0 (the first model) to 1 (the second).

    Returns:
        A new model, frozen and in evaluation mode, on the device of `start`. It is computed in float64.

    Raises:
        ValueError: if λ is not from 0 to 1, or the models differ in class, names or shapes.

    Paper: Ramé et al. 2024, arXiv 2406.16768, SLERP, "layer by layer": a layer is one weight tensor here.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}")
    merged = uniform_average([start, first, second])  # checks that they fit; its weights are replaced
    begun, one, other = (model.state_dict() for model in (start, first, second))
    merged.load_state_dict(
        {
            name: _on_the_arc(weight, one[name], other[name], share) if weight.is_floating_point() else weight
            for name, weight in begun.items()
        }
    )
    return merged


def _on_the_arc(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    one, other = (_task_vector(weight, start) for weight in (first, second))
    angle = _angle(one, other)
    sine = math.sin(angle)
    if sine < LEAST_SINE:
        weights = (1 - share, share)
    else:
        weights = (math.sin((1 - share) * angle) / sine, math.sin(share * angle) / sine)
    return (start.double() + weights[0] * one + weights[1] * other).to(start.dtype)


def _task_vector(weight: Tensor, start: Tensor) -> Tensor:
    return weight.double().to(start.device) - start.double()


def _angle(one: Tensor, other: Tensor) -> float:
    """Ω in radians, from 0 to π; 0 if one of the two is 0."""
    lengths = float(one.norm() * other.norm())
    if lengths == 0:
        return 0.0
    return math.acos(min(1.0, max(-1.0, float((one * other).sum()) / lengths)))


@torch.no_grad()
def task_vector_angle(start: PreTrainedModel, first: PreTrainedModel, second: PreTrainedModel) -> float:
    """The angle between the task vectors of two models, all weights together, in degrees from 0 to 180.

    90 if the two runs have nothing in common, 0 if one of them has not moved.

    Raises ValueError if the models do not have weights of the same names.
    """
    named = [dict(model.named_parameters()) for model in (start, first, second)]
    if any(one.keys() != named[0].keys() for one in named):
        raise ValueError("the models have weights of different names, and no task vectors to compare")
    vectors = [
        torch.cat([_task_vector(one[name], begun).flatten() for name, begun in named[0].items()])
        for one in named[1:]
    ]
    return math.degrees(_angle(*vectors))
