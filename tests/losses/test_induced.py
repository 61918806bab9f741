"""The loss of APA: by hand, its gradient and its minimum in a state of four actions."""

import inspect
import math

import pytest
import torch

from rlhf_mini.exact import kl_optimum
from rlhf_mini.losses import policy_gradient_loss
from rlhf_mini.losses.induced import apa_loss

F64 = torch.float64
INITIAL = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=F64).log()  # four actions in one state
ADVANTAGES = torch.tensor([0.3, -0.2, 0.8, 0.1], dtype=F64)
WEIGHT = 0.5


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def of_actions(logits, advantages=ADVANTAGES):
    """The loss of each action under softmax(logits), (4,)."""
    logp = logits.log_softmax(0)
    return apa_loss(logp[None], INITIAL[None], advantages[None], kl_weight=WEIGHT)[0]


def slope(logits, chances, advantages=ADVANTAGES):
    """The gradient of the expected loss, actions being drawn with these fixed chances."""
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((chances * of_actions(leaf, advantages)).sum(), leaf)
    return gradient


def test_by_hand():
    """λ = ½: (−1 + 2 − 0.5/0.5)² = 0, (−1 + 1 + 1/0.5)² = 4, (−3 + 1 − 0)² = 4."""
    logp, logp_init = torch.tensor([[-1.0, -1.0, -3.0]]), torch.tensor([[-2.0, -1.0, -1.0]])
    losses = apa_loss(logp, logp_init, torch.tensor([[0.5, -1.0, 0.0]]), kl_weight=0.5)
    assert losses.tolist() == [[0.0, 4.0, 4.0]]


def test_its_gradient_is_0_exactly_where_the_log_probability_is_the_induced_one():
    logp_init, advantages = -drawn(3, 4).abs(), drawn(3, 4, seed=1)
    for off in (0.0, 0.25, -0.25):
        logp = (logp_init + advantages / WEIGHT + off).requires_grad_()
        (gradient,) = torch.autograd.grad(apa_loss(logp, logp_init, advantages, kl_weight=WEIGHT).sum(), logp)
        torch.testing.assert_close(gradient, torch.full_like(gradient, 2 * off), rtol=0, atol=1e-12)


def test_its_gradient_is_the_policy_gradient_with_half_the_squared_log_ratio_as_penalty():
    logp_init, advantages = -drawn(3, 4).abs(), drawn(3, 4, seed=1)
    logp = (-drawn(3, 4, seed=2).abs()).requires_grad_()
    (ours,) = torch.autograd.grad(apa_loss(logp, logp_init, advantages, kl_weight=WEIGHT).sum(), logp)
    penalty = WEIGHT * 0.5 * (logp - logp_init).square()
    (theirs,) = torch.autograd.grad((policy_gradient_loss(logp, advantages) + penalty).sum(), logp)
    torch.testing.assert_close(ours, 2 / WEIGHT * theirs, rtol=1e-12, atol=1e-12)


def test_it_knows_no_ratio_and_no_clip():
    assert [*inspect.signature(apa_loss).parameters] == ["logp", "logp_init", "advantages", "kl_weight"]


def test_a_large_weight_holds_the_policy_at_the_initial_one():
    logp, logp_init = -drawn(3, 4).abs(), -drawn(3, 4, seed=1).abs()
    found = apa_loss(logp, logp_init, drawn(3, 4, seed=2), kl_weight=1e12)
    torch.testing.assert_close(found, (logp - logp_init).square(), rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------------ four actions, summed up


def centred():
    """Advantages under which π_init exp(A/λ) adds up to 1: less λ log Z."""
    return ADVANTAGES - WEIGHT * (INITIAL + ADVANTAGES / WEIGHT).logsumexp(0)


def test_where_the_induced_probabilities_add_up_to_1_they_are_the_minimum_whoever_draws():
    optimum = kl_optimum(INITIAL, ADVANTAGES, kl_weight=WEIGHT).logp
    assert of_actions(optimum, centred()).abs().max() < 1e-24
    for chances in (INITIAL.exp(), torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=F64)):
        assert slope(optimum, chances, centred()).abs().max() < 1e-12


def test_where_they_do_not_another_policy_s_draws_lead_past_the_optimum_and_one_s_own_do_not():
    """At the optimum every error is −log Z: its gradient is −2 log Z Σ p ∇log π, and 0 only if p is π."""
    optimum = kl_optimum(INITIAL, ADVANTAGES, kl_weight=WEIGHT)
    log_z = float(optimum.log_partition)
    assert log_z > 0.3
    errors = of_actions(optimum.logp)
    torch.testing.assert_close(errors, torch.full_like(errors, log_z**2), rtol=1e-12, atol=0)
    assert slope(optimum.logp, optimum.logp.exp()).abs().max() < 1e-12
    off_policy = slope(optimum.logp, INITIAL.exp())
    expected = -2 * log_z * (INITIAL.exp() - optimum.logp.exp())  # Σ p ∇log π = p − π, for logits
    torch.testing.assert_close(off_policy, expected, rtol=1e-9, atol=1e-12)
    assert off_policy.abs().max() > 0.1


def test_the_minimum_off_policy_is_found_and_is_not_the_optimum():
    """Down from the optimum the expected loss under the initial policy's draws still falls."""
    optimum, chances = kl_optimum(INITIAL, ADVANTAGES, kl_weight=WEIGHT).logp, INITIAL.exp()
    logits = optimum.clone()
    for _ in range(2000):
        logits = logits - 0.1 * slope(logits, chances)
    found = logits.log_softmax(0)
    assert slope(logits, chances).abs().max() < 1e-9
    assert (chances * of_actions(found)).sum() < (chances * of_actions(optimum)).sum() - 1e-3
    assert (found.exp() - optimum.exp()).abs().max() > 0.01


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_a_weight_that_is_not_above_0_is_refused(weight):
    zero = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="kl_weight must be above 0"):
        apa_loss(zero, zero, zero, kl_weight=weight)
