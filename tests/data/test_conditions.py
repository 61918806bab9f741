"""Conditions in front of dialogues: nothing is lost, nothing moves but by the condition's length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.batch import pack_rows
from rlhf_mini.data.conditions import with_conditions

tokens = st.lists(st.integers(1, 9), min_size=1, max_size=5)
rows = st.lists(st.tuples(tokens, tokens, st.lists(st.integers(1, 9), max_size=4)), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_each_row_is_as_if_it_had_been_packed_with_its_condition(drawn):
    prompts, answers, conditions = (list(column) for column in zip(*drawn, strict=True))
    told = with_conditions(pack_rows(prompts, answers, pad_token=0), conditions, pad_token=0)
    longer = [[prompt[0], *condition, *prompt[1:]] for prompt, _, condition in drawn]
    packed = pack_rows(longer, answers, pad_token=0)
    assert torch.equal(told.tokens, packed.tokens)
    assert torch.equal(told.mask, packed.mask)
    assert torch.equal(told.response, packed.response)


def test_one_condition_a_row():
    with pytest.raises(ValueError, match="each of 2 rows, got 1"):
        with_conditions(pack_rows([[1], [1]], [[2], [2]], pad_token=0), [[3]], pad_token=0)
