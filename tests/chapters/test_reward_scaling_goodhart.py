"""Goodhart's kinds on the toy language: what each does to gold, exactly, and what it does not."""

import math

import pytest
import torch

from rlhf_mini.chapters.reward_scaling import goodhart
from rlhf_mini.evaluation.best_of_n import best_of_n_expectation, best_of_n_kl

SEEDS = range(40)


def mean(curves, name):
    return [sum(column) / len(curves) for column in zip(*(curve[name] for curve in curves), strict=True)]


def test_the_reference_is_a_distribution_of_independent_tokens():
    logp = goodhart.reference()
    assert float(logp.exp().sum()) == pytest.approx(1.0)
    chances = dict(zip(goodhart.LANGUAGE.texts, logp.exp().tolist(), strict=True))
    assert chances[(1, 2, 0)] == pytest.approx(0.35 * 0.2 * 0.25)
    assert chances[(4, 4, 4)] == pytest.approx(0.05**3)


def test_gold_has_mean_0_and_deviation_1():
    chances, gold = goodhart.reference().exp(), goodhart.worth(3)
    assert float((chances * gold).sum()) == pytest.approx(0.0, abs=1e-12)
    assert float((chances * gold.square()).sum()) == pytest.approx(1.0)


def test_without_any_error_gold_is_the_proxy_and_only_rises():
    told = goodhart.regressional(seed=0, noise=0.0).optimised()
    assert told["gold"] == pytest.approx(told["proxy"])
    assert told["gold"] == sorted(told["gold"])
    assert told["kl"] == sorted(told["kl"])
    assert all(
        kl <= math.log(n) - (n - 1) / n + 1e-9 for kl, n in zip(told["kl"], goodhart.SIZES, strict=True)
    )


def test_kl_is_that_of_the_evaluation_s_own_sum():
    case = goodhart.regressional(seed=1, noise=1.0)
    chances = goodhart.reference().exp()
    told = case.optimised([1, 8])
    assert told["kl"][0] == pytest.approx(0.0, abs=1e-12)
    assert told["kl"][1] == pytest.approx(best_of_n_kl(chances, case.proxy, n=8))
    assert best_of_n_expectation([1.0, 2.0], [1.0, 2.0], n=1) == 1.5


def test_regressional_gold_rises_by_its_share_of_the_proxy_and_does_not_turn():
    """Noise of deviation 1: one half. 40 worlds; the share's standard error is about 0.03."""
    curves = [goodhart.regressional(seed=10 * seed, noise=1.0).optimised() for seed in SEEDS]
    gold, proxy = mean(curves, "gold"), mean(curves, "proxy")
    assert gold == sorted(gold)
    share = (gold[3] - gold[0]) / (proxy[3] - proxy[0])
    assert share == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("seed", range(5))
def test_extremal_gold_rises_and_then_falls_below_the_start(seed):
    told = goodhart.extremal(seed=seed, rare=0.01).optimised([1, 2, 4, 8, 16, 32, 64, 128, 512])
    peak = max(range(9), key=told["gold"].__getitem__)
    assert 0 < peak < 8
    assert told["gold"][-1] < told["gold"][0]
    assert told["proxy"] == sorted(told["proxy"])


def test_a_rarer_tail_is_found_later():
    turns = []
    for rare in (0.05, 0.01, 0.002):
        gold = goodhart.extremal(seed=0, rare=rare).optimised()["gold"]
        turns.append(gold.index(max(gold)))
    assert turns == sorted(turns)
    assert turns[0] < turns[-1]


def test_causal_choosing_brings_gold_along_and_making_does_not():
    """By hand: a token is the word with chance 0.35, and a text goes on with chance 0.75.

    Words at the start: 0.75 + 0.75² + 0.75³ = 1.734, of them 0.35/0.75 the word; at full length 3 of them.
    """
    told = goodhart.causal()
    words = 0.75 + 0.75**2 + 0.75**3
    assert told["proxy start"] == pytest.approx(words)
    assert told["gold start"] == pytest.approx(words * 0.35 / 0.75)
    assert told["gold chosen"] == pytest.approx(3 * 0.35 / 0.75)
    assert (told["proxy chosen"], told["proxy padded"]) == (pytest.approx(3.0), pytest.approx(3.0))
    assert told["gold padded"] == pytest.approx(told["gold start"])
    assert 0.3 < told["correlation"] < 1


def test_adversarial_the_same_error_on_purpose_costs_more():
    """One text is wrong in both; chosen by who knows n, it costs at least what an accident does."""
    for seed in range(10):
        purpose, accident = (
            goodhart.adversarial(seed=seed, n=16, bribed=on_purpose) for on_purpose in (True, False)
        )
        for case in (purpose, accident):
            assert int((case.proxy != case.gold).sum()) == 1
        torch.testing.assert_close(purpose.gold, accident.gold)
        ends = [case.optimised([16])["gold"][0] for case in (purpose, accident)]
        assert ends[0] <= ends[1]
        assert ends[0] < goodhart.regressional(seed=seed, noise=0.0).optimised([16])["gold"][0] - 1


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"got -1\.0"):
        goodhart.regressional(seed=0, noise=-1.0)
    for rare in (0.0, 1.0, 1e-9):
        with pytest.raises(ValueError, match=f"got {rare}"):
            goodhart.extremal(seed=0, rare=rare)
