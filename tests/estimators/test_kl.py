"""k1, k2, k3: by hand, then exactly: what each is on average, and what its gradient is, as a loss."""

import math
import re

import pytest
import torch

from rlhf_mini.estimators import kl_k1, kl_k2, kl_k3
from rlhf_mini.exact import TablePolicy, ToyLanguage, expectation, kl_divergence
from rlhf_mini.tensors import masked_sum

F64 = torch.float64
LANGUAGE = ToyLanguage()
ESTIMATORS = [kl_k1, kl_k2, kl_k3]


def two_policies() -> tuple[TablePolicy, TablePolicy]:
    generator = torch.Generator().manual_seed(0)
    return TablePolicy.random(LANGUAGE, generator=generator), TablePolicy.random(
        LANGUAGE, generator=generator
    )


def average(estimator, policy, reference) -> torch.Tensor:
    """E over texts drawn from the policy of the sum over tokens; no gradient comes from the draw."""
    logp, logp_ref = LANGUAGE.token_logp(policy), LANGUAGE.token_logp(reference)
    per_text = masked_sum(estimator(logp, logp_ref), LANGUAGE.response, dim=1)
    return expectation(logp.sum(1).detach(), per_text)


def test_by_hand():
    # π = 1/2, π_ref = 1/8: log π − log π_ref = 2 log 2; r = 1/4.
    # k1 = 2 log 2;  k2 = (2 log 2)²/2 = 2 log²2;  k3 = 1/4 − 1 + 2 log 2.
    logp, logp_ref = torch.tensor([[0.5]], dtype=F64).log(), torch.tensor([[0.125]], dtype=F64).log()
    assert math.isclose(kl_k1(logp, logp_ref).item(), 2 * math.log(2))
    assert math.isclose(kl_k2(logp, logp_ref).item(), 2 * math.log(2) ** 2)
    assert math.isclose(kl_k3(logp, logp_ref).item(), -0.75 + 2 * math.log(2))


def test_by_hand_the_other_way():
    # π = 1/8, π_ref = 1/2: r = 4. k1 = −2 log 2 is negative; k2 = 2 log²2;  k3 = 4 − 1 − 2 log 2.
    logp, logp_ref = torch.tensor([[0.125]], dtype=F64).log(), torch.tensor([[0.5]], dtype=F64).log()
    assert math.isclose(kl_k1(logp, logp_ref).item(), -2 * math.log(2))
    assert math.isclose(kl_k2(logp, logp_ref).item(), 2 * math.log(2) ** 2)
    assert math.isclose(kl_k3(logp, logp_ref).item(), 3 - 2 * math.log(2))


def test_k3_keeps_its_digits_in_float32():
    # d = −10⁻³ in the log-ratio: k3 = d²/2 + d³/6 … = 4.9983·10⁻⁷; exp(d) − 1 − d would keep one digit of it.
    logp = torch.tensor([[0.0]])
    k3 = kl_k3(logp, logp - 1e-3).item()
    assert math.isclose(k3, 4.998334e-7, rel_tol=1e-3)


@pytest.mark.parametrize("estimator", [kl_k1, kl_k3])
def test_k1_and_k3_are_right_on_average(estimator):
    policy, reference = two_policies()
    exact = kl_divergence(LANGUAGE.sequence_logp(policy), LANGUAGE.sequence_logp(reference))
    torch.testing.assert_close(average(estimator, policy, reference), exact, rtol=1e-12, atol=0)
    assert exact > 0.5


def test_k2_is_biased_and_nearly_right_nearby():
    policy, reference = two_policies()
    exact = kl_divergence(LANGUAGE.sequence_logp(policy), LANGUAGE.sequence_logp(reference))
    assert abs(average(kl_k2, policy, reference) / exact - 1) > 0.05
    near = TablePolicy(LANGUAGE, reference.logits + 1e-3 * policy.logits)
    exact = kl_divergence(LANGUAGE.sequence_logp(near), LANGUAGE.sequence_logp(reference))
    # The first term that differs is of third order: a thousandth of the KL, times a number near 1.
    assert abs(average(kl_k2, near, reference) / exact - 1) < 3e-3


