"""Exercises: an empty answer is told from a wrong one, and each wrong one gets the hint that fits it."""

import re

import numpy as np
import pytest
import torch

from rlhf_mini.reader import Exercise, Mistake, OpenExercise, new_figure
from rlhf_mini.reader.comparing import difference, pattern, same
from rlhf_mini.reader.exercises import is_unfilled


def returns(rewards, discount):
    """Each step's reward and what follows, discounted."""
    total, told = 0.0, []
    for reward in reversed(rewards):
        total = reward + discount * total
        told.append(total)
    return told[::-1]


def undiscounted(rewards, discount):
    return returns(rewards, 1.0)


def backwards(rewards, discount):
    return returns(rewards, discount)[::-1]


def cases():
    return [([1.0, 2.0, 4.0], 0.5), ([3.0], 0.9), ([0.0, 1.0], 0.0)]


def exercise(**changed):
    options = {
        "title": "Returns",
        "level": "easy",
        "minutes": 5,
        "hints": ("Begin at the end.", "G = r + γ G'."),
        "solution": returns,
        "cases": cases,
        "mistakes": (Mistake(undiscounted, "You forget γ."), Mistake(backwards, "Turn the list round.")),
    }
    return Exercise(**{**options, **changed})


# --------------------------------------------------------------------------------------------------- verdicts


def test_the_solution_is_right_in_every_type_that_means_the_same():
    for answer in (
        returns,
        lambda rewards, discount: tuple(returns(rewards, discount)),
        lambda rewards, discount: np.array(returns(rewards, discount), dtype=np.float32),
        lambda rewards, discount: torch.tensor(returns(rewards, discount), requires_grad=True),
        lambda rewards, discount: [torch.tensor(value) for value in returns(rewards, discount)],
    ):
        verdict = exercise().judge(answer)
        assert (verdict.state, verdict.words, verdict.detail) == ("right", "Right, on all 3 cases.", "")


def test_each_known_mistake_gets_its_own_hint_and_the_case():
    def mine(rewards, discount):
        return [sum(rewards[i:]) for i in range(len(rewards))]

    verdict = exercise().judge(mine)
    assert (verdict.state, verdict.words) == ("wrong", "You forget γ.")
    assert verdict.detail == "Case 1, mine([1.0, 2.0, 4.0], 0.5): at index 0 it should be 3; yours is 7."
    assert exercise().judge(backwards).words == "Turn the list round."


def test_an_unknown_mistake_is_described():
    def doubled(rewards, discount):
        return [2 * value for value in returns(rewards, discount)]

    def first_only(rewards, discount):
        return returns(rewards, discount)[0]

    verdict = exercise(cases=lambda: cases()[:1]).judge(doubled)
    assert verdict.words == "All your numbers are 2 times what they should be."
    assert "its shape should be (3,); yours is a single number ()" in exercise().judge(first_only).detail
    assert exercise().judge(first_only).words == "Not right yet."


def test_a_factor_is_seen_across_cases_of_single_numbers():
    def total(values):
        return sum(values)

    def negative(values):
        return -sum(values)

    summed = exercise(solution=total, cases=lambda: [([1.0, 2.0],), ([5.0],)], mistakes=())
    assert summed.judge(negative).words == "Every sign is the wrong way round."


def test_an_error_none_and_changed_arguments_are_said():
    def raises(rewards, discount):
        return rewards[99]

    def returns_nothing(rewards, discount):
        rewards.copy().sort()

    def pops(rewards, discount):
        told = returns(rewards, discount)
        rewards.clear()
        return told

    assert "it raises IndexError: list index out of range" in exercise().judge(raises).detail
    assert "it returns None" in exercise().judge(returns_nothing).detail
    assert "it changes its arguments" in exercise().judge(pops).detail
    assert "Pass the function itself" in exercise().judge(3.0).words


def test_a_reader_who_changes_a_tensor_in_place_is_told():
    def shifted(x):
        return x + 1

    def in_place(x):
        x += 1
        return x

    added = exercise(solution=shifted, cases=lambda: [(torch.tensor([1.0, 2.0]),)], mistakes=())
    assert "it changes its arguments" in added.judge(in_place).detail
    assert added.judge(shifted).state == "right"


