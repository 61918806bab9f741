"""Chapter 12's order of the carry: which steps carry, the carry moved in front, what people see; by hand."""

from itertools import product

import pytest

from rlhf_mini.chapters.verifiable.orders import carried_steps, carries_first, carry_in_front, has_carry
from rlhf_mini.worlds.sums import Step, Sum, verify

TENS_AND_ONES = [10 * tens + ones for tens in (1, 2, 9) for ones in range(10)]

# --------------------------------------------------------------------------------- which steps carry


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("27+58", "7+8=15 2+5+1=8 =85", [(Step((2, 5, 1), 8), [2, 5], 1)]),
        ("right 27+58", "7+8=15 1+2+5=8 =85", [(Step((1, 2, 5), 8), [2, 5], 1)]),
        ("17+58", "7+8=15 1+5+1=7 =75", [(Step((1, 5, 1), 7), [1, 5], 1)]),
        ("31+42", "1+2=3 3+4=7 =73", []),
        # three numbers: 9 + 8 + 7 = 24 carries a 2
        ("89+78+67", "9+8+7=24 8+7+6+2=23 =234", [(Step((8, 7, 6, 2), 23), [8, 7, 6], 2)]),
        # two carries, the second one into a column of one digit
        (
            "199+58",
            "9+8=17 9+5+1=15 1+1=2 =257",
            [(Step((9, 5, 1), 15), [9, 5], 1), (Step((1, 1), 2), [1], 1)],
        ),
        # a column between them that carries nothing
        ("127+58", "7+8=15 2+5+1=8 1=1 =185", [(Step((2, 5, 1), 8), [2, 5], 1)]),
        ("152+273", "2+3=5 5+7=12 1+2+1=4 =425", [(Step((1, 2, 1), 4), [1, 2], 1)]),
    ],
)
def test_steps_that_a_carry_comes_into(prompt, text, expected):
    assert [found for _, *found in carried_steps(prompt, text)] == [[*one] for one in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7+8=5 2+5=7 =75", []),  # nothing to carry was written
        ("7+8=9 2+5+1=8 =89", []),  # 9 carries nothing, 10 does
        ("7+8=10 2+5+1=8 =80", [(Step((2, 5, 1), 8), [2, 5], 1)]),
        ("7+8=25 2+5+2=9 =95", [(Step((2, 5, 2), 9), [2, 5], 2)]),
        ("7+8=15 2+5=7 =75", [(Step((2, 5), 7), [2, 5], 1)]),  # it came in, and was forgotten
    ],
)
def test_a_carry_is_the_one_that_was_written(text, expected):
    assert [found for _, *found in carried_steps("27+58", text)] == [[*one] for one in expected]


def test_a_step_is_told_with_its_place():
    assert [place for place, *_ in carried_steps("299+158", "9+8=17 9+5+1=15 2+1+1=4 =457")] == [1, 2]
    assert [place for place, *_ in carried_steps("152+273", "2+3=5 5+7=12 1+2+1=4 =425")] == [2]


@pytest.mark.parametrize(
    "text", ["", "=85", "85", "7+8", "7+8=15", "7+8=15 2+5", "7+8=15 2+5+1=8", "?7+8=15 2+1=3 "]
)
def test_broken_text_has_no_step_that_carries(text):
    assert carried_steps("27+58", text) == []
    assert carry_in_front("27+58", text) == text
    assert carries_first("27+58", text) == 0.0


def test_steps_beyond_the_columns_are_left_out():
    text = "7+8=15 2+5+1=18 1+1=2 =285"
    assert carried_steps("27+58", text) == [(1, Step((2, 5, 1), 18), [2, 5], 1)]
    assert carry_in_front("27+58", text) == "7+8=15 1+2+5=18 1+1=2 =285"


# --------------------------------------------------------------------------------- the carry in front


