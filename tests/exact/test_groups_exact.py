"""What groups do to a gradient, summed and not sampled: which baseline is right, and two biases."""

import math
from itertools import product

import pytest
import torch

from rlhf_mini.estimators import (
    batch_mean_advantages,
    group_mean_advantages,
    group_scaled_advantages,
    leave_one_out_advantages,
)
from rlhf_mini.exact import TablePolicy, ToyLanguage, expectation, expected_in_group, policy_gradient

F64 = torch.float64
LANGUAGE = ToyLanguage(vocabulary=3, steps=2)  # seven texts of one or two tokens
POLICY = TablePolicy.random(LANGUAGE, generator=torch.Generator().manual_seed(1))
LOGP = LANGUAGE.sequence_logp(POLICY)
LENGTHS = LANGUAGE.response.sum(1).double()
REWARDS = torch.tensor([0.0, 1.0, 0.5, 1.0, 0.0, 0.5, 1.0], dtype=F64)  # three kinds
BOTH = torch.stack([REWARDS, LENGTHS], dim=1)


def of_rewards(advantages):
    return lambda seen: advantages(seen[..., 0])


def gradient(weights: torch.Tensor) -> torch.Tensor:
    """Σ_y π(y) w(y) ∇ log π(y): what a method climbs on average."""
    return policy_gradient(LOGP, weights, POLICY.parameters())[0]


