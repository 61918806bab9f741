"""Two bounds, a bounded weight and KL in the loss: by hand, and against exact sums on a toy language."""

import math

import pytest
import torch

from rlhf_mini.estimators import kl_k1, kl_k2, kl_k3
from rlhf_mini.exact import TablePolicy, ToyLanguage, expectation, policy_gradient, values_and_advantages
from rlhf_mini.losses import cispo_loss, ppo_policy_loss, reweighted_kl_loss, two_bound_policy_loss
from rlhf_mini.tensors import masked_mean, masked_sum, zero_off_mask

F64 = torch.float64
# With ε_low = 1/5 and ε_high = 1/2: ratio, advantage, loss −min(ρA, clip(ρ)A), its slope in log π.
CORNERS = [
    (2.0, 3.0, -4.5, 0.0),  # clipped at 3/2 · 3
    (1.4, 3.0, -4.2, -4.2),  # PPO would clip it at 6/5; here it is within the range
    (2.0, -3.0, 6.0, 6.0),  # too likely and bad: never clipped
    (0.5, 3.0, -1.5, -1.5),
    (0.5, -3.0, 2.4, 0.0),  # clipped at 4/5 · 3
    (0.7, -3.0, 2.4, 0.0),  # the lower bound is still 4/5
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "slope"), CORNERS)
def test_two_bounds_by_hand(ratio, advantage, loss, slope):
    logp_old = torch.tensor([[-1.0]], dtype=F64)
    logp = (logp_old + math.log(ratio)).requires_grad_()
    advantages = torch.tensor([[advantage]], dtype=F64)
    computed = two_bound_policy_loss(logp, logp_old, advantages, clip_low=0.2, clip_high=0.5)
    assert math.isclose(computed.item(), loss, rel_tol=1e-12)
    assert math.isclose(torch.autograd.grad(computed.sum(), logp)[0].item(), slope, rel_tol=1e-12)


# With ε_high = 1/2, log π = −1: ratio, advantage, loss −min(ρ, 3/2) A log π, slope −min(ρ, 3/2) A.
@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [(2.0, 3.0, 4.5, -4.5), (2.0, -3.0, -4.5, 4.5), (0.5, 3.0, 1.5, -1.5), (1.0, 3.0, 3.0, -3.0)],
)
def test_cispo_by_hand(ratio, advantage, loss, slope):
    logp = torch.tensor([[-1.0]], dtype=F64, requires_grad=True)
    logp_old = logp.detach() - math.log(ratio)
    computed = cispo_loss(logp, logp_old, torch.tensor([[advantage]], dtype=F64), clip_high=0.5)
    assert math.isclose(computed.item(), loss, rel_tol=1e-12)
    assert math.isclose(torch.autograd.grad(computed.sum(), logp)[0].item(), slope, rel_tol=1e-12)


