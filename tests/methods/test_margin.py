"""Llama 2's margins: the two published tables, and what they do to the loss of a pair."""

import math

import pytest
import torch

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.methods.margin import LARGE_MARGINS, SMALL_MARGINS, margins
from rlhf_mini.worlds.stories import RATINGS


def test_the_published_tables():
    # Touvron et al. 2023, Table 27, from "significantly better" down to "negligibly better / unsure"
    assert [SMALL_MARGINS[rating] for rating in reversed(RATINGS)] == [1, 2 / 3, 1 / 3, 0]
    assert [LARGE_MARGINS[rating] for rating in reversed(RATINGS)] == [3, 2, 1, 0]
    assert set(SMALL_MARGINS) == set(LARGE_MARGINS) == set(RATINGS)


def test_one_margin_a_pair_in_the_order_of_the_pairs():
    found = margins(["better", "significantly better", "negligibly better", "better"], SMALL_MARGINS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([2 / 3, 1.0, 0.0, 2 / 3]))
    assert margins([], LARGE_MARGINS).shape == (0,)
    sequences = pack_rows([[1]] * 4, [[2]] * 4, pad_token=0)
    assert Pairs(sequences, sequences, found).rows([1, 2]).margin.tolist() == [1.0, 0.0]


def test_a_clear_pair_costs_more_until_the_scores_are_apart():
    # Scores 2 apart, margin 3: −log σ(2 − 3) = log(1 + e); no margin: log(1 + e⁻²)
    clear, none = margins(["significantly better", "negligibly better"], LARGE_MARGINS).split(1)
    scores = torch.tensor([2.0]), torch.tensor([0.0])
    assert pairwise_loss(*scores, margin=clear).item() == pytest.approx(math.log(1 + math.e), rel=1e-6)
    assert pairwise_loss(*scores, margin=none).item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-6)


def test_an_unknown_rating_is_refused():
    with pytest.raises(ValueError, match="no margin for the rating 'great': the table has significantly"):
        margins(["better", "great"], SMALL_MARGINS)