def gradient(value: torch.Tensor, policy: TablePolicy) -> torch.Tensor:
    return torch.autograd.grad(value, policy.logits)[0]


def test_as_a_loss_k1_has_no_gradient_on_average():
    policy, reference = two_policies()
    found = gradient(average(kl_k1, policy, reference), policy)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-15)


def test_as_a_loss_k2_has_the_gradient_of_the_kl_within_each_state():
    # ∇E_s[Σ_a π log π/π_ref] with the states as drawn: k2's gradient is E[(log π − log π_ref) ∇ log π].
    policy, reference = two_policies()
    found = gradient(average(kl_k2, policy, reference), policy)
    expected = gradient(kl_within_states(policy, reference), policy)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_as_a_loss_k3_has_the_gradient_of_the_other_direction():
    policy, reference = two_policies()
    found = gradient(average(kl_k3, policy, reference), policy)
    expected = gradient(kl_within_states(policy, reference, swapped=True), policy)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    right_direction = gradient(kl_within_states(policy, reference), policy)
    assert (found - right_direction).abs().max() > 0.01


def test_on_whole_texts_the_gradients_are_those_of_the_sequence_kl():
    # The same three statements with one number a text, (B, 1): then the states do not move.
    policy, reference = two_policies()
    logp, logp_ref = LANGUAGE.sequence_logp(policy), LANGUAGE.sequence_logp(reference).detach()

    def of_loss(estimator) -> torch.Tensor:
        value = expectation(logp.detach(), estimator(logp[:, None], logp_ref[:, None])[:, 0])
        return torch.autograd.grad(value, policy.logits, retain_graph=True)[0]

    reverse = torch.autograd.grad(kl_divergence(logp, logp_ref), policy.logits, retain_graph=True)[0]
    forward = torch.autograd.grad(kl_divergence(logp_ref, logp), policy.logits, retain_graph=True)[0]
    close = {"rtol": 1e-12, "atol": 1e-15}
    torch.testing.assert_close(of_loss(kl_k1), torch.zeros_like(reverse), **close)
    torch.testing.assert_close(of_loss(kl_k2), reverse, **close)
    torch.testing.assert_close(of_loss(kl_k3), forward, **close)
    assert (forward - reverse).abs().max() > 0.01


def kl_within_states(policy, reference, *, swapped: bool = False) -> torch.Tensor:
    """Σ_s d(s) KL(π(·|s) ‖ π_ref(·|s)), the states' chances d(s) held fixed; swapped: KL(π_ref ‖ π)."""
    visits = torch.zeros(len(LANGUAGE.states) + 1, dtype=F64)
    chance = LANGUAGE.sequence_logp(policy).detach().exp()[:, None].expand_as(LANGUAGE.response)
    visits.index_add_(0, LANGUAGE.state_before[LANGUAGE.response], chance[LANGUAGE.response])
    logp, logp_ref = policy.logits.log_softmax(-1), reference.logits.detach().log_softmax(-1)
    first, second = (logp_ref, logp) if swapped else (logp, logp_ref)
    return (visits[:-1] * (first.exp() * (first - second)).sum(-1)).sum()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_zero_at_the_reference_and_sign(estimator):
    logp, logp_ref = -torch.rand(2, 10, 10, generator=torch.Generator().manual_seed(0), dtype=F64)
    assert (estimator(logp, logp) == 0).all()
    if estimator is not kl_k1:
        assert (estimator(logp, logp_ref) > 0).all()
    assert torch.autograd.gradcheck(estimator, (logp.requires_grad_(), logp_ref.requires_grad_()))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_unequal_shapes_are_refused(estimator, unchecked):
    with pytest.raises(ValueError, match=re.escape("logp (2, 3), logp_ref (2, 1)")):
        estimator(torch.zeros(2, 3), torch.zeros(2, 1))
