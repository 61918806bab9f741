"""The losses of hindsight relabelling: by hand, where they are least, against torch and against one
another."""

import math
import re

import pytest
import torch
from torch.nn.functional import cross_entropy

from rlhf_mini.losses import (
    in_batch_contrastive_loss,
    instruction_contrast_loss,
    next_token_loss,
    smoothed_token_loss,
    two_way_contrast_loss,
)
from rlhf_mini.tensors import align_to_tokens, token_logp

F64 = torch.float64


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# ---- smoothed likelihood


def test_smoothing_by_hand():
    # Chances ½, ¼, ¼ and ε = 3/10: the target is 8/10, 1/10, 1/10 if the first came:
    # 0.8 log 2 + 0.2 log 4 = 1.2 log 2; and 1/10, 8/10, 1/10 if the second did: 0.1 log 2 + 0.9 log 4.
    log_chances = torch.tensor([0.5, 0.25, 0.25], dtype=F64).log()
    found = smoothed_token_loss(log_chances[None, :2], log_chances.mean().expand(1, 2), label_smoothing=0.3)
    expected = torch.tensor([[1.2, 1.9]], dtype=F64) * math.log(2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.2, 0.9])
def test_smoothing_is_that_of_torch(label_smoothing):
    logits, tokens = randn(3, 6, 7), torch.randint(7, (3, 6), generator=torch.Generator().manual_seed(1))
    logp = token_logp(logits, tokens)
    logp_mean = align_to_tokens(logits.mean(-1) - logits.logsumexp(-1))
    found = smoothed_token_loss(logp, logp_mean, label_smoothing=label_smoothing)[:, 1:]
    expected = cross_entropy(
        logits[:, :-1].flatten(0, 1),
        tokens[:, 1:].flatten(),
        label_smoothing=label_smoothing,
        reduction="none",
    )
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-12, atol=1e-12)


def test_without_smoothing_it_is_the_plain_loss_even_where_a_token_is_impossible():
    logp, impossible = -randn(2, 3).abs(), torch.full((2, 3), -torch.inf, dtype=F64)
    assert torch.equal(smoothed_token_loss(logp, impossible, label_smoothing=0.0), next_token_loss(logp))
    assert smoothed_token_loss(logp, impossible, label_smoothing=0.1).isinf().all()


def test_smoothing_is_least_at_the_smoothed_target():
    # V = 4, ε = 0.2: 0.85 on the token and 0.05 on the three others.
    target = torch.tensor([0.85, 0.05, 0.05, 0.05], dtype=F64)
    logits = target.log().requires_grad_()
    logp = logits.log_softmax(0)
    loss = smoothed_token_loss(logp[None, :1], logp.mean()[None, None], label_smoothing=0.2)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, torch.zeros(4, dtype=F64), rtol=0, atol=1e-15)


# ---- contrast


def test_two_way_by_hand():
    # A lead of log 3 is a share of ¾: with ε = ¼, ¾ log(4/3) + ¼ log 4 = log 4 − ¾ log 3.
    own, other = torch.tensor([3.0], dtype=F64).log() - 5, torch.tensor([-5.0], dtype=F64)
    found = two_way_contrast_loss(own, other, label_smoothing=0.25)
    torch.testing.assert_close(found, torch.tensor([math.log(4) - 0.75 * math.log(3)], dtype=F64))
    found = two_way_contrast_loss(own, other, label_smoothing=0.0)
    torch.testing.assert_close(found, torch.tensor([math.log(4 / 3)], dtype=F64))


def test_two_way_is_the_released_formula():
    # Probabilities from means of log-probabilities, as the authors' program has it, without its 1e-8.
    own, other = -randn(20).abs(), -randn(20, seed=1).abs()
    p_own, p_other = own.exp(), other.exp()
    right, wrong = -(p_own / (p_own + p_other)).log(), -(p_other / (p_own + p_other)).log()
    found = two_way_contrast_loss(own, other, label_smoothing=0.2)
    torch.testing.assert_close(found, 0.8 * right + 0.2 * wrong, rtol=1e-12, atol=0)


@pytest.mark.parametrize("label_smoothing", [0.1, 0.2, 0.4])
def test_two_way_is_least_at_the_log_odds_of_the_smoothing(label_smoothing):
    best = math.log((1 - label_smoothing) / label_smoothing)
    lead = torch.tensor([best - 0.5, best, best + 0.5], dtype=F64, requires_grad=True)
    loss = two_way_contrast_loss(lead, torch.zeros(3, dtype=F64), label_smoothing=label_smoothing)
    (gradient,) = torch.autograd.grad(loss.sum(), lead)
    assert gradient[0] < -0.01 < 0.01 < gradient[2]
    assert abs(gradient[1]) < 1e-15


