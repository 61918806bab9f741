"""The solutions of chapter 10 are what the library does, mistakes get their hints; quiz and drawings."""

import itertools
import math
import random

import pytest
import torch

from rlhf_mini.chapters.rlaif import data_exercises, exercises, flow, label_exercises, quiz
from rlhf_mini.data.revising import STORY_REVISIONS
from rlhf_mini.evaluation.intervals import wilson_interval
from rlhf_mini.evaluation.win_rate import win_rate
from rlhf_mini.losses import soft_preference_loss
from rlhf_mini.methods.constitution import critique_and_revise, last_revisions
from rlhf_mini.methods.judge import Verdicts, clamped, rescaled
from rlhf_mini.methods.soft_labels import Labelled, mixed
from rlhf_mini.reader import Exercise, flow_diagram
from rlhf_mini.reader import quiz as quiz_picture

CHECKED = [one for one in exercises.EXERCISES if isinstance(one, Exercise)]
WHICH = pytest.mark.parametrize("exercise", CHECKED, ids=lambda one: one.title)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------------------------------------- exercises


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


def test_two_letters_by_plain_exponentials():
    logits, (first, second) = 2 * numbers(8), (5, 2)
    weights = [math.exp(value) for value in logits.tolist()]
    label, mass = label_exercises.letters(logits, first, second)
    assert float(label) == pytest.approx(weights[first] / (weights[first] + weights[second]))
    assert float(mass) == pytest.approx((weights[first] + weights[second]) / sum(weights))
    moved, same = label_exercises.letters(logits + 7, first, second)
    assert (float(moved), float(same)) == (pytest.approx(float(label)), pytest.approx(float(mass)))


def test_both_orders_are_the_library_s_verdicts():
    given, swapped = numbers(40).sigmoid(), numbers(40, seed=1).sigmoid()
    verdicts = Verdicts(given, swapped)
    found, share = label_exercises.both_orders(given, swapped)
    torch.testing.assert_close(found, verdicts.preference)
    assert share == pytest.approx(verdicts.same_position)
    turned, _ = label_exercises.both_orders(swapped, given)  # the other answer's labels
    torch.testing.assert_close(turned, 1 - found)


@pytest.mark.parametrize("thought", [False, True])
def test_the_loss_after_thoughts_is_the_library_s_on_clamped_labels(thought):
    first, second, preference = 3 * numbers(9), numbers(9, seed=1), (4 * numbers(9, seed=2)).sigmoid()
    label = clamped(preference) if thought else preference
    expected = soft_preference_loss(first, second, preference=label)
    torch.testing.assert_close(label_exercises.after_thoughts(first, second, preference, thought), expected)
    assert bool((label != preference).any()) is thought


def test_the_expected_rating_by_a_plain_sum():
    logits, ratings = numbers(11), [7, 1, 4, 9]
    weights = [math.exp(logits[token]) for token in ratings]
    mean = sum(place * weight for place, weight in enumerate(weights, 1)) / sum(weights)
    found = label_exercises.expected_rating(logits, ratings)
    assert float(found) == pytest.approx(float(rescaled(torch.tensor(mean), highest=4)), abs=1e-6)
    sure = torch.full((11,), -60.0, dtype=torch.float64)
    for token, reward in zip(ratings, (-1.0, -1 / 3, 1 / 3, 1.0), strict=True):
        certain = sure.clone()
        certain[token] = 60.0
        assert float(label_exercises.expected_rating(certain, ratings)) == pytest.approx(reward)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(("judge", "people"), [(60, 20), (7, 90), (33, 33)])
def test_so_many_labels_of_each_kind_the_library_takes(judge, people, share):
    kinds = [[Labelled("p", "a", "b", value)] * count for value, count in ((0.7, judge), (1.0, people))]
    kept = mixed(*kinds, people_share=share, rng=random.Random(0))
    expected = [sum(row.preference == value for row in kept) for value in (0.7, 1.0)]
    assert list(data_exercises.how_many(judge, people, share)) == expected


