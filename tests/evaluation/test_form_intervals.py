"""Intervals of fitted forms: they cover the truth as often as they say, and agree with refitting by loops."""

import math

import numpy as np
import pytest

from rlhf_mini.evaluation.form_intervals import (
    best_of_n_intervals,
    fit_log_trend,
    peak_of,
    reinforcement_intervals,
)
from rlhf_mini.evaluation.overoptimisation import (
    BestOfNForm,
    ReinforcementForm,
    fit_best_of_n,
    fit_reinforcement,
)

DISTANCES = np.sqrt([math.log(n) - (n - 1) / n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)])
TRUTH = BestOfNForm(1.2, 0.35)


def _curves(rng, units, form=TRUTH, distances=DISTANCES):
    """Each unit has coefficients of its own and errors that run along its curve, as a prompt's pool has."""
    alphas = form.alpha + 0.5 * rng.standard_normal(units)
    betas = form.beta + 0.15 * rng.standard_normal(units)
    curves = np.stack(
        [type(form)(float(a), float(b)).at(distances) for a, b in zip(alphas, betas, strict=True)]
    )
    return curves + 0.05 * np.cumsum(rng.standard_normal((units, len(distances))), axis=1)


def test_the_fit_in_the_middle_is_the_fit_to_all_points():
    curves = _curves(np.random.default_rng(0), 12)
    found, plain = best_of_n_intervals(DISTANCES, curves), fit_best_of_n(DISTANCES, curves.mean(0))
    assert (found.alpha.mean, found.beta.mean) == (pytest.approx(plain.alpha), pytest.approx(plain.beta))
    assert found.peak_distance.mean == pytest.approx(plain.peak.distance)
    assert found.peak_gold.mean == pytest.approx(plain.peak.gold)
    assert found.alpha.count == 12


def test_the_same_as_refitting_in_a_loop():
    """Runs with distances of their own, drawn again with the same random numbers and fitted one by one."""
    rng = np.random.default_rng(1)
    distances = np.sort(rng.uniform(0.2, 4.0, size=(6, 9)), axis=1)
    golds = ReinforcementForm(1.0, 0.6).at(distances.ravel()).reshape(6, 9) + 0.1 * rng.standard_normal(
        (6, 9)
    )
    found = reinforcement_intervals(distances, golds, resamples=210, seed=5)
    times = np.random.default_rng(5).multinomial(6, np.full(6, 1 / 6), size=210)
    refits = [
        fit_reinforcement(distances.repeat(row, 0).ravel(), golds.repeat(row, 0).ravel()) for row in times
    ]
    for name in ("alpha", "beta"):
        ends = np.quantile([getattr(fit, name) for fit in refits], [0.025, 0.975], method="inverted_cdf")
        interval = getattr(found, name)
        assert [interval.low, interval.high] == pytest.approx(list(ends))
    golds_at_peaks = [fit.peak.gold for fit in refits]
    assert found.peak_gold.low == pytest.approx(np.quantile(golds_at_peaks, 0.025, method="inverted_cdf"))
    assert found.turning == 1.0


def test_intervals_cover_the_truth_as_often_as_they_say():
    """200 worlds of 40 prompts. 95% covering: outside 0.90 to 0.985 less than once in 500 for each number."""
    rng = np.random.default_rng(2)
    covered = {"alpha": 0, "beta": 0, "peak_distance": 0, "peak_gold": 0}
    truths = {
        "alpha": TRUTH.alpha,
        "beta": TRUTH.beta,
        "peak_distance": TRUTH.peak.distance,
        "peak_gold": TRUTH.peak.gold,
    }
    for world in range(200):
        found = best_of_n_intervals(DISTANCES, _curves(rng, 40), resamples=400, seed=world)
        for name in covered:
            interval = getattr(found, name)
            covered[name] += interval.low <= truths[name] <= interval.high
    assert all(0.90 <= count / 200 <= 0.985 for count in covered.values()), covered


def test_a_curve_that_may_never_turn_has_no_end():
    rng = np.random.default_rng(3)
    flat = BestOfNForm(0.8, 0.0)
    found = best_of_n_intervals(DISTANCES, _curves(rng, 10, flat), seed=1)
    assert 0 < found.turning < 1
    assert found.peak_distance.high == math.inf
    assert math.isfinite(found.peak_distance.low)
    assert found.beta.low < 0 < found.beta.high


