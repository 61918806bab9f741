"""Weights of likelihoods: by hand, at their bounds, and what they leave alone."""

import math
import re

import pytest
import torch

from rlhf_mini.losses import (
    advantage_weighted_loss,
    advantage_weights,
    filtered_loss,
    threshold_weights,
)

F64 = torch.float64


def test_threshold_weights_by_hand():
    rewards = torch.tensor([[0.0, 0.5], [0.50001, -2.0]])
    assert threshold_weights(rewards, threshold=0.5).tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert threshold_weights(rewards, threshold=-math.inf).all()
    assert threshold_weights(rewards, threshold=0.5).dtype == torch.float32
    right_or_wrong = torch.tensor([0.0, 1.0, 1.0])
    assert threshold_weights(right_or_wrong, threshold=0.0).tolist() == [0.0, 1.0, 1.0]


def test_advantage_weights_by_hand():
    # β = 2: exp(A/2) of A = 2 log 3, 0, −2 log 4 is 3, 1, 1/4; the cap 2 takes one from the first.
    advantages = torch.tensor([2 * math.log(3), 0.0, -2 * math.log(4)], dtype=F64)
    expected = torch.tensor([3.0, 1.0, 0.25], dtype=F64)
    torch.testing.assert_close(advantage_weights(advantages, kl_weight=2.0), expected, rtol=1e-12, atol=0)
    capped = advantage_weights(advantages, kl_weight=2.0, largest=2.0)
    torch.testing.assert_close(capped, expected.clamp(max=2), rtol=1e-12, atol=0)


def test_a_cap_keeps_weights_finite_and_is_never_passed():
    advantages = torch.tensor([1e9, 1e30, math.inf])
    assert (advantage_weights(advantages, kl_weight=1e-3, largest=20.0) <= 20).all()
    assert (advantage_weights(advantages, kl_weight=1e-3, largest=20.0) > 19.99).all()
    assert advantage_weights(torch.tensor([-1e9]), kl_weight=1e-3).tolist() == [0.0]


def test_a_cap_below_one_is_the_largest_weight_too():
    # exp(A) of A = log ¼, log 2, 5 is ¼, 2, 148, and at most a half counts
    advantages = torch.tensor([math.log(0.25), math.log(2), 5.0], dtype=F64)
    found = advantage_weights(advantages, kl_weight=1.0, largest=0.5)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.5, 0.5], dtype=F64), rtol=1e-12, atol=0)


def test_a_baseline_scales_all_weights_alike():
    advantages = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=F64)
    plain, shifted = (advantage_weights(advantages - b, kl_weight=0.5) for b in (0.0, 0.7))
    torch.testing.assert_close(shifted / plain, torch.full((6,), math.exp(-1.4), dtype=F64))


def test_losses_are_weights_times_surprise():
    generator = torch.Generator().manual_seed(1)
    logp = -torch.rand(50, generator=generator, dtype=F64)
    rewards = torch.randn(50, generator=generator, dtype=F64)
    kept = threshold_weights(rewards, threshold=0.3)
    assert 5 < kept.sum() < 45
    torch.testing.assert_close(filtered_loss(logp, rewards, threshold=0.3), -kept * logp)
    weights = advantage_weights(rewards, kl_weight=0.5, largest=4.0)
    assert (weights == 4).any()
    found = advantage_weighted_loss(logp, rewards, kl_weight=0.5, largest=4.0)
    torch.testing.assert_close(found, -weights * logp)


def test_an_answer_at_the_threshold_is_left_out():
    logp, rewards = torch.tensor([-2.0, -3.0]), torch.tensor([0.5, 0.75])
    assert filtered_loss(logp, rewards, threshold=0.5).tolist() == [0.0, 3.0]


def test_what_is_left_out_costs_nothing_however_impossible():
    logp = torch.tensor([-math.inf, -2.0], requires_grad=True)
    loss = filtered_loss(logp, torch.tensor([0.0, 1.0]), threshold=0.5)
    assert loss.tolist() == [0.0, 2.0]
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    assert gradient.tolist() == [0.0, -1.0]


def test_rewards_are_constants():
    logp, rewards = torch.tensor([-2.0], requires_grad=True), torch.tensor([0.5], requires_grad=True)
    assert not threshold_weights(rewards, threshold=0.0).requires_grad
    assert not advantage_weights(rewards, kl_weight=1.0).requires_grad
    loss = advantage_weighted_loss(logp, rewards, kl_weight=1.0).sum()
    assert torch.autograd.grad(loss, rewards, allow_unused=True) == (None,)


def test_bad_numbers_are_refused(unchecked):
    one = torch.zeros(1)
    for call in (threshold_weights, lambda r, **n: filtered_loss(one, r, **n)):
        with pytest.raises(ValueError, match="threshold must be a number"):
            call(one, threshold=math.nan)
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"kl_weight must be above 0; received {bad}"):
            advantage_weights(one, kl_weight=bad)
        with pytest.raises(ValueError, match=f"largest must be above 0; received {bad}"):
            advantage_weights(one, kl_weight=1.0, largest=bad)
    with pytest.raises(ValueError, match=re.escape("logp (1,), rewards (1, 1)")):
        filtered_loss(one, one[None], threshold=0.0)
