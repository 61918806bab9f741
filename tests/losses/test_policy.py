"""PPO's losses: every case by hand, and held against the exact policy gradient of a toy language."""

import math
import re

import pytest
import torch

from rlhf_mini.exact import (
    TablePolicy,
    ToyLanguage,
    expectation,
    policy_gradient,
    values_and_advantages,
)
from rlhf_mini.losses import clip_fraction, ppo_policy_loss, ppo_value_loss
from rlhf_mini.tensors import masked_sum, zero_off_mask

F64 = torch.float64
# The four corners and the middle, with ε = 1/5:
# ratio, advantage, loss −min(ρA, clip(ρ)A), its slope in log π, whether clipping silences it.
CORNERS = [
    (2.0, 3.0, -3.6, 0.0, 1.0),  # too likely and good: clipped at 6/5 · 3
    (2.0, -3.0, 6.0, 6.0, 0.0),  # too likely and bad: not clipped, or it would never be corrected
    (0.5, 3.0, -1.5, -1.5, 0.0),  # too unlikely and good: not clipped
    (0.5, -3.0, 2.4, 0.0, 1.0),  # too unlikely and bad: clipped at 4/5 · 3
    (1.1, 3.0, -3.3, -3.3, 0.0),  # within the range
    (0.9, -3.0, 2.7, 2.7, 0.0),
    (2.0, 0.0, 0.0, 0.0, 0.0),  # no advantage, nothing to silence
    (0.5, 0.0, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "slope", "silenced"), CORNERS)
def test_policy_loss_by_hand(ratio, advantage, loss, slope, silenced):
    logp_old = torch.tensor([[-1.0]], dtype=F64)
    logp = (logp_old + math.log(ratio)).requires_grad_()
    advantages = torch.tensor([[advantage]], dtype=F64)
    computed = ppo_policy_loss(logp, logp_old, advantages, clip_range=0.2)
    assert math.isclose(computed.item(), loss, rel_tol=1e-12)
    assert math.isclose(torch.autograd.grad(computed.sum(), logp)[0].item(), slope, rel_tol=1e-12)
    fraction = clip_fraction(logp, logp_old, advantages, clip_range=0.2)
    assert fraction.tolist() == [[silenced]]
    assert not fraction.requires_grad


def test_clip_fraction_is_where_the_gradient_is_silent():
    generator = torch.Generator().manual_seed(0)
    logp, logp_old, advantages = torch.randn(3, 20, 20, generator=generator, dtype=F64)
    logp.requires_grad_()
    loss = ppo_policy_loss(logp, logp_old, advantages, clip_range=0.3)
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    assert torch.equal(clip_fraction(logp, logp_old, advantages, clip_range=0.3) == 1, gradient == 0)


def test_at_the_very_edge_nothing_is_silenced():
    logp_old = torch.zeros(1, 1, dtype=F64)
    for sign in (1.0, -1.0):
        logp = (logp_old + sign * 0.3).requires_grad_()
        advantages, clip_range = (
            logp_old + sign,
            abs(logp.exp().item() - 1),
        )  # exact, so that the ratio is the edge
        loss = ppo_policy_loss(logp, logp_old, advantages, clip_range=clip_range)
        assert torch.autograd.grad(loss.sum(), logp)[0].item() != 0
        assert clip_fraction(logp, logp_old, advantages, clip_range=clip_range).item() == 0


def test_clip_fraction_keeps_the_dtype():
    zeros = torch.zeros(1, 1)
    assert clip_fraction(zeros, zeros, zeros, clip_range=0.2).dtype == torch.float32
    assert clip_fraction(zeros.double(), zeros.double(), zeros.double(), clip_range=0.2).dtype == F64


# With ε = 1: value, value before, return, loss ½ max(…), slope in the value.
@pytest.mark.parametrize(
    ("value", "value_old", "target", "loss", "slope"),
    [
        (0.5, 0.0, 3.0, 0.5 * 2.5**2, -2.5),  # within the range: the plain square, 1/2 · (1/2 − 3)²
        (
            2.0,
            0.0,
            3.0,
            0.5 * 2.0**2,
            0.0,
        ),  # moved 2 towards the target: clipped at 1, 1/2 · (1 − 3)², silent
        (-2.0, 0.0, 3.0, 0.5 * 5.0**2, -5.0),  # moved 2 away: not clipped, 1/2 · (−2 − 3)²
        (-2.0, 0.0, -3.0, 0.5 * 2.0**2, 0.0),  # moved 2 down towards the target: clipped at −1
        (2.0, 0.0, -3.0, 0.5 * 5.0**2, 5.0),
    ],
)
def test_value_loss_by_hand(value, value_old, target, loss, slope):
    values = torch.tensor([[value]], dtype=F64, requires_grad=True)
    computed = ppo_value_loss(
        values, torch.tensor([[value_old]], dtype=F64), torch.tensor([[target]], dtype=F64), clip_range=1.0
    )
    assert computed.item() == loss
    assert torch.autograd.grad(computed.sum(), values)[0].item() == slope