def test_where_scores_never_fall_the_last_revision_is_learned_as_in_the_library():
    written = iter(["It is dull.", "b", "It is rude.", " ", "It is long.", "c"])
    (revised,) = critique_and_revise(
        lambda requests: [next(written) for _ in requests],
        ["prompt"],
        ["a"],
        template=STORY_REVISIONS,
        principles=["Be kind."],
        revisions=3,
        rng=random.Random(0),
    )
    place = data_exercises.learned("a", ["b", " ", "c"], [0.0, 1.0, 1.0, 2.0])
    assert last_revisions([revised]).answers == [["a", "b", " ", "c"][place]]


def test_which_revision_is_learned_by_listing_all_that_may_be():
    for texts in itertools.product(["a", "b", ""], repeat=3):
        for scores in itertools.product([0.0, 1.0], repeat=4):
            allowed = [
                place for place in (1, 2, 3) if texts[place - 1] != "" and not scores[place] < scores[0]
            ]
            expected = -1 if not allowed or texts[max(allowed) - 1] == "a" else max(allowed)
            assert data_exercises.learned("a", list(texts), list(scores)) == expected


@pytest.mark.parametrize(("wins", "ties", "losses"), [(50, 0, 50), (7, 3, 0), (1, 8, 11), (0, 0, 4)])
def test_the_head_to_head_is_the_library_s(wins, ties, losses):
    rate, low, high = data_exercises.head_to_head(wins, ties, losses)
    ours = [2.0] * wins + [1.0] * ties + [0.0] * losses
    theirs = win_rate(ours, [1.0] * len(ours)).rate
    assert (rate, low, high) == pytest.approx((theirs.mean, theirs.low, theirs.high))
    other = wilson_interval(1 - rate, count=wins + ties + losses)
    assert (low + other.high, high + other.low) == pytest.approx((1.0, 1.0))  # seen from the other side


# ------------------------------------------------------------------------------------- quiz and drawings


def test_a_quiz_is_no_giveaway():
    assert len({question.right for question in quiz.QUIZ}) >= 2
    assert len(quiz.QUIZ) == 5
    assert quiz_picture(quiz.QUIZ).text.count("\n") >= 5 * 3


def test_the_label_s_drawing_by_hand():
    """(0.8 + 0.6)/2 = 0.7; σ(0.8) = 0.690; 0.7 log(1 + e^−0.8) + 0.3 log(1 + e^0.8) = 0.611.

    The slope of the first score is 0.690 − 0.7 = −0.010.
    """
    found = {name: float(value) for name, value in flow.label_numbers().items()}
    chance = 1 / (1 + math.exp(-0.8))
    loss = -0.7 * math.log(chance) - 0.3 * math.log(1 - chance)
    assert found == pytest.approx(
        {"label": 0.7, "chance": chance, "loss": loss, "slope": chance - 0.7}, abs=1e-6
    )
    shown = {box.key: box.detail for box in flow.distilled_example().boxes}
    assert "= 0.70" in shown["label"]
    assert "0.61 nats" in shown["loss"]
    assert "−0.01" in shown["loss"]
    assert flow_diagram(
        flow.distilled_example(), alt="RLAIF by a reward model on three tokens, a drawing."
    ).body


def test_the_rating_s_drawing_by_hand():
    """0.05 + 0.10 + 0.60 + 1.60 + 1.50 = 3.85; 2 · 2.85/4 − 1 = 0.425; 0.425 − ½ log 0.8 = 0.537."""
    found = flow.direct_numbers()
    assert float(found["mean"]) == pytest.approx(3.85, abs=1e-6)
    assert float(found["reward"]) == pytest.approx(0.425, abs=1e-6)
    assert float(found["shaped"]) == pytest.approx(0.425 - 0.5 * math.log(0.8), abs=1e-6)
    shown = {box.key: box.detail for box in flow.direct_example().boxes}
    assert "mean rating 3.85" in shown["loss"]
    assert "−0.22" in shown["reference"]
    assert flow_diagram(flow.direct_example(), alt="Direct RLAIF on three tokens, in a drawing.").body
