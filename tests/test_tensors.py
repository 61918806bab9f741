"""rlhf_mini.tensors: by hand, against plain loops, and with junk under the mask."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.tensors import (
    align_to_tokens,
    last_true_index,
    masked_mean,
    masked_sum,
    masked_var,
    require_finite,
    require_mask,
    require_same_shape,
    token_logp,
    zero_off_mask,
)

F64 = torch.float64
JUNK = [math.nan, math.inf, -math.inf, 1e30, 0.0]
VALUES = torch.tensor([[1.0, 2.0, 7.0], [4.0, 0.5, 3.0]], dtype=F64)
MASK = torch.tensor([[True, True, False], [True, False, True]])  # counted: 1, 2, 4, 3


def with_junk(values: torch.Tensor, mask: torch.Tensor, junk: float) -> torch.Tensor:
    return torch.where(mask, values, junk).requires_grad_()


# ---- the shift


def test_align_moves_one_column_and_puts_zero_first():
    aligned = align_to_tokens(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert aligned.tolist() == [[0.0, 1.0, 2.0], [0.0, 4.0, 5.0]]


def test_align_keeps_further_axes_and_dtype():
    per_position = torch.arange(12, dtype=F64).view(1, 3, 4)
    aligned = align_to_tokens(per_position)
    assert aligned.dtype == F64
    assert aligned[0, 0].tolist() == [0.0] * 4
    assert torch.equal(aligned[:, 1:], per_position[:, :-1])


def test_align_sends_no_gradient_to_the_last_position():
    per_position = torch.randn(2, 3, requires_grad=True)
    align_to_tokens(per_position).sum().backward()
    assert per_position.grad.tolist() == [[1.0, 1.0, 0.0]] * 2


def test_align_of_one_token_is_zero():
    assert align_to_tokens(torch.tensor([[5.0]])).tolist() == [[0.0]]


# ---- token log-probability


def test_token_logp_by_hand():
    # Position 0 holds logits (0, log 3): softmax (1/4, 3/4). Token 1 is drawn from it, so p = 3/4.
    # Position 1 holds (log 2, log 2): p = 1/2. Position 2 predicts a token that is not there.
    logits = torch.tensor([[[0.0, math.log(3)], [math.log(2), math.log(2)], [9.0, -9.0]]], dtype=F64)
    logp = token_logp(logits, torch.tensor([[0, 1, 0]]))
    torch.testing.assert_close(logp, torch.tensor([[0.0, math.log(3 / 4), math.log(1 / 2)]], dtype=F64))


def test_token_logp_by_hand_with_temperature():
    # At temperature 1/2 the logits (0, log 3) become (0, 2 log 3 = log 9): p(token 1) = 9/10.
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]]], dtype=F64)
    logp = token_logp(logits, torch.tensor([[0, 1]]), temperature=0.5)
    torch.testing.assert_close(logp, torch.tensor([[0.0, math.log(9 / 10)]], dtype=F64))


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_token_logp_against_plain_loops(temperature):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 7, generator=generator, dtype=F64)
    tokens = torch.randint(0, 7, (3, 5), generator=generator)
    logp = token_logp(logits, tokens, temperature=temperature)
    for row in range(3):
        assert logp[row, 0] == 0
        for t in range(1, 5):
            z = [float(x) / temperature for x in logits[row, t - 1]]
            expected = z[tokens[row, t]] - math.log(sum(math.exp(x) for x in z))
            assert math.isclose(logp[row, t], expected, rel_tol=1e-12)


def test_token_logp_gradient():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 4, generator=generator, dtype=F64, requires_grad=True)
    tokens = torch.randint(0, 4, (2, 3), generator=generator)
    assert torch.autograd.gradcheck(lambda z: token_logp(z, tokens, temperature=1.3), logits)


def test_one_step_up_makes_the_token_likelier():
    logits, tokens = torch.zeros(1, 3, 4, dtype=F64, requires_grad=True), torch.tensor([[0, 2, 3]])
    before = token_logp(logits, tokens)
    before.sum().backward()
    after = token_logp(logits.detach() + 0.1 * logits.grad, tokens)
    assert (after[:, 1:] > before[:, 1:]).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_float32(dtype):
    # 256 equal logits: log 256 = 5.545; rounded to bfloat16's eight bits it would be 5.5625.
    logp = token_logp(torch.zeros(1, 2, 256, dtype=dtype), torch.tensor([[0, 0]]))
    assert logp.dtype == torch.float32
    assert math.isclose(logp[0, 1], -math.log(256), rel_tol=1e-6)


def test_a_token_that_was_ruled_out_has_probability_zero():
    logits = torch.tensor([[[0.0, -math.inf], [0.0, 0.0]]])
    assert token_logp(logits, torch.tensor([[0, 1]]))[0, 1] == -math.inf


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_token_logp_refuses_a_temperature_that_is_not_positive(temperature):
    with pytest.raises(ValueError, match=f"temperature must be above 0; received {temperature}"):
        token_logp(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.int64), temperature=temperature)


@pytest.mark.parametrize(("token", "found"), [(3, "0 … 3"), (-1, "-1 … 0"), (-100, "-100 … 0")])
def test_token_logp_refuses_tokens_outside_the_vocabulary(token, found):
    with pytest.raises(ValueError, match=f"tokens lie in {found}, the logits know 0 … 2: the tokenizer"):
        token_logp(torch.zeros(1, 2, 3), torch.tensor([[0, token]]))


def test_token_logp_refuses_shapes_that_disagree(unchecked):
    with pytest.raises(ValueError, match=re.escape("logits (1, 2, 3) must be tokens' shape (1, 3)")):
        token_logp(torch.zeros(1, 2, 3), torch.zeros(1, 3, dtype=torch.int64))


def test_token_logp_of_an_empty_batch_is_empty():
    assert token_logp(torch.zeros(0, 3, 4), torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 3)


# ---- masked reductions


def test_masked_sum_by_hand():
    assert masked_sum(VALUES, MASK) == 1 + 2 + 4 + 3
    assert masked_sum(VALUES, MASK, dim=0).tolist() == [1 + 4, 2, 3]
    assert masked_sum(VALUES, MASK, dim=1).tolist() == [1 + 2, 4 + 3]


def test_masked_mean_by_hand():
    assert masked_mean(VALUES, MASK) == 10 / 4
    assert masked_mean(VALUES, MASK, dim=0).tolist() == [5 / 2, 2, 3]
    assert masked_mean(VALUES, MASK, dim=1).tolist() == [3 / 2, 7 / 2]


def test_masked_var_by_hand():
    # Deviations from 2.5: −1.5, −0.5, 1.5, 0.5; squares 2.25 + 0.25 + 2.25 + 0.25 = 5.
    assert masked_var(VALUES, MASK, unbiased=False) == 5 / 4
    assert math.isclose(masked_var(VALUES, MASK, unbiased=True), 5 / 3)


def test_sum_of_nothing_is_zero_and_mean_of_nothing_is_refused():
    nothing = torch.zeros_like(MASK)
    assert masked_sum(VALUES, nothing) == 0
    with pytest.raises(ValueError, match=re.escape("The mask (2, 3) has no True entry, so there is nothing")):
        masked_mean(VALUES, nothing)
    with pytest.raises(ValueError, match="nothing to average"):
        masked_var(VALUES, nothing, unbiased=False)


def test_mean_along_an_axis_names_the_empty_rows():
    mask = torch.tensor([[True, False], [False, False], [False, False]])
    with pytest.raises(ValueError, match=re.escape("no True entry at [[1], [2]] (counted along axis 1)")):
        masked_mean(torch.zeros(3, 2), mask, dim=1)


def test_variance_of_one_value():
    one = torch.tensor([True, False])
    assert masked_var(torch.tensor([3.0, 9.0]), one, unbiased=False) == 0
    with pytest.raises(ValueError, match="needs two counted values; the mask has 1"):
        masked_var(torch.tensor([3.0, 9.0]), one, unbiased=True)
    both = torch.tensor([True, True])
    assert masked_var(torch.tensor([3.0, 9.0]), both, unbiased=True) == 18  # two deviations of 3, over 2 − 1


REDUCTIONS = [
    masked_sum,
    lambda x, m: masked_sum(x, m, dim=1),
    masked_mean,
    lambda x, m: masked_mean(x, m, dim=0),
    lambda x, m: masked_var(x, m, unbiased=True),
    lambda x, m: masked_var(x, m, unbiased=False),
    zero_off_mask,
]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_junk_under_the_mask_changes_neither_value_nor_gradient(reduce, junk):
    clean, dirty = with_junk(VALUES, MASK, 0.0), with_junk(VALUES, MASK, junk)
    weights = torch.arange(1, 1 + reduce(clean, MASK).numel(), dtype=F64).view(reduce(clean, MASK).shape)
    inputs = (clean, dirty)
    values = [reduce(x, MASK) for x in inputs]
    gradients = [
        torch.autograd.grad((y * weights).sum(), x)[0] for x, y in zip((clean, dirty), values, strict=True)
    ]
    assert torch.equal(*values)
    assert torch.equal(*gradients)
    assert (gradients[1][~MASK] == 0).all()


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradients_of_reductions(reduce):
    assert torch.autograd.gradcheck(lambda x: reduce(x, MASK), VALUES.clone().requires_grad_())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-100, 100), st.booleans()), min_size=1, max_size=12), st.randoms())
def test_reductions_against_plain_python_in_any_order(entries, random):
    counted = [value for value, counts in entries if counts]
    random.shuffle(entries)
    values = torch.tensor([value for value, _ in entries], dtype=F64)
    mask = torch.tensor([counts for _, counts in entries])
    assert math.isclose(masked_sum(values, mask), math.fsum(counted), abs_tol=1e-10)
    if counted:
        mean = math.fsum(counted) / len(counted)
        squares = math.fsum((x - mean) ** 2 for x in counted)
        assert math.isclose(masked_mean(values, mask), mean, abs_tol=1e-10)
        assert math.isclose(masked_var(values, mask, unbiased=False), squares / len(counted), abs_tol=1e-9)
    if len(counted) > 1:
        assert math.isclose(
            masked_var(values, mask, unbiased=True), squares / (len(counted) - 1), abs_tol=1e-9
        )


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_reductions_refuse_wrong_masks(reduce, unchecked):
    with pytest.raises(ValueError, match=re.escape("values (2, 3), mask (2, 2)")):
        reduce(torch.zeros(2, 3), torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=re.escape("received torch.float32. Use mask.bool()")):
        reduce(torch.zeros(2, 3), torch.ones(2, 3))


def test_reductions_keep_the_dtype():
    for dtype in (torch.float32, F64, torch.bfloat16):
        assert zero_off_mask(VALUES.to(dtype), MASK).dtype == dtype
        assert masked_sum(VALUES.to(dtype), MASK).dtype == dtype
        assert masked_mean(VALUES.to(dtype), MASK).dtype == dtype


# ---- last True


def test_last_true_index_by_hand():
    mask = torch.tensor([[True, False, False], [True, True, False], [False, True, True], [True, False, True]])
    assert last_true_index(mask).tolist() == [0, 1, 2, 2]
    assert last_true_index(mask).dtype == torch.int64


def test_last_true_index_names_empty_rows():
    mask = torch.tensor([[False, False], [True, False], [False, False]])
    with pytest.raises(ValueError, match=re.escape("Rows [0, 2] of the mask (3, 2) have no True entry")):
        last_true_index(mask)


def test_last_true_index_refuses_numbers(unchecked):
    with pytest.raises(ValueError, match=r"received torch.int64. Use mask.bool"):
        last_true_index(torch.ones(1, 2, dtype=torch.int64))


# ---- the checks


def test_require_same_shape_lists_every_name():
    require_same_shape(a=torch.zeros(2), b=torch.zeros(2))
    with pytest.raises(ValueError, match=re.escape("a (2,), b (2, 1), c (2,). Reshape them")):
        require_same_shape(a=torch.zeros(2), b=torch.zeros(2, 1), c=torch.zeros(2))


def test_require_mask_accepts_only_bool():
    require_mask(torch.tensor([True]))
    with pytest.raises(ValueError, match="A mask holds True where a position counts; received"):
        require_mask(torch.tensor([1]))


def test_require_finite_names_the_place():
    mask = torch.tensor([[True, True], [False, True]])
    good = torch.tensor([[1.0, 2.0], [math.nan, 3.0]])
    require_finite(mask, rewards=good)
    bad = torch.tensor([[1.0, -math.inf], [math.nan, math.inf]])
    with pytest.raises(ValueError, match=re.escape("rewards[0, 1] is -inf, and it counts")):
        require_finite(mask, values=good, rewards=bad)
    with pytest.raises(ValueError, match=re.escape("received torch.int64. Use mask.bool()")):
        require_finite(mask.long(), rewards=good)
