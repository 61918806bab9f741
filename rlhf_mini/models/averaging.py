"""One model from several of one start: the average of their weights.

Papers: Wortsman et al. 2022, arXiv 2203.05482 (model soups); Ramé et al. 2024, arXiv 2401.12187 (WARM: weight
averaged reward models). It works for models that were fine-tuned from the same weights, the same head
included: between those the loss stays low along the straight line from one to the other, and between
strangers it does not. The averaged model costs at every call what one member costs, where an ensemble costs
what all of them do.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.models.build import copy_of


def uniform_average(models: Sequence[PreTrainedModel]) -> PreTrainedModel:
    """The model whose every weight is the members' mean, ``θ = 1/M Σ_m θ_m``; as `weighted_average`.

    Paper: Ramé et al. 2024, eq. 1.
    """
    return weighted_average(models, weights=[1.0] * len(models))


def weighted_average(models: Sequence[PreTrainedModel], *, weights: Sequence[float]) -> PreTrainedModel:
    """The model with ``θ = Σ_m w_m θ_m / Σ_m w_m`` for every weight.

    Two models with weights 1 − t and t give the point t of the way from the first to the second.

    A reward model's normalisation (`mean` and `std` in its configuration) is of a member and not of the
    average: it is reset to 0 and 1, and `methods.reward_model.normalise` sets it anew.

    Args:
        models: M ≥ 1 models of one class with the same names, shapes and kinds of weights.
        weights: M finite numbers whose sum is not 0; they may be negative, to go beyond a member.

    Returns:
        A new model, frozen and in evaluation mode, on the first member's device. The sum is taken in float64.

    Raises:
        ValueError: on no models, another number of weights, weights that are not finite or cancel, or models
            that differ in class, names or shapes, naming the first difference.
    """
    if not models or len(models) != len(weights):
        raise ValueError(f"need a weight for each of some models, got {len(weights)} for {len(models)}")
    total = math.fsum(weights)
    if not all(map(math.isfinite, weights)) or total == 0:
        raise ValueError(f"weights must be finite and must not add up to 0, got {list(weights)}")
    states = [model.state_dict() for model in models]
    for place, model in enumerate(models[1:], start=1):
        _require_same_architecture(models[0], model, states[0], states[place], place)
    shares = [weight / total for weight in weights]
    averaged = copy_of(models[0])
    averaged.load_state_dict({name: _average(name, states, shares) for name in states[0]})
    for name, value in (("mean", 0.0), ("std", 1.0)):
        if hasattr(averaged.config, name):
            setattr(averaged.config, name, value)
    return averaged.requires_grad_(False).eval()


def _average(name: str, states: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> Tensor:
    first = states[0][name]
    if not first.is_floating_point():
        if any(not torch.equal(first, state[name].to(first.device)) for state in states):
            raise ValueError(
                f"{name} holds whole numbers that differ between the models: they have no average"
            )
        return first
    parts = (
        share * state[name].double().to(first.device) for share, state in zip(shares, states, strict=True)
    )
    return sum(parts, torch.zeros_like(first, dtype=torch.float64)).to(first.dtype)


def _require_same_architecture(
    first: PreTrainedModel,
    other: PreTrainedModel,
    ours: dict[str, Tensor],
    theirs: dict[str, Tensor],
    place: int,
) -> None:
    if type(first) is not type(other):
        raise ValueError(
            f"models of one class can be averaged, got {type(first).__name__} and, in place {place}, "
            f"{type(other).__name__}"
        )
    if ours.keys() != theirs.keys():
        raise ValueError(
            f"the model in place {place} has other weights: {sorted(ours.keys() ^ theirs.keys())[0]!r} "
            "is not in both"
        )
    for name, weight in ours.items():
        if weight.shape != theirs[name].shape or weight.dtype != theirs[name].dtype:
            raise ValueError(
                f"{name} is {tuple(weight.shape)} of {weight.dtype} and, in the model in place {place}, "
                f"{tuple(theirs[name].shape)} of {theirs[name].dtype}"
            )
