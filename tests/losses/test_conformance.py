"""One battery that every loss passes. A new loss joins by a line in ``LOSSES`` (and a reference beside it).

A line names the loss, its arguments in order, which of them training moves, its hyperparameters, and a plain
reference: the same formula on single numbers, in double precision, written with ``math`` only.

Arguments are drawn by name: ``logp…`` is negative, everything else has either sign. Losses per token get
``(3, 4)`` numbers, losses per sequence ``(5,)``.
"""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from rlhf_mini.losses import (
    next_token_loss,
    pairwise_loss,
    policy_gradient_loss,
    ppo_policy_loss,
    ppo_value_loss,
    ratio_policy_loss,
    value_loss,
)
from rlhf_mini.tensors import masked_mean, zero_off_mask

F64 = torch.float64
TOKEN, SEQUENCE = (3, 4), (5,)


@dataclass(frozen=True)
class Case:
    """One loss, as the battery needs it."""

    loss: Callable[..., torch.Tensor]
    reference: Callable[..., float]
    arguments: tuple[str, ...]
    trained: tuple[str, ...]
    shape: tuple[int, ...]
    options: dict[str, float] = field(default_factory=dict)
    keywords: tuple[str, ...] = ()  # tensors passed by name

    def __call__(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        by_place = [tensors[name] for name in self.arguments if name not in self.keywords]
        by_name = {name: tensors[name] for name in self.keywords}
        return self.loss(*by_place, **by_name, **self.options)

    def draw(self, *, seed: int = 0, dtype: torch.dtype = F64, scale: float = 1.0) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        drawn = {
            name: scale * torch.randn(self.shape, generator=generator, dtype=F64) for name in self.arguments
        }
        return {name: (-x.abs() if name.startswith("logp") else x).to(dtype) for name, x in drawn.items()}


def language_reference(logp: float) -> float:
    return -logp


def pairwise_reference(chosen: float, rejected: float, margin: float = 0.0) -> float:
    return -math.log(1 / (1 + math.exp(-(chosen - rejected - margin))))


def policy_reference(logp: float, logp_old: float, advantage: float, clip_range: float) -> float:
    ratio = math.exp(logp) / math.exp(logp_old)
    clipped = min(max(ratio, 1 - clip_range), 1 + clip_range)
    return -min(ratio * advantage, clipped * advantage)


def value_reference(value: float, value_old: float, target: float, clip_range: float) -> float:
    clipped = min(max(value, value_old - clip_range), value_old + clip_range)
    return 0.5 * max((value - target) ** 2, (clipped - target) ** 2)


def gradient_reference(logp: float, weight: float) -> float:
    return -weight * logp


def ratio_reference(logp: float, logp_old: float, advantage: float) -> float:
    return -math.exp(logp) / math.exp(logp_old) * advantage


def squared_reference(value: float, target: float) -> float:
    return 0.5 * (value - target) ** 2


PAIR, MARGIN = ("chosen", "rejected"), ("margin",)
PPO = ("logp", "logp_old", "advantages")
VALUE = ("values", "values_old", "returns")
LOSSES = {
    "language": Case(next_token_loss, language_reference, ("logp",), ("logp",), TOKEN),
    "pairwise": Case(pairwise_loss, pairwise_reference, PAIR, PAIR, SEQUENCE),
    "margin": Case(
        pairwise_loss, pairwise_reference, PAIR + MARGIN, PAIR + MARGIN, SEQUENCE, keywords=MARGIN
    ),
    "policy gradient": Case(policy_gradient_loss, gradient_reference, ("logp", "weights"), ("logp",), TOKEN),
    "ratio policy": Case(ratio_policy_loss, ratio_reference, PPO, ("logp",), TOKEN),
    "value": Case(value_loss, squared_reference, ("values", "returns"), ("values",), TOKEN),
    "ppo policy": Case(ppo_policy_loss, policy_reference, PPO, ("logp",), TOKEN, {"clip_range": 0.2}),
    "ppo value": Case(ppo_value_loss, value_reference, VALUE, ("values",), TOKEN, {"clip_range": 0.2}),
}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def case(request) -> Case:
    return request.param


def test_equals_the_plain_reference(case):
    for seed in range(5):
        tensors = case.draw(seed=seed)
        losses = case(tensors).flatten()
        for index, loss in enumerate(losses):
            numbers = [float(tensors[name].flatten()[index]) for name in case.arguments]
            assert math.isclose(
                loss, case.reference(*numbers, *case.options.values()), rel_tol=1e-11, abs_tol=1e-12
            )


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_is_not_reduced_and_keeps_the_dtype(case, dtype):
    losses = case(case.draw(dtype=dtype))
    assert losses.shape == case.shape
    assert losses.dtype == dtype


def test_float32_agrees_with_float64(case):
    tensors = case.draw()
    single = case({name: x.float() for name, x in tensors.items()})
    torch.testing.assert_close(single.double(), case(tensors), rtol=1e-5, atol=1e-6)


def test_gradients_are_right_and_go_only_where_training_moves(case):
    tensors = {name: x.requires_grad_() for name, x in case.draw().items()}
    gradients = torch.autograd.grad(case(tensors).sum(), list(tensors.values()), allow_unused=True)
    for name, gradient in zip(tensors, gradients, strict=True):
        assert (gradient is not None and bool((gradient != 0).any())) == (name in case.trained), name
    constants = {name: x.detach() for name, x in tensors.items()}

    def of_trained(*trained: torch.Tensor) -> torch.Tensor:
        return case({**constants, **dict(zip(case.trained, trained, strict=True))})

    assert torch.autograd.gradcheck(of_trained, [tensors[name] for name in case.trained])


def test_each_entry_depends_on_its_own_arguments_only(case):
    for name in case.trained:
        tensors = case.draw()

        def of_one(x: torch.Tensor, name: str = name, tensors: dict = tensors) -> torch.Tensor:
            return case({**tensors, name: x}).flatten()

        jacobian = torch.autograd.functional.jacobian(of_one, tensors[name]).flatten(1)
        assert torch.equal(jacobian, torch.diag(jacobian.diagonal()))


def test_one_step_down_lowers_it(case):
    tensors = {name: x.requires_grad_(name in case.trained) for name, x in case.draw().items()}
    before = case(tensors).mean()
    gradients = torch.autograd.grad(before, [tensors[name] for name in case.trained])
    stepped = {name: tensors[name] - 0.01 * g for name, g in zip(case.trained, gradients, strict=True)}
    assert case({**tensors, **stepped}).mean() < before


def test_batch_order_is_irrelevant(case):
    tensors = case.draw()
    order = torch.randperm(case.shape[0], generator=torch.Generator().manual_seed(7))
    assert torch.equal(case({name: x[order] for name, x in tensors.items()}), case(tensors)[order])


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_junk_under_the_mask_changes_neither_value_nor_gradient(case, junk):
    mask = torch.rand(case.shape, generator=torch.Generator().manual_seed(3)) < 0.6
    results = []
    for filler in (0.0, junk):
        tensors = {name: torch.where(mask, x, filler) for name, x in case.draw().items()}
        leaves = [tensors[name].requires_grad_() for name in case.trained]
        after = masked_mean(case(tensors), mask)  # the junk goes through the loss, and the mean leaves it out
        gradients = [gradient[mask] for gradient in torch.autograd.grad(after, leaves)]
        before = masked_mean(case({name: zero_off_mask(x, mask) for name, x in tensors.items()}), mask)
        clean = torch.autograd.grad(before, leaves)  # the junk is left out before: nothing of it anywhere
        assert all((gradient[~mask] == 0).all() for gradient in clean)
        results.append([after.detach(), before.detach(), *gradients, *clean])
    for undisturbed, disturbed in zip(*results, strict=True):
        assert torch.equal(undisturbed, disturbed)


def test_large_arguments_stay_finite(case):
    tensors = {name: x.requires_grad_(name in case.trained) for name, x in case.draw(scale=30.0).items()}
    losses = case({name: x.float() for name, x in tensors.items()})
    assert torch.isfinite(losses).all()
    gradients = torch.autograd.grad(losses.sum(), [tensors[name] for name in case.trained])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_unequal_shapes_are_refused_by_name(case, unchecked):
    for name in case.arguments[1:]:
        tensors = case.draw()
        tensors[name] = tensors[name][..., None]
        message = f"These must share one shape: {case.arguments[0]} {case.shape}"
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            case(tensors)
        assert f"{name} {(*case.shape, 1)}" in str(caught.value)


def test_tensors_are_positional_and_numbers_keyword_only(case):
    for parameter in inspect.signature(case.loss).parameters.values():
        by_place = parameter.name in case.arguments and parameter.name not in case.keywords
        by_name_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert by_place != by_name_only, parameter.name
