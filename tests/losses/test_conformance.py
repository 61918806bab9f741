"""One battery that every loss passes. A new loss joins by a line in ``LOSSES`` (and a reference beside it).

A line names the loss, its arguments in order, which of them training moves, its hyperparameters, and a plain
reference: the same formula on single numbers, in double precision, written with ``math`` only.

Arguments are drawn by name: ``logp…`` is negative, ``best`` and ``own`` number a column for each row,
``…_length`` is a number of tokens, ``desirable`` true or false, ``preference`` a probability, ``baseline``
one number of at least 0 for the whole batch; everything else has either sign. Losses per token get ``(3, 4)``
numbers, losses per sequence ``(5,)``, losses per ranking ``(5, 4)``: one loss a row there, which the plain
reference computes from the row. The references of direct alignment stand in ``direct_references.py``, those
of learning from one's own samples in ``own_samples_references.py``, those without a critic in
``group_references.py``.

A loss that stops a gradient inside has two faces: its value, and the function that its gradient is of.
``held`` is the latter, with what is stopped held fixed.
"""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import pytest
import torch

import tests.losses.direct_references as plain
import tests.losses.group_references as groups
import tests.losses.own_samples_references as own_samples
from rlhf_mini.losses import (
    advantage_weighted_loss,
    all_pairs_loss,
    best_answer_loss,
    best_of_k_loss,
    calibration_loss,
    cispo_loss,
    conservative_dpo_loss,
    contrastive_preference_loss,
    dpo_loss,
    filtered_loss,
    focal_pairwise_loss,
    implied_lead,
    instruction_contrast_loss,
    ipo_loss,
    kto_loss,
    length_regularised_dpo_loss,
    next_token_loss,
    odds_ratio_loss,
    pairwise_loss,
    plackett_luce_loss,
    policy_gradient_loss,
    ppo_policy_loss,
    ppo_value_loss,
    rating_loss,
    ratio_policy_loss,
    reweighted_kl_loss,
    robust_dpo_loss,
    rpo_backward_kl_loss,
    rpo_forward_kl_loss,
    rpo_squared_loss,
    rrhf_ranking_loss,
    score_penalty,
    simpo_loss,
    slic_loss,
    smoothed_token_loss,
    soft_preference_loss,
    two_bound_policy_loss,
    two_way_contrast_loss,
    value_loss,
)
from rlhf_mini.losses.induced import apa_loss
from rlhf_mini.losses.score_prior import squared_score_penalty
from rlhf_mini.tensors import masked_mean, zero_off_mask