def along(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The cosine between two gradients."""
    return float((found * expected).sum() / found.norm() / expected.norm())


@pytest.mark.parametrize("group", [1, 2, 3])
def test_equals_the_sum_over_all_groups_of_texts(group):
    def weigh(seen: torch.Tensor) -> torch.Tensor:
        """Anything that depends on everybody: who is above the others' longest, say."""
        rewards, lengths = seen.unbind(-1)
        return (rewards - 0.3 * lengths.sum(1, keepdim=True)) * lengths / (rewards.sum(1, keepdim=True) + 1)

    found = expected_in_group(LOGP, BOTH, weigh, group=group)
    chance = LOGP.detach().exp()
    for text in range(len(LOGP)):
        expected = 0.0
        for others in product(range(len(LOGP)), repeat=group - 1):
            seen = BOTH[torch.tensor([text, *others])][None]
            expected += float(math.prod(chance[list(others)].tolist()) * weigh(seen)[0, 0])
        assert math.isclose(found[text], expected, rel_tol=1e-10)
    assert not found.requires_grad


@pytest.mark.parametrize("group", [2, 5, 16])
def test_leaving_one_out_is_the_policy_gradient_and_the_mean_falls_short(group):
    exact = gradient(REWARDS)
    left_out = expected_in_group(LOGP, BOTH[:, :1], of_rewards(leave_one_out_advantages), group=group)
    torch.testing.assert_close(gradient(left_out), exact, rtol=1e-9, atol=1e-12)
    mean = expected_in_group(LOGP, BOTH[:, :1], of_rewards(group_mean_advantages), group=group)
    torch.testing.assert_close(gradient(mean), (1 - 1 / group) * exact, rtol=1e-9, atol=1e-12)
    # One batch of so many answers: its mean holds 1/N of each, as a group's does.
    batch = expected_in_group(
        LOGP,
        BOTH[:, :1],
        lambda seen: torch.stack([batch_mean_advantages(one[:, 0][None])[0] for one in seen]),
        group=group,
    )
    torch.testing.assert_close(batch, mean)
    assert exact.abs().max() > 0.05


def scaled_slope(p: float, group: int) -> float:
    """GRPO's gradient in units of ∇p, for rewards 0 and 1 and a chance p of 1: a sum over how many are right.

    With k right of G, the right ones gain (1 − k/G)/s and the wrong ones lose (k/G)/s, s = √(k/G (1 − k/G));
    E[A_1 | 1 right] − E[A_1 | 1 wrong] is what ∇p is multiplied with.
    """
    right = wrong = 0.0
    for others in range(group):
        chance = math.comb(group - 1, others) * p**others * (1 - p) ** (group - 1 - others)
        for own in (0, 1):
            share = (others + own) / group
            spread = math.sqrt(share * (1 - share))
            gain = (own - share) / spread if spread else 0.0
            if own:
                right += chance * gain
            else:
                wrong += chance * gain
    return right - wrong


@pytest.mark.parametrize("group", [4, 64])
def test_dividing_by_the_spread_lifts_hard_and_easy_prompts(group):
    scale = of_rewards(lambda r: group_scaled_advantages(r, unbiased=False, floor=1e-12))
    slopes = {}
    for p in (0.5, 0.1):
        logits = torch.tensor([math.log(p), math.log(1 - p)], dtype=F64, requires_grad=True)
        logp, right = logits.log_softmax(0), torch.tensor([[1.0], [0.0]], dtype=F64)
        weights = expected_in_group(logp, right, scale, group=group)
        (found,) = policy_gradient(logp, weights, [logits])
        (exact,) = policy_gradient(logp, right[:, 0], [logits])
        slopes[p] = float(found[0] / exact[0])
        assert math.isclose(slopes[p], scaled_slope(p, group), rel_tol=1e-9)
    assert slopes[0.1] > slopes[0.5] * (1.2 if group == 64 else 1.0)
    if group == 64:  # of large groups: 1/√(p(1 − p)), the slope of 2 arcsin √p
        assert slopes[0.5] == pytest.approx(2.0, rel=0.03)
        assert slopes[0.1] == pytest.approx(1 / 0.3, rel=0.1)


def test_with_more_than_two_rewards_the_spread_turns_the_direction():
    exact = gradient(REWARDS)
    scale = of_rewards(lambda r: group_scaled_advantages(r, unbiased=False, floor=1e-12))
    turned = gradient(expected_in_group(LOGP, BOTH[:, :1], scale, group=4))
    assert along(turned, exact) < 0.9999
    left_out = expected_in_group(LOGP, BOTH[:, :1], of_rewards(leave_one_out_advantages), group=4)
    assert along(gradient(left_out), exact) == pytest.approx(1.0, abs=1e-12)


# ---- length: the first token decides who is right, and then nothing is left to learn

LONG = ToyLanguage(vocabulary=3, steps=3)


def long_slopes(weigh) -> tuple[float, float]:
    """What a method does to the logit of ending at the second token, after a right first and a wrong one."""
    policy = TablePolicy.random(LONG, generator=torch.Generator().manual_seed(2))
    logp, lengths = LONG.sequence_logp(policy), LONG.response.sum(1).double()
    right = LONG.score(lambda text: float(text[0] == 1))
    weights = expected_in_group(logp, torch.stack([right, lengths], 1), weigh, group=4)
    (climbed,) = policy_gradient(logp, weights, policy.parameters())
    assert float(expectation(logp, right).detach()) > 0.05
    return tuple(float(climbed[LONG.states.index(state), 0]) for state in ((1,), (2,)))


def advantage(seen: torch.Tensor) -> torch.Tensor:
    return group_mean_advantages(seen[..., 0])


def test_a_sum_over_tokens_leaves_the_length_alone():
    for weigh in (advantage, of_rewards(leave_one_out_advantages), lambda seen: advantage(seen) / 3):
        assert long_slopes(weigh) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_a_mean_over_each_answers_tokens_makes_wrong_ones_long_and_right_ones_short():
    right, wrong = long_slopes(lambda seen: advantage(seen) / seen[..., 1])
    assert right > 1e-3  # ending gets likelier where all is right
    assert wrong < -1e-3  # and less likely where all is lost


def test_a_mean_over_all_tokens_has_a_smaller_bias_of_its_own():
    by_answer = long_slopes(lambda seen: advantage(seen) / seen[..., 1])
    by_token = long_slopes(lambda seen: advantage(seen) * 4 / seen[..., 1].sum(1, keepdim=True))
    for answer, token in zip(by_answer, by_token, strict=True):
        assert 1e-6 < abs(token) < 0.5 * abs(answer)


# ---- bad input


def test_bad_input(unchecked):
    with pytest.raises(ValueError, match="add up to"):
        expected_in_group(LOGP - 1, BOTH, advantage, group=2)
    for features, group in ((BOTH[1:], 2), (BOTH, 0)):
        with pytest.raises(ValueError, match="one row of features a text"):
            expected_in_group(LOGP, features, advantage, group=group)
    with pytest.raises(ValueError, match=r"weigh must give one weight to each member, \(6, 3\)"):
        expected_in_group(LOGP, BOTH[:, :1], lambda seen: seen.sum(1), group=3)
    with pytest.raises(ValueError, match="more than 200000 groups"):
        expected_in_group(LOGP, torch.arange(7.0, dtype=F64)[:, None], advantage, group=64)
