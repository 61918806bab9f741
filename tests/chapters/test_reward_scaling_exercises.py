"""The solutions of chapter 11 are what the library does; mistakes get their own hint."""

import itertools
import math

import numpy as np
import pytest
import torch

from rlhf_mini.chapters.reward_scaling import choice_exercises, curve_exercises, exercises
from rlhf_mini.estimators.ensembles import mean_score, uncertainty_weighted_score, worst_score
from rlhf_mini.evaluation.best_of_n import best_of_n_expectation, best_of_n_kl
from rlhf_mini.evaluation.checkpoint_choice import by_patience, regret
from rlhf_mini.evaluation.overoptimisation import (
    BestOfNForm,
    ReinforcementForm,
    fit_best_of_n,
    r_squared,
)
from rlhf_mini.exact import best_of_n
from rlhf_mini.reader import Exercise
from tests.chapters.stand_ins import numbers

CHECKED = [pytest.param(one, id=one.title) for one in exercises.EXERCISES if isinstance(one, Exercise)]


def test_there_are_nine_and_the_last_is_open():
    titles = [one.title for one in exercises.EXERCISES]
    assert len(set(titles)) == len(titles) == 9
    assert exercises.EXERCISES[-1] is exercises.OWN
    assert exercises.OWN.show().text


@pytest.mark.parametrize("exercise", CHECKED)
def test_the_solution_passes_its_own_check(exercise):
    verdict = exercise.judge(exercise.solution)
    assert verdict.state == "right", verdict


@pytest.mark.parametrize("exercise", CHECKED)
def test_every_mistake_is_caught_with_its_own_hint(exercise):
    assert len(exercise.mistakes) >= 6
    for mistake in exercise.mistakes:
        verdict = exercise.judge(mistake.program)
        assert (verdict.state, verdict.words) == ("wrong", mistake.hint), mistake.program.__name__


def test_best_of_is_the_exact_distribution_and_its_kl():
    chances = numbers(9).softmax(0)
    for n in (1, 2, 5, 40):
        told, kl = curve_exercises.best_of(chances.tolist(), n)
        exact = best_of_n(chances.log(), torch.arange(9.0), n=n).exp()
        assert told == pytest.approx(exact.tolist(), abs=1e-12)
        assert kl == pytest.approx(best_of_n_kl(chances, torch.arange(9.0), n=n), abs=1e-12)


def test_the_pool_s_estimate_is_the_library_s_and_the_mean_over_subsets():
    golds, proxies = numbers(7).tolist(), numbers(7, seed=1).tolist()
    for n in range(1, 8):
        told = curve_exercises.expected_best(golds, proxies, n)
        assert told == pytest.approx(best_of_n_expectation(golds, proxies, n=n))
        chosen = [max(some, key=proxies.__getitem__) for some in itertools.combinations(range(7), n)]
        assert told == pytest.approx(sum(golds[place] for place in chosen) / len(chosen))


def test_the_peaks_are_the_forms_own():
    for alpha, beta in ((2.0, 0.5), (0.3, 0.9)):
        first, second = BestOfNForm(alpha, beta).peak, ReinforcementForm(alpha, beta).peak
        expected = [first.distance, first.gold, second.distance, second.gold]
        assert curve_exercises.peaks(alpha, beta) == pytest.approx(expected)
        for form, peak in ((BestOfNForm(alpha, beta), first), (ReinforcementForm(alpha, beta), second)):
            assert max(form(peak.distance * 0.99), form(peak.distance * 1.01)) < form(peak.distance)


def test_the_fit_and_its_share_of_variance_are_the_library_s():
    distances = np.linspace(0.3, 2.5, 9)
    golds = distances * (1 - 0.4 * distances) + 0.1 * numbers(9).numpy()
    form = fit_best_of_n(distances, golds)
    assert curve_exercises.fitted(distances, golds) == pytest.approx((form.alpha, form.beta))
    half = fit_best_of_n(distances[::2], golds[::2])
    expected = r_squared(golds[1::2], half.at(distances[1::2]))
    assert curve_exercises.told_of_others(distances, golds) == pytest.approx(expected)


def test_the_ensemble_s_rows_are_the_library_s():
    scores, reference = 3 * numbers(4, 6) + 2, 2 * numbers(4, 20, seed=1) - 1
    own = (scores - reference.mean(1, keepdim=True)) / reference.std(1, keepdim=True)
    expected = [mean_score(own), worst_score(own), uncertainty_weighted_score(own, weight=0.3)]
    torch.testing.assert_close(choice_exercises.combined(scores, reference, 0.3), torch.stack(expected))


def test_rounds_gain_what_the_refitted_form_says():
    for rounds in (1, 2, 5):
        told = choice_exercises.in_rounds(0.8, 0.3, 2.5, rounds)
        assert told == pytest.approx(ReinforcementForm(0.8, 0.3).refitted(rounds)(2.5))
    gained = choice_exercises.in_rounds(0.8, 0.3, 2.5, 4) - choice_exercises.in_rounds(0.8, 0.3, 2.5, 1)
    assert gained == pytest.approx(2.5 * 0.3 * math.log(4))


@pytest.mark.parametrize("patience", [1, 2, 3, 30])
def test_the_regret_is_that_of_the_library_s_rule(patience):
    for seed in range(20):
        scores, golds = numbers(12, seed=seed).tolist(), numbers(12, seed=seed + 100).tolist()
        expected = regret(golds, by_patience(scores, patience=patience))
        assert choice_exercises.regret_of_stopping(scores, golds, patience) == pytest.approx(expected)