F64 = torch.float64
TOKEN, SEQUENCE, RANKING = (3, 4), (5,), (5, 4)


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
    held: Callable[..., torch.Tensor] | None = (
        None  # tensors, what training moves → losses, as its gradient sees
    )

    @property
    def losses_shape(self) -> tuple[int, ...]:
        return self.shape[:1] if self.shape == RANKING else self.shape

    def of_entry(self, tensor: torch.Tensor, index: int) -> float | list[float]:
        """What the loss number `index` depends on: a number, or a row of them."""
        if tensor.ndim == 0:
            return float(tensor)
        return tensor[index].tolist() if self.shape == RANKING else float(tensor.flatten()[index])

    def __call__(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        by_place = [tensors[name] for name in self.arguments if name not in self.keywords]
        by_name = {name: tensors[name] for name in self.keywords}
        return self.loss(*by_place, **by_name, **self.options)

    def as_its_gradient_sees(self, at: dict[str, torch.Tensor], *trained: torch.Tensor) -> torch.Tensor:
        """The losses as a function of what training moves, all else as it is at ``at``."""
        if self.held is not None:
            return self.held(at, *trained)
        return self({**at, **dict(zip(self.trained, trained, strict=True))})

    def draw(self, *, seed: int = 0, dtype: torch.dtype = F64, scale: float = 1.0) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        drawn = {}
        for name in self.arguments:
            if name in ("best", "own"):
                drawn[name] = torch.randint(self.shape[1], self.shape[:1], generator=generator)
                continue
            if name.endswith("_length"):
                drawn[name] = torch.randint(1, 9, self.shape, generator=generator)
                continue
            shape = () if name == "baseline" else self.shape
            x = scale * torch.randn(shape, generator=generator, dtype=F64)
            if name.startswith("logp"):
                x = -x.abs()
            elif name == "baseline":
                x = x.abs()
            elif name == "preference":
                x = x.sigmoid()
            drawn[name] = x > 0 if name == "desirable" else x.to(dtype)
        return drawn


def language_reference(logp: float) -> float:
    return -logp


def pairwise_reference(chosen: float, rejected: float, margin: float = 0.0) -> float:
    return -math.log(1 / (1 + math.exp(-(chosen - rejected - margin))))


def soft_reference(first: float, second: float, preference: float) -> float:
    return preference * pairwise_reference(first, second) + (1 - preference) * pairwise_reference(
        second, first
    )


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


def focal_reference(chosen: float, rejected: float, focus: float) -> float:
    p = 1 / (1 + math.exp(-(chosen - rejected)))
    return -((1 - 2 * max(0.0, p - 0.5)) ** focus) * math.log(p)


def penalty_reference(score: float, limit: float) -> float:
    edge = 0.99 * limit
    if abs(score) <= edge:
        return -(math.log(score + limit) + math.log(limit - score))
    slope = 2 * edge / (limit**2 - edge**2)  # of −log(L² − x²)
    return -math.log(limit**2 - edge**2) + slope * (abs(score) - edge)


def all_pairs_reference(scores: list[float]) -> float:
    pairs = list(combinations(scores, 2))
    return sum(pairwise_reference(better, worse) for better, worse in pairs) / len(pairs)


def plackett_luce_reference(scores: list[float]) -> float:
    chance = 1.0
    for place, score in enumerate(scores):
        chance *= math.exp(score) / sum(math.exp(left) for left in scores[place:])
    return -math.log(chance)


def best_of_k_reference(scores: list[float], best: int) -> float:
    return -math.log(math.exp(scores[best]) / sum(math.exp(score) for score in scores))


PAIR, MARGIN = ("chosen", "rejected"), ("margin",)
SCORES = ("scores",)
LENGTHS = ("chosen_length", "rejected_length")
REWARDS = ("reward_chosen", "reward_rejected")
LOGPS = ("logp_chosen", "logp_rejected")
UNPAIRED = ("log_ratios", "desirable", "baseline")
BETA, SCALED = {"kl_weight": 0.3}, {"kl_weight": 0.3, "reward_scale": 2.0}
WEIGHTS = {"desirable_weight": 1.5, "undesirable_weight": 0.5}
PPO = ("logp", "logp_old", "advantages")
VALUE = ("values", "values_old", "returns")
OWN = ("logp_own", "logp_other")
SLIC = ("logp_chosen", "logp_rejected", "logp_target")
LOSSES = {
    "language": Case(next_token_loss, language_reference, ("logp",), ("logp",), TOKEN),
    "pairwise": Case(pairwise_loss, pairwise_reference, PAIR, PAIR, SEQUENCE),
    "margin": Case(
        pairwise_loss, pairwise_reference, PAIR + MARGIN, PAIR + MARGIN, SEQUENCE, keywords=MARGIN
    ),
    "soft labels": Case(
        soft_preference_loss,
        soft_reference,
        ("first", "second", "preference"),
        ("first", "second"),
        SEQUENCE,
        keywords=("preference",),
    ),
    "focal": Case(focal_pairwise_loss, focal_reference, PAIR, PAIR, SEQUENCE, {"focus": 2.0}),
    "unfocused": Case(focal_pairwise_loss, focal_reference, PAIR, PAIR, SEQUENCE, {"focus": 0.0}),
    "Gaussian prior": Case(squared_score_penalty, lambda score: score**2, SCORES, SCORES, SEQUENCE),
    "penalty": Case(score_penalty, penalty_reference, SCORES, SCORES, SEQUENCE, {"limit": 1.0}),
    "rating": Case(rating_loss, squared_reference, ("scores", "ratings"), SCORES, SEQUENCE),
    "all pairs": Case(all_pairs_loss, all_pairs_reference, SCORES, SCORES, RANKING),
    "plackett-luce": Case(plackett_luce_loss, plackett_luce_reference, SCORES, SCORES, RANKING),
    "best of k": Case(best_of_k_loss, best_of_k_reference, ("scores", "best"), SCORES, RANKING),
    "policy gradient": Case(policy_gradient_loss, gradient_reference, ("logp", "weights"), ("logp",), TOKEN),
    "ratio policy": Case(ratio_policy_loss, ratio_reference, PPO, ("logp",), TOKEN),
    "value": Case(value_loss, squared_reference, ("values", "returns"), ("values",), TOKEN),
    "ppo policy": Case(ppo_policy_loss, policy_reference, PPO, ("logp",), TOKEN, {"clip_range": 0.2}),
    "two bounds": Case(
        two_bound_policy_loss, groups.two_bounds, PPO, ("logp",), TOKEN, {"clip_low": 0.2, "clip_high": 0.4}
    ),
    "two bounds, an answer each": Case(
        two_bound_policy_loss,
        groups.two_bounds,
        PPO,
        ("logp",),
        SEQUENCE,
        {"clip_low": 0.1, "clip_high": 0.3},
    ),
    "cispo": Case(
        cispo_loss,
        groups.cispo,
        PPO,
        ("logp",),
        TOKEN,
        {"clip_high": 0.5},
        held=groups.cispo_with_its_weight_fixed,
    ),
    "reweighted kl": Case(
        reweighted_kl_loss, groups.reweighted_kl, ("logp", "logp_old", "logp_ref"), ("logp",), TOKEN
    ),
    "smoothed": Case(
        smoothed_token_loss,
        own_samples.smoothed,
        ("logp", "logp_mean"),
        ("logp", "logp_mean"),
        TOKEN,
        {"label_smoothing": 0.2},
    ),
    "two-way contrast": Case(
        two_way_contrast_loss, own_samples.two_way, OWN, OWN, SEQUENCE, {"label_smoothing": 0.2}
    ),
    "instruction contrast": Case(
        instruction_contrast_loss,
        own_samples.instructions,
        ("logp", "own"),
        ("logp",),
        RANKING,
        {"label_smoothing": 0.2},
    ),
    "rrhf": Case(rrhf_ranking_loss, own_samples.rrhf, ("logp_mean", "rewards"), ("logp_mean",), RANKING),
    "best answer": Case(best_answer_loss, own_samples.best_answer, ("logp", "rewards"), ("logp",), RANKING),
    "slic": Case(slic_loss, own_samples.slic, SLIC, SLIC, SEQUENCE, {"margin": 1.0, "target_weight": 0.5}),
    "filtered": Case(
        filtered_loss, own_samples.filtered, ("logp", "rewards"), ("logp",), SEQUENCE, {"threshold": 0.1}
    ),
    "advantage weighted": Case(
        advantage_weighted_loss,
        own_samples.advantage_weighted,
        ("logp", "advantages"),
        ("logp",),
        SEQUENCE,
        {"kl_weight": 0.7, "largest": 2.0},
    ),
    "ppo value": Case(ppo_value_loss, value_reference, VALUE, ("values",), TOKEN, {"clip_range": 0.2}),
    "implied lead": Case(implied_lead, plain.lead, PAIR, PAIR, SEQUENCE, BETA),
    "dpo": Case(dpo_loss, plain.dpo, PAIR, PAIR, SEQUENCE, BETA),
    "cdpo": Case(conservative_dpo_loss, plain.conservative, PAIR, PAIR, SEQUENCE, BETA | {"flip_rate": 0.2}),
    "robust dpo": Case(robust_dpo_loss, plain.robust, PAIR, PAIR, SEQUENCE, BETA | {"flip_rate": 0.2}),
    "ipo": Case(ipo_loss, plain.ipo, PAIR, PAIR, SEQUENCE, BETA),
    "r-dpo": Case(
        length_regularised_dpo_loss,
        plain.by_length,
        PAIR + LENGTHS,
        PAIR,
        SEQUENCE,
        BETA | {"length_weight": 0.1},
    ),
    "calibration": Case(calibration_loss, plain.hinge, PAIR, PAIR, SEQUENCE, {"margin": 1.0}),
    "rpo backward": Case(rpo_backward_kl_loss, plain.rpo_backward, PAIR + REWARDS, PAIR, SEQUENCE, SCALED),
    "rpo forward": Case(rpo_forward_kl_loss, plain.rpo_forward, PAIR + REWARDS, PAIR, SEQUENCE, SCALED),
    "rpo squared": Case(rpo_squared_loss, plain.rpo_squared, PAIR + REWARDS, PAIR, SEQUENCE, SCALED),
    "kto": Case(kto_loss, plain.kto, UNPAIRED, ("log_ratios",), SEQUENCE, BETA | WEIGHTS),
    "simpo": Case(simpo_loss, plain.simpo, LOGPS, LOGPS, SEQUENCE, {"scale": 2.0, "margin": 0.5}),
    "orpo": Case(odds_ratio_loss, plain.odds_ratio, LOGPS, LOGPS, SEQUENCE),
    "cpl": Case(
        contrastive_preference_loss,
        plain.cpl,
        LOGPS,
        LOGPS,
        SEQUENCE,
        {"temperature": 0.4, "conservatism": 0.5},
    ),
    "APA": Case(
        apa_loss,
        lambda logp, logp_init, advantage, kl_weight: (logp - logp_init - advantage / kl_weight) ** 2,
        ("logp", "logp_init", "advantages"),
        ("logp",),
        TOKEN,
        {"kl_weight": 0.4},
    ),
}


def in_float32(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: x.float() if x.is_floating_point() else x for name, x in tensors.items()}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def case(request) -> Case:
    return request.param


def test_equals_the_plain_reference(case):
    for seed in range(5):
        tensors = case.draw(seed=seed)
        losses = case(tensors).flatten()
        for index, loss in enumerate(losses):
            numbers = [case.of_entry(tensors[name], index) for name in case.arguments]
            assert math.isclose(
                loss, case.reference(*numbers, *case.options.values()), rel_tol=1e-11, abs_tol=1e-12
            )


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_is_not_reduced_and_keeps_the_dtype(case, dtype):
    losses = case(case.draw(dtype=dtype))
    assert losses.shape == case.losses_shape
    assert losses.dtype == dtype


def test_float32_agrees_with_float64(case):
    tensors = case.draw()
    single = case(in_float32(tensors))
    torch.testing.assert_close(single.double(), case(tensors), rtol=1e-5, atol=1e-6)


def test_gradients_are_right_and_go_only_where_training_moves(case):
    tensors = case.draw()
    leaves = {name: x.requires_grad_() for name, x in tensors.items() if x.is_floating_point()}
    gradients = torch.autograd.grad(case(tensors).sum(), list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        assert (gradient is not None and bool((gradient != 0).any())) == (name in case.trained), name
    constants = {name: x.detach().clone() for name, x in tensors.items()}  # gradcheck writes into its inputs

    def of_trained(*trained: torch.Tensor) -> torch.Tensor:
        return case.as_its_gradient_sees(constants, *trained)

    moved = [tensors[name] for name in case.trained]
    assert torch.autograd.gradcheck(of_trained, moved)
    expected = torch.autograd.grad(of_trained(*moved).sum(), moved)
    for gradient, name in zip(expected, case.trained, strict=True):
        torch.testing.assert_close(gradient, gradients[list(leaves).index(name)], rtol=1e-12, atol=1e-12)


def test_each_entry_depends_on_its_own_arguments_only(case):
    for name in case.trained:
        tensors = case.draw()

        def of_one(x: torch.Tensor, name: str = name, tensors: dict = tensors) -> torch.Tensor:
            return case({**tensors, name: x}).flatten()

        jacobian = torch.autograd.functional.jacobian(of_one, tensors[name])
        jacobian = jacobian.reshape(len(jacobian), len(jacobian), -1)  # loss, entry or row, place in the row
        own = torch.eye(len(jacobian), dtype=torch.bool)
        assert (jacobian[~own] == 0).all()


def test_one_step_down_lowers_it(case):
    tensors = {name: x.requires_grad_(name in case.trained) for name, x in case.draw().items()}
    before = case(tensors).mean()
    gradients = torch.autograd.grad(before, [tensors[name] for name in case.trained])
    stepped = [tensors[name] - 0.01 * g for name, g in zip(case.trained, gradients, strict=True)]
    assert case.as_its_gradient_sees({n: x.detach() for n, x in tensors.items()}, *stepped).mean() < before


def test_batch_order_is_irrelevant(case):
    tensors = case.draw()
    order = torch.randperm(case.shape[0], generator=torch.Generator().manual_seed(7))
    reordered = {name: x[order] if x.ndim else x for name, x in tensors.items()}
    assert torch.equal(case(reordered), case(tensors)[order])


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_junk_under_the_mask_changes_neither_value_nor_gradient(case, junk):
    mask = torch.rand(case.losses_shape, generator=torch.Generator().manual_seed(3)) < 0.6
    entries = mask.view(*mask.shape, *(1 for _ in case.shape[mask.ndim :])).expand(case.shape)
    results = []
    for filler in (0.0, junk):
        tensors = case.draw()
        for name, x in tensors.items():
            if x.is_floating_point() and x.ndim:
                tensors[name] = torch.where(entries, x, filler)
        leaves = [tensors[name].requires_grad_() for name in case.trained]
        after = masked_mean(case(tensors), mask)  # the junk goes through the loss, and the mean leaves it out
        gradients = [gradient[mask] for gradient in torch.autograd.grad(after, leaves)]
        emptied = {
            name: zero_off_mask(x, entries) if x.is_floating_point() and x.ndim else x
            for name, x in tensors.items()
        }
        before = masked_mean(case(emptied), mask)
        clean = torch.autograd.grad(before, leaves)  # the junk is left out before: nothing of it anywhere
        assert all((gradient[~mask] == 0).all() for gradient in clean)
        results.append([after.detach(), before.detach(), *gradients, *clean])
    for undisturbed, disturbed in zip(*results, strict=True):
        assert torch.equal(undisturbed, disturbed)


def test_large_arguments_stay_finite(case):
    tensors = {name: x.requires_grad_(name in case.trained) for name, x in case.draw(scale=30.0).items()}
    losses = case(in_float32(tensors))
    assert torch.isfinite(losses).all()
    gradients = torch.autograd.grad(losses.sum(), [tensors[name] for name in case.trained])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_unequal_shapes_are_refused_by_name(case, unchecked):
    for name in set(case.arguments[1:]) - {"best", "own", "baseline"}:  # these have their own message
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
