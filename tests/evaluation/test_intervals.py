"""Intervals: hand-computed ends, published quantiles, and coverage counted over simulated samples."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rlhf_mini.evaluation.intervals import (
    bootstrap_interval,
    crossed_interval,
    student_interval,
    student_quantile,
    wilson_interval,
)


def test_student_quantile_is_the_printed_table():
    printed = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042}
    for freedom, value in printed.items():
        assert student_quantile(0.975, freedom=freedom) == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize("probability", [0.5, 0.6, 0.95, 0.999])
def test_student_quantile_equals_scipy(probability):
    for freedom in range(1, 41):
        expected = stats.t.ppf(probability, freedom)
        assert student_quantile(probability, freedom=freedom) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_student_interval_by_hand():
    # 1, 2, 3: mean 2, s = 1, so 2 ± 4.302653 / √3.
    interval = student_interval([1, 2, 3])
    assert (interval.mean, interval.count) == (2.0, 3)
    assert interval.half_width == pytest.approx(4.302652729911275 / math.sqrt(3), rel=1e-9)


def test_wilson_by_hand():
    # All of 10 won: the lower end solves 1 − p = z √(p (1 − p) / 10), so p = 10 / (10 + z²).
    z = 1.959963984540054
    interval = wilson_interval(1.0, count=10)
    assert interval.low == pytest.approx(10 / (10 + z * z), rel=1e-12)
    assert interval.high == 1.0
    mirrored = wilson_interval(0.0, count=10)
    assert mirrored.high == pytest.approx(1 - interval.low, rel=1e-12)
    assert mirrored.low == 0.0


def test_wilson_equals_scipy():
    for wins, count in ((3, 17), (50, 100), (99, 100)):
        expected = stats.binomtest(wins, count).proportion_ci(0.9, method="wilson")
        interval = wilson_interval(wins / count, count=count, confidence=0.9)
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_bootstrap_equals_scipys_bca():
    """Same quantiles from 20,000 resamples; each end's Monte Carlo error is about 0.6% of the width."""
    sample = np.random.default_rng(3).exponential(size=40)
    ours = bootstrap_interval(sample, resamples=20_000)
    theirs = stats.bootstrap((sample,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)
    # The corrections matter here: the plain percentile ends lie further left than that.
    means = np.random.default_rng(0).choice(sample, (20_000, 40)).mean(axis=1)
    assert ours.high - np.quantile(means, 0.975) > 0.03 * width


def test_bootstrap_of_two_values_by_hand():
    # Resampled means of {0, 1} are 0, ½, 1 with chances ¼, ½, ¼: both 2.5% tails end at 0 and 1.
    interval = bootstrap_interval([0.0, 1.0])
    assert (interval.low, interval.mean, interval.high) == (0.0, 0.5, 1.0)


def test_bootstrap_is_deterministic_and_independent_of_chunks(monkeypatch):
    sample = np.random.default_rng(0).normal(size=50)
    first = bootstrap_interval(sample, seed=7)
    assert bootstrap_interval(torch.tensor(sample), seed=7) == first
    assert bootstrap_interval(sample, seed=8) != first
    monkeypatch.setattr("rlhf_mini.evaluation.intervals._CHUNK", 50 * 100)
    assert bootstrap_interval(sample, seed=7) == first


def test_bootstrap_follows_shift_and_scale():
    sample = np.random.default_rng(1).normal(size=30)
    plain, moved = bootstrap_interval(sample), bootstrap_interval(8 * sample + 3)
    expected = [8 * end + 3 for end in (plain.low, plain.mean, plain.high)]
    assert [moved.low, moved.mean, moved.high] == pytest.approx(expected, rel=1e-9)


def test_coverage():
    """Of 400 samples of 60 exponential values, 95% intervals miss the true mean 1 in about 6% of cases.

    At a true coverage of 94%, the count of hits is Binomial(400, 0.94), mean 376: under 356 or over 395 has a
    chance of about 1e-4. (A 90% interval would give 360 and 99% 396: both would mostly be caught.)
    """
    generator = np.random.default_rng(11)
    hits = 0
    for draw in range(400):
        interval = bootstrap_interval(generator.exponential(size=60), resamples=400, seed=draw)
        hits += interval.low <= 1 <= interval.high
    assert 356 <= hits <= 395


def test_five_seeds_need_student():
    """Five normal values: Student covers 95% by theory, the bootstrap about 82%.

    Over 500 samples the counts are Binomial, means 475 and 410; the bounds below fail by chance less than
    1e-4 of the time.
    """
    generator = np.random.default_rng(5)
    student = bootstrap = 0
    for draw in range(500):
        seeds = generator.normal(size=5)
        exact, resampled = student_interval(seeds), bootstrap_interval(seeds, resamples=400, seed=draw)
        student += exact.low <= 0 <= exact.high
        bootstrap += resampled.low <= 0 <= resampled.high
    assert 454 <= student <= 493
    assert 375 <= bootstrap <= 444


def test_crossed_interval_sees_both_sources():
    """With seeds alone varying its width is that of the seeds; with prompts alone, that of the prompts."""
    seeds, prompts = np.arange(40.0), np.arange(50.0) ** 1.5
    by_seed = crossed_interval(np.tile(seeds[:, None], (1, 50)), resamples=4000)
    by_prompt = crossed_interval(np.tile(prompts, (40, 1)), resamples=4000)
    both = crossed_interval(seeds[:, None] + prompts, resamples=4000)
    for interval, values in ((by_seed, seeds), (by_prompt, prompts)):
        # 1.96 standard errors of a bootstrap mean, s (ddof 0) / √N, to the 5% that 4,000 resamples allow.
        assert interval.half_width == pytest.approx(1.96 * values.std() / math.sqrt(len(values)), rel=0.05)
    # Independent sources: half-widths add in squares.
    assert both.half_width == pytest.approx(math.hypot(by_seed.half_width, by_prompt.half_width), rel=0.06)
    assert by_seed.count == 40


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "at least 2"),
        ([1.0, math.nan], "finite"),
        ([1.0, math.inf], "finite"),
        ([[1.0, 2.0]], "dimension"),
    ],
)
def test_bad_values_are_refused(values, message):
    for interval in (bootstrap_interval, student_interval):
        with pytest.raises(ValueError, match=message):
            interval(np.array(values))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval([1.0, 2.0], confidence=1.0)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_interval([1.0, 2.0], resamples=10)
    with pytest.raises(ValueError, match="share"):
        wilson_interval(1.2, count=3)
    with pytest.raises(ValueError, match="probability"):
        student_quantile(1.0, freedom=3)


def test_intervals_read_well():
    assert str(student_interval([2.0, 2.0])) == "2 [2, 2]"