@pytest.mark.parametrize(
    ("prompt", "before", "after"),
    [
        ("27+58", "7+8=15 2+5+1=8 =85", "7+8=15 1+2+5=8 =85"),
        ("89+78+67", "9+8+7=24 8+7+6+2=23 =234", "9+8+7=24 2+8+7+6=23 =234"),
        ("299+158", "9+8=17 9+5+1=15 2+1+1=4 =457", "9+8=17 1+9+5=15 1+2+1=4 =457"),
        ("199+58", "9+8=17 9+5+1=15 1+1=2 =257", "9+8=17 1+9+5=15 1+1=2 =257"),
        ("31+42", "1+2=3 3+4=7 =73", "1+2=3 3+4=7 =73"),
        # the digits of a column are 1, too
        ("17+58", "7+8=15 1+5+1=7 =75", "7+8=15 1+1+5=7 =75"),
        ("57+18", "7+8=15 5+1+1=7 =75", "7+8=15 1+5+1=7 =75"),
        ("17+18", "7+8=15 1+1+1=3 =35", "7+8=15 1+1+1=3 =35"),
        # the first column has the terms of the second with its carry, and stays
        ("1910+5950+10", "0+0+0=0 1+5+1=7 9+9=18 1+5+1=7 =7870", "0+0+0=0 1+5+1=7 9+9=18 1+1+5=7 =7870"),
        ("77+88+1", "7+8+1=16 7+8+1=16 =166", "7+8+1=16 1+7+8=16 =166"),
    ],
)
def test_every_carry_is_moved_in_front(prompt, before, after):
    assert Sum(tuple(map(int, prompt.split("+")))).solution == before
    assert carry_in_front(prompt, before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("7+8=15 2+5=7 =75", "7+8=15 2+5=7 =75"),  # forgotten: there is nothing to move
        ("7+8=15 2+6+1=9 =95", "7+8=15 1+2+6=9 =95"),  # a misread digit
        ("7+8=15 2+5+1=9 =95", "7+8=15 1+2+5=9 =95"),  # added up wrongly
        ("7+8=25 2+5+2=9 =95", "7+8=25 2+2+5=9 =95"),  # the carry as it was written
        ("7+8=15 1+2+5=8 =85", "7+8=15 1+2+5=8 =85"),  # it is in front already
        ("7+8=15 2+5+3=10 =105", "7+8=15 2+5+3=10 =105"),  # what stands last is not the carry
        ("7+8=15 2+1=3 =35", "7+8=15 2+1=3 =35"),  # a digit is missing: which one is last?
    ],
)
def test_slips_are_moved_or_left_alone(before, after):
    assert carry_in_front("27+58", before) == after


# --------------------------------------------------------------------------------- what people see


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("27+58", "7+8=15 1+2+5=8 =85", 1.0),
        ("27+58", "7+8=15 2+5+1=8 =85", 0.0),
        ("27+58", "7+8=15 2+1+5=8 =85", 0.0),  # between them is not in front
        ("27+58", "=85", 0.0),
        ("27+58", "7+8=15 2+5=7 =75", 0.0),  # forgotten
        ("27+58", "7+8=15 2+2+5=9 =95", 0.0),  # another number in front
        ("31+42", "1+2=3 3+4=7 =73", 0.0),  # none to write
        ("89+78+67", "9+8+7=24 2+8+7+6=23 =234", 1.0),
        ("89+78+67", "9+8+7=24 8+7+6+2=23 =234", 0.0),
        ("89+78+67", "9+8+7=24 1+8+7+6=22 =224", 0.0),
        # a column that begins with 1, or ends with it, or both
        ("17+58", "7+8=15 1+1+5=7 =75", 1.0),
        ("17+58", "7+8=15 1+5+1=7 =75", 0.0),
        ("57+18", "7+8=15 1+5+1=7 =75", 1.0),
        ("57+18", "7+8=15 5+1+1=7 =75", 0.0),
        ("17+18", "7+8=15 1+1+1=3 =35", 0.0),
        # two carries: each has to
        ("299+158", "9+8=17 1+9+5=15 1+2+1=4 =457", 1.0),
        ("299+158", "9+8=17 1+9+5=15 2+1+1=4 =457", 0.0),
        ("299+158", "9+8=17 9+5+1=15 1+2+1=4 =457", 0.0),
    ],
)
def test_whether_the_carry_stands_in_front(prompt, text, expected):
    assert carries_first(prompt, text) == expected


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("27+58", "7+8=15 1+2+5=9 =3"),
        ("27+58", "7+8=15 1+2+5=8 so it is 85"),
        ("27+58", "7+8=25 2+2+5=9 =95"),  # the carry as it was written
        ("31+42", "1+2=13 1+3+4=8 =83"),  # one that should not be there
    ],
)
def test_nobody_checks_the_sum(prompt, text):
    assert carries_first(prompt, text) == 1.0


# --------------------------------------------------------------------------------- sums with a carry


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("27+58", True),
        ("right 27+58", True),
        ("45+54", False),  # 9
        ("45+55", True),  # 10
        ("81+53", False),  # only the last column, whose carry goes nowhere
        ("9+9", False),
        ("99+1", True),
        ("33+33+33", False),
        ("34+33+33", True),
        ("152+273", True),  # the middle column
        ("512+723", False),
    ],
)
def test_whether_a_sum_carries(prompt, expected):
    assert has_carry(prompt) is expected


def test_sums_of_two_digits():
    """Ones that add up to ten or more carry, and no others; with two tens of 1 both orders are one text."""
    for one, other in product(TENS_AND_ONES, repeat=2):
        problem = Sum((one, other))
        carries = one % 10 + other % 10 >= 10
        assert has_carry(problem.text) is carries
        assert len(carried_steps(problem.text, problem.solution)) == carries
        turned = carry_in_front(problem.text, problem.solution)
        assert verify(problem, turned).answer_right
        assert sorted(turned) == sorted(problem.solution)
        told_apart = carries and (one // 10, other // 10) != (1, 1)
        assert (turned != problem.solution) is told_apart
        assert carries_first(problem.text, turned) == told_apart
        assert carries_first(problem.text, problem.solution) == 0.0
