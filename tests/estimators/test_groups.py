"""Advantages of groups and averages of token losses: by hand, by symmetry, against plain Python."""

import math
import re
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.estimators import (
    batch_mean_advantages,
    constant_length_mean,
    group_mean_advantages,
    group_scaled_advantages,
    leave_one_out_advantages,
    sequence_mean,
    sequence_sum,
    token_mean,
    without_spread,
)

F64 = torch.float64
BY_GROUP = (group_mean_advantages, group_scaled_advantages, leave_one_out_advantages)
ALL = (*BY_GROUP, batch_mean_advantages)


def drawn(seed: int = 0, *shape: int) -> torch.Tensor:
    return torch.randn(shape or (3, 4), generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_by_hand():
    rewards = torch.tensor([[4.0, 1.0, 1.0], [0.0, 2.0, 1.0]], dtype=F64)
    # Means 2 and 1. Without the answer itself: 1, 5/2, 5/2 and 3/2, 1/2, 1. Of all six: 3/2.
    assert group_mean_advantages(rewards).tolist() == [[2, -1, -1], [-1, 1, 0]]
    assert leave_one_out_advantages(rewards).tolist() == [[3, -1.5, -1.5], [-1.5, 1.5, 0]]
    assert batch_mean_advantages(rewards).tolist() == [[2.5, -0.5, -0.5], [-1.5, 0.5, -0.5]]
    # Squares 4 + 1 + 1 = 6 and 1 + 1 = 2; by 2 the variances 3 and 1, by 3 they are 2 and 2/3.
    found = group_scaled_advantages(rewards, floor=1e-12)
    expected = (
        torch.tensor([[2, -1, -1], [-1, 1, 0]], dtype=F64) / torch.tensor([[3.0], [1.0]], dtype=F64).sqrt()
    )
    torch.testing.assert_close(found, expected)
    found = group_scaled_advantages(rewards, unbiased=False, floor=0.5)
    torch.testing.assert_close(found[0], torch.tensor([2, -1, -1], dtype=F64) / (math.sqrt(2) + 0.5))


def test_against_plain_python():
    rewards = drawn(1, 4, 6)
    for row, *found in zip(
        rewards.tolist(),
        group_scaled_advantages(rewards),
        group_scaled_advantages(rewards, unbiased=False),
        leave_one_out_advantages(rewards),
        strict=True,
    ):
        mean = statistics.fmean(row)
        expected = (
            [(r - mean) / (statistics.stdev(row) + 1e-4) for r in row],
            [(r - mean) / (statistics.pstdev(row) + 1e-4) for r in row],
            [r - (sum(row) - r) / (len(row) - 1) for r in row],
        )
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.tolist() == pytest.approx(theirs, rel=1e-12)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(-100, 100), st.integers(2, 7))
def test_a_constant_added_to_a_prompts_rewards_changes_nothing(seed, constant, group):
    rewards = drawn(seed, 3, group)
    shift = torch.tensor([[constant], [0.0], [-constant]], dtype=F64)
    for advantages in BY_GROUP:
        torch.testing.assert_close(advantages(rewards + shift), advantages(rewards), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(advantages(rewards).sum(1), torch.zeros(3, dtype=F64), rtol=0, atol=1e-9)
    # One baseline for all prompts does notice it.
    if abs(constant) > 1:
        assert (batch_mean_advantages(rewards + shift) - batch_mean_advantages(rewards)).abs().max() > 0.5


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 7))
def test_leaving_one_out_is_the_mean_with_another_factor(seed, group):
    rewards = drawn(seed, 3, group)
    expected = group / (group - 1) * group_mean_advantages(rewards)
    torch.testing.assert_close(leave_one_out_advantages(rewards), expected)


def test_which_variance_is_one_factor_for_all_groups():
    rewards = drawn(2, 5, 4)
    by_more, by_less = (group_scaled_advantages(rewards, unbiased=u, floor=1e-12) for u in (False, True))
    torch.testing.assert_close(by_more, by_less * math.sqrt(4 / 3))


def test_the_order_of_answers_and_prompts_is_irrelevant():
    rewards = drawn(3, 4, 5)
    rows, columns = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    for advantages in ALL:
        torch.testing.assert_close(
            advantages(rewards[rows][:, columns]), advantages(rewards)[rows][:, columns]
        )


