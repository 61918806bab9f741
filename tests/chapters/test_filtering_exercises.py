"""The solutions of chapter 09 are what the library does; mistakes get their own hint; the bug hunt."""

import pytest
import torch

from rlhf_mini.chapters.filtering import bug_hunt, exercises, family_exercises, filter_exercises, toy
from rlhf_mini.chapters.filtering.arithmetic import pass_at
from rlhf_mini.chapters.filtering.quiz import QUIZ
from rlhf_mini.chapters.filtering.training import weights_of
from rlhf_mini.exact import filtered_optimum, kl_divergence
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import best_answer_loss, rrhf_ranking_loss
from rlhf_mini.methods.answers import Answers, Drawing
from rlhf_mini.methods.rest import ReSTConfig, RewardScale
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Exercise, quiz
from tests.chapters.stand_ins import numbers

CHECKED = [pytest.param(one, id=one.title) for one in exercises.EXERCISES if isinstance(one, Exercise)]


# --------------------------------------------------------------------------------- exercises


def test_there_are_eight_and_the_last_is_open():
    titles = [one.title for one in exercises.EXERCISES]
    assert len(set(titles)) == len(titles) == 8
    assert exercises.EXERCISES[-1] is exercises.OWN


@pytest.mark.parametrize("exercise", CHECKED)
def test_the_solution_passes_its_own_check(exercise):
    verdict = exercise.judge(exercise.solution)
    assert verdict.state == "right", verdict


@pytest.mark.parametrize("exercise", CHECKED)
def test_every_mistake_is_caught_with_its_own_hint(exercise):
    assert len(exercise.mistakes) >= 4
    for mistake in exercise.mistakes:
        verdict = exercise.judge(mistake.program)
        assert (verdict.state, verdict.words) == ("wrong", mistake.hint)


def test_what_is_kept_is_what_the_method_keeps():
    rewards = 3 * numbers(20, 4)
    for threshold in (0.0, 0.4, 0.8):
        expected = RewardScale(-2.0, 2.5)(rewards) > threshold
        assert torch.equal(filter_exercises.kept(rewards, threshold, -2.0, 2.5), expected)


def test_the_filtered_policy_is_the_exact_one():
    world = toy.ToyWorld(4)
    new, price = filter_exercises.filtered(world.logp.exp(), world.rewards, 0.5)
    exact = filtered_optimum(world.logp, world.rewards, threshold=0.5)
    torch.testing.assert_close(new, exact.logp.exp())
    assert price == pytest.approx(float(kl_divergence(exact.logp, world.logp)), abs=1e-12)


def test_the_timetable_is_the_method_s():
    optimizer = OptimizerConfig(learning_rate=0.25)
    config = ReSTConfig(
        grows=2,
        thresholds=(0.3, 0.5, 0.7),
        drawing=Drawing(samples=1, temperature=1.0, max_new_tokens=1),
        sft=SFTConfig(epochs=1, batch=1, optimizer=optimizer),
        rate_decay=0.5,
    )
    expected = [
        (grow, threshold, config.improve(number).optimizer.learning_rate)
        for grow in (1, 2)
        for number, threshold in enumerate(config.thresholds)
    ]
    assert filter_exercises.timetable(2, [0.3, 0.5, 0.7], 0.25, 0.5) == expected


@pytest.mark.parametrize("kept", [2, 3, 7, 64])
def test_variety_is_halved_when_the_law_says(kept):
    rounds = filter_exercises.rounds_to_half(kept)
    assert (1 - 1 / kept) ** rounds <= 0.5 < (1 - 1 / kept) ** (rounds - 1)


def test_rrhf_is_the_library_s_loss():
    logps, rewards = [-numbers(length, seed=length).square() for length in (3, 1, 5, 2)], [1.0, 4.0, 2.0, 2.0]
    means, sums = (
        torch.stack([getattr(tokens, name)() for tokens in logps])[None] for name in ("mean", "sum")
    )
    judged = torch.tensor([rewards], dtype=torch.float64)
    expected = 7 * rrhf_ranking_loss(means, judged) + best_answer_loss(sums, judged)
    assert family_exercises.rrhf_loss(logps, rewards, 7.0) == pytest.approx(float(expected))


