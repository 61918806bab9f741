"""Sums: what is right is recognised, what is wrong is found where it is, and relabelled to what it is."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.worlds.sums import (
    ALPHABET,
    HELD_OUT_SHARE,
    INSTRUCTIONS,
    LEVELS,
    RIGHT,
    WRONG,
    Level,
    Sum,
    demonstrate,
    draw_sums,
    instructed,
    is_held_out,
    read_solution,
    read_sum,
    relabel,
    solved_problem,
    steps_relabelled,
    verify,
)

EASY = Sum((27, 58))
# Tuples, not sums: checking types while hypothesis draws would disturb its random numbers.
numbers_drawn = st.lists(st.integers(0, 99999), min_size=2, max_size=5).map(tuple)
pieces = st.lists(
    st.sampled_from([*"0123456789+= ", "7+8=15 ", "2+5+1=8 ", "=85", "9" * 20, "\n"]), max_size=8
)


# ---- solutions


@pytest.mark.parametrize(
    ("numbers", "solution"),
    [
        ((27, 58), "7+8=15 2+5+1=8 =85"),  # 7 + 8 = 15: write 5, carry 1; 2 + 5 + 1 = 8
        ((12, 34), "2+4=6 1+3=4 =46"),  # no carry, none written
        ((95, 27), "5+7=12 9+2+1=12 =122"),  # the last carry stands in front
        ((99, 99, 99), "9+9+9=27 9+9+9+2=29 =297"),  # a carry of 2
        ((127, 5), "7+5=12 2+1=3 1=1 =132"),  # a shorter number has no digit in a column
        ((0, 0), "0+0=0 =0"),
    ],
)
def test_solutions_by_hand(numbers, solution):
    assert Sum(numbers).solution == solution


@settings(deadline=None)
@given(numbers_drawn)
def test_a_solution_is_correct_in_every_part(numbers):
    problem = Sum(numbers)
    verdict = verify(problem, problem.solution)
    assert verdict.correct
    assert verdict.answer == sum(problem.numbers)
    assert verdict.grade == 1
    assert verdict.answer_follows
    assert len(verdict.steps_right) == max(len(str(number)) for number in problem.numbers)
    assert set(problem.solution + problem.text) <= set(ALPHABET)


@settings(deadline=None)
@given(numbers_drawn, st.data())
def test_no_other_text_is_correct(numbers, data):
    """One character put in, taken out or exchanged."""
    problem = Sum(numbers)
    text = problem.solution
    place = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(place, min(len(text), place + 1)))
    changed = text[:place] + data.draw(st.sampled_from(["", *"0123456789+= x"])) + text[end:]
    assert verify(problem, changed).correct == (changed == text)


@settings(deadline=None)
@given(pieces)
def test_any_text_is_read_and_what_is_whole_comes_back(tokens):
    text = "".join(tokens)
    reading = read_solution(text)
    again = "".join(f"{'+'.join(map(str, step.terms))}={step.total} " for step in reading.steps)
    assert text.startswith(again)
    assert reading.whole == (reading.answer is not None)
    if reading.whole:
        assert text == f"{again}={reading.answer}"
    verdict = verify(EASY, text)
    assert 0 <= verdict.grade <= 1
    assert verdict.correct == (text == EASY.solution)
    assert relabel(EASY, text) == (RIGHT if reading.answer == 85 else WRONG)
    assert "".join(part for _, part, _ in steps_relabelled(EASY, text)) in text
    assert solved_problem(text) is None or solved_problem(text).solution == text


# ---- what is wrong, and where


@pytest.mark.parametrize(
    ("text", "steps", "answer_right", "follows", "grade"),
    [
        ("7+8=16 2+5+1=8 =86", (False, True), False, True, 0),  # added up wrongly, then consistent
        ("7+8=15 2+5=7 =75", (True, False), False, True, 1 / 3),  # forgot the carry
        ("7+8=15 2+6+1=9 =95", (True, False), False, True, 1 / 3),  # misread a digit
        ("7+8=15 2+5+1=8 =86", (True, True), False, False, 2 / 3),  # did not use the steps
        ("7+8=16 2+5+1=8 =85", (False, True), True, False, 1 / 3),  # right for no reason
        ("7+8=15 2+5+1=8 ", (True, True), False, False, 2 / 3),  # broken off
        ("7+8=15 2+5+", (True, False), False, False, 1 / 3),
        ("=85", (False, False), True, False, 1 / 3),  # no steps
        ("=1", (False, False), False, False, 0),
        ("", (False, False), False, False, 0),
        ("7+8=15 2+5+1=8 0+0=0 =85", (True, True), True, True, 1),  # a step too many: not whole
        ("8+7=15 2+5+1=8 =85", (False, True), True, True, 1 / 3),  # not the column's order
        ("7+8=15 2+5+1=8 =085", (True, True), False, False, 2 / 3),
        ("=0", (False, False), False, True, 0),  # no step adds up to nothing
    ],
)
def test_verdicts_by_hand(text, steps, answer_right, follows, grade):
    verdict = verify("27+58", text)
    assert verdict.steps_right == steps
    assert (verdict.answer_right, verdict.answer_follows) == (answer_right, follows)
    assert math.isclose(verdict.grade, grade, abs_tol=1e-12)
    assert not verdict.correct


def test_each_part_by_itself():
    assert steps_relabelled(EASY, "7+8=15 2+5=7 =75") == [
        ("", "7+8=15 ", RIGHT),
        ("7+8=15 ", "2+5=7 ", WRONG),
        ("7+8=15 2+5=7 ", "=75", RIGHT),
    ]
    assert steps_relabelled(EASY, "7+8=15 2+5+1=8 =9") == [
        ("", "7+8=15 ", RIGHT),
        ("7+8=15 ", "2+5+1=8 ", RIGHT),
        ("7+8=15 2+5+1=8 ", "=9", WRONG),
    ]
    assert steps_relabelled(EASY, "7+8=15 2+5+1=8 so 85") == [  # no answer by itself
        ("", "7+8=15 ", RIGHT),
        ("7+8=15 ", "2+5+1=8 ", RIGHT),
    ]
    assert steps_relabelled(EASY, "7+8=15 2+") == [("", "7+8=15 ", RIGHT)]
    assert steps_relabelled(EASY, "no") == []


@settings(deadline=None)
@given(numbers_drawn)
def test_the_parts_of_a_solution_are_all_right(numbers):
    problem = Sum(numbers)
    parts = steps_relabelled(problem, problem.solution)
    assert {fulfilled for *_, fulfilled in parts} == {RIGHT}
    assert "".join(part for _, part, _ in parts) == problem.solution
    assert all(problem.solution.startswith(before + part) for before, part, _ in parts)


# ---- hindsight


@settings(deadline=None)
@given(st.integers(1, 4), st.data())
def test_the_solved_problem_is_found(digits, data):
    number = st.integers(10 ** (digits - 1), 10**digits - 1)
    problem = Sum(tuple(data.draw(st.lists(number, min_size=2, max_size=4))))
    assert solved_problem(problem.solution) == problem


def test_a_misread_digit_solves_another_problem_and_a_wrong_step_none():
    assert solved_problem("7+7=14 2+5+1=8 =84") == Sum((27, 57))
    for text in ("7+8=16 2+5+1=8 =86", "7+8=15 2+5=7 =75", "7+8=15 2+5+1=8 =86", "", "=85", "7=7 =7"):
        assert solved_problem(text) is None
    assert solved_problem("7+8=15 0+5+1=6 =65") is None  # 07 is no number


# ---- problems


def test_prompts_come_back():
    assert read_sum(instructed("wrong", EASY.text)) == read_sum(EASY.text) == EASY
    assert (instructed("", EASY.text), instructed("wrong", EASY.text)) == ("27+58", "wrong 27+58")
    assert all(set(instructed(name, EASY.text)) <= set(ALPHABET) for name in INSTRUCTIONS)
    for bad in ("", "27", "27+", "27 + 58", "right27+58", "027+58", "Right 27+58"):
        with pytest.raises(ValueError, match=re.escape(f"not a sum: {bad!r}")):
            read_sum(bad)


def test_levels_go_from_easy_to_hard():
    shapes = [(level.numbers, level.digits) for level in LEVELS]
    assert shapes == [(2, 1), (2, 2), (3, 2), (2, 3), (3, 3)]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("held_out", [False, True])
def test_drawn_problems_are_of_the_level_distinct_and_of_their_part(level, held_out):
    drawn = draw_sums(12, level, seed=3, held_out=held_out)
    assert len(set(drawn)) == 12
    assert drawn == draw_sums(12, level, seed=3, held_out=held_out)
    assert drawn != draw_sums(12, level, seed=4, held_out=held_out)
    for problem in drawn:
        assert is_held_out(problem) == held_out
        assert len(problem.numbers) == level.numbers
        assert all(len(str(number)) == level.digits for number in problem.numbers)


def test_a_fifth_is_held_out_in_any_order():
    level = Level(2, 2)
    train, test = (
        draw_sums(count, level, seed=0, held_out=held) for count, held in ((6000, False), (1400, True))
    )
    assert not {tuple(sorted(problem.numbers)) for problem in train} & {
        tuple(sorted(problem.numbers)) for problem in test
    }
    every = [Sum((a, b)) for a in range(10, 100) for b in range(10, 100)]
    # 4,095 unordered pairs, binomial with standard deviation .006: four of them
    assert abs(sum(map(is_held_out, every)) / len(every) - HELD_OUT_SHARE) < 0.025
    assert all(is_held_out(Sum((a, b))) == is_held_out(Sum((b, a))) for a in range(10, 40) for b in range(40))


def test_the_split_never_changes():
    """Models were trained on one side: a checksum that ends in 000 … 199 is held out, and no other is."""
    for numbers in ((22, 91), (11, 48), (71, 29)):  # the checksum of "22+91" ends in 000, the others' in 199
        assert is_held_out(Sum(numbers))
    for numbers in ((21, 84), (96, 30), (28, 35)):  # 200, 200 and 999
        assert not is_held_out(Sum(numbers))


def test_large_levels_give_up_to_a_fiftieth_of_their_problems():
    level = Level(2, 3)  # 900 · 900 problems, of which a fiftieth is 16,200
    assert len(set(draw_sums(16_200, level, seed=0))) == 16_200
    with pytest.raises(ValueError, match="16201 problems are too many to be drawn"):
        draw_sums(16_201, level, seed=0)


def test_small_levels_can_be_used_up_and_not_more():
    level = Level(2, 1)
    held_out = sum(is_held_out(Sum((a, b))) for a in range(1, 10) for b in range(1, 10))
    assert 5 < held_out < 30
    assert len(draw_sums(81 - held_out, level, seed=0)) == 81 - held_out
    with pytest.raises(ValueError, match=f"has {held_out} held-out problems, and 81 were asked for"):
        draw_sums(81, level, seed=0, held_out=True)
    with pytest.raises(ValueError, match=f"has {81 - held_out} training problems, and 81 were asked for"):
        draw_sums(81, level, seed=0)
    with pytest.raises(ValueError, match="too many to be drawn"):
        draw_sums(10**6, Level(2, 3), seed=0)


# ---- demonstrations


def test_demonstrations_go_wrong_at_the_stated_rate_by_one_step():
    drawn = draw_sums(2000, Level(3, 2), seed=0)
    texts = demonstrate(drawn, error_rate=0.3, seed=1)
    verdicts = [verify(problem, text) for problem, text in zip(drawn, texts, strict=True)]
    wrong = [verdict for verdict in verdicts if not verdict.answer_right]
    # binomial, 2,000 at 0.3: standard deviation 20.5; four of them
    assert abs(len(wrong) - 600) < 82
    assert all(verdict.correct for verdict in verdicts if verdict.answer_right)
    for verdict in wrong:
        assert verdict.whole
        assert verdict.answer_follows
        assert verdict.steps_right.count(False) == 1
    assert texts == demonstrate(drawn, error_rate=0.3, seed=1)


@settings(deadline=None)
@given(numbers_drawn, st.integers(0, 10**6))
def test_one_slip_always_makes_the_answer_wrong(numbers, seed):
    problem = Sum(numbers)
    (text,) = demonstrate([problem], error_rate=1.0, seed=seed)
    assert not verify(problem, text).answer_right


@settings(deadline=None)
@given(numbers_drawn, st.integers(0, 10**6))
def test_a_slip_can_be_read_and_what_follows_is_consistent(numbers, seed):
    problem = Sum(numbers)
    (text,) = demonstrate([problem], error_rate=1.0, seed=seed)
    verdict = verify(problem, text)
    assert (verdict.whole, verdict.answer_follows, verdict.steps_right.count(False)) == (True, True, 1)


def test_nothing_added_up_wrongly_is_one_and_not_one_below():
    texts = demonstrate([Sum((0, 0))] * 600, error_rate=1.0, seed=0)
    misread = {f"{digit}+0={digit} ={digit}" for digit in range(1, 10)}
    # no carry to forget, and the other two slips are as likely: binomial, standard deviation 12.2; four of it
    assert abs(texts.count("0+0=1 =1") - 300) < 49
    assert set(texts) == {"0+0=1 =1"} | misread | {f"0+{digit}={digit} ={digit}" for digit in range(1, 10)}


def test_no_error_rate_is_no_error():
    drawn = draw_sums(50, Level(2, 2), seed=0)
    assert demonstrate(drawn, error_rate=0.0, seed=0) == [problem.solution for problem in drawn]


def test_every_kind_of_slip_occurs():
    texts = demonstrate([EASY] * 300, error_rate=1.0, seed=0)
    assert "7+8=15 2+5=7 =75" in texts  # forgot the carry
    assert {"7+8=14 2+5+1=8 =84", "7+8=16 2+5+1=8 =86"} <= set(texts)  # one off
    assert any(solved_problem(text) is not None for text in texts)  # misread a digit
    assert EASY.solution not in texts


def test_the_largest_levels_and_numbers():
    assert Level(2, 12).range == range(10**11, 10**12)
    assert Sum((10**15 - 1, 1)).answer == 10**15


def test_bad_input():
    for numbers in ((5,), (-1, 2), (10**15, 1)):
        with pytest.raises(ValueError, match="a sum needs two or more numbers"):
            Sum(numbers)
    for bad in ({"numbers": 1, "digits": 2}, {"numbers": 2, "digits": 0}, {"numbers": 2, "digits": 13}):
        with pytest.raises(ValueError, match="a level needs at least 2 numbers"):
            Level(**bad)
    for rate in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="error_rate must be from 0 to 1"):
            demonstrate([EASY], error_rate=rate, seed=0)