def random(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 20, 20, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_equal_bounds_are_ppos():
    logp, logp_old, advantages = random()
    ours = two_bound_policy_loss(logp, logp_old, advantages, clip_low=0.2, clip_high=0.2)
    assert torch.equal(ours, ppo_policy_loss(logp, logp_old, advantages, clip_range=0.2))


def test_without_bounds_it_is_the_ratio_and_cispo_has_its_gradient():
    logp, logp_old, advantages = random()
    logp.requires_grad_()
    free = two_bound_policy_loss(logp, logp_old, advantages, clip_low=1.0, clip_high=math.inf)
    torch.testing.assert_close(free, -(logp - logp_old).exp() * advantages)
    weighted = cispo_loss(logp, logp_old, advantages, clip_high=math.inf)
    one, other = (torch.autograd.grad(loss.sum(), logp)[0] for loss in (free, weighted))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_cispo_never_falls_silent_and_two_bounds_do():
    logp, logp_old, advantages = random()
    logp.requires_grad_()
    clipped = two_bound_policy_loss(logp, logp_old, advantages, clip_low=0.2, clip_high=0.2)
    weighted = cispo_loss(logp, logp_old, advantages, clip_high=0.2)
    silent, loud = (torch.autograd.grad(loss.sum(), logp)[0] == 0 for loss in (clipped, weighted))
    assert silent.double().mean() > 0.2
    assert not loud.any()


# ---- held against a language whose every text is listed

LANGUAGE = ToyLanguage()
REWARDS = LANGUAGE.score(lambda text: text.count(2) - 0.3 * len(text) + (text[0] == 1) * (text[-1] == 0))


def table(seed: int) -> TablePolicy:
    return TablePolicy.random(LANGUAGE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "loss",
    [
        lambda logp, old, a: two_bound_policy_loss(logp, old, a, clip_low=0.2, clip_high=0.28),
        lambda logp, old, a: cispo_loss(logp, old, a, clip_high=1.0),
    ],
)
def test_at_ratio_one_the_gradient_is_the_policy_gradient(loss):
    policy = table(0)
    logp = LANGUAGE.token_logp(policy)
    _, advantages = values_and_advantages(LANGUAGE, logp, LANGUAGE.at_last_token(REWARDS))
    losses = loss(logp, logp.detach(), advantages.detach())
    expected = expectation(logp.sum(1).detach(), masked_sum(losses, LANGUAGE.response, dim=1))
    (gradient,) = torch.autograd.grad(expected, policy.logits, retain_graph=True)
    (exact,) = policy_gradient(LANGUAGE.sequence_logp(policy), REWARDS, policy.parameters())
    torch.testing.assert_close(gradient, -exact, rtol=1e-11, atol=1e-14)
    assert exact.abs().max() > 0.01


def test_a_mean_over_tokens_at_ratio_one_divides_by_the_length():
    """GSPO: the gradient of exp(mean log-ratio) A is A/|y| ∇ log π(y)."""
    policy = table(0)
    logp = LANGUAGE.token_logp(policy)
    means = masked_mean(logp, LANGUAGE.response, dim=1)
    losses = two_bound_policy_loss(means, means.detach(), REWARDS, clip_low=0.1, clip_high=0.1)
    (gradient,) = torch.autograd.grad(losses.sum(), policy.logits)
    by_length = REWARDS / LANGUAGE.response.sum(1)
    (expected,) = torch.autograd.grad((by_length * LANGUAGE.sequence_logp(policy)).sum(), policy.logits)
    torch.testing.assert_close(gradient, -expected, rtol=1e-11, atol=1e-13)


def kl_gradients(loss) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """At one state, three tokens: the loss's expected gradient off policy, and KL's in both directions."""
    generator = torch.Generator().manual_seed(3)
    logits, old, ref = torch.randn(3, 1, 3, generator=generator, dtype=F64)
    logits.requires_grad_()
    logp, logp_old, logp_ref = logits.log_softmax(1), old.log_softmax(1), ref.log_softmax(1)
    expected = (logp_old.exp() * loss(logp, logp_old, logp_ref)).sum()
    reverse, forward = (
        (logp.exp() * (logp - logp_ref)).sum(),
        (logp_ref.exp() * (logp_ref - logp)).sum(),
    )
    found, *both = (
        torch.autograd.grad(one, logits, retain_graph=True)[0] for one in (expected, reverse, forward)
    )
    return found, *both


def test_only_the_reweighted_estimator_has_the_gradient_of_kl_off_policy():
    found, reverse, _ = kl_gradients(reweighted_kl_loss)
    torch.testing.assert_close(found, reverse, rtol=1e-12, atol=1e-14)
    for estimator in (kl_k1, kl_k2, kl_k3):
        found, reverse, _ = kl_gradients(lambda logp, old, ref, k=estimator: k(logp, ref))
        assert (found - reverse).abs().max() > 0.05


def test_at_ratio_one_each_estimator_has_the_gradient_that_the_table_says():
    logits, ref = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(3), dtype=F64)
    logits.requires_grad_()
    logp, logp_ref = logits.log_softmax(1), ref.log_softmax(1)
    reverse, forward = (
        torch.autograd.grad(kl, logits, retain_graph=True)[0]
        for kl in ((logp.exp() * (logp - logp_ref)).sum(), (logp_ref.exp() * (logp_ref - logp)).sum())
    )
    nothing = torch.zeros_like(reverse)
    for loss, expected in (
        (kl_k1(logp, logp_ref), nothing),
        (kl_k2(logp, logp_ref), reverse),
        (kl_k3(logp, logp_ref), forward),
        (reweighted_kl_loss(logp, logp.detach(), logp_ref), reverse),
    ):
        (found,) = torch.autograd.grad((logp.exp().detach() * loss).sum(), logits, retain_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert (reverse - forward).abs().max() > 0.05


def test_reweighted_kl_keeps_its_digits_near_the_reference():
    logp = torch.zeros(1, 1)
    found = reweighted_kl_loss(logp, logp, logp + 1e-3)  # e^x − 1 − x = x²/2 + x³/6 at x = 1e-3
    assert math.isclose(found.item(), 5.00167e-7, rel_tol=1e-3)


def test_one_step_raises_the_expected_reward():
    policy = table(0)
    logp = LANGUAGE.token_logp(policy)
    advantages = zero_off_mask(REWARDS[:, None].expand_as(logp), LANGUAGE.response)
    losses = cispo_loss(logp, logp.detach(), advantages, clip_high=1.0)
    expectation(logp.sum(1).detach(), masked_sum(losses, LANGUAGE.response, dim=1)).backward()
    stepped = TablePolicy(LANGUAGE, policy.logits - policy.logits.grad)
    before, after = (expectation(LANGUAGE.sequence_logp(p), REWARDS) for p in (policy, stepped))
    assert after > before + 0.01


# ---- bad input


@pytest.mark.parametrize("bad", [0.0, 1.5, -0.2, math.nan])
def test_the_lower_bound_must_lie_between_0_and_1(bad):
    zeros = torch.zeros(1, 1)
    with pytest.raises(
        ValueError, match=f"clip_low must be above 0 and at most 1, as 0.2 is; received {bad}"
    ):
        two_bound_policy_loss(zeros, zeros, zeros, clip_low=bad, clip_high=0.2)
    two_bound_policy_loss(zeros, zeros, zeros, clip_low=1.0, clip_high=0.2)


@pytest.mark.parametrize("bad", [0.0, -0.2, math.nan])
def test_the_upper_bound_must_be_positive(bad):
    zeros = torch.zeros(1, 1)
    for call in (
        lambda: two_bound_policy_loss(zeros, zeros, zeros, clip_low=0.2, clip_high=bad),
        lambda: cispo_loss(zeros, zeros, zeros, clip_high=bad),
    ):
        with pytest.raises(ValueError, match=f"clip_high must be above 0, as 0.28 is; received {bad}"):
            call()
