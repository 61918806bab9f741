"""Win rates, diversity and lengths by hand, with their symmetries."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf_mini.evaluation.diversity import distinct_n, diversity, pairwise_overlap, unique_fraction, words
from rlhf_mini.evaluation.intervals import wilson_interval
from rlhf_mini.evaluation.lengths import length_summary
from rlhf_mini.evaluation.win_rate import win_rate

_scores = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=30)


def test_win_rate_by_hand():
    result = win_rate([3, 1, 2, 5], [1, 1, 3, 2])
    assert (result.wins, result.ties, result.losses) == (2, 1, 1)
    assert result.rate == wilson_interval(0.625, count=4)


def test_tie_margin_is_inclusive():
    result = win_rate([1.5, 1.0, 0.25], [1.0, 1.5, 1.0], tie_margin=0.5)
    assert (result.wins, result.ties, result.losses) == (0, 2, 1)


@given(_scores)
def test_win_rate_swaps_with_its_sides(pairs):
    ours, theirs = (list(side) for side in zip(*pairs, strict=True))
    forward, backward = win_rate(ours, theirs), win_rate(theirs, ours)
    assert (forward.wins, forward.ties, forward.losses) == (backward.losses, backward.ties, backward.wins)
    assert forward.rate.mean == pytest.approx(1 - backward.rate.mean)
    assert forward.rate.low == pytest.approx(1 - backward.rate.high)
    assert forward.wins + forward.ties + forward.losses == len(pairs)


def test_win_rate_refuses_unequal_prompts():
    with pytest.raises(ValueError, match="same prompts"):
        win_rate([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="tie_margin"):
        win_rate([1.0], [1.0], tie_margin=-1.0)


def test_distinct_by_hand():
    # "a b a b": words a b a b (2 of 4), pairs ab ba ab (2 of 3). n-grams do not cross texts.
    assert distinct_n(["a b a b"], n=1) == 0.5
    assert distinct_n(["a b a b"], n=2) == pytest.approx(2 / 3)
    assert distinct_n(["a b", "b a"], n=2) == 1.0
    assert distinct_n(["a", "b"], n=2) == 0.0


def test_overlap_by_hand():
    # Pairs of {ab, bc}, {ab, bd}, {xy}: 1/3, 0 and 0.
    assert pairwise_overlap(["a b c", "a b d", "x y"], n=2) == pytest.approx(1 / 9)
    assert pairwise_overlap(["hello", "Hello", "bye"], n=2) == pytest.approx(1 / 3)
    assert pairwise_overlap(["same text here"] * 4) == 1.0


def test_words_keep_apostrophes_and_split_punctuation():
    assert words("“Don't!” said Zoë.") == ["“", "don't", "!", "”", "said", "zoë", "."]


def test_unique_ignores_whitespace_only():
    assert unique_fraction(["a cat", "a  cat\n", "A cat"]) == pytest.approx(2 / 3)


@given(st.lists(st.text("ab .", max_size=12), min_size=2, max_size=8), st.randoms())
def test_diversity_ignores_order_and_stays_in_range(texts, shuffler: random.Random):
    before = diversity(texts)
    shuffled = list(texts)
    shuffler.shuffle(shuffled)
    assert diversity(shuffled) == pytest.approx(before)
    assert all(0 <= value <= 1 for value in before.values())


def test_diversity_refuses_bad_input():
    with pytest.raises(ValueError, match="one string"):
        distinct_n("a single text", n=1)
    with pytest.raises(ValueError, match="at least 2"):
        pairwise_overlap(["alone"])
    with pytest.raises(ValueError, match="n >= 1"):
        distinct_n(["a"], n=0)


def test_lengths_by_hand():
    summary = length_summary([10, 20, 30, 40, 50], limit=50)
    assert summary["length_mean"] == 30
    assert summary["length_std"] == pytest.approx(np.sqrt(200))
    assert (summary["length_p10"], summary["length_median"], summary["length_p90"]) == pytest.approx(
        (14, 30, 46)
    )
    assert summary["at_limit"] == 0.2
    assert "at_limit" not in length_summary([1, 2])


@pytest.mark.parametrize("lengths", [[1.5], [-1.0], []])
def test_lengths_refuse_what_is_no_length(lengths):
    with pytest.raises(ValueError):
        length_summary(np.array(lengths, dtype=float))


def test_lengths_over_the_limit_are_refused():
    with pytest.raises(ValueError, match="limit of 5"):
        length_summary([6], limit=5)