def test_without_smoothing_the_contrast_never_ceases_to_push():
    lead = torch.tensor([-30.0, 0.0, 30.0], dtype=F64, requires_grad=True)
    loss = two_way_contrast_loss(lead, torch.zeros(3, dtype=F64), label_smoothing=0.0)
    (gradient,) = torch.autograd.grad(loss.sum(), lead)
    assert (gradient < 0).all()
    torch.testing.assert_close(loss[0], torch.tensor(30.0, dtype=F64), rtol=1e-12, atol=0)


def test_an_output_impossible_under_the_other_instruction_is_told_apart_for_certain():
    own, other = torch.tensor([-1.0]), torch.tensor([-math.inf])
    assert two_way_contrast_loss(own, other, label_smoothing=0.0).tolist() == [0.0]
    assert two_way_contrast_loss(own, other, label_smoothing=0.2).tolist() == [math.inf]


def test_of_several_instructions_an_impossible_one_takes_no_share():
    logp = torch.tensor([[3.0, 1.0, 0.0]], dtype=F64).log()  # shares ¾, ¼ and 0
    found = instruction_contrast_loss(logp, torch.tensor([0]), label_smoothing=0.0)
    torch.testing.assert_close(found, torch.tensor([math.log(4 / 3)], dtype=F64))
    assert instruction_contrast_loss(logp, torch.tensor([0]), label_smoothing=0.2).tolist() == [math.inf]


def test_several_instructions_by_hand():
    # Shares 1/2, 1/3, 1/6; the second is its own; ε = 0.2 in two halves: log 3 · 0.8 + (log 2 + log 6) · 0.1.
    logp = torch.tensor([[3.0, 2.0, 1.0]], dtype=F64).log()
    found = instruction_contrast_loss(logp, torch.tensor([1]), label_smoothing=0.2)
    expected = 0.8 * math.log(3) + 0.1 * math.log(12)
    torch.testing.assert_close(found, torch.tensor([expected], dtype=F64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_two_instructions_are_the_two_way_contrast(label_smoothing):
    logp = -randn(6, 2).abs()
    own = torch.tensor([0, 1, 0, 1, 1, 0])
    found = instruction_contrast_loss(logp, own, label_smoothing=label_smoothing)
    first = torch.arange(6)
    expected = two_way_contrast_loss(logp[first, own], logp[first, 1 - own], label_smoothing=label_smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_a_batch_of_its_own_instructions_is_the_in_batch_contrast():
    logp = -randn(5, 5).abs()
    found = instruction_contrast_loss(logp, torch.arange(5), label_smoothing=0.0)
    torch.testing.assert_close(found, in_batch_contrastive_loss(logp), rtol=1e-12, atol=1e-14)


def test_an_outputs_own_surprise_cancels():
    # What does not depend on the instruction, how likely the output is at all, has no part in the contrast.
    logp, own = -randn(5, 3).abs(), torch.tensor([0, 1, 2, 0, 1])
    found = instruction_contrast_loss(logp - 7 * randn(5, 1, seed=1).abs(), own, label_smoothing=0.2)
    torch.testing.assert_close(found, instruction_contrast_loss(logp, own, label_smoothing=0.2))


# ---- bad input


def test_shapes_and_places_are_checked(unchecked):
    zeros = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=re.escape("logp must be (B, K) with K at least 2")):
        instruction_contrast_loss(torch.zeros(2, 1), torch.tensor([0, 0]), label_smoothing=0.0)
    with pytest.raises(ValueError, match=re.escape("received (4,)")):
        instruction_contrast_loss(torch.zeros(4), torch.tensor([0]), label_smoothing=0.0)
    with pytest.raises(ValueError, match=re.escape("own must be (2,), one instruction for each row")):
        instruction_contrast_loss(zeros, torch.tensor([0]), label_smoothing=0.0)
    for bad in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=re.escape("the 3 instructions are numbered 0 … 2")):
            instruction_contrast_loss(zeros, torch.tensor(bad), label_smoothing=0.0)


@pytest.mark.parametrize("bad", [-0.1, 1.0, math.nan])
def test_smoothing_is_a_share(bad):
    one = torch.zeros(1)
    for call in (
        lambda: smoothed_token_loss(one[None], one[None], label_smoothing=bad),
        lambda: two_way_contrast_loss(one, one, label_smoothing=bad),
        lambda: instruction_contrast_loss(torch.zeros(1, 2), torch.tensor([0]), label_smoothing=bad),
    ):
        with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\)"):
            call()
