"""The solutions of chapter 12 are what the library does, mistakes get their hints; quiz and drawing."""

import itertools
import math

import pytest
import torch

from rlhf_mini.chapters.verifiable import exercises, flow, group_exercises, quiz, tries_exercises
from rlhf_mini.estimators import constant_length_mean, group_scaled_advantages, sequence_mean, token_mean
from rlhf_mini.evaluation.pass_at_k import majority_vote, mean_pass_at_k
from rlhf_mini.losses import two_bound_policy_loss
from rlhf_mini.reader import Exercise, flow_diagram
from rlhf_mini.reader import quiz as quiz_picture
from tests.chapters.stand_ins import numbers

CHECKED = [one for one in exercises.EXERCISES if isinstance(one, Exercise)]
WHICH = pytest.mark.parametrize("exercise", CHECKED, ids=lambda one: one.title)


def test_there_are_eight_and_the_last_is_open():
    assert len(exercises.EXERCISES) == 8
    assert exercises.EXERCISES[-1] is exercises.OWN
    assert len({one.title for one in exercises.EXERCISES}) == 8


@WHICH
def test_the_solution_passes_and_every_mistake_gets_its_own_hint(exercise):
    assert exercise.judge(exercise.solution).state == "right"
    assert len(exercise.mistakes) >= 4
    for mistake in exercise.mistakes:
        verdict = exercise.judge(mistake.program)
        assert (verdict.state, verdict.words) == ("wrong", mistake.hint)


def test_advantages_are_the_library_s():
    rewards = numbers(5, 6)
    rewards[2] = 1.5
    torch.testing.assert_close(group_exercises.advantages(rewards), group_scaled_advantages(rewards))
    assert torch.equal(group_exercises.advantages(rewards)[2], torch.zeros(6, dtype=torch.float64))


def test_first_losses_are_the_library_s_averages_of_its_loss():
    rewards, lengths = numbers(4), torch.tensor([3, 1, 6, 2])
    response = torch.arange(6) < lengths[:, None]
    logp = numbers(4, 6, seed=1)
    advantages = (rewards - rewards.mean())[:, None].expand(4, 6)
    losses = two_bound_policy_loss(logp, logp, advantages, clip_low=0.2, clip_high=0.2)
    expected = (
        sequence_mean(losses, response),
        token_mean(losses, response),
        constant_length_mean(losses, response, length=9),
    )
    found = group_exercises.first_losses(rewards, lengths.double(), 9)
    assert found == pytest.approx([float(one) for one in expected], abs=1e-12)
    assert abs(found[0]) < 1e-12 < min(abs(found[1]), abs(found[2]))


def test_silenced_tokens_are_those_without_a_slope():
    ratio = (0.3 * numbers(6, 40)).exp()
    advantages = numbers(6, seed=2)
    logp = ratio.log().requires_grad_()
    losses = two_bound_policy_loss(
        logp, torch.zeros_like(logp), advantages[:, None].expand_as(logp), clip_low=0.15, clip_high=0.3
    )
    (slope,) = torch.autograd.grad(losses.sum(), [logp])
    found = group_exercises.silenced(ratio, advantages, 0.15, 0.3)
    assert torch.equal(found, slope == 0)
    assert 0.05 < float(found.double().mean()) < 0.5


@pytest.mark.parametrize(("rate", "share"), [(0.07, 0.3), (0.93, 0.3), (0.5, 0.02), (0.4, 0.6)])
def test_the_group_is_as_small_as_may_be(rate, share):
    group = group_exercises.group_needed(rate, share)

    def missed(size):
        return rate**size + (1 - rate) ** size

    assert missed(group) <= share
    assert group == 2 or missed(group - 1) > share


def test_the_form_by_hand():
    cases = {
        "<think>a</think><answer>7</answer>": 1.0,
        "<think>a\n\nb</think>\n\n<answer>\n7 </answer>": 1.0,
        "<think>a</think><answer>8</answer>": 0.1,
        "<think>a</think> <answer>7.0</answer>": 0.0,
        " <think>a</think><answer>7</answer>": 0.0,
        "<think>a<think>b</think><answer>7</answer>": 0.0,
        "<think>a</answer></think><answer>7</answer>": 0.0,
        "<answer>7</answer><think>a</think>": 0.0,
        "": 0.0,
    }
    assert {text: tries_exercises.reward(text, 7) for text in cases} == cases


def test_a_benchmark_is_the_library_s_mean():
    tried = [(6, 2), (9, 0), (6, 6), (12, 1)]
    passed = [[True] * c + [False] * (n - c) for n, c in tried]
    for k in (1, 3, 6):
        assert tries_exercises.benchmark(tried, k) == pytest.approx(mean_pass_at_k(passed, k=k))


def test_the_vote_is_the_library_s():
    for answers in itertools.product([None, 1, 2, 3], repeat=4):
        expected = majority_vote(answers).chance_of(1)
        assert tries_exercises.vote(list(answers), 1) == pytest.approx(expected)


def test_the_quiz_is_no_giveaway_and_its_numbers_are_right():
    assert len(quiz.QUIZ) == 5
    assert len({question.right for question in quiz.QUIZ}) >= 3
    assert quiz_picture(quiz.QUIZ).text.count("\n") >= 5 * 3
    hard = torch.tensor([[1.0] + [0.0] * 7])
    assert float(group_scaled_advantages(hard)[0, 0]) == pytest.approx(2.5, abs=0.05)  # "about 2.5"
    no_right = (1 - 0.02) ** 8
    assert no_right == pytest.approx(0.85, abs=0.005)  # "85 groups in 100"


def test_the_drawing_by_hand():
    """The spread of 1, 0, 0, 0 is ½, with G − 1 under the root; ρ = 0.6/0.4 (clipped), 1 and 0.45/0.5."""
    found = flow.numbers()
    assert found["advantages"][0].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-3)
    assert found["ratio"][0].tolist() == pytest.approx([1.5, 1.0, 0.9])
    assert found["losses"][0].tolist() == pytest.approx([-1.8, -1.5, -1.35], abs=1e-3)
    assert found["higher"][0].tolist() == pytest.approx([-1.92, -1.5, -1.35], abs=1e-3)
    k3 = [q / p - 1 - math.log(q / p) for p, q in zip((0.6, 0.6, 0.45), (0.5, 0.6, 0.25), strict=True)]
    assert found["k3"][0].tolist() == pytest.approx(k3, abs=1e-6)
    shown = {box.key: box.detail for box in flow.grpo_example().boxes}
    assert "1.50" in shown["advantages"]
    assert "−1.80" in shown["loss"]
    assert [box.key for box in flow.grpo_example().boxes if box.frozen] == ["reference"]
    assert flow_diagram(
        flow.grpo_example(), alt="GRPO on three tokens, drawn for a test of its numbers."
    ).body
