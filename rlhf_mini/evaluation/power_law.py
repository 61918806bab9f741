"""Scaling laws: a loss that falls towards a floor as a power of a size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """``L(N) = floor + (scale / N)^exponent``, and the share of the variance of log(L − floor) explained."""

    floor: float
    scale: float
    exponent: float
    r_squared: float

    def __call__(self, size: float) -> float:
        """The loss at a size.

        >>> PowerLaw(floor=0.5, scale=100.0, exponent=0.5, r_squared=1.0)(400.0)
        1.0
        """
        return self.floor + (self.scale / size) ** self.exponent

    def misfit(self, sizes: Sequence[float], losses: Sequence[float]) -> float:
        """Mean squared difference between the law and measured losses.

        >>> PowerLaw(floor=0.5, scale=100.0, exponent=0.5, r_squared=1.0).misfit([400.0, 100.0], [1.0, 2.0])
        0.125
        """
        squares = [(self(n) - loss) ** 2 for n, loss in zip(sizes, losses, strict=True)]
        return sum(squares) / len(squares)


def fit_power_law(sizes: Sequence[float], losses: Sequence[float], *, floor: float) -> PowerLaw:
    """The power law with a known floor: the least-squares line through log(L − floor) against log N.

    The form of Kaplan et al. (2020), equations 1.1 and 1.2, with the irreducible loss that Hoffmann et al.
    (2022), equation 2, add; where the source's entropy is known, it is that floor. `r_squared` is taken in
    logarithms, where the fit is made.

    Losses that do not change at all have exponent 0 and `r_squared` 0. Raises ValueError on fewer than three
    points, a size that is not above 0, a loss not above the floor, or sizes that are all one.

    >>> law = fit_power_law([1.0, 4.0, 16.0], [3.0, 2.0, 1.5], floor=1.0)
    >>> round(law.exponent, 6), round(law.scale, 6), round(law.r_squared, 6)
    (0.5, 4.0, 1.0)
    """
    if len(sizes) != len(losses) or len(sizes) < 3:
        raise ValueError(f"need three or more sizes with a loss each, got {len(sizes)} and {len(losses)}")
    if min(sizes) <= 0 or min(losses) <= floor or len({*sizes}) < 2:
        raise ValueError(
            f"sizes must be above 0 and differ, losses above the floor {floor}; got {sizes} and {losses}"
        )
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(losses, float) - floor)
    if len({*losses}) == 1:
        return PowerLaw(floor, math.inf, 0.0, 0.0)
    slope, intercept = np.polyfit(x, y, 1)
    residual, spread = ((y - slope * x - intercept) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    with np.errstate(over="ignore"):  # losses that hardly change
        scale = float(np.exp(-intercept / slope))
    return PowerLaw(floor, scale, float(-slope), float(1 - residual / spread))


def fit_floor(sizes: Sequence[float], losses: Sequence[float], *, tried: int = 400) -> PowerLaw:
    """The power law whose floor is fitted too, as one must where the entropy of the text is unknown.

    Of `tried` floors, evenly spread from 0 to just below the lowest loss, the one whose law explains the most
    of the variance of L itself. Needs four points; raises ValueError as `fit_power_law` does.
    """
    if len(sizes) < 4:
        raise ValueError(f"three numbers cannot be fitted to {len(sizes)} points; give four or more")
    laws = [
        fit_power_law(sizes, losses, floor=float(floor))
        for floor in np.linspace(0, min(losses), tried, endpoint=False)
    ]

    return min(laws, key=lambda law: law.misfit(sizes, losses))


def straight_line_misfit(sizes: Sequence[float], losses: Sequence[float]) -> float:
    """Mean squared difference between losses and their best straight line through log N: no law, as a foil.

    >>> round(straight_line_misfit([1.0, 10.0, 100.0], [3.0, 2.0, 2.5]), 6)
    0.125
    """
    x, y = np.log(np.asarray(sizes, float)), np.asarray(losses, float)
    slope, intercept = np.polyfit(x, y, 1)
    return float(((y - slope * x - intercept) ** 2).mean())