def test_a_model_may_be_an_argument():
    def count(model):
        return sum(parameter.numel() for parameter in model.parameters())

    counted = exercise(solution=count, cases=lambda: [(torch.nn.Linear(2, 3),)], mistakes=())
    assert counted.judge(count).state == "right"


def test_unfilled_is_told_from_wrong():
    def dots(rewards, discount): ...

    def words(rewards, discount):
        """To do."""

    def passed(rewards, discount=0.5):
        pass  # later

    def constant(rewards, discount):
        return 0.0

    for function in (dots, words, passed):
        assert is_unfilled(function)
        assert exercise().judge(function).state == "unfilled"
    assert not is_unfilled(constant)
    assert not is_unfilled(returns)
    assert not is_unfilled(len)
    assert exercise().judge(constant).state == "wrong"


# ------------------------------------------------------------------------------------------------------ cards


def test_the_card_folds_hints_and_the_one_solution_away():
    card = exercise().check(undiscounted)
    assert card.text.startswith("✗ You forget γ.\nCase 1")
    assert re.findall(r"<summary>(.*?)</summary>", card.body) == ["Hint 1", "Hint 2", "Solution"]
    assert "<details open" not in card.body
    assert "easy · 5 minutes" in card.body
    solution = re.sub(r"<[^>]+>", "", card.body)
    assert "total = reward + discount * total" in solution
    assert "✓ Right" in exercise().check(returns).text


def test_the_readers_words_are_shown_as_text():
    def raises(rewards, discount):
        raise ValueError("<b>&")

    assert "&lt;b&gt;&amp;" in exercise().check(raises).body


def test_an_open_exercise_shows_what_a_good_answer_has():
    card = OpenExercise(
        title="Why", level="hard", minutes=30, hints=("one", "two"), good_answer="A measurement."
    ).show()
    assert "A measurement." in card.body
    assert "A measurement." not in card.text  # not given away where nothing can be folded
    assert "Open" in card.text


def test_what_is_long_is_shortened_and_what_fits_is_not():
    def count(first, second):
        return -1

    def told(*arguments):
        counted = exercise(solution=lambda a, b: 1.0, cases=lambda: [arguments], mistakes=())
        return counted.judge(count).detail.split(":")[0]

    assert told("x" * 38, 1) == f"Case 1, count('{'x' * 38}', 1)"  # 40 letters, its quotes among them
    assert told("x" * 39, 1) == "Case 1, count(<str>, 1)"
    assert told(torch.zeros(30, 2), 1) == "Case 1, count(<Tensor (30, 2)>, 1)"
    assert difference("b", "a" * 58, tolerance=0) == f"it should be '{'a' * 58}'; yours is 'b'."
    assert difference("b", "a" * 59, tolerance=0) == f"it should be '{'a' * 56}…; yours is 'b'."


def test_a_card_without_a_detail_has_no_empty_line():
    assert "<p></p>" not in exercise().check(returns).body
    assert "<p>Case 1" in exercise().check(backwards).body


def test_an_exercise_of_one_minute_is_one():
    assert exercise(minutes=1).minutes == 1


def test_a_careless_open_exercise_is_refused():
    with pytest.raises(ValueError, match="Why"):
        OpenExercise(title="Why", level="hard", minutes=0, hints=("one", "two"), good_answer="x")


def test_what_has_no_python_code_is_not_unfilled():
    assert is_unfilled(len) is False


@pytest.mark.parametrize(
    "changed", [{"level": "trivial"}, {"minutes": 0}, {"hints": ("one",)}, {"hints": ("", "x")}]
)
def test_a_careless_exercise_is_refused(changed):
    with pytest.raises(ValueError, match="Returns"):
        exercise(**changed)


