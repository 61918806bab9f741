"""The solutions of chapter 04: equal to the library's functions, to exact values, to values by hand."""

import math
from itertools import permutations

import pytest
import torch

from rlhf_mini.chapters.reward_models import comparing_exercises as comparing
from rlhf_mini.chapters.reward_models import exercises
from rlhf_mini.evaluation.calibration import reliability
from rlhf_mini.losses import all_pairs_loss, pairwise_loss, plackett_luce_loss
from rlhf_mini.tensors import last_true_index
from rlhf_mini.worlds.stories.annotators import Annotator, panel_preference

F64 = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("won", [True, False])
def test_one_comparison_is_the_library_s_loss_and_its_gradient(won):
    first, second = torch.tensor([1.3], dtype=F64, requires_grad=True), torch.tensor([-0.4], dtype=F64)
    loss = pairwise_loss(first, second) if won else pairwise_loss(second, first)
    (slope,) = torch.autograd.grad(loss.sum(), [first])
    expected = (1 / (1 + math.exp(-1.7)), float(loss.detach()), float(slope))
    assert comparing.bradley_terry(1.3, -0.4, won) == pytest.approx(expected, rel=1e-12)


def test_one_comparison_by_hand():
    # e^1.5 : e^0.7 = 0.69 : 0.31
    assert comparing.bradley_terry(1.5, 0.7, True) == pytest.approx((0.6900, 0.3711, -0.3100), abs=5e-5)


def test_two_players_differ_by_the_log_odds():
    scores = comparing.strengths(torch.tensor([[0.0, 3.0], [1.0, 0.0]], dtype=F64))
    assert scores.tolist() == pytest.approx([math.log(3) / 2, -math.log(3) / 2])


def test_strengths_win_as_often_as_they_expect_to():
    # The slope of the likelihood is 0: every player's wins are the sum of its chances over its games.
    wins = torch.randint(1, 9, (5, 5), generator=seeded()).to(F64).fill_diagonal_(0)
    scores = comparing.strengths(wins)
    expected = ((wins + wins.T) * torch.sigmoid(scores[:, None] - scores[None, :])).sum(1)
    torch.testing.assert_close(expected, wins.sum(1), rtol=1e-9, atol=1e-9)
    assert float(scores.mean()) == pytest.approx(0, abs=1e-12)


def test_strengths_are_found_again_from_their_own_chances():
    scores = torch.tensor([0.9, 0.1, -1.0], dtype=F64)
    chances = torch.sigmoid(scores[:, None] - scores[None, :]).fill_diagonal_(0)
    torch.testing.assert_close(comparing.strengths(100 * chances), scores, rtol=1e-8, atol=1e-8)


def test_the_end_is_the_last_real_token():
    # Padded with the end token, read by the exercise; with a token of its own, by the library's mask.
    lengths = torch.tensor([6, 4, 1, 7])
    mask = torch.arange(7) < lengths[:, None]
    tokens = torch.randint(3, 9, (4, 7), generator=seeded())
    tokens[torch.arange(4), lengths - 1] = 2
    tokens[0, 1] = 2  # the end of a prompt
    values = torch.randn(4, 7, generator=seeded(1))
    expected = values[torch.arange(4), last_true_index(mask)]
    assert torch.equal(exercises.end_scores(values, tokens.masked_fill(~mask, 2), 2), expected)


def test_references_get_mean_0_and_deviation_1():
    reference = torch.randn(9, generator=seeded()) * 3 + 5
    scores = exercises.normalised(reference, reference)
    assert (float(scores.mean()), float(scores.std())) == pytest.approx((0, 1), abs=1e-6)


def test_rankings_are_the_library_s():
    scores = 3 * torch.randn(6, 5, generator=seeded(), dtype=F64)
    torch.testing.assert_close(comparing.ranking_loss(scores), all_pairs_loss(scores))
    torch.testing.assert_close(comparing.ranking_logp(scores), -plackett_luce_loss(scores))


def test_the_probabilities_of_all_orders_sum_to_1():
    scores = torch.tensor([2.0, 0.3, -1.0, 0.5], dtype=F64)
    orders = torch.stack([scores[list(order)] for order in permutations(range(4))])
    assert float(comparing.ranking_logp(orders).exp().sum()) == pytest.approx(1)
    assert float((-6 * comparing.ranking_loss(orders)).exp().sum()) < 0.9  # pairs as if independent: no


def test_a_ranking_of_three_by_hand():
    # e^2 : e^1 : e^−1, picked in this order
    weights = [math.exp(2), math.exp(1), math.exp(-1)]
    expected = weights[0] / sum(weights) * weights[1] / sum(weights[1:])
    found = comparing.ranking_logp(torch.tensor([[2.0, 1.0, -1.0]]))
    assert float(found.exp()) == pytest.approx(expected, rel=1e-6)


def test_the_ceiling_is_that_of_the_panel():
    panel = (
        Annotator(name="one", temperature=0.5, length_bias=0.3),
        Annotator(name="two", temperature=2.0),
        Annotator(name="three", temperature=1.0, length_bias=-0.5),
    )
    pairs = [
        ("Tell me a happy story about a fox and a kite.", "A fox ran. It was glad.", "A fox."),
        ("Tell me a happy story about a fox and a kite.", "No.", "A fox ran."),
    ]
    chances = torch.tensor([[judge.first_preferred(*pair) for judge in panel] for pair in pairs])
    likely = [panel_preference(*pair, panel=panel) for pair in pairs]
    expected = sum(max(p, 1 - p) for p in likely) / 2
    assert comparing.ceiling(chances) == pytest.approx(expected, rel=1e-6)


def test_the_ceiling_of_two_judges_who_contradict_each_other():
    assert comparing.ceiling(torch.tensor([[1.0, 0.0], [1.0, 1.0]])) == 0.75


def test_calibration_error_by_hand():
    # [0.8, 1]: 0.9 said, 2/3 seen, three rows of four; [0.2, 0.4): 0.3 said, 1 seen
    found = exercises.calibration_error(torch.tensor([0.9, 0.9, 0.9, 0.3]), torch.tensor([1, 1, 0, 1]), 5)
    assert found == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.7)


@pytest.mark.parametrize("bins", [1, 7, 10])
def test_calibration_error_is_the_library_s(bins):
    said = torch.rand(200, generator=seeded())
    won = torch.rand(200, generator=seeded(1)) < said.square()
    expected = reliability(said, won, bins=bins).error
    assert exercises.calibration_error(said, won, bins) == pytest.approx(expected, abs=1e-6)


def test_honest_predictions_are_calibrated():
    # Every share is exact, so that the error is 0 with as many bins as predictions differ.
    said = torch.tensor([0.25] * 4 + [0.5] * 4 + [1.0] * 4)
    won = torch.tensor([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1])
    assert exercises.calibration_error(said, won, 4) == pytest.approx(0, abs=1e-7)


def test_judges_are_found_from_their_agreement():
    right = (0.95, 0.6, 0.75)

    def agree(p, q):
        return p * q + (1 - p) * (1 - q)

    pairs = agree(right[0], right[1]), agree(right[0], right[2]), agree(right[1], right[2])
    assert comparing.accuracies(*pairs) == pytest.approx(right)
    assert comparing.accuracies(0.74, 0.66, 0.62) == pytest.approx((0.9, 0.8, 0.7))
