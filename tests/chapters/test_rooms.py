"""Every room's exercises, quiz and hunt: solutions pass their own checks, mistakes get the hint that fits."""

import pytest

from rlhf_mini.chapters import ROOMS, part
from rlhf_mini.reader import Exercise, quiz

CHECKED = [
    pytest.param(exercise, id=f"{chapter} {exercise.title}")
    for chapter in ROOMS
    for exercise in part(chapter, "exercises").EXERCISES
    if isinstance(exercise, Exercise)
]
EACH_ROOM = pytest.mark.parametrize("chapter", ROOMS)


@pytest.mark.parametrize("exercise", CHECKED)
def test_the_solution_passes_its_own_check(exercise):
    verdict = exercise.judge(exercise.solution)
    assert verdict.state == "right", verdict


@pytest.mark.parametrize("exercise", CHECKED)
def test_every_mistake_is_caught_with_its_own_hint(exercise):
    assert exercise.mistakes, "name at least one mistake that readers make"
    for mistake in exercise.mistakes:
        verdict = exercise.judge(mistake.program)
        assert (verdict.state, verdict.words) == ("wrong", mistake.hint)


@pytest.mark.parametrize("exercise", CHECKED)
def test_cases_are_several_and_fresh(exercise):
    assert len(exercise.cases()) >= 2
    assert exercise.cases() is not exercise.cases()


@EACH_ROOM
def test_titles_are_told_apart(chapter):
    titles = [exercise.title for exercise in part(chapter, "exercises").EXERCISES]
    assert len(titles) == len(set(titles))


@EACH_ROOM
def test_a_quiz_is_no_giveaway(chapter):
    """Five questions whose right answers stand in different places."""
    questions = part(chapter, "quiz").QUIZ
    assert len({question.right for question in questions}) >= 2
    assert quiz(questions).text.count("\n") >= 5 * 3


@EACH_ROOM
def test_the_hunted_bug_is_small(chapter):
    """A bug that a reader can find is a line or two, not another program."""
    changed = [line for line in part(chapter, "bug_hunt").BUG_HUNT.changes() if line[:1] in "+-"]
    assert 1 <= len(changed) <= 8
