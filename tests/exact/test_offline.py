"""Where filtered and weighted likelihood lead: by hand, by gradient descent, and beside the KL optimum."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.exact import (
    TablePolicy,
    ToyLanguage,
    advantage_weighted_optimum,
    best_of_n,
    expectation,
    filtered_optimum,
    grow_and_improve,
    kl_divergence,
    kl_optimum,
    weighted_optimum,
)
from rlhf_mini.losses import advantage_weighted_loss, filtered_loss

F64 = torch.float64
CLOSE = {"rtol": 1e-10, "atol": 1e-11}
LANGUAGE = ToyLanguage(vocabulary=3, steps=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_logp(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, generator=generator(seed), dtype=F64).log_softmax(0)


def random_rewards(rows: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, generator=generator(seed), dtype=F64)


# ---- by hand


def test_filtering_by_hand():
    # Chances .1, .2, .3, .4 with rewards 1, 2, 2, 0; above 1: the second and third, .5 together.
    logp = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64).log()
    rewards = torch.tensor([1.0, 2.0, 2.0, 0.0], dtype=F64)
    found = filtered_optimum(logp, rewards, threshold=1.0)
    torch.testing.assert_close(found.logp.exp(), torch.tensor([0, 0.4, 0.6, 0], dtype=F64), **CLOSE)
    assert math.isclose(found.log_partition, math.log(0.5))
    assert math.isclose(kl_divergence(found.logp, logp), math.log(2), rel_tol=1e-12)


def test_advantage_weighting_by_hand():
    # Fair coin, rewards ±log 2: the baseline is 0, weights 2 and ½ at β = 1, so 4/5 and 1/5, Z = 5/4.
    coin, rewards = torch.tensor([0.5, 0.5], dtype=F64).log(), torch.tensor([2.0, 0.5], dtype=F64).log()
    found = advantage_weighted_optimum(coin, rewards, kl_weight=1.0)
    torch.testing.assert_close(found.logp.exp(), torch.tensor([0.8, 0.2], dtype=F64), **CLOSE)
    assert math.isclose(found.log_partition.exp(), 1.25)
    # Capped at 1, the weights are 1 and ½: 2/3 and 1/3.
    capped = advantage_weighted_optimum(coin, rewards, kl_weight=1.0, largest=1.0)
    torch.testing.assert_close(capped.logp.exp(), torch.tensor([2 / 3, 1 / 3], dtype=F64), **CLOSE)


def test_advantages_and_their_cap_against_plain_sums():
    logp, rewards = random_logp(6), random_rewards(6)
    chances, worth = logp.exp().tolist(), rewards.tolist()
    baseline = sum(p * r for p, r in zip(chances, worth, strict=True))
    weights = [min(math.exp((r - baseline) / 0.6), 1.1) for r in worth]
    assert 0 < weights.count(1.1) < 6
    partition = sum(p * w for p, w in zip(chances, weights, strict=True))
    found = advantage_weighted_optimum(logp, rewards, kl_weight=0.6, largest=1.1)
    expected = torch.tensor([p * w / partition for p, w in zip(chances, weights, strict=True)], dtype=F64)
    torch.testing.assert_close(found.logp.exp(), expected, **CLOSE)
    assert math.isclose(found.log_partition, math.log(partition), rel_tol=1e-10)


def test_growing_by_hand():
    # Six texts alike, rewards 1 … 6. Above 2: four left; above 4 of the same sample: two of six. The second
    # Grow draws from those two: above 5 is one of two.
    logp = torch.full((6,), 1 / 6, dtype=F64).log()
    rewards = torch.arange(1.0, 7.0, dtype=F64)
    (first, second), (third,) = grow_and_improve(logp, rewards, thresholds=[[2.0, 4.0], [5.0]])
    assert [round(math.exp(step.log_partition), 6) for step in (first, second, third)] == [
        0.666667,
        0.333333,
        0.5,
    ]
    torch.testing.assert_close(second.logp.exp()[4:], torch.tensor([0.5, 0.5], dtype=F64), **CLOSE)
    torch.testing.assert_close(third.logp.exp()[5:], torch.tensor([1.0], dtype=F64), **CLOSE)


# ---- properties


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(0, 28))
def test_the_price_of_filtering_is_the_logarithm_of_what_is_kept(seed, place):
    logp, rewards = random_logp(30, seed), random_rewards(30, seed + 1)
    threshold = float(rewards.sort().values[place])  # at least the highest reward lies above it
    found = filtered_optimum(logp, rewards, threshold=threshold)
    kept = sum(p for p, r in zip(logp.exp().tolist(), rewards.tolist(), strict=True) if r > threshold)
    assert math.isclose(kl_divergence(found.logp, logp), -math.log(kept), rel_tol=1e-9, abs_tol=1e-12)
    assert expectation(found.logp.exp().clamp(min=1e-300).log(), rewards) > threshold
    # Nothing else that stays above the threshold is nearer: any other choice among the kept costs more.
    other = weighted_optimum(found.logp, random_rewards(30, seed + 2)).logp
    assert kl_divergence(other, logp) >= kl_divergence(found.logp, logp) - 1e-12


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_advantage_weighting_without_a_cap_is_the_kl_optimum(seed, kl_weight):
    logp, rewards = random_logp(20, seed), random_rewards(20, seed + 1)
    found = advantage_weighted_optimum(logp, rewards, kl_weight=kl_weight)
    torch.testing.assert_close(found.logp, kl_optimum(logp, rewards, kl_weight=kl_weight).logp, **CLOSE)
    shifted = advantage_weighted_optimum(logp, rewards + 3.0, kl_weight=kl_weight)
    torch.testing.assert_close(found.logp, shifted.logp, rtol=1e-9, atol=1e-9)


def test_at_one_price_in_kl_weighting_beats_filtering():
    # kl_optimum maximises the reward among all policies that are as near: the filter is one of them.
    logp, rewards = random_logp(200), random_rewards(200)
    filtered = filtered_optimum(logp, rewards, threshold=0.5)
    price = float(kl_divergence(filtered.logp, logp))
    low, high = 0.01, 100.0
    for _ in range(60):  # bisection: the divergence falls with β
        middle = math.sqrt(low * high)
        spent = float(kl_divergence(advantage_weighted_optimum(logp, rewards, kl_weight=middle).logp, logp))
        low, high = (middle, high) if spent > price else (low, middle)
    weighted = advantage_weighted_optimum(logp, rewards, kl_weight=low)
    assert math.isclose(kl_divergence(weighted.logp, logp), price, rel_tol=1e-6)
    of_filter = (filtered.logp.exp() * rewards).sum()
    assert expectation(weighted.logp, rewards) > of_filter + 0.02


def test_only_the_last_threshold_of_a_grow_and_the_highest_of_all_matter():
    logp, rewards = random_logp(50), random_rewards(50)
    plain = filtered_optimum(logp, rewards, threshold=0.8).logp
    several = grow_and_improve(logp, rewards, thresholds=[[-1.0, 0.0, 0.8]])[-1][-1].logp
    torch.testing.assert_close(plain, several, **CLOSE)
    grown = grow_and_improve(logp, rewards, thresholds=[[0.0], [-0.5, 0.8], [0.3]])[-1][-1]
    torch.testing.assert_close(plain, grown.logp, **CLOSE)
    assert abs(grown.log_partition) < 1e-12  # the last Grow found nothing to leave out


def test_the_best_of_two_twice_is_the_best_of_four():
    # RAFT without error: two iterations of K = 2 are one of K = 4 (no two rewards tie).
    logp, rewards = random_logp(40), random_rewards(40)
    twice = best_of_n(best_of_n(logp, rewards, n=2), rewards, n=2)
    torch.testing.assert_close(twice, best_of_n(logp, rewards, n=4), **CLOSE)


# ---- the losses lead there


def descend(loss_of, steps: int = 60) -> torch.Tensor:
    """A table policy of the language, trained on the exact expectation of a loss; its log-probabilities."""
    policy = TablePolicy(LANGUAGE)
    optimizer = torch.optim.LBFGS(
        policy.parameters(), max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(LANGUAGE.sequence_logp(policy))
        loss.backward()
        return loss

    optimizer.step(closure)
    return LANGUAGE.sequence_logp(policy).detach()


def drawn_from() -> tuple[torch.Tensor, torch.Tensor]:
    behaviour = TablePolicy.random(LANGUAGE, generator=generator())
    return LANGUAGE.sequence_logp(behaviour).detach(), random_rewards(len(LANGUAGE.texts))


def test_advantage_weighted_regression_arrives_at_its_optimum():
    logp, rewards = drawn_from()
    for largest in (math.inf, 2.0):
        target = advantage_weighted_optimum(logp, rewards, kl_weight=0.8, largest=largest).logp
        advantages = rewards - expectation(logp, rewards)

        def loss_of(logp_new, advantages=advantages, largest=largest):
            losses = advantage_weighted_loss(logp_new, advantages, kl_weight=0.8, largest=largest)
            return (logp.exp() * losses).sum()

        assert kl_divergence(target, logp) > 0.05
        torch.testing.assert_close(descend(loss_of).exp(), target.exp(), rtol=0, atol=1e-5)


def test_filtered_cloning_arrives_at_its_optimum():
    logp, rewards = drawn_from()
    target = filtered_optimum(logp, rewards, threshold=0.0).logp
    reached = descend(lambda new: (logp.exp() * filtered_loss(new, rewards, threshold=0.0)).sum(), steps=200)
    # The target has zeros, which logits reach at infinity only.
    torch.testing.assert_close(reached.exp(), target.exp(), rtol=0, atol=1e-3)


# ---- bad input


def test_bad_input(unchecked):
    logp, rewards = random_logp(4), random_rewards(4)
    with pytest.raises(ValueError, match=re.escape("No reward lies above the threshold 99.0:")):
        filtered_optimum(logp, rewards, threshold=99.0)
    for bad in ([], [[0.0], []]):
        with pytest.raises(ValueError, match="thresholds needs a sequence for each Grow"):
            grow_and_improve(logp, rewards, thresholds=bad)
    for bad in (0.0, math.nan):
        with pytest.raises(ValueError, match=f"kl_weight must be above 0; received {bad}"):
            advantage_weighted_optimum(logp, rewards, kl_weight=bad)
        with pytest.raises(ValueError, match=f"largest must be above 0; received {bad}"):
            advantage_weighted_optimum(logp, rewards, kl_weight=1.0, largest=bad)
    nothing = torch.full((4,), -torch.inf, dtype=F64)
    with pytest.raises(ValueError, match="nothing is left to learn from"):
        weighted_optimum(logp, nothing)
    with pytest.raises(ValueError, match=re.escape("logp (4,), rewards (1, 4)")):
        filtered_optimum(logp, rewards[None], threshold=0.0)
    with pytest.raises(ValueError, match=re.escape("logp (4,), log_weights (1, 4)")):
        weighted_optimum(logp, rewards[None])
    with pytest.raises(ValueError, match=re.escape("logp (4,), rewards (1, 4)")):
        advantage_weighted_optimum(logp, rewards[None], kl_weight=1.0)
    for call in (
        lambda: advantage_weighted_optimum(logp - 1, rewards, kl_weight=1.0),
        lambda: weighted_optimum(logp - 1, rewards),
        lambda: filtered_optimum(logp - 1, rewards, threshold=-99.0),
    ):
        with pytest.raises(ValueError, match=re.escape("exp(logp) add up to 0.367879")):
            call()