def test_pass_at_k_is_the_room_s_and_that_of_all_choices():
    right = torch.tensor([[True, False, False, True, False]])
    choices = list(torch.combinations(torch.arange(5), 3))
    expected = sum(bool(right[0, choice].any()) for choice in choices) / len(choices)
    assert family_exercises.pass_at_k(5, 2, 3) == pytest.approx(expected)
    assert pass_at(right, 3) == pytest.approx(expected)


def test_the_weights_are_those_of_the_room():
    rewards = numbers(5, 3)
    answers = Answers(["p"] * 5, [["a"] * 3] * 5, rewards)
    expected = weights_of(answers, kl_weight=0.3, largest=6.0)
    torch.testing.assert_close(family_exercises.weights(rewards, 0.3, 6.0).flatten(), expected)


def test_the_quiz_is_no_giveaway():
    assert len(QUIZ) == 5
    assert len({question.right for question in QUIZ}) >= 3
    assert quiz(QUIZ).text.count("\n") >= 5 * 3


# --------------------------------------------------------------------------------- bug hunt


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    """What every training shows, on two seeds."""

    class Fresh(Pipeline):
        def __init__(self, seed):
            self.seed = seed

        def measured(self, experiment, **settings):
            return experiment(self, **settings)

    return [bug_hunt.readings(Fresh(seed)) for seed in (0, 1)]


def test_the_right_ranking_is_the_library_s_and_never_negative():
    for seed in range(5):
        means, rewards = numbers(6, seed=seed), numbers(6, seed=seed + 50)
        expected = rrhf_ranking_loss(means[None], rewards[None])
        torch.testing.assert_close(bug_hunt.ranking_right(means, rewards)[None], expected)
    up = torch.arange(4.0)
    assert float(bug_hunt.ranking_right(up, up.flip(0))) == 10  # 3 · 1 + 2 · 2 + 1 · 3
    assert float(bug_hunt.ranking_wrong(up, up.flip(0))) == 0  # the first answer is the best: issue 29
    # the second answer is better than the first and less likely: its whole row, −1 + 0 − 3, is summed
    assert float(bug_hunt.ranking_wrong(torch.tensor([1.0, 0.0, 3.0]), torch.tensor([0.0, 1.0, 0.5]))) == -4


@pytest.mark.slow  # six trainings of a table, on two seeds
def test_the_symptoms_tell_the_bug_from_every_suspect(readings):
    for found in readings:
        start = found["ordered nothing is learned"]
        assert found["ranking wrong"] < -1  # what no sum of hinges can be
        assert min(found[f"ranking {way}"] for way in bug_hunt.WAYS if way != "wrong") >= 0
        assert found["best wrong"] < found["best nothing is learned"] - 1
        assert found["ordered wrong"] < start + 0.15
        assert found["value wrong"] < found["value start"] + 0.1
    found = readings[0]  # the seed that the chapter shows
    start = found["ordered nothing is learned"]
    assert found["moved nothing is learned"] < 1e-6 < 0.1 < found["moved wrong"]
    assert found["ordered the order is turned round"] < start - 0.15
    assert found["ranking all rewards are equal"] == 0
    assert found["ordered the ranking is left out"] > start + 0.2
    assert found["best the ranking is left out"] > found["best nothing is learned"] + 0.3
    assert found["ordered right"] > 0.85
    assert found["value right"] > found["value start"] + 0.5


@pytest.mark.slow  # reads the same trainings
def test_what_is_shown_of_them(readings):
    lines = bug_hunt.told(readings[0]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 1 + len(bug_hunt.WAYS)
    assert max(len(line) for line in lines) <= 79
    run = {name: [1.0, 2.0] for name in bug_hunt.MEASURES} | {"step": [1, 20]}
    assert "ends at 2.00" in bug_hunt.symptom_figures([run, run], [run, run]).body


def test_the_question_is_answered_by_the_bug():
    question = bug_hunt.SUSPECT
    assert "mask" in question.options[question.right][0]
    assert len(question.options) == 1 + len(bug_hunt.SUSPECTS)
    assert quiz([question]).text
    changed = [line for line in bug_hunt.BUG_HUNT.changes() if line[:1] in "+-"]
    assert len(changed) == 2
