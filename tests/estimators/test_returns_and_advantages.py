"""Returns and GAE: by hand, against plain loops that follow the definitions, and at both ends of λ."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.estimators import discounted_returns, gae

F64 = torch.float64
JUNK = [math.nan, math.inf, -math.inf, 1e30]
REWARDS = torch.tensor([[5.0, 1.0, 2.0, 4.0, 9.0]], dtype=F64)
VALUES = torch.tensor([[7.0, 1.0, 3.0, 2.0, 8.0]], dtype=F64)
MIDDLE = torch.tensor([[False, True, True, True, False]])  # a prompt, three steps, padding
HOLE = torch.tensor([[True, False, True, True, False]])  # two responses with a question between them


def loop_returns(rewards: list[float], discount: float) -> list[float]:
    """G_t = Σ_l γ^l r_{t+l}, the definition, term by term."""
    steps = range(len(rewards))
    return [math.fsum(discount ** (later - t) * rewards[later] for later in steps[t:]) for t in steps]


def loop_gae(rewards: list[float], values: list[float], discount: float, lam: float) -> list[float]:
    """A_t = Σ_l (γλ)^l δ_{t+l}, eq. 16 of the paper, term by term."""
    after = [*values[1:], 0.0] if values else []
    delta = [r + discount * w - v for r, v, w in zip(rewards, values, after, strict=True)]
    steps = range(len(rewards))
    return [math.fsum((discount * lam) ** (later - t) * delta[later] for later in steps[t:]) for t in steps]


@st.composite
def episodes(draw):
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 6)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    rewards, values = torch.randn(2, *shape, generator=generator, dtype=F64)
    return rewards, values, torch.rand(shape, generator=generator) < 0.7


# ---- returns


def test_returns_by_hand():
    # γ = 1/2, from the end: 4; 2 + 4/2 = 4; 1 + 4/2 = 3.
    returns = discounted_returns(REWARDS, MIDDLE, discount=0.5)
    assert returns.tolist() == [[0.0, 3.0, 4.0, 4.0, 0.0]]


def test_returns_pass_over_what_is_no_step():
    # Steps are 5, 2, 4: 4; 2 + 4/2 = 4; 5 + 4/2 = 7. The hole discounts nothing.
    returns = discounted_returns(REWARDS, HOLE, discount=0.5)
    assert returns.tolist() == [[7.0, 0.0, 4.0, 4.0, 0.0]]


def test_returns_at_both_ends_of_the_discount():
    assert discounted_returns(REWARDS, MIDDLE, discount=0.0).tolist() == [[0.0, 1.0, 2.0, 4.0, 0.0]]
    assert discounted_returns(REWARDS, MIDDLE, discount=1.0).tolist() == [[0.0, 7.0, 6.0, 4.0, 0.0]]


@settings(deadline=None, max_examples=40)
@given(episodes(), st.floats(0, 1), st.floats(0, 1))
def test_returns_and_gae_against_plain_loops(episode, discount, lam):
    rewards, values, mask = episode
    returns = discounted_returns(rewards, mask, discount=discount)
    advantages, targets = gae(rewards, values, mask, discount=discount, gae_lambda=lam)
    for row, counts in enumerate(mask):
        r, v = rewards[row][counts].tolist(), values[row][counts].tolist()
        close = {"rtol": 1e-12, "atol": 1e-12}
        expected = torch.tensor(loop_returns(r, discount), dtype=F64)
        torch.testing.assert_close(returns[row][counts], expected, **close)
        expected = torch.tensor(loop_gae(r, v, discount, lam), dtype=F64)
        torch.testing.assert_close(advantages[row][counts], expected, **close)
        torch.testing.assert_close(targets[row][counts], expected + values[row][counts], **close)
    for result in (returns, advantages, targets):
        assert (result[~mask] == 0).all()


# ---- generalised advantage estimation


def test_gae_by_hand():
    # γ = 1, λ = 1/2, steps with r = 1, 2, 4 and V = 1, 3, 2, and 0 behind the end.
    # δ from the end: 4 + 0 − 2 = 2;  2 + 2 − 3 = 1;  1 + 3 − 1 = 3.
    # A from the end: 2;  1 + 2/2 = 2;  3 + 2/2 = 4.   R = A + V: 4, 5, 5.
    advantages, returns = gae(REWARDS, VALUES, MIDDLE, discount=1.0, gae_lambda=0.5)
    assert advantages.tolist() == [[0.0, 4.0, 2.0, 2.0, 0.0]]
    assert returns.tolist() == [[0.0, 5.0, 5.0, 4.0, 0.0]]


def test_gae_by_hand_with_a_discount_and_a_hole():
    # γ = 1/2, λ = 1/2, steps with r = 5, 2, 4 and V = 7, 3, 2.
    # δ from the end: 4 − 2 = 2;  2 + 2/2 − 3 = 0;  5 + 3/2 − 7 = −1/2.
    # A from the end, γλ = 1/4: 2;  0 + 2/4 = 1/2;  −1/2 + (1/2)/4 = −3/8.
    advantages, returns = gae(REWARDS, VALUES, HOLE, discount=0.5, gae_lambda=0.5)
    assert advantages.tolist() == [[-0.375, 0.0, 0.5, 2.0, 0.0]]
    assert returns.tolist() == [[6.625, 0.0, 3.5, 4.0, 0.0]]


def test_lambda_zero_is_the_one_step_error():
    # δ as above, with γ = 1: 3, 1, 2.
    advantages, _ = gae(REWARDS, VALUES, MIDDLE, discount=1.0, gae_lambda=0.0)
    assert advantages.tolist() == [[0.0, 3.0, 1.0, 2.0, 0.0]]


@settings(deadline=None, max_examples=40)
@given(episodes(), st.floats(0, 1))
def test_lambda_one_is_the_return_less_the_value(episode, discount):
    rewards, values, mask = episode
    advantages, returns = gae(rewards, values, mask, discount=discount, gae_lambda=1.0)
    monte_carlo = discounted_returns(rewards, mask, discount=discount)
    torch.testing.assert_close(returns, monte_carlo, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        advantages, torch.where(mask, monte_carlo - values, 0.0), rtol=1e-12, atol=1e-12
    )


@settings(deadline=None, max_examples=40)
@given(episodes(), st.floats(0, 1), st.floats(0, 1))
def test_true_values_of_a_certain_course_leave_no_advantage(episode, discount, lam):
    rewards, _, mask = episode
    values = discounted_returns(rewards, mask, discount=discount)
    advantages, _ = gae(rewards, values, mask, discount=discount, gae_lambda=lam)
    torch.testing.assert_close(advantages, torch.zeros_like(rewards), rtol=0, atol=1e-12)


ESTIMATES = [
    lambda r, v, m: discounted_returns(r, m, discount=0.9),
    lambda r, v, m: gae(r, v, m, discount=0.9, gae_lambda=0.8)[0],
    lambda r, v, m: gae(r, v, m, discount=0.9, gae_lambda=0.8)[1],
]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("mask", [MIDDLE, HOLE])
def test_junk_under_the_mask_changes_neither_value_nor_gradient(estimate, mask, junk):
    found = []
    for filler in (0.0, junk):
        rewards = torch.where(mask, REWARDS, filler).requires_grad_()
        values = torch.where(mask, VALUES, filler).requires_grad_()
        result = estimate(rewards, values, mask)
        weighted = (result * torch.arange(1.0, 6.0, dtype=F64)).sum()
        gradients = torch.autograd.grad(weighted, [rewards, values], materialize_grads=True)
        found.append((result.detach(), *gradients))
    for clean, dirty in zip(*found, strict=True):
        assert torch.equal(clean, dirty)
        assert (dirty[~mask] == 0).all()


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_gradients_and_batch_order(estimate):
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 4, 5, generator=generator, dtype=F64)
    mask = torch.rand(4, 5, generator=generator) < 0.7
    order = torch.tensor([2, 0, 3, 1])
    shuffled = estimate(rewards[order], values[order], mask[order])
    assert torch.equal(shuffled, estimate(rewards, values, mask)[order])
    inputs = (rewards.requires_grad_(), values.requires_grad_())
    assert torch.autograd.gradcheck(lambda r, v: estimate(r, v, mask), inputs)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_nothing_counted_gives_zeros(estimate):
    assert estimate(REWARDS, VALUES, torch.zeros_like(MIDDLE)).tolist() == [[0.0] * 5]


# ---- bad input


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_discount_and_lambda_must_lie_between_0_and_1(bad):
    with pytest.raises(ValueError, match=f"discount must lie between 0 and 1; received {bad}"):
        discounted_returns(REWARDS, MIDDLE, discount=bad)
    with pytest.raises(ValueError, match=f"must lie between 0 and 1; received {bad} and 1.0"):
        gae(REWARDS, VALUES, MIDDLE, discount=bad, gae_lambda=1.0)
    with pytest.raises(ValueError, match=f"must lie between 0 and 1; received 0.5 and {bad}"):
        gae(REWARDS, VALUES, MIDDLE, discount=0.5, gae_lambda=bad)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_count_must_be_finite(bad):
    broken = REWARDS.clone()
    broken[0, 2] = bad
    with pytest.raises(ValueError, match=re.escape(f"rewards[0, 2] is {bad}, and it counts")):
        discounted_returns(broken, MIDDLE, discount=1.0)
    with pytest.raises(ValueError, match=re.escape(f"rewards[0, 2] is {bad}")):
        gae(broken, VALUES, MIDDLE, discount=1.0, gae_lambda=1.0)
    with pytest.raises(ValueError, match=re.escape(f"values[0, 2] is {bad}")):
        gae(REWARDS, broken, MIDDLE, discount=1.0, gae_lambda=1.0)


def test_shapes_and_masks_are_checked(unchecked):
    with pytest.raises(ValueError, match=re.escape("rewards (1, 5), mask (1, 4)")):
        discounted_returns(REWARDS, MIDDLE[:, 1:], discount=1.0)
    with pytest.raises(ValueError, match=re.escape("received torch.int64. Use mask.bool()")):
        discounted_returns(REWARDS, MIDDLE.long(), discount=1.0)
    with pytest.raises(ValueError, match=re.escape("rewards (1, 5), values (5,), mask (1, 5)")):
        gae(REWARDS, VALUES[0], MIDDLE, discount=1.0, gae_lambda=1.0)
    with pytest.raises(ValueError, match=re.escape("received torch.int64. Use mask.bool()")):
        gae(REWARDS, VALUES, MIDDLE.long(), discount=1.0, gae_lambda=1.0)
