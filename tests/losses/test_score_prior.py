"""The squared penalty of scores: a Gaussian prior, its gradient, and what it does to the shift of scores."""

import math

import torch

from rlhf_mini.losses import pairwise_loss
from rlhf_mini.losses.score_prior import squared_score_penalty

F64 = torch.float64


def test_it_is_a_gaussian_prior_by_hand():
    """w r² is −log N(r; 0, 1/(2w)) less a constant: of r = 3 and r = −1 with w = ¼, 9/4 − 1/4 = 2."""
    weight, variance = 0.25, 2.0
    penalty = weight * squared_score_penalty(torch.tensor([3.0, -1.0], dtype=F64))
    minus_log = [r**2 / (2 * variance) + 0.5 * math.log(2 * math.pi * variance) for r in (3.0, -1.0)]
    torch.testing.assert_close(float(penalty[0] - penalty[1]), minus_log[0] - minus_log[1])
    assert float(penalty[0] - penalty[1]) == 2


def test_its_gradient_is_twice_the_score():
    scores = torch.tensor([0.5, -2.0, 0.0], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(squared_score_penalty, scores)
    (gradient,) = torch.autograd.grad(squared_score_penalty(scores).sum(), scores)
    assert gradient.tolist() == [1.0, -4.0, 0.0]


def test_the_shift_that_pairs_leave_open_is_fixed_at_mean_zero():
    """A shift of all scores changes no pairwise loss; with the penalty one of −mean is the cheapest."""
    chosen, rejected = torch.tensor([7.0, 4.0], dtype=F64), torch.tensor([3.0, 6.0], dtype=F64)
    shift = torch.zeros((), dtype=F64, requires_grad=True)
    pairs = pairwise_loss(chosen + shift, rejected + shift).sum()
    (flat,) = torch.autograd.grad(pairs, shift)
    assert abs(float(flat)) < 1e-12
    penalty = squared_score_penalty(torch.cat([chosen, rejected]) + shift).sum()
    slope, curve = 2 * 20.0, 2 * 4.0  # of Σ (r + s)² at s = 0: the scores add up to 20
    (found,) = torch.autograd.grad(penalty, shift)
    assert float(found) == slope
    assert -slope / curve == -torch.cat([chosen, rejected]).mean()