def test_equal_rewards_teach_nothing():
    rewards = torch.tensor([[0.1, 0.1, 0.1], [0.0, 1.0, 0.0]])
    assert without_spread(rewards).tolist() == [True, False]
    for advantages in BY_GROUP:
        assert advantages(rewards)[0].abs().max() < 1e-3
        assert advantages(rewards)[1].abs().max() > 0.3


def test_a_rare_success_is_scaled_up():
    """One right of four, or two: in units of their spread, √3/4 and 1/2, the right ones gain √3 and 1."""
    rewards = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0]], dtype=F64)
    scaled = group_scaled_advantages(rewards, unbiased=False, floor=1e-12)
    assert scaled[:, 0].tolist() == pytest.approx([math.sqrt(3), 1.0])
    assert group_mean_advantages(rewards)[:, 0].tolist() == [0.75, 0.5]


@pytest.mark.parametrize("advantages", [*ALL, without_spread])
def test_bad_rewards_are_refused(advantages, unchecked):
    for bad in (torch.zeros(3), torch.zeros(1, 1), torch.zeros(0, 3)):
        with pytest.raises(ValueError, match="rewards must be"):
            advantages(bad)
    with pytest.raises(ValueError, match=re.escape("rewards[1, 0] is nan")):
        advantages(torch.tensor([[0.0, 1.0], [math.nan, 1.0]]))


def test_a_floor_of_0_is_refused():
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(
            ValueError, match=f"floor must be above 0, or equal rewards give NaN; received {bad}"
        ):
            group_scaled_advantages(torch.zeros(1, 2), floor=bad)


# ---- averages

LOSSES = torch.tensor([[6.0, 99.0, 99.0], [1.0, 2.0, 3.0]], dtype=F64)
RESPONSE = torch.tensor([[True, False, False], [True, True, True]])


def test_averages_by_hand():
    assert sequence_mean(LOSSES, RESPONSE).item() == (6 + 2) / 2
    assert token_mean(LOSSES, RESPONSE).item() == 12 / 4
    assert sequence_sum(LOSSES, RESPONSE).item() == (6 + 6) / 2
    assert constant_length_mean(LOSSES, RESPONSE, length=4).item() == 6 / 4


def test_what_a_token_weighs():
    """The short answer's one token and each of the long one's three."""
    for average, short, long in (
        (sequence_mean, 1 / 2, 1 / 6),
        (token_mean, 1 / 4, 1 / 4),
        (sequence_sum, 1 / 2, 1 / 2),
        (lambda losses, mask: constant_length_mean(losses, mask, length=5), 1 / 10, 1 / 10),
    ):
        losses = LOSSES.clone().requires_grad_()
        (weights,) = torch.autograd.grad(average(losses, RESPONSE), losses)
        expected = torch.tensor([[short, 0, 0], [long] * 3], dtype=F64)
        torch.testing.assert_close(weights, expected)


def test_answers_of_equal_length_are_averaged_alike_but_for_a_factor():
    losses, mask = drawn(4), torch.ones(3, 4, dtype=torch.bool)
    mean = losses.mean()
    torch.testing.assert_close(sequence_mean(losses, mask), mean)
    torch.testing.assert_close(token_mean(losses, mask), mean)
    torch.testing.assert_close(constant_length_mean(losses, mask, length=4), mean)
    torch.testing.assert_close(sequence_sum(losses, mask), 4 * mean)


@pytest.mark.parametrize("junk", [math.nan, math.inf, -1e30])
def test_what_is_no_answer_changes_nothing(junk):
    disturbed = LOSSES.masked_fill(~RESPONSE, junk)
    for average in (sequence_mean, token_mean, sequence_sum):
        assert torch.equal(average(disturbed, RESPONSE), average(LOSSES, RESPONSE))


def test_an_empty_answer():
    empty = torch.tensor([[False, False, False], [True, True, True]])
    with pytest.raises(ValueError, match="no True entry"):
        sequence_mean(LOSSES, empty)
    assert sequence_sum(LOSSES, empty).item() == 3.0
    with pytest.raises(ValueError, match="no True entry"):
        token_mean(LOSSES, torch.zeros_like(empty))


@pytest.mark.parametrize("bad", [0, -3, math.nan])
def test_the_one_length_must_be_positive(bad):
    with pytest.raises(ValueError, match=f"length must be above 0, the same for all answers; received {bad}"):
        constant_length_mean(LOSSES, RESPONSE, length=bad)
