"""The solutions of chapter 08 are what the library does, mistakes get their hints; the bug hunt."""

import itertools
import math

import numpy as np
import pytest
import torch

from rlhf_mini.chapters.hindsight import bug_hunt, exercises, sample_exercises, sum_runs, term_exercises
from rlhf_mini.losses import instruction_contrast_loss, smoothed_token_loss, two_way_contrast_loss
from rlhf_mini.methods.hindsight_replay import HindsightConfig, _learn
from rlhf_mini.methods.hir import Hindsight, in_batch
from rlhf_mini.reader import Exercise, quiz
from tests.chapters.stand_ins import numbers

CHECKED = [one for one in exercises.EXERCISES if isinstance(one, Exercise)]
WHICH = pytest.mark.parametrize("exercise", CHECKED, ids=lambda one: one.title)


# ---------------------------------------------------------------------------------------------- exercises


def test_there_are_eight_and_the_last_is_open():
    assert len(exercises.EXERCISES) == 8
    assert exercises.EXERCISES[-1] is exercises.OWN
    assert len({one.title for one in exercises.EXERCISES}) == 8


@WHICH
def test_the_solution_passes_and_every_mistake_gets_its_own_hint(exercise):
    assert exercise.judge(exercise.solution).state == "right"
    for mistake in exercise.mistakes:
        verdict = exercise.judge(mistake.program)
        assert (verdict.state, verdict.words) == ("wrong", mistake.hint)


@pytest.mark.parametrize("goal", range(6))
def test_a_walk_told_otherwise_teaches_what_the_library_learns(goal):
    """One pass backwards over the steps, at a step size of 1, gives the library's row of that goal."""
    cells = [0, 1, 2, 1, 3, 4, 3]
    config = HindsightConfig(episodes=1, discount=0.9, step_size=1.0, epsilon=0.0)
    walk = [(here, 0, 0.0, there, False) for here, there in itertools.pairwise(cells)]
    theirs, ours = np.zeros((6, 1)), np.zeros((6, 1))
    if (
        goal in cells[1:]
    ):  # the method sees a walk with goals that it came to, and with the one that was asked
        arrived = cells.index(goal, 1)
        _learn(theirs, walk[:arrived], goal, config)
    for here, there, reward in reversed(sample_exercises.as_if(cells, goal)):
        if here != goal:
            ours[here, 0] = reward if there == goal else 0.9 * ours[there].max()
    assert ours == pytest.approx(theirs)


def test_a_sample_without_success_by_listing_all_outcomes():
    share, samples = 0.3, 4
    chance = sum(
        math.prod(share if (outcome >> place) & 1 else 1 - share for place in range(samples))
        for outcome in range(2**samples)
        if outcome == 0
    )
    none, needed = sample_exercises.without_success(share, samples, 0.9)
    assert none == pytest.approx(chance)
    assert (1 - share) ** needed <= 0.1 < (1 - share) ** (needed - 1)


def test_the_smoothed_likelihood_is_the_library_s():
    logits, token = 3 * numbers(7), 4
    logp = logits.log_softmax(0)
    expected = smoothed_token_loss(
        logp[None, token : token + 1], logp.mean()[None, None], label_smoothing=0.3
    )
    torch.testing.assert_close(term_exercises.smoothed(logits, token, 0.3), expected.squeeze())


def test_what_smoothing_spoils_is_read_off_the_minimum_of_the_library_s_loss():
    vocabulary, epsilon = 5, 0.4
    logits = numbers(vocabulary).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-14, tolerance_change=1e-20, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        logp = logits.log_softmax(0)
        loss = smoothed_token_loss(logp[None, :1], logp.mean()[None, None], label_smoothing=epsilon).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    for temperature in (1.0, 0.5):
        learned = float((logits.detach() / temperature).softmax(0)[0])
        found = sample_exercises.whole(3, vocabulary, epsilon, temperature)
        assert found == pytest.approx(learned**3, abs=1e-6)
    assert sample_exercises.whole(12, 44, 0.2, 1.0) == pytest.approx((1 - 0.2 * 43 / 44) ** 12)


