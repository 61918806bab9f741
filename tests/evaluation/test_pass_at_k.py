"""pass@k and majority votes: by hand, and against every choice of k tries."""

import math
import random
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.evaluation.pass_at_k import Vote, majority_at_k, majority_vote, mean_pass_at_k, pass_at_k


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_choices_with_a_right_one(passed, data):
    k = data.draw(st.integers(1, len(passed)))
    choices = list(combinations(passed, k))
    expected = sum(map(any, choices)) / len(choices)
    assert pass_at_k(sum(passed), len(passed), k=k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("p", "tries", "k"), [(0.3, 5, 3), (0.05, 6, 6), (0.9, 4, 1)])
def test_its_mean_over_all_outcomes_is_the_chance_and_the_plug_ins_is_not(p, tries, k):
    unbiased = plugged_in = 0.0
    for outcome in product([0, 1], repeat=tries):
        right = sum(outcome)
        chance = p**right * (1 - p) ** (tries - right)
        unbiased += chance * pass_at_k(right, tries, k=k)
        plugged_in += chance * (1 - (1 - right / tries) ** k)
    truth = 1 - (1 - p) ** k
    assert unbiased == pytest.approx(truth, abs=1e-12)
    if k > 1:
        assert plugged_in < truth - 0.02


def test_pass_at_k_by_hand():
    assert [pass_at_k(2, 4, k=k) for k in (1, 2, 3, 4)] == [1 / 2, 1 - 1 / 6, 1, 1]
    assert pass_at_k(0, 10, k=10) == 0
    assert pass_at_k(1, 200, k=100) == pytest.approx(0.5)
    assert mean_pass_at_k([[True, False, False], [False, True]], k=2) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(("right", "tries", "k"), [(1, 2, 3), (1, 2, 0), (3, 2, 1), (-1, 2, 1)])
def test_numbers_out_of_range_are_refused(right, tries, k):
    with pytest.raises(ValueError, match="need 1 <= k <= tries and 0 <= right <= tries"):
        pass_at_k(right, tries, k=k)


def test_no_problems_are_refused():
    with pytest.raises(ValueError, match="no problems"):
        mean_pass_at_k([], k=1)


def test_votes_by_hand():
    assert majority_vote([3, 5, 5, 3, 7]) == Vote(winners=(3, 5), votes=2, voters=5)
    assert majority_vote([3, 5, 5, 3, 7]).tied
    assert not majority_vote([5, None, None]).tied
    assert majority_vote([5, None, None]) == Vote(winners=(5,), votes=1, voters=1)
    assert majority_vote([None]) == majority_vote([]) == Vote(winners=(), votes=0, voters=0)
    assert [majority_vote([3, 5, 5, 3, 7]).chance_of(answer) for answer in (3, 5, 7, 9)] == [0.5, 0.5, 0, 0]
    assert majority_vote([None]).chance_of(None) == 0


@settings(deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3, 4, None]), min_size=1, max_size=9), st.data())
def test_majority_at_k_is_the_mean_over_all_choices(answers, data):
    k = data.draw(st.integers(1, len(answers)))
    choices = list(combinations(answers, k))
    expected = math.fsum(majority_vote(choice).chance_of(1) for choice in choices) / len(choices)
    assert majority_at_k(answers, 1, k=k) == pytest.approx(expected, abs=1e-12)


def test_at_k_of_1_and_of_all():
    answers = [random.Random(0).choice([1, 1, 2, 3, None]) for _ in range(40)]
    assert majority_at_k(answers, 1, k=1) == pytest.approx(answers.count(1) / 40)
    assert majority_at_k(answers, 1, k=40) == majority_vote(answers).chance_of(1)


def test_a_majority_helps_who_is_often_right_and_hurts_who_is_often_wrong():
    often, seldom = [1] * 12 + [2] * 8, [1] * 8 + [2] * 12
    assert majority_at_k(often, 1, k=9) > majority_at_k(often, 1, k=1) + 0.1
    assert majority_at_k(seldom, 1, k=9) < majority_at_k(seldom, 1, k=1) - 0.1


def test_many_tries_are_fast_enough_to_plot():
    answers = [random.Random(1).choice(range(30)) for _ in range(64)]
    assert 0 <= majority_at_k(answers, answers[0], k=32) <= 1


@pytest.mark.parametrize(("k", "truth"), [(0, 1), (4, 1), (2, None)])
def test_bad_votes_are_refused(k, truth):
    with pytest.raises(ValueError, match=r"need 1 <= k <= 3 tries and a truth"):
        majority_at_k([1, 2, 2], truth, k=k)
