"""Rules for keeping a checkpoint: what each looks at, by hand; what it pays; and wrong input."""

import math

import numpy as np
import pytest

from rlhf_mini.evaluation import checkpoint_choice as rules

GOLD = [0.0, 0.8, 1.2, 1.0, 0.1, -1.0]
PROXY = [0.0, 0.5, 1.0, 1.4, 1.7, 1.9]
KL = [0.0, 1.0, 2.5, 5.0, 11.0, 30.0]
SURE = [[level] * 8 for level in GOLD]  # every prompt says the same


def test_regret_by_hand():
    assert [round(rules.regret(GOLD, index), 9) for index in range(6)] == [1.2, 0.4, 0.0, 0.2, 1.1, 2.2]


def test_the_proxy_chooses_the_last_and_loses_most():
    assert rules.by_score(PROXY) == 5
    assert rules.regret(GOLD, rules.by_score(PROXY)) == max(rules.regret(GOLD, k) for k in range(6))


def test_of_equal_scores_the_first_is_kept():
    assert rules.by_score([0.0, 2.0, 2.0, 1.0]) == 1


@pytest.mark.parametrize(
    ("scores", "patience", "kept"),
    [
        ([0.0, 1.0, 0.5, 2.0], 1, 1),  # stops at the first that is no better
        ([0.0, 1.0, 0.5, 2.0], 2, 3),
        ([0.0, 1.0, 0.5, 0.6, 2.0], 2, 1),  # two in a row below the best, though the second rose again
        ([0.0, 1.0, 1.0, 1.0, 2.0], 2, 1),  # a tie is no better
        ([3.0, 1.0, 2.0], 5, 0),
        ([1.0, 2.0, 3.0], 1, 2),
        ([1.0], 1, 0),
    ],
)
def test_patience(scores, patience, kept):
    assert rules.by_patience(scores, patience=patience) == kept


@pytest.mark.parametrize(
    ("kl", "budget", "kept"),
    [
        (KL, 4.0, 2),
        (KL, 5.0, 3),  # up to the budget, itself included
        (KL, 100.0, 5),
        ([0.0, 6.0, 3.0, 9.0], 4.0, 0),  # what comes back later was not known then
        ([5.0, 6.0], 4.0, 0),
    ],
)
def test_a_budget_of_kl(kl, budget, kept):
    assert rules.by_kl_budget(kl, budget=budget) == kept


def test_gold_labels_that_are_sure_find_the_best_for_their_price():
    found = rules.by_gold_labels(SURE, labels=2, generator=np.random.default_rng(0))
    assert found == rules.Choice(2, 12)


def test_all_checkpoints_are_asked_the_same_prompts():
    """One prompt is easy for everyone: asked of one checkpoint only, it would make the worse look better."""
    table = [[10.0, 0.0], [11.0, 1.0]]
    for seed in range(20):
        assert rules.by_gold_labels(table, labels=1, generator=np.random.default_rng(seed)).index == 1


def test_more_labels_choose_better():
    """Noise of deviation 2 around the truths: regret falls with the labels, on average of 300 draws."""
    rng = np.random.default_rng(1)
    means = []
    for labels in (1, 8, 64):
        found = []
        for _ in range(300):
            table = np.array(GOLD)[:, None] + 2 * rng.standard_normal((6, 64))
            found.append(rules.regret(GOLD, rules.by_gold_labels(table, labels=labels, generator=rng).index))
        means.append(np.mean(found))
    assert means[0] > 2 * means[1] > 2 * means[2]


def test_halving_by_hand():
    """Six checkpoints, 6 labels each: 3 rounds of 12. 2 for each of 6, 4 for each of 3, 6 for each of 2."""
    table = [[level] * 12 for level in GOLD]
    found = rules.by_halving(table, labels=6, generator=np.random.default_rng(0))
    assert found == rules.Choice(2, 12 + 12 + 12)


def test_halving_takes_no_more_labels_than_there_are():
    """With 8 prompts the last round finds only 2 more for each of 2."""
    found = rules.by_halving(SURE, labels=6, generator=np.random.default_rng(0))
    assert found == rules.Choice(2, 12 + 12 + 4)


def test_halving_loses_no_more_than_sharing_alike_and_spends_no_more():
    """Ten clearly bad ones and two good ones that are hard to tell apart, on average of 400 draws."""
    truth, rng = np.array([-3.0] * 10 + [0.8, 1.0]), np.random.default_rng(2)
    lost = {"alike": 0.0, "halving": 0.0}
    for _ in range(400):
        table = truth[:, None] + rng.standard_normal((12, 96))
        alike = rules.by_gold_labels(table, labels=8, generator=rng)
        halved = rules.by_halving(table, labels=8, generator=rng)
        assert halved.labels <= alike.labels == 96
        lost["alike"] += rules.regret(truth, alike.index) / 400
        lost["halving"] += rules.regret(truth, halved.index) / 400
    assert lost["halving"] < lost["alike"]


def test_the_same_generator_makes_the_same_choice():
    table = np.random.default_rng(3).standard_normal((5, 40))
    for rule in (rules.by_gold_labels, rules.by_halving):
        first, second = (rule(table, labels=4, generator=np.random.default_rng(7)) for _ in range(2))
        assert first == second


def test_wrong_input_is_refused():
    generator = np.random.default_rng(0)
    for index in (-1, 6):
        with pytest.raises(ValueError, match=f"from 0 to 5, got {index}"):
            rules.regret(GOLD, index)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        rules.by_patience(PROXY, patience=0)
    for budget in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="above 0 nats"):
            rules.by_kl_budget(KL, budget=budget)
    for labels in (0, 9):
        with pytest.raises(ValueError, match=f"from 1 to the 8 prompts, got {labels}"):
            rules.by_gold_labels(SURE, labels=labels, generator=generator)
    with pytest.raises(ValueError, match="3 rounds need at least as many"):
        rules.by_halving(SURE, labels=2, generator=generator)
    with pytest.raises(ValueError, match="nothing to choose from in 1"):
        rules.by_halving([[1.0, 2.0]], labels=1, generator=generator)
    with pytest.raises(ValueError, match="finite"):
        rules.by_score([1.0, math.nan])
