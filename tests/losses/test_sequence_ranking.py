"""RRHF's and SLiC's losses: by hand, where they stop pushing, and what their second terms are for."""

import itertools
import math
import re

import pytest
import torch

from rlhf_mini.losses import best_answer_loss, rrhf_ranking_loss, slic_loss

F64 = torch.float64


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def of(*rows):
    return torch.tensor(rows, dtype=F64)


# ---- RRHF


def test_ranking_by_hand():
    # Rewards 1 < 2 < 3; means −1, −4, −2. Wrong: (1, 2) by 3 and (1, 3) by 1; right: (2, 3).
    assert rrhf_ranking_loss(of([-1.0, -4.0, -2.0]), of([1.0, 2.0, 3.0])).tolist() == [4.0]
    # The same answers listed in another order.
    assert rrhf_ranking_loss(of([-2.0, -1.0, -4.0]), of([3.0, 1.0, 2.0])).tolist() == [4.0]


def test_ranking_gradient_by_hand():
    # Answer 1 is too likely beside two others (+2), answers 2 and 3 too unlikely beside one each (−1).
    logp = of([-1.0, -4.0, -2.0]).requires_grad_()
    (gradient,) = torch.autograd.grad(rrhf_ranking_loss(logp, of([1.0, 2.0, 3.0])).sum(), logp)
    assert gradient.tolist() == [[2.0, -1.0, -1.0]]


def test_two_answers_are_enough():
    # The better answer is behind by 3; in the other row the order is right.
    logp, rewards = of([-1.0, -4.0], [-4.0, -1.0]), of([0.0, 1.0], [0.0, 1.0])
    assert rrhf_ranking_loss(logp, rewards).tolist() == [3.0, 0.0]
    assert best_answer_loss(logp, rewards).tolist() == [4.0, 1.0]


def test_every_order_of_three_answers():
    rewards = of([0.0, 1.0, 2.0])
    for means in itertools.permutations((-3.0, -2.0, -1.0)):
        inversions = sum(max(0.0, means[i] - means[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
        assert rrhf_ranking_loss(of(list(means)), rewards).tolist() == [inversions]


def test_equal_rewards_are_not_compared_and_their_size_does_not_matter():
    means = -randn(4, 5).abs()
    assert rrhf_ranking_loss(means, torch.zeros(4, 5, dtype=F64)).tolist() == [0.0] * 4
    rewards = randn(4, 5, seed=1)
    stretched = torch.exp(3 * rewards)  # any rising function
    assert torch.equal(rrhf_ranking_loss(means, rewards), rrhf_ranking_loss(means, stretched))


def test_it_is_the_released_formula():
    # The authors' program: differences of scores where the reward's sign is the other way, summed.
    means, rewards = -randn(6, 4).abs(), randn(6, 4, seed=1)
    difference = means.unsqueeze(1) - means.unsqueeze(-1)
    of_rewards = rewards.unsqueeze(1) - rewards.unsqueeze(-1)
    wrong = (of_rewards > 0) & (difference < 0)
    expected = torch.stack([-difference[row][wrong[row]].sum() for row in range(6)])
    torch.testing.assert_close(rrhf_ranking_loss(means, rewards), expected, rtol=1e-12, atol=1e-14)


def test_once_in_order_nothing_pushes():
    logp = of([-3.0, -2.0, -1.0]).requires_grad_()
    loss = rrhf_ranking_loss(logp, of([0.0, 1.0, 2.0]))
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    assert (loss.tolist(), gradient.tolist()) == ([0.0], [[0.0] * 3])


def test_the_best_answer_by_hand():
    logp, rewards = of([-5.0, -6.0, -7.0], [-5.0, -6.0, -7.0]), of([0.0, 2.0, 1.0], [3.0, 1.0, 3.0])
    logp.requires_grad_()
    loss = best_answer_loss(logp, rewards)
    assert loss.tolist() == [6.0, 5.0]  # the first of those that tie
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    assert gradient.tolist() == [[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]]


# ---- SLiC


def test_slic_by_hand():
    # δ = 2. Leads 3, 2, 0, −1 leave hinges 0, 0, 2, 3; the target costs ¼ · 8 = 2.
    rejected = torch.full((4,), -5.0, dtype=F64)
    chosen = rejected + torch.tensor([3.0, 2.0, 0.0, -1.0], dtype=F64)
    target = torch.full((4,), -8.0, dtype=F64)
    assert slic_loss(chosen, rejected, target, margin=2.0, target_weight=0.25).tolist() == [
        2.0,
        2.0,
        4.0,
        5.0,
    ]


def test_slic_gradients_by_hand():
    chosen, rejected = of(-1.0, -5.0).requires_grad_(), of(-5.0, -5.0).requires_grad_()
    target = of(-3.0, -3.0).requires_grad_()
    loss = slic_loss(chosen, rejected, target, margin=1.0, target_weight=0.5)
    gradients = torch.autograd.grad(loss.sum(), [chosen, rejected, target])
    assert [g.tolist() for g in gradients] == [[0.0, -1.0], [0.0, 1.0], [-0.5, -0.5]]


def test_without_a_weight_the_target_does_not_matter_even_if_it_is_impossible():
    chosen, rejected = of(-1.0), of(-1.0)
    impossible = of(-math.inf)
    assert slic_loss(chosen, rejected, impossible, margin=1.0, target_weight=0.0).tolist() == [1.0]


def test_only_the_target_holds_the_likelihoods_up():
    # Both of a pair may lose the same amount at no cost to the hinge.
    chosen, rejected, target = -randn(5).abs(), -randn(5, seed=1).abs() - 1, -randn(5, seed=2).abs()
    before = slic_loss(chosen, rejected, target, margin=1.0, target_weight=0.3)
    after = slic_loss(chosen - 9, rejected - 9, target, margin=1.0, target_weight=0.3)
    torch.testing.assert_close(before, after, rtol=1e-12, atol=1e-12)
    assert (slic_loss(chosen, rejected, target - 1, margin=1.0, target_weight=0.3) - before > 0.29).all()


# ---- bad input


def test_rows_of_answers_are_required(unchecked):
    for loss in (rrhf_ranking_loss, best_answer_loss):
        for bad in (torch.zeros(3), torch.zeros(3, 1)):
            with pytest.raises(ValueError, match=re.escape("must be (B, K) with K at least 2")):
                loss(bad, bad)


@pytest.mark.parametrize("name", ["margin", "target_weight"])
@pytest.mark.parametrize("bad", [-1.0, math.inf, math.nan])
def test_numbers_of_slic_are_checked(name, bad):
    numbers = {"margin": 1.0, "target_weight": 1.0, name: bad}
    with pytest.raises(ValueError, match=f"{name} must be a finite number, 0 or above; received {bad}"):
        slic_loss(torch.zeros(1), torch.zeros(1), torch.zeros(1), **numbers)