# -------------------------------------------------------------------------------------------------- comparing


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (1.0, 1.0 + 1e-9, ""),
        (1, 1.0, ""),
        (True, np.bool_(True), ""),
        (True, False, "it should be False; yours is True."),
        (None, 1.0, "it should be 1; yours is None."),
        ("a", "a", ""),
        ("a", "b", "it should be 'b'; yours is 'a'."),
        ([1.0, "a"], [1.0, "b"], "in value 2, it should be 'b'; yours is 'a'."),
        ([1.0, "a", 2.0], (1.0, "b"), "it should return 2 values; yours returned 3."),
        ({"x": 1.0}, {"x": 2.0}, "in 'x', it should be 2; yours is 1."),
        ({"x": 1.0}, {"y": 2.0}, "it should have the keys ['y']; yours has ['x']."),
        ([[1.0, 2.0]], torch.tensor([[1.0, 3.0]]), "at index (0, 1) it should be 3; yours is 2."),
        ([1.0, float("nan")], [1.0, 2.0], "it holds NaN or infinity; at index 1 it should be 2; yours is nan."),  # noqa: E501
        (torch.tensor([True]), torch.tensor([1.0]), "it should hold numbers; yours holds true or false."),
        (torch.tensor([False]), torch.tensor([True]), "at index 0 it should be True; yours is False."),
        ([True, False], torch.tensor([True, False]), ""),
        (torch.tensor([True, False]), [True, True], "at index 1 it should be True; yours is False."),
        (True, torch.tensor(True), ""),
        (1.0, True, "it should hold true or false; yours holds numbers."),
        ({"x": 1.0}, ["a", 1.0], "it should be ['a', 1.0]; yours is {'x': 1.0}."),
        (["a", 1.0], {"x": 1.0}, "it should be {'x': 1.0}; yours is ['a', 1.0]."),
        (["a", 1.0, 2.0], ["a", 1.0], "it should return 2 values; yours returned 3."),
        (torch.tensor([1, 2]), np.array([1.0, 2.0], dtype=np.float32), ""),
        ("a" * 70, "b", f"it should be 'b'; yours is '{'a' * 56}…."),
        (torch.zeros(2, 3), torch.zeros(3, 2), "its shape should be (3, 2); yours is (2, 3)."),
        (torch.zeros(2), 1.0, "its shape should be a single number (); yours is (2,)."),
        ("a", torch.zeros(2), "it should be an array of shape (2,); yours is 'a'."),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), ""),
        (torch.tensor([-float("inf")]), torch.tensor([-float("inf")]), ""),
        (-2.0, 2.0, "it should be 2; yours is −2."),
    ],
)  # fmt: skip
def test_differences_in_words(got, expected, words):
    assert difference(got, expected, tolerance=1e-6) == words
    assert same(got, expected, tolerance=1e-6) is (words == "")


def test_patterns_need_two_numbers_and_all_of_them():
    assert (
        pattern([3.0, 6.0], [1.0, 2.0], tolerance=1e-6) == "All your numbers are 3 times what they should be."
    )
    assert pattern([3.0, 6.0], [1.0, 2.1], tolerance=1e-6) == ""
    assert pattern([3.0], [1.0], tolerance=1e-6) == ""
    assert pattern([0.0, 0.0], [1.0, 2.0], tolerance=1e-6) == ""
    assert pattern([-1.0, -2.0, 0.0], [1.0, 2.0, 0.0], tolerance=1e-6) == "Every sign is the wrong way round."
    assert pattern("ab", [1.0, 2.0], tolerance=1e-6) == ""
    assert pattern([1.0, 2.0, 3.0], [1.0, 2.0], tolerance=1e-6) == ""
    assert pattern([True, False], [False, True], tolerance=1e-6) == ""
    assert pattern([-1.0001, -2.0], [1.0, 2.0], tolerance=1e-4) == "Every sign is the wrong way round."
    assert pattern([-2.0, -4.0], [1.0, 2.0], tolerance=1e-4).startswith("All your numbers are -2 times")
    infinite = float("inf")
    assert pattern([infinite, 2.0, 4.0], [infinite, 1.0, 2.0], tolerance=1e-6).startswith(
        "All your numbers are 2"
    )
    assert pattern([1.0, 2.0, 9.0], [1e-9, 1.0, 4.5], tolerance=1e-6) == ""  # nearly 0 tells no factor


def test_the_tolerance_is_absolute_and_relative():
    assert same(1000.0, 1000.5, tolerance=1e-3)
    assert not same(1000.0, 1002.0, tolerance=1e-3)
    assert same(0.0, 1e-4, tolerance=1e-3)
    assert not same(0.0, 1e-2, tolerance=1e-3)


def test_other_objects_are_compared_by_equality():
    one, other = new_figure(), new_figure()
    assert same(one, one, tolerance=0)
    assert not same(one, other, tolerance=0)
