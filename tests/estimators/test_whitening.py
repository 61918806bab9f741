"""Whitening: by hand, and what it must not depend on."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.estimators import whiten
from rlhf_mini.tensors import masked_mean, masked_var

F64 = torch.float64
MASK = torch.tensor([[True, True, False], [False, True, True]])
VALUES = torch.tensor([[1.0, 3.0, 77.0], [-5.0, 5.0, 7.0]], dtype=F64)  # counted: 1, 3, 5, 7


def test_by_hand():
    # Mean 4; squared deviations 9, 1, 1, 9, mean 5: so (x − 4)/√5. The floor 10⁻⁸ moves the tenth digit.
    root = math.sqrt(5)
    expected = torch.tensor([[-3 / root, -1 / root, 0], [0, 1 / root, 3 / root]], dtype=F64)
    torch.testing.assert_close(whiten(VALUES, MASK, shift_mean=True), expected, rtol=2e-9, atol=0)
    kept = torch.where(MASK, expected + 4, 0.0)
    torch.testing.assert_close(whiten(VALUES, MASK, shift_mean=False), kept, rtol=2e-9, atol=0)


def test_the_floor_by_hand():
    # Counted ±10⁻⁴: variance 10⁻⁸, which the floor doubles, so the result is ±1/√2.
    values = torch.tensor([1e-4, -1e-4], dtype=F64)
    whitened = whiten(values, torch.ones(2, dtype=torch.bool), shift_mean=True)
    torch.testing.assert_close(
        whitened, torch.tensor([0.5, -0.5], dtype=F64).mul(math.sqrt(2)), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("shift_mean", [True, False])
def test_mean_and_variance(shift_mean):
    whitened = whiten(VALUES, MASK, shift_mean=shift_mean)
    assert math.isclose(masked_mean(whitened, MASK), 0 if shift_mean else 4, abs_tol=1e-12)
    assert math.isclose(masked_var(whitened, MASK, unbiased=False), 1, rel_tol=1e-8)
    assert (whitened[~MASK] == 0).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(-100, 100), st.floats(0.1, 100))
def test_neither_a_constant_nor_a_positive_factor_matters(seed, constant, factor):
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=F64)
    mask = torch.ones(3, 4, dtype=torch.bool)
    whitened = whiten(values, mask, shift_mean=True)
    # The floor is 10⁻⁸ of a variance near 1, or 10⁻⁶ of a tenth's: half of that in the result.
    close = {"rtol": 1e-5, "atol": 1e-9}
    torch.testing.assert_close(whiten(factor * values + constant, mask, shift_mean=True), whitened, **close)
    kept = whiten(factor * values, mask, shift_mean=False) - factor * values.mean()
    torch.testing.assert_close(kept, whitened, **close)


def test_order_does_not_matter():
    order = torch.tensor([1, 0])
    for shift_mean in (True, False):
        shuffled = whiten(VALUES[order], MASK[order], shift_mean=shift_mean)
        torch.testing.assert_close(shuffled, whiten(VALUES, MASK, shift_mean=shift_mean)[order])


@pytest.mark.parametrize("shift_mean", [True, False])
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
def test_junk_under_the_mask_changes_neither_value_nor_gradient(junk, shift_mean):
    found = []
    for filler in (0.0, junk):
        values = torch.where(MASK, VALUES, filler).requires_grad_()
        whitened = whiten(values, MASK, shift_mean=shift_mean)
        weights = torch.arange(1.0, 7.0, dtype=F64).view(2, 3)
        found.append((whitened.detach(), *torch.autograd.grad((whitened * weights).sum(), values)))
    for clean, dirty in zip(*found, strict=True):
        assert torch.equal(clean, dirty)
        assert (dirty[~MASK] == 0).all()


@pytest.mark.parametrize("shift_mean", [True, False])
def test_gradient(shift_mean):
    values = VALUES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: whiten(x, MASK, shift_mean=shift_mean), values)


def test_equal_values_and_one_value_whiten_to_zero():
    assert (
        whiten(torch.full((4,), 3.0), torch.ones(4, dtype=torch.bool), shift_mean=True).tolist() == [0.0] * 4
    )
    assert whiten(torch.tensor([3.0, 8.0]), torch.tensor([True, False]), shift_mean=True).tolist() == [
        0.0,
        0.0,
    ]
    assert whiten(torch.tensor([3.0, 8.0]), torch.tensor([True, False]), shift_mean=False).tolist() == [
        3.0,
        0.0,
    ]


def test_bad_input(unchecked):
    with pytest.raises(ValueError, match="has no True entry"):
        whiten(VALUES, torch.zeros_like(MASK), shift_mean=True)
    with pytest.raises(ValueError, match=re.escape("values (2, 3), mask (3,)")):
        whiten(VALUES, MASK[0], shift_mean=True)
