"""The smallest weight at which a second reward decides: by hand, by its definition, and at its edges."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf_mini.estimators.outranking import smallest_weight


def test_by_hand():
    """Needed: (3 − 0)/2 = 1.5, (0 − 1)/2 = −0.5, (5 − 1)/1 = 4."""
    wished, other = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([3.0, 0.0, 5.0])
    lead = torch.tensor([2.0, 2.0, 1.0])
    assert smallest_weight(wished, other, lead) == 4.0
    assert smallest_weight(wished, other, lead, share=2 / 3) == 1.5
    assert smallest_weight(wished, other, lead, share=1 / 3) == 0.0  # −0.5: nothing is needed


numbers = st.floats(-4, 4, width=32)
pairs = st.lists(st.tuples(numbers, numbers, st.floats(0.125, 4, width=32)), min_size=1, max_size=12)


@given(pairs, st.floats(0.05, 1))
def test_at_it_the_share_is_reached_and_a_little_below_it_is_not(rows, share):
    wished, other, lead = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))

    def won(weight):
        return float((wished + weight * lead >= other - 1e-9).double().mean())

    weight = smallest_weight(wished, other, lead, share=share)
    assert won(weight) >= share - 1e-9
    assert weight >= 0
    if weight > 1e-6:
        assert won(weight - 1e-6) < share + 1e-9


def test_what_is_added_to_both_rewards_does_not_matter_and_the_unit_of_the_lead_does():
    wished, other, lead = torch.tensor([0.0, 2.0]), torch.tensor([3.0, 1.0]), torch.tensor([2.0, 2.0])
    assert smallest_weight(wished + 7, other + 7, lead) == smallest_weight(wished, other, lead) == 1.5
    assert smallest_weight(wished, other, 2 * lead) == 0.75


def test_what_has_no_such_weight_is_refused():
    one = torch.ones(1)
    for lead, share in ((torch.zeros(1), 1.0), (-one, 1.0), (one, 0.0), (one, 1.1)):
        with pytest.raises(ValueError, match="pairs whose lead is above 0"):
            smallest_weight(one, one, lead, share=share)
    with pytest.raises(ValueError, match="got 0 pairs"):
        smallest_weight(torch.empty(0), torch.empty(0), torch.empty(0))


def test_shapes_that_differ_are_refused(unchecked):
    with pytest.raises(ValueError, match="shape"):
        smallest_weight(torch.ones(2), torch.ones(1), torch.ones(2))
