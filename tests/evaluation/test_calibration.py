"""Reliability: by hand, a perfect forecaster, and what is refused."""

import math

import pytest
import torch

from rlhf_mini.evaluation.calibration import reliability


def test_by_hand():
    stated = torch.tensor([0.5, 0.6, 0.7, 0.9, 1.0])
    happened = torch.tensor([True, False, True, True, True])
    curve = reliability(stated, happened, bins=2, low=0.5)  # cut at 0.75
    assert curve.counts == (3, 2)
    assert curve.stated == pytest.approx((0.6, 0.95))
    assert curve.happened == pytest.approx((2 / 3, 1.0))
    assert curve.error == pytest.approx((3 * (2 / 3 - 0.6) + 2 * 0.05) / 5)
    assert curve.overconfidence == pytest.approx((0.5 + 0.6 + 0.7 + 0.9 + 1.0 - 4) / 5)


def test_errors_of_both_signs_do_not_cancel_but_overconfidence_does():
    stated = torch.tensor([0.25, 0.25, 0.75, 0.75])
    happened = torch.tensor([True, True, False, False])
    curve = reliability(stated, happened, bins=2)
    assert curve.error == pytest.approx(0.75)
    assert curve.overconfidence == pytest.approx(0.0)


def test_empty_bins_are_left_out_and_a_cut_belongs_to_the_upper_bin():
    curve = reliability(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([False, True, True]), bins=4)
    assert curve.counts == (1, 1, 1)
    assert curve.stated == (0.0, 0.5, 1.0)
    assert curve.error == pytest.approx(0.5 / 3)
    lower, upper = reliability(torch.tensor([0.49, 0.5]), torch.tensor([False, True]), bins=2).happened
    assert (lower, upper) == (0.0, 1.0)


def test_a_perfect_forecaster_has_little_error_and_a_boaster_much():
    generator = torch.Generator().manual_seed(0)
    chances = 0.5 + 0.5 * torch.rand(20_000, generator=generator)
    happened = torch.rand(20_000, generator=generator) < chances
    assert reliability(chances, happened, bins=10, low=0.5).error < 0.02
    sharper = torch.sigmoid(3 * chances.logit().clamp(max=10))
    curve = reliability(sharper, happened, bins=10, low=0.5)
    assert curve.error > 0.1
    assert curve.overconfidence == pytest.approx(curve.error, abs=1e-6)


@pytest.mark.parametrize(
    ("stated", "happened", "settings", "message"),
    [
        (torch.zeros(3), torch.zeros(2, dtype=torch.bool), {"bins": 2}, r"received \(3,\) and \(2,\)"),
        (torch.zeros(0), torch.zeros(0, dtype=torch.bool), {"bins": 2}, "N at least 1"),
        (torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool), {"bins": 2}, "N at least 1"),
        (torch.zeros(1), torch.zeros(1, dtype=torch.bool), {"bins": 0}, "bins at least 1"),
        (torch.ones(1), torch.zeros(1, dtype=torch.bool), {"bins": 1, "low": 1.0}, "low in"),
        (torch.tensor([0.4]), torch.zeros(1, dtype=torch.bool), {"bins": 2, "low": 0.5}, "chances must lie"),
        (torch.tensor([1.1]), torch.zeros(1, dtype=torch.bool), {"bins": 2}, "chances must lie"),
        (torch.tensor([math.nan]), torch.zeros(1, dtype=torch.bool), {"bins": 2}, "chances must lie"),
    ],
)
def test_what_is_no_forecast_is_refused(stated, happened, settings, message):
    with pytest.raises(ValueError, match=message):
        reliability(stated, happened, **settings)


def test_one_bin_compares_the_means_and_one_bad_chance_among_good_ones_is_refused():
    happened = torch.tensor([True, True, False])
    curve = reliability(torch.tensor([0.5, 0.7, 0.6]), happened, bins=1)
    assert curve.counts == (3,)
    assert curve.error == pytest.approx(2 / 3 - 0.6)
    with pytest.raises(ValueError, match="chances must lie"):
        reliability(torch.tensor([0.5, 1.5, 0.6]), happened, bins=1)
    with pytest.raises(ValueError, match="low in"):
        reliability(torch.tensor([0.5, 0.7, 0.6]), happened, bins=1, low=-0.5)
