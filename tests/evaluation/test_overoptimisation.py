"""Gao's two forms: by hand, known coefficients found again, peaks, wrong input."""

import math

import numpy as np
import pytest

from rlhf_mini.evaluation.overoptimisation import (
    BestOfNForm,
    Peak,
    ReinforcementForm,
    distance_of,
    fit_best_of_n,
    fit_reinforcement,
    r_squared,
)

DISTANCES = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
FINE = np.linspace(0, 20, 200_001)


def test_best_of_n_by_hand():
    """α = 3, β = ½: R(2) = 2 (3 − 1) = 4; the top is at 3 / 1 = 3, with 9 / 2 = 4.5."""
    form = BestOfNForm(3.0, 0.5)
    assert form(2.0) == pytest.approx(4.0)
    assert form.peak == Peak(3.0, 4.5)
    assert form.peak.kl == pytest.approx(9.0)


def test_reinforcement_by_hand():
    """α = 3, β = 1: R(e) = e (3 − 1) = 2e; the top is at e², where R = e² (3 − 2) = e²."""
    form = ReinforcementForm(3.0, 1.0)
    assert form(math.e) == pytest.approx(2 * math.e)
    assert form.peak.distance == pytest.approx(math.e**2)
    assert form.peak.gold == pytest.approx(math.e**2)
    assert form.peak.kl == pytest.approx(math.e**4)


@pytest.mark.parametrize("form", [BestOfNForm(1.7, 0.3), ReinforcementForm(1.1, 0.6)])
def test_the_peak_is_the_highest_point(form):
    golds = form.at(FINE)
    assert form.peak.distance == pytest.approx(FINE[golds.argmax()], abs=2e-4)
    assert form.peak.gold == pytest.approx(golds.max(), abs=1e-6)


@pytest.mark.parametrize("form", [BestOfNForm(1.7, 0.3), ReinforcementForm(1.1, 0.6)])
def test_the_start_is_worth_nothing(form):
    assert form(0.0) == 0.0
    assert form(1e-9) == pytest.approx(0.0, abs=1e-7)


def test_the_two_forms_are_written_as_in_the_paper():
    """In plain arithmetic, with β at work: at d = 2 a larger β lowers both, at d = ½ it raises the second."""
    assert BestOfNForm(1.0, 0.25)(2.0) == pytest.approx(2 * (1 - 0.25 * 2))
    assert ReinforcementForm(1.0, 0.25)(2.0) == pytest.approx(2 * (1 - 0.25 * math.log(2)))
    assert ReinforcementForm(1.0, 0.25)(0.5) == pytest.approx(0.5 * (1 + 0.25 * math.log(2)))


@pytest.mark.parametrize("form", [BestOfNForm(1.0, 0.0), BestOfNForm(1.0, -1.0), ReinforcementForm(1.0, 0.0)])
def test_without_a_price_of_distance_there_is_no_peak(form):
    assert form.peak is None


def test_a_proxy_that_is_no_use_turns_at_the_start():
    assert BestOfNForm(-1.0, 0.5).peak == Peak(0.0, 0.0)
    assert ReinforcementForm(1.0, 1e-4).peak is None  # exp(9999) is beyond any number
    assert 0 < ReinforcementForm(-1.0, 1.0).peak.distance < 0.2  # infinite slope at 0: it always rises first


@pytest.mark.parametrize(
    ("fit", "form"),
    [
        (fit_best_of_n, BestOfNForm(2.3, 0.45)),
        (fit_best_of_n, BestOfNForm(-0.2, -0.1)),
        (fit_reinforcement, ReinforcementForm(0.7, 0.35)),
        (fit_reinforcement, ReinforcementForm(-0.4, 0.2)),
    ],
)
def test_known_coefficients_are_found_again(fit, form):
    found = fit(DISTANCES, form.at(DISTANCES))
    assert (found.alpha, found.beta) == (pytest.approx(form.alpha), pytest.approx(form.beta))
    assert type(found) is type(form)


@pytest.mark.parametrize("fit", [fit_best_of_n, fit_reinforcement])
def test_no_other_coefficients_are_nearer(fit):
    golds = np.array([0.1, 0.9, 1.2, 1.7, 1.6, 1.8])
    found = fit(DISTANCES, golds)
    least = ((found.at(DISTANCES) - golds) ** 2).sum()
    for step in ((0.01, 0.0), (-0.01, 0.0), (0.0, 0.01), (0.0, -0.01)):
        other = type(found)(found.alpha + step[0], found.beta + step[1])
        assert ((other.at(DISTANCES) - golds) ** 2).sum() > least


def test_points_at_the_start_change_no_fit():
    form = BestOfNForm(1.0, 0.2)
    found = fit_best_of_n([0.0, 0.0, *DISTANCES], [5.0, -3.0, *form.at(DISTANCES)])
    assert (found.alpha, found.beta) == (pytest.approx(1.0), pytest.approx(0.2))


def test_refitting_adds_the_gains_of_every_round():
    """k rounds of d/k each, summed one by one, from the form of a single round."""
    form, rounds, distance = ReinforcementForm(1.3, 0.8), 3, 5.0
    summed = sum(form(distance / rounds) for _ in range(rounds))
    assert form.refitted(rounds)(distance) == pytest.approx(summed)
    assert form.refitted(1) == form
    assert form.refitted(rounds).peak.gold > form.peak.gold
    with pytest.raises(ValueError, match="at least 1, got 0"):
        form.refitted(0)


def test_distance_is_the_root_of_kl():
    assert distance_of([0.0, 2.25, 9.0]).tolist() == [0.0, 1.5, 3.0]
    with pytest.raises(ValueError, match=r"got -0.1; k1 can be"):
        distance_of([1.0, -0.1])


def test_r_squared_by_hand():
    """Golds 0, 1, 5 with mean 2: 4 + 1 + 9 = 14. Residuals 1, 0, 2: 5. So 1 − 5/14; the mean itself has 0."""
    assert r_squared([0.0, 1.0, 5.0], [1.0, 1.0, 3.0]) == pytest.approx(1 - 5 / 14)
    assert r_squared([0.0, 1.0, 5.0], [2.0, 2.0, 2.0]) == pytest.approx(0.0)
    assert r_squared([0.0, 1.0, 5.0], [5.0, 1.0, 0.0]) < 0


@pytest.mark.parametrize("fit", [fit_best_of_n, fit_reinforcement])
@pytest.mark.parametrize(
    ("distances", "golds", "message"),
    [
        ([1.0, -0.5], [1.0, 1.0], "not negative, got -0.5"),
        ([1.0, 2.0], [1.0], "1 golds and 2 points"),
        ([1.0, 1.0], [1.0, 2.0], "do not determine"),
        ([0.0, 2.0], [0.0, 2.0], "do not determine"),
        ([1.0, math.nan], [1.0, 2.0], "finite"),
        ([1.0, 2.0], [1.0, math.inf], "finite"),
        ([], [], "at least 1 values"),
    ],
)
def test_what_cannot_be_fitted_is_refused(fit, distances, golds, message):
    with pytest.raises(ValueError, match=message):
        fit(distances, golds)


def test_a_negative_distance_is_refused_by_a_form_too():
    for form in (BestOfNForm(1.0, 1.0), ReinforcementForm(1.0, 1.0)):
        with pytest.raises(ValueError, match=r"not negative, got -1\.0"):
            form(-1.0)


def test_r_squared_refuses_what_it_cannot_tell():
    with pytest.raises(ValueError, match="no variance to explain"):
        r_squared([1.0, 1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="prediction for each gold"):
        r_squared([1.0, 2.0], [1.0, 2.0, 3.0])
