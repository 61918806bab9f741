"""Entropy: by hand, against plain loops, and as a gradient that raises it."""

import math

import pytest
import torch

from rlhf_mini.estimators import entropy, token_entropy

F64 = torch.float64


def test_by_hand():
    # p = (1/2, 1/4, 1/4): (1/2) log 2 + 2 · (1/4) log 4 = (3/2) log 2.
    logits = torch.tensor([[[2.0, 1.0, 1.0]]], dtype=F64).log()
    torch.testing.assert_close(entropy(logits), torch.tensor([[1.5 * math.log(2)]], dtype=F64))


def test_from_none_to_all_undecided():
    certain = torch.tensor([[[1000.0, 0.0, 0.0, 0.0]]], dtype=F64)
    assert entropy(certain).item() == 0
    assert math.isclose(entropy(torch.zeros(1, 1, 4, dtype=F64)).item(), math.log(4))


def test_ruled_out_tokens_add_nothing():
    with_three = torch.tensor([[[2.0, 1.0, 1.0, 0.0]]], dtype=F64).log().requires_grad_()
    without = torch.tensor([[[2.0, 1.0, 1.0]]], dtype=F64).log().requires_grad_()
    assert torch.equal(entropy(with_three), entropy(without))
    (gradient,) = torch.autograd.grad(entropy(with_three).sum(), with_three)
    (expected,) = torch.autograd.grad(entropy(without).sum(), without)
    torch.testing.assert_close(gradient[..., :3], expected)
    assert gradient[0, 0, 3] == 0


def test_against_plain_loops():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=F64)
    computed = entropy(logits)
    for row in range(2):
        for t in range(3):
            weights = [math.exp(z) for z in logits[row, t]]
            shares = [w / sum(weights) for w in weights]
            assert math.isclose(computed[row, t], -sum(p * math.log(p) for p in shares), rel_tol=1e-12)


def test_token_entropy_stands_at_the_token_drawn():
    # Position 0: a fair coin, so token 1 had log 2. Position 1: certain, so token 2 had 0.
    # Position 2 predicts a token that is not there.
    logits = torch.tensor([[[0.0, 0.0], [0.0, -math.inf], [0.0, 0.0]]], dtype=F64)
    torch.testing.assert_close(token_entropy(logits), torch.tensor([[0.0, math.log(2), 0.0]], dtype=F64))


@pytest.mark.parametrize("function", [entropy, token_entropy])
def test_gradient(function):
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(function, logits)


def test_one_step_up_raises_it():
    logits = torch.tensor([[[2.0, 0.0, -1.0]]], dtype=F64, requires_grad=True)
    before = entropy(logits)
    before.sum().backward()
    assert (entropy(logits.detach() + 0.1 * logits.grad) > before).all()