def test_the_two_way_contrast_is_the_library_s():
    own, other = -numbers(9).abs(), -numbers(9, seed=1).abs()
    expected = two_way_contrast_loss(own.mean()[None], other.mean()[None], label_smoothing=0.2)
    torch.testing.assert_close(term_exercises.contrast(own, other, 0.2), expected.squeeze())


def test_the_contrast_in_a_batch_is_the_library_s_with_each_instruction_once():
    names, table = ["b", "a", "b", "c", "a"], numbers(5, 3)
    rows = [Hindsight("", name, "x") for name in names]
    once = in_batch(rows)[0]
    assert len(once) == 3
    columns = torch.stack([table[:, "abc".index(name)] for name in once], dim=1)
    own = torch.tensor([once.index(name) for name in names])
    expected = instruction_contrast_loss(columns, own, label_smoothing=0.0)
    instruction = torch.tensor(["abc".index(name) for name in names])
    torch.testing.assert_close(term_exercises.in_batch(table[:, instruction], instruction), expected)


@pytest.mark.parametrize("smoothing", [0.05, 0.2])
@pytest.mark.parametrize("instructions", [2, 5])
def test_the_resting_leads_are_where_the_library_s_gradients_vanish(smoothing, instructions):
    two, several = term_exercises.resting_leads(smoothing, instructions)
    lead = torch.tensor([two], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(
        two_way_contrast_loss(lead, torch.zeros_like(lead), label_smoothing=smoothing).sum(), [lead]
    )
    logp = torch.zeros(1, instructions, dtype=torch.float64)
    logp[0, 0] = several
    logp.requires_grad_()
    loss = instruction_contrast_loss(logp, torch.tensor([0]), label_smoothing=smoothing).sum()
    (slopes,) = torch.autograd.grad(loss, [logp])
    assert abs(float(slope)) < 1e-12
    assert float(slopes.abs().max()) < 1e-12


# ----------------------------------------------------------------------------------------------- bug hunt

TASKS = [("right", "1+1+1"), ("right", "2+2+2"), ("right", "3+3+3")]
SOLVED = ["1+1+1=3 =3", "1+1+1=4 =4", "2+2+2=6 =6", "2+2+2=6 =6", "3+3+3=9 =9", "3+3+3=8 =8"]


def test_one_pairs_solutions_with_their_problems_and_the_other_does_not():
    right = bug_hunt.rows_right(TASKS, SOLVED, sum_runs.by_verdict)
    wrong = bug_hunt.rows_wrong(TASKS, SOLVED, sum_runs.by_verdict)
    assert [row.fulfilled for row in right] == ["right", "wrong", "right", "right", "right", "wrong"]
    assert [row.query for row in right] == [text for _, text in TASKS for _ in range(2)]
    assert [row.query for row in wrong] == [text for _, text in TASKS] * 2
    assert sum(row.fulfilled == "right" for row in wrong) == 1  # the first stands where it belongs
    assert bug_hunt.rows_right(TASKS, SOLVED[::2], sum_runs.by_verdict) == bug_hunt.rows_wrong(
        TASKS, SOLVED[::2], sum_runs.by_verdict
    )  # with one sample a task there is no difference


def test_what_the_notebook_shows_of_them():
    found = {f"{name} {way}": 0.25 for way in bug_hunt.WAYS for name in bug_hunt.MEASURES}
    lines = bug_hunt.told(found).splitlines()
    assert len(lines) == 1 + len(bug_hunt.WAYS)
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 79


def test_the_question_is_answered_by_the_bug_and_the_change_is_small():
    question = bug_hunt.SUSPECT
    assert "paired wrongly" in question.options[question.right][0]
    assert len(question.options) == 1 + len(bug_hunt.SUSPECTS)
    assert quiz([question]).text
    changed = [line for line in bug_hunt.BUG_HUNT.changes() if line[:1] in "+-"]
    assert len(changed) == 2
