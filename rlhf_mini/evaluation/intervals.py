"""Confidence intervals of a mean: over prompts, over seeds, and over both at once.

Which one to take:

- many values (prompts, samples): `bootstrap_interval`, which assumes no shape;
- three to ten values (seeds): `student_interval`. Resampling five values covers the true mean about 83%
  of the time where 95% is claimed (the tests measure it): five values cannot show tails they did not draw;
- a table of seeds by prompts: `crossed_interval`, which lets both vary;
- a share of wins or hits: `wilson_interval`, which stays honest at 0% and 100%.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch

Number = int | float
Values = Sequence[Number] | np.ndarray | torch.Tensor

_CHUNK = 1 << 22  # indices drawn at a time, so that long samples do not need gigabytes


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its confidence interval [low, high] and the number of independent values behind it."""

    mean: float
    low: float
    high: float
    confidence: float
    count: int

    @property
    def half_width(self) -> float:
        """Half the interval's length: the number after ± in a table."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def as_values(values: Values, *, at_least: int, dimensions: int = 1) -> np.ndarray:
    """Returns `values` as a finite float64 array of the stated rank; raises ValueError if it is none."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"expected {dimensions} dimension(s) of values, got shape {array.shape}")
    if min(array.shape) < at_least:
        raise ValueError(
            f"an interval needs at least {at_least} values along each dimension, got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"values must be finite, got {int((~np.isfinite(array)).sum())} that are NaN or infinite"
        )
    return array


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")


def _resampled_means(values: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Means of `resamples` draws of len(values) values with replacement, seeded by `seed`."""
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(values))
    means = [
        values[generator.integers(len(values), size=(min(rows, resamples - start), len(values)))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(means)


def bootstrap_interval(
    values: Values, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Bias-corrected and accelerated (BCa) bootstrap interval of the mean.

    The ends are the resampled means' quantiles at Φ(z₀ + (z₀ ± z) / (1 − a (z₀ ± z))), where z₀ measures the
    resampled means' median bias and a the sample's skewness, a = Σ dᵢ³ / (6 (Σ dᵢ²)^{3/2}) with dᵢ = xᵢ − x̄.
    For a symmetric sample both vanish and this is the percentile interval.

    Paper: Efron 1987, "Better bootstrap confidence intervals".

    Args:
        values: (N,), N ≥ 2, independent draws. For fewer than about ten values take `student_interval`.

    Returns:
        An Interval; the same arguments give the same bits. A constant sample gives a point.

    Raises:
        ValueError: on fewer than two values, NaN or infinity, or a confidence outside (0, 1).

    Example:
        >>> bootstrap_interval([2.0, 2.0, 2.0])
        Interval(mean=2.0, low=2.0, high=2.0, confidence=0.95, count=3)
    """
    _check_confidence(confidence)
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100 for a quantile to mean something, got {resamples}")
    array = as_values(values, at_least=2)
    mean = float(array.mean())
    if np.ptp(array) == 0:
        return Interval(mean=float(array[0]), low=mean, high=mean, confidence=confidence, count=len(array))
    means = _resampled_means(array, resamples=resamples, seed=seed)
    normal = NormalDist()
    # Ties count half; the clip keeps z0 finite when a tiny sample puts every resampled mean on one side.
    below = float(np.mean(means < mean) + 0.5 * np.mean(means == mean))
    bias = normal.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    deviations = array - mean
    acceleration = float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
    tail = normal.inv_cdf((1 + confidence) / 2)
    levels = [normal.cdf(bias + (bias + z) / (1 - acceleration * (bias + z))) for z in (-tail, tail)]
    low, high = np.quantile(means, levels)
    return Interval(mean=mean, low=float(low), high=float(high), confidence=confidence, count=len(array))


def crossed_interval(
    table: Values, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of a table's mean when seeds and prompts both vary.

    Each resample draws rows with replacement and, independently, columns with replacement, and takes the mean
    of the table they select (the two-way bootstrap). It errs to the wide side: noise of single cells is
    counted in both draws.

    Paper: Owen 2007, "The pigeonhole bootstrap".

    Args:
        table: (S, P), one row a seed, one column a prompt (the same prompts in every row), S ≥ 2, P ≥ 2.

    Returns:
        An Interval whose count is S, the scarcer of the two. With five rows the rows' share of the width is
        as optimistic as any bootstrap of five; where prompts are many, `student_interval(table.mean(1))` is
        the sounder.

    Raises:
        ValueError: as `bootstrap_interval`.

    Example:
        >>> crossed_interval(np.ones((3, 4))).half_width
        0.0
    """
    _check_confidence(confidence)
    array = as_values(table, at_least=2, dimensions=2)
    rows, columns = array.shape
    generator = np.random.default_rng(seed)
    # A resample of rows is a vector of counts: the mean is then counts_rowsᵀ · table · counts_columns.
    row_counts = generator.multinomial(rows, np.full(rows, 1 / rows), size=resamples) / rows
    column_counts = generator.multinomial(columns, np.full(columns, 1 / columns), size=resamples) / columns
    means = ((row_counts @ array) * column_counts).sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(
        mean=float(array.mean()), low=float(low), high=float(high), confidence=confidence, count=rows
    )


def _student_cdf(t: float, *, freedom: int) -> float:
    """P(T ≤ t) for Student's t with whole degrees of freedom: Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return 0.5 + inside / 2


def student_quantile(probability: float, *, freedom: int) -> float:
    """The t with P(T ≤ t) = probability, by bisection to 1e-12 relative; freedom is a whole number ≥ 1.

    >>> round(student_quantile(0.975, freedom=4), 3)
    2.776
    """
    if not 0.5 <= probability < 1 or freedom < 1:
        raise ValueError(f"need 0.5 <= probability < 1 and freedom >= 1, got {probability} and {freedom}")
    low, high = 0.0, 1.0
    while _student_cdf(high, freedom=freedom) < probability:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, freedom=freedom) < probability else (low, middle)
    return high


def student_interval(values: Values, *, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean, x̄ ± t · s / √N with N − 1 degrees of freedom: for a handful of seeds.

    Args:
        values: (N,), N ≥ 2, independent and roughly normal (a seed's score is itself a mean over prompts).

    Returns:
        An Interval.

    Raises:
        ValueError: on fewer than two values, NaN or infinity.

    Example:
        >>> print(student_interval([1.0, 2.0, 3.0]))
        2 [-0.484, 4.48]
    """
    _check_confidence(confidence)
    array = as_values(values, at_least=2)
    mean = float(array.mean())
    quantile = student_quantile((1 + confidence) / 2, freedom=len(array) - 1)
    half = quantile * float(array.std(ddof=1)) / math.sqrt(len(array))
    return Interval(mean=mean, low=mean - half, high=mean + half, confidence=confidence, count=len(array))


def wilson_interval(share: float | int, *, count: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share of `count` trials; never leaves [0, 1], never shrinks to a point.

    The ends solve |share − p| = z √(p (1 − p) / count). A half (a tie) may count towards the share: its
    variance is smaller than a coin's, so the interval is then conservative.

    Example:
        >>> print(wilson_interval(1.0, count=10))
        1 [0.722, 1]
    """
    _check_confidence(confidence)
    if not 0 <= share <= 1 or count < 1:
        raise ValueError(f"need a share in [0, 1] of at least one trial, got {share} of {count}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    low = 0.0 if share == 0 else centre - half
    high = 1.0 if share == 1 else centre + half
    return Interval(mean=float(share), low=low, high=high, confidence=confidence, count=count)
