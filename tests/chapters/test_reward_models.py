"""Chapter 04's own arithmetic: fits, prices, judgements, pairs of rankings."""

import math

import pytest
import torch
from datasets import Dataset

from rlhf_mini.batch import Rankings, pack_rows
from rlhf_mini.chapters.reward_models.doubt import repeated
from rlhf_mini.chapters.reward_models.lengths import PANEL_BIAS, price_of_a_sentence
from rlhf_mini.chapters.reward_models.people import CARELESS, CROWD, logistic_fit
from rlhf_mini.chapters.reward_models.ranking import (
    all_pairs,
    best_first_loss,
    focal_ranking_loss,
    one_pair,
)
from rlhf_mini.chapters.reward_models.runs import Judgement, panel_chances
from rlhf_mini.losses import all_pairs_loss, focal_pairwise_loss, score_penalty
from rlhf_mini.worlds import stories


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_logistic_fit_by_hand():
    # One constant feature and three yes in four: the log-odds are log 3.
    found = logistic_fit(torch.ones(4, 1), torch.tensor([1, 1, 1, 0]))
    assert found.item() == pytest.approx(math.log(3), abs=1e-6)


def test_logistic_fit_recovers_weights():
    features, true = randn(40_000, 3), torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
    chance = torch.sigmoid(features @ true)
    outcomes = torch.rand(40_000, generator=torch.Generator().manual_seed(1)) < chance
    torch.testing.assert_close(logistic_fit(features, outcomes), true, atol=0.06, rtol=0)


def test_the_price_of_a_sentence_is_a_ratio_of_two_weights():
    golds, sentences = randn(500), randn(500, seed=1)
    leads = 2.0 * golds + 0.5 * sentences
    assert price_of_a_sentence(leads, golds, sentences) == pytest.approx(0.25)
    assert price_of_a_sentence(3 * leads, golds, sentences) == pytest.approx(0.25)
    assert pytest.approx((0.05 + 0.15 + 0.1 + 0.25) / 4) == PANEL_BIAS


def test_a_judgement_by_hand():
    # Leads log 3, −log 3, 0 and log 3. By gold the first is right, and the last pair has no order.
    lead = math.log(3)
    found = Judgement(torch.tensor([lead, -lead, 0.0, lead]), torch.tensor([1.0, 1.0, -1.0, 0.0]))
    assert found.accuracy == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert found.gold_accuracy == pytest.approx(1 / 3)  # a lead of 0 is no order
    expected = (2 * math.log(4 / 3) + math.log(4) + math.log(2)) / 4
    assert found.loss == pytest.approx(expected, rel=1e-6)
    assert set(found.metrics()) == {"accuracy", "gold_accuracy", "loss", "calibration_error"}
    assert found.metrics()["calibration_error"] == found.curve().error


def test_the_favourite_is_right_as_often_as_it_says_when_labels_are_drawn_from_the_leads():
    leads = 2 * randn(20_000).float()
    won = torch.rand(20_000, generator=torch.Generator().manual_seed(1)) < torch.sigmoid(leads)
    as_chosen = torch.where(won, leads, -leads)
    assert Judgement(as_chosen, as_chosen).calibration_error < 0.02


def ranked() -> Rankings:
    """Two prompts with three answers each; the answers are the tokens 10 to 15."""
    return Rankings(pack_rows([[1]] * 6, [[number, 2] for number in range(10, 16)], pad_token=0), k=3)


def test_all_pairs_of_two_rankings():
    pairs = all_pairs(ranked())
    assert pairs.chosen.tokens[:, 1].tolist() == [10, 10, 11, 13, 13, 14]
    assert pairs.rejected.tokens[:, 1].tolist() == [11, 12, 12, 14, 15, 15]


def test_one_pair_of_each_ranking_with_the_better_first():
    seen = set()
    for seed in range(30):
        pairs = one_pair(ranked(), torch.Generator().manual_seed(seed))
        assert len(pairs) == 2
        seen |= {*zip(pairs.chosen.tokens[:, 1].tolist(), pairs.rejected.tokens[:, 1].tolist(), strict=True)}
    assert seen == {(10, 11), (10, 12), (11, 12), (13, 14), (13, 15), (14, 15)}


def test_ranking_losses_of_the_chapter():
    scores = randn(4, 3)
    picked = -(scores.log_softmax(1)[:, 0])
    torch.testing.assert_close(best_first_loss(scores), picked)
    pairs = [(0, 1), (0, 2), (1, 2)]
    focal = sum(focal_pairwise_loss(scores[:, i], scores[:, j], focus=2.0) for i, j in pairs) / 3
    penalty = sum(score_penalty(scores[:, i]) for i in range(3)) / 3
    torch.testing.assert_close(focal_ranking_loss(scores), focal + 0.02 * penalty)
    assert not torch.allclose(focal_ranking_loss(scores), all_pairs_loss(scores))


def test_the_crowd_is_the_panel_and_four_who_hardly_look():
    assert CROWD[:4] == stories.PANEL
    assert CROWD[4:] == CARELESS
    assert (
        max(
            judge.first_preferred("Tell me a sad story about a fox and a kite.", "", "") for judge in CARELESS
        )
        == 0.5
    )


def test_panel_chances_are_those_of_the_chosen():
    prompt = "Tell me a sad story about a goose and a mirror."
    good = "The goose wanted a mirror. The goose cried quietly that night."
    row = {"prompt": prompt, "chosen": good, "rejected": "A fox."}
    turned = {**row, "chosen": "A fox.", "rejected": good}
    one, other = panel_chances(Dataset.from_list([row, turned])).tolist()
    assert one > 0.5
    assert one + other == pytest.approx(1)


def test_the_last_sentence_four_times_more():
    assert repeated("A fox ran. It slept.") == "A fox ran. It slept. It slept. It slept. It slept. It slept."
