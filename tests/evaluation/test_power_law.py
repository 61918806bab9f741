"""Power laws: known ones are found again, and the fitted floor too; noise lowers R²."""

import numpy as np
import pytest

from rlhf_mini.evaluation.power_law import PowerLaw, fit_floor, fit_power_law, straight_line_misfit

SIZES = [1e3, 3e3, 1e4, 3e4, 1e5]
LAW = PowerLaw(floor=0.5, scale=2e3, exponent=0.3, r_squared=1.0)


def test_by_hand():
    """Each factor of four in size halves what is above the floor: exponent 1/2; at N = scale it is 1."""
    law = fit_power_law([1.0, 4.0, 16.0], [3.0, 2.0, 1.5], floor=1.0)
    assert (law.exponent, law.scale) == (pytest.approx(0.5), pytest.approx(4.0))
    assert law(4.0) == pytest.approx(2.0)


def test_a_known_law_is_found_again():
    law = fit_power_law(SIZES, [LAW(n) for n in SIZES], floor=0.5)
    assert law.exponent == pytest.approx(0.3)
    assert law.scale == pytest.approx(2e3)
    assert law.r_squared == pytest.approx(1.0)


def test_the_floor_is_found_too():
    law = fit_floor(SIZES, [LAW(n) for n in SIZES])
    assert law.floor == pytest.approx(0.5, abs=0.01)
    assert law.exponent == pytest.approx(0.3, abs=0.01)


def test_a_wrong_floor_explains_less():
    losses = [LAW(n) for n in SIZES]
    assert (
        fit_power_law(SIZES, losses, floor=0.0).r_squared < fit_power_law(SIZES, losses, floor=0.5).r_squared
    )


def test_noise_lowers_r_squared_as_a_correlation():
    losses = [LAW(n) * (1.1 if i % 2 else 0.95) for i, n in enumerate(SIZES)]
    law = fit_power_law(SIZES, losses, floor=0.5)
    correlation = np.corrcoef(np.log(SIZES), np.log(np.array(losses) - 0.5))[0, 1]
    assert law.r_squared == pytest.approx(correlation**2)
    assert law.r_squared < 0.999


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("sizes", "losses", "floor"),
    [
        ([1, 2], [3, 2], 0),
        ([1, 2, 3], [3, 2], 0),
        ([0, 1, 2], [3, 2, 1], 0),
        ([-0.5, 1, 2], [3, 2, 1], 0),
        ([1, 2, 3], [3, 2, 1], 1),
        ([2, 2, 2], [3, 2, 1], 0),
    ],
)
def test_what_cannot_be_fitted_is_refused(sizes, losses, floor):
    with pytest.raises(ValueError, match=r"need three or more|must be above 0"):
        fit_power_law(sizes, losses, floor=floor)


def test_two_sizes_are_enough_if_there_are_three_points():
    law = fit_power_law([1.0, 1.0, 4.0], [3.0, 3.0, 2.0], floor=1.0)
    assert law.exponent == pytest.approx(0.5)


def test_losses_that_do_not_change_explain_nothing():
    law = fit_power_law([1.0, 2.0, 4.0], [1.5, 1.5, 1.5], floor=1.0)
    assert law.exponent == 0
    assert law.r_squared == 0
    assert law.scale == np.inf


def test_a_fitted_floor_is_never_below_nothing():
    losses = [LAW(n) - 0.8 for n in SIZES[:4]]  # the floor that would fit is −0.3
    assert fit_floor(SIZES[:4], losses).floor == 0


def test_a_misfit_compares_as_many_sizes_as_losses():
    with pytest.raises(ValueError):
        LAW.misfit([1.0, 2.0], [1.0])


def test_a_floor_needs_four_points():
    with pytest.raises(ValueError, match="four or more"):
        fit_floor([1.0, 2.0, 3.0], [3.0, 2.0, 1.5])


def test_a_law_fits_a_law_better_than_a_line_does_and_a_line_a_line():
    losses = [LAW(n) for n in SIZES]
    assert fit_power_law(SIZES, losses, floor=0.5).misfit(SIZES, losses) == pytest.approx(0, abs=1e-12)
    assert straight_line_misfit(SIZES, losses) > 1e-4
    straight = [5 - 0.3 * np.log(n) for n in SIZES]
    assert straight_line_misfit(SIZES, straight) == pytest.approx(0, abs=1e-12)
    assert fit_power_law(SIZES, straight, floor=0.0).misfit(SIZES, straight) > 1e-4


def test_the_misfit_is_a_mean_square():
    law = PowerLaw(floor=1.0, scale=1.0, exponent=1.0, r_squared=1.0)
    assert law.misfit([1.0, 0.5], [2.5, 3.0]) == pytest.approx(0.125)
