"""The loss on soft labels: by hand, its minimum, and what it has in common with the loss on hard ones."""

import math

import torch

from rlhf_mini.losses import pairwise_loss, soft_preference_loss

F64 = torch.float64


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


def test_by_hand():
    # σ(log 3) = ¾. A label of 0.8: 0.8 log(4/3) + 0.2 log 4; of 0.2: 0.2 log(4/3) + 0.8 log 4.
    first, second = numbers(math.log(3), math.log(3)), numbers(0, 0)
    expected = numbers(0.8 * math.log(4 / 3) + 0.2 * math.log(4), 0.2 * math.log(4 / 3) + 0.8 * math.log(4))
    losses = soft_preference_loss(first, second, preference=numbers(0.8, 0.2))
    torch.testing.assert_close(losses, expected)


def test_certain_labels_are_the_hard_ones():
    one, other = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    ones = torch.ones(8, dtype=F64)
    torch.testing.assert_close(soft_preference_loss(one, other, preference=ones), pairwise_loss(one, other))
    torch.testing.assert_close(
        soft_preference_loss(one, other, preference=0 * ones), pairwise_loss(other, one)
    )


def test_swapping_the_answers_and_the_label_changes_nothing():
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, 8, generator=generator, dtype=F64)
    label = torch.rand(8, generator=generator, dtype=F64)
    there = soft_preference_loss(one, other, preference=label)
    torch.testing.assert_close(soft_preference_loss(other, one, preference=1 - label), there)


def test_the_gradient_is_what_is_believed_less_what_is_labelled():
    # σ(log 3) − 0.8 = −0.05 to the first score, which goes up; σ(log 3) − 0.6 = 0.15, which goes down
    first = numbers(math.log(3), math.log(3)).requires_grad_()
    second = numbers(0, 0).requires_grad_()
    soft_preference_loss(first, second, preference=numbers(0.8, 0.6)).sum().backward()
    torch.testing.assert_close(first.grad, numbers(-0.05, 0.15))
    torch.testing.assert_close(second.grad, -first.grad)


def test_the_minimum_is_the_log_odds_of_the_label_and_its_entropy():
    label = numbers(0.9, 0.5, 0.2)
    odds, zero = label.logit(), torch.zeros(3, dtype=F64)
    least = soft_preference_loss(odds, zero, preference=label)
    entropy = -(label * label.log() + (1 - label) * (1 - label).log())
    torch.testing.assert_close(least, entropy)
    for step in (-0.1, 0.1):
        assert (soft_preference_loss(odds + step, zero, preference=label) > least).all()


def test_equal_scores_cost_log_two_whatever_the_label():
    losses = soft_preference_loss(numbers(2, 2, 2), numbers(2, 2, 2), preference=numbers(0, 0.3, 1))
    torch.testing.assert_close(losses, torch.full((3,), math.log(2), dtype=F64))