def test_the_same_arguments_give_the_same_bits():
    curves = _curves(np.random.default_rng(4), 5)
    assert best_of_n_intervals(DISTANCES, curves) == best_of_n_intervals(DISTANCES, curves)
    assert best_of_n_intervals(DISTANCES, curves) != best_of_n_intervals(DISTANCES, curves, seed=1)


@pytest.mark.parametrize(
    ("distances", "golds", "message"),
    [
        ([1.0, 2.0], [[1.0, 2.0]], "two curves or more to resample, got 1"),
        ([1.0, 2.0], [[1.0], [2.0]], r"got \(2, 2\) for \(2, 1\)"),
        ([1.0, -2.0], [[1.0, 2.0]] * 2, r"not negative, got -2\.0"),
        ([[1.0, -2.0]] * 2, [[1.0, 2.0]] * 2, r"the least of them -2\.0"),
        ([1.0, 1.0], [[1.0, 2.0]] * 2, "do not determine"),
    ],
)
def test_curves_that_cannot_be_fitted_are_refused(distances, golds, message):
    for intervals in (best_of_n_intervals, reinforcement_intervals):
        with pytest.raises(ValueError, match=message):
            intervals(distances, golds)


def test_impossible_intervals_are_refused():
    with pytest.raises(ValueError, match=r"got 1\.5, 2000"):
        best_of_n_intervals([1.0, 2.0], [[1.0, 2.0]] * 2, confidence=1.5)
    with pytest.raises(ValueError, match=r"got 0\.95, 10"):
        best_of_n_intervals([1.0, 2.0], [[1.0, 2.0]] * 2, resamples=10)


# ------------------------------------------------------------------------------------------- trends with size


def test_a_trend_by_hand():
    """Coefficients 1, 2, 6 at 1, 10, 100: slope (−1·1 + 1·6)/2 = 2.5, intercept 3 − 2.5, residuals ½, −1, ½.

    s² = 1.5/1, its root over √2 is the error 0.866; Student's quantile at one degree of freedom is 12.706.
    """
    trend = fit_log_trend([1, 10, 100], [1.0, 2.0, 6.0])
    assert trend.slope.mean == pytest.approx(2.5)
    assert trend.intercept == pytest.approx(0.5)
    assert trend.slope.half_width == pytest.approx(12.706 * math.sqrt(1.5 / 2), rel=1e-4)
    assert trend.r_squared == pytest.approx(1 - 1.5 / 14)
    assert trend(1000) == pytest.approx(8.0)


def test_a_trend_covers_its_slope_as_often_as_it_says():
    """400 worlds of five sizes with normal errors: outside 0.915 to 0.98 less than once in 500."""
    rng, sizes = np.random.default_rng(6), [1e3, 3e3, 1e4, 3e4, 1e5]
    covered = 0
    for _ in range(400):
        trend = fit_log_trend(sizes, 1 - 0.2 * np.log10(sizes) + 0.05 * rng.standard_normal(5))
        covered += trend.slope.low <= -0.2 <= trend.slope.high
    assert 0.915 <= covered / 400 <= 0.98


def test_a_coefficient_that_does_not_change_has_no_slope():
    trend = fit_log_trend([1, 10, 100], [2.0, 2.0, 2.0])
    assert (trend.slope.mean, trend.slope.half_width, trend.r_squared) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("sizes", "coefficients"),
    [([1, 10], [1.0, 2.0]), ([1, 10, 0], [1.0] * 3), ([5, 5, 5], [1.0] * 3), ([1, 2, 3], [1.0] * 4)],
)
def test_a_trend_that_cannot_be_drawn_is_refused(sizes, coefficients):
    with pytest.raises(ValueError, match="three sizes above 0 that differ"):
        fit_log_trend(sizes, coefficients)


def test_a_trend_s_confidence_is_a_share():
    with pytest.raises(ValueError, match="got 95"):
        fit_log_trend([1, 2, 3], [1.0, 2.0, 3.0], confidence=95.0)


def test_a_peak_as_numbers():
    assert peak_of(BestOfNForm(2.0, 0.5)) == (2.0, 2.0)
    assert peak_of(ReinforcementForm(2.0, -0.5)) == (math.inf, math.inf)
