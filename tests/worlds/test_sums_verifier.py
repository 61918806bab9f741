"""Rewards for sums: what each pays for, and that each gap is one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.worlds.sums import LEVELS, Level, Sum, demonstrate, draw_sums, verify
from rlhf_mini.worlds.sums_verifier import (
    GAPS,
    STEP_PAY,
    all_right,
    answer_mentioned,
    answer_right,
    steps_counted,
    steps_share,
    steps_written,
)

REWARDS = (all_right, answer_mentioned, answer_right, steps_counted, steps_share, steps_written)
WHOLE, SLIPPED = "7+8=15 2+5+1=8 =85", "7+8=16 2+5+1=8 =86"
#            answer right, all right, form, share of steps, mentioned, counted
BY_HAND = {
    WHOLE: (1, 1, 1, 1, 1, 2 * STEP_PAY),
    SLIPPED: (0, 0, 1, 1 / 2, 0, 2 * STEP_PAY),
    "=85": (1, 0, 0, 0, 1, 0),
    "7+8=15 =85": (1, 0, 0, 1 / 2, 1, STEP_PAY),
    "7+8=15 2+5+1=8 =85 ": (0, 0, 0, 1, 1, 2 * STEP_PAY),  # something after the answer
    "85": (0, 0, 0, 0, 1, 0),
    "=84 =85": (0, 0, 0, 0, 1, 0),
    "=185": (0, 0, 0, 0, 0, 0),
    "": (0, 0, 0, 0, 0, 0),
    "7+8=15 2+5+1=8 8+0=8 =85": (1, 0, 0, 1, 1, 3 * STEP_PAY),
}


@pytest.mark.parametrize(("text", "expected"), BY_HAND.items())
def test_by_hand(text, expected):
    for prompt in ("27+58", "right 27+58"):
        rewards = (answer_right, all_right, steps_written, steps_share, answer_mentioned, steps_counted)
        assert tuple(reward(prompt, text) for reward in rewards) == pytest.approx(expected)


@settings(deadline=None)
@given(st.text(alphabet="0123456789+= x", max_size=40))
def test_any_text_is_rewarded_with_a_finite_number(text):
    for reward in REWARDS:
        assert 0 <= reward("27+58", text) <= 40 * STEP_PAY


def problems() -> list[Sum]:
    return [problem for level in LEVELS for problem in draw_sums(8, level, seed=1)]


@pytest.mark.parametrize("name", GAPS)
def test_a_gap_pays_what_it_should_not(name):
    gap = GAPS[name]
    for problem in problems():
        text = gap.exploit(problem)
        assert not verify(problem, text).correct
        assert gap.reward(problem.text, text) >= gap.reward(problem.text, problem.solution) > 0
        assert gap.closed(problem.text, text) < gap.closed(problem.text, problem.solution) == 1
        assert gap.fault.endswith(".")


@pytest.mark.parametrize("name", GAPS)
def test_honest_solutions_earn_the_same_with_the_gap_and_without(name):
    """What is meant is the same: among solutions in good form the two order right and wrong alike."""
    gap = GAPS[name]
    for problem in problems():
        wrong = demonstrate([problem], error_rate=1.0, seed=3)[0]
        assert gap.closed(problem.text, problem.solution) > gap.closed(problem.text, wrong)
        if name != "padding":  # which does not look at what is written at all
            assert gap.reward(problem.text, problem.solution) >= gap.reward(problem.text, wrong)


def test_only_the_exploits_that_need_no_answer_stay_the_same_for_another_sum():
    """27+58 and 28+58 have different sums and columns of the same lengths."""
    one, other = Sum((27, 58)), Sum((28, 58))
    for gap in GAPS.values():
        assert (gap.exploit(one) != gap.exploit(other)) == gap.needs_answer


def test_the_level_of_the_chapter_fits_its_exploits():
    problem = draw_sums(1, Level(2, 2), seed=0)[0]
    assert len(GAPS["padding"].exploit(problem)) <= 24