# ---- held against a language whose every text is listed

LANGUAGE = ToyLanguage()
REWARDS = LANGUAGE.score(lambda text: text.count(2) - 0.3 * len(text) + (text[0] == 1) * (text[-1] == 0))


def exact_ingredients() -> tuple[TablePolicy, torch.Tensor, torch.Tensor]:
    policy = TablePolicy.random(LANGUAGE, generator=torch.Generator().manual_seed(0))
    logp = LANGUAGE.token_logp(policy)
    _, advantages = values_and_advantages(LANGUAGE, logp, LANGUAGE.at_last_token(REWARDS))
    return policy, logp, advantages.detach()


@pytest.mark.parametrize("baseline", [True, False])
def test_at_ratio_one_the_gradient_is_the_policy_gradient(baseline):
    # E[Σ_t A_t ∇ log π_t] = ∇ E[r]; and with the return for A too: a baseline changes nothing on average.
    policy, logp, advantages = exact_ingredients()
    if not baseline:
        advantages = zero_off_mask(REWARDS[:, None].expand_as(logp), LANGUAGE.response)
    losses = ppo_policy_loss(logp, logp.detach(), advantages, clip_range=0.2)
    expected = expectation(logp.sum(1).detach(), masked_sum(losses, LANGUAGE.response, dim=1))
    (gradient,) = torch.autograd.grad(expected, policy.logits, retain_graph=True)
    (exact,) = policy_gradient(LANGUAGE.sequence_logp(policy), REWARDS, policy.parameters())
    torch.testing.assert_close(gradient, -exact, rtol=1e-12, atol=1e-15)
    assert exact.abs().max() > 0.01


def test_one_step_of_the_loss_raises_the_expected_reward():
    policy, logp, advantages = exact_ingredients()
    losses = ppo_policy_loss(logp, logp.detach(), advantages, clip_range=0.2)
    expectation(logp.sum(1).detach(), masked_sum(losses, LANGUAGE.response, dim=1)).backward()
    stepped = TablePolicy(LANGUAGE, policy.logits - policy.logits.grad)
    before, after = (expectation(LANGUAGE.sequence_logp(p), REWARDS) for p in (policy, stepped))
    assert after > before + 0.01


def test_the_exact_values_minimise_the_value_loss():
    # With returns G sampled from the policy, E[Σ_t ½(V − G)²] has its minimum, gradient 0, at V = E[G | s].
    _, logp, _ = exact_ingredients()
    logp = logp.detach()
    values, _ = values_and_advantages(LANGUAGE, logp, LANGUAGE.at_last_token(REWARDS))
    table = torch.zeros(len(LANGUAGE.states), dtype=F64)
    table[LANGUAGE.state_before[LANGUAGE.response]] = values[LANGUAGE.response]
    table.requires_grad_()
    at_tokens = LANGUAGE.from_states(table)
    losses = ppo_value_loss(at_tokens, at_tokens, REWARDS[:, None].expand_as(logp), clip_range=0.2)
    expected = expectation(logp.sum(1), masked_sum(losses, LANGUAGE.response, dim=1))
    (gradient,) = torch.autograd.grad(expected, table)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


# ---- bad input


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.2, 1.5, math.nan])
def test_policy_clip_range_must_lie_between_0_and_1(bad):
    zeros = torch.zeros(1, 1)
    for function in (ppo_policy_loss, clip_fraction):
        with pytest.raises(
            ValueError, match=f"clip_range must lie between 0 and 1, as 0.2 does; received {bad}"
        ):
            function(zeros, zeros, zeros, clip_range=bad)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_value_clip_range_must_be_positive(bad):
    zeros = torch.zeros(1, 1)
    with pytest.raises(
        ValueError, match=f"clip_range must be above 0, in units of the reward; received {bad}"
    ):
        ppo_value_loss(zeros, zeros, zeros, clip_range=bad)
    ppo_value_loss(zeros, zeros, zeros, clip_range=5.0)


def test_clip_fraction_refuses_unequal_shapes(unchecked):
    with pytest.raises(ValueError, match=re.escape("logp (1, 1), logp_old (1, 2), advantages (1, 1)")):
        clip_fraction(torch.zeros(1, 1), torch.zeros(1, 2), torch.zeros(1, 1), clip_range=0.2)
