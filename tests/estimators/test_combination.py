"""One reward from two: by hand, by single numbers, by gradients, and where the two ways differ."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.estimators import linear_reward, piecewise_reward, whitened_logit

F64 = torch.float64
HELPFUL = torch.tensor([0.9, 0.9, 0.2, 0.9, 0.6], dtype=F64)
SAFE = torch.tensor([0.3, 0.3, 0.8, 0.1, 0.15], dtype=F64)
ASKED = torch.tensor([True, False, True, False, False])


def test_piecewise_by_hand():
    # safety prompt: 0.3. Safe enough: helpfulness 0.9. Safety prompt: 0.8. Unsafe on a kind prompt: 0.1.
    # Exactly at the threshold is not below it: helpfulness 0.6.
    combined = piecewise_reward(HELPFUL, SAFE, ASKED, threshold=0.15)
    assert combined.tolist() == [0.3, 0.9, 0.8, 0.1, 0.6]


def test_the_threshold_is_read():
    assert piecewise_reward(HELPFUL, SAFE, ASKED, threshold=0.0).tolist() == [0.3, 0.9, 0.8, 0.9, 0.6]
    assert torch.equal(piecewise_reward(HELPFUL, SAFE, ASKED, threshold=1.01), SAFE)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=8))
def test_piecewise_answer_by_answer(rows):
    def one(helpful: float, safe: float, asked: bool) -> float:
        if asked:
            return safe
        if safe < 0.15:
            return safe
        return helpful

    helpful, safe, asked = (list(column) for column in zip(*rows, strict=True))
    combined = piecewise_reward(
        torch.tensor(helpful, dtype=F64), torch.tensor(safe, dtype=F64), torch.tensor(asked), threshold=0.15
    )
    assert combined.tolist() == [one(*row) for row in rows]


def test_the_gradient_goes_to_the_score_that_was_chosen():
    helpful, safe = HELPFUL.clone().requires_grad_(), SAFE.clone().requires_grad_()
    piecewise_reward(helpful, safe, ASKED, threshold=0.15).sum().backward()
    assert helpful.grad.tolist() == [0, 1, 0, 0, 1]
    assert safe.grad.tolist() == [1, 0, 1, 1, 0]


def test_linear_by_hand():
    torch.testing.assert_close(
        linear_reward(HELPFUL, SAFE, safety_weight=0.25),
        torch.tensor([0.75, 0.75, 0.35, 0.7, 0.4875], dtype=F64),
    )
    assert torch.equal(linear_reward(HELPFUL, SAFE, safety_weight=0), HELPFUL)
    assert torch.equal(linear_reward(HELPFUL, SAFE, safety_weight=1), SAFE)


def test_helpfulness_buys_off_safety_only_in_the_linear_one():
    # An unkind request: an unsafe answer (R_h 0.95, R_s 0.02) beside a polite decline (R_h 0.05, R_s 0.9).
    helpful, safe = torch.tensor([0.95, 0.05]), torch.tensor([0.02, 0.9])
    asked = torch.tensor([True, True])
    assert piecewise_reward(helpful, safe, asked, threshold=0.15).argmax() == 1
    assert linear_reward(helpful, safe, safety_weight=0.5).argmax() == 0  # 0.485 against 0.475


def test_whitened_logit_by_hand():
    # σ(−1), σ(1), σ(3): logits −1, 1, 3 with mean 1 and mean square deviation 8/3
    probabilities = torch.tensor([-1.0, 1.0, 3.0], dtype=F64).sigmoid()
    root = math.sqrt(8 / 3)
    expected = torch.tensor([-2 / root, 0.0, 2 / root], dtype=F64)
    torch.testing.assert_close(whitened_logit(probabilities), expected, rtol=1e-7, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=9, unique=True))
def test_whitened_logits_keep_the_order_and_have_mean_zero(probabilities):
    found = whitened_logit(torch.tensor(probabilities, dtype=F64))
    assert found.argsort().tolist() == torch.tensor(probabilities, dtype=F64).argsort().tolist()
    assert abs(float(found.mean())) < 1e-9


def test_certainty_is_finite_and_equal_scores_are_zero():
    # 0 and 1 count as 10⁻⁶ and 1 − 10⁻⁶: logits ∓log(10⁶ − 1), whitened to ∓1
    torch.testing.assert_close(
        whitened_logit(torch.tensor([0.0, 1.0], dtype=F64)), torch.tensor([-1.0, 1.0], dtype=F64)
    )
    clamped = whitened_logit(torch.tensor([0.0, 0.5, 0.5], dtype=F64))
    assert torch.equal(clamped, whitened_logit(torch.tensor([1e-6, 0.5, 0.5], dtype=F64)))
    # logits −log(10⁶ − 1), 0 and log 9: their spacing shows where 0 was moved to
    low, middle, high = whitened_logit(torch.tensor([0.0, 0.5, 0.9], dtype=F64)).tolist()
    assert (middle - low) / (high - middle) == pytest.approx(math.log(1e6 - 1) / math.log(9), rel=1e-9)
    assert whitened_logit(torch.full((3,), 0.7)).tolist() == [0.0, 0.0, 0.0]


def test_gradient_of_the_whitened_logit():
    assert torch.autograd.gradcheck(whitened_logit, HELPFUL.clone().mul_(0.5).add_(SAFE).requires_grad_())


def test_bad_input(unchecked):
    with pytest.raises(ValueError, match=r"helpfulness must be from 0 to 1; received 1\.5"):
        piecewise_reward(torch.tensor([1.5]), torch.tensor([0.5]), torch.tensor([True]), threshold=0.15)
    with pytest.raises(ValueError, match="safety must be from 0 to 1; received nan"):
        piecewise_reward(torch.tensor([0.5]), torch.tensor([math.nan]), torch.tensor([True]), threshold=0.15)
    with pytest.raises(ValueError, match=r"probabilities must be from 0 to 1; received -0\.5"):
        whitened_logit(torch.tensor([-0.5]))
    with pytest.raises(ValueError, match=r"helpfulness \(1,\), safety \(2,\)"):
        piecewise_reward(torch.ones(1), torch.ones(2), torch.tensor([True]), threshold=0.15)
    with pytest.raises(ValueError, match=r"helpfulness \(1,\), safety \(2,\)"):
        linear_reward(torch.ones(1), torch.ones(2), safety_weight=0.5)
    with pytest.raises(ValueError, match="A mask holds True"):
        piecewise_reward(torch.ones(1), torch.ones(1), torch.ones(1), threshold=0.15)
    for weight in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="safety_weight must be from 0 to 1"):
            linear_reward(torch.ones(1), torch.ones(1), safety_weight=weight)
