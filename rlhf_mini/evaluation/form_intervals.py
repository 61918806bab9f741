"""Confidence intervals of Gao's coefficients and peaks: over prompts, or over seeds; and trends with size.

Points along one curve come from the same samples and err together. So what is resampled is never a point but
everything that one prompt, or one seed, says: its whole curve. With fewer than about ten of them, as with
seeds, fit each by itself and take `intervals.student_interval` of the coefficients instead.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlhf_mini.evaluation.intervals import Interval, Number, Values, as_values, student_quantile
from rlhf_mini.evaluation.overoptimisation import (
    Columns,
    Form,
    Table,
    as_distances,
    as_table,
    best_of_n_columns,
    reinforcement_columns,
)


@dataclass(frozen=True, kw_only=True)
class FormIntervals:
    """A fit to all curves together, with intervals from resampled ones.

    The two peaks' ends are `math.inf` where too many of the resampled fits never turn; `turning` is the share
    of them that do.
    """

    alpha: Interval
    beta: Interval
    peak_distance: Interval
    peak_gold: Interval
    turning: float


def best_of_n_intervals(
    distances: Values | Table, golds: Table, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> FormIntervals:
    """Percentile bootstrap intervals of ``R(d) = d (α − β d)`` over whole curves.

    Every resample draws as many curves as there are, with replacement, and fits all their points together.
    The fit needs only XᵀX and Xᵀy of each curve, which add up, so that all refits are exact and cheap.

    Papers: Gao et al. 2022 (the form); Efron and Tibshirani 1993, §9.5 (resampling whole units).

    Args:
        distances: (K,), the same for all curves, or (U, K), each curve's own; √nats per sequence.
        golds: (U, K), a row a prompt or a seed, gold less that of the start; U ≥ 2.

    Raises:
        ValueError: on shapes that do not fit, a negative distance, or points that determine no fit.

    Example:
        >>> same = best_of_n_intervals([1.0, 2.0], [[1.5, 2.0], [1.5, 2.0]])
        >>> round(same.alpha.low, 6), round(same.alpha.high, 6), round(same.peak_gold.mean, 6), same.turning
        (2.0, 2.0, 2.0, 1.0)
    """
    return _bootstrapped(
        best_of_n_columns,
        lambda alpha, beta: (alpha.clip(0) / (2 * beta), alpha.clip(0) ** 2 / (4 * beta)),
        *_curves(distances, golds),
        confidence=confidence,
        draws=(resamples, seed),
    )


def reinforcement_intervals(
    distances: Values | Table, golds: Table, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> FormIntervals:
    """The same for ``R(d) = d (α − β log d)``, where each run has distances of its own."""

    def peak(alpha: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = np.exp(alpha / beta - 1)
        return distance, beta * distance

    return _bootstrapped(
        reinforcement_columns,
        peak,
        *_curves(distances, golds),
        confidence=confidence,
        draws=(resamples, seed),
    )


def _curves(distances: Any, golds: Table) -> tuple[np.ndarray, np.ndarray]:
    """Both as (U, K)."""
    judged = as_table(golds)
    shared = np.ndim(distances) == 1
    apart = np.stack([as_distances(distances)] * len(judged)) if shared else as_table(distances)
    if len(judged) < 2:
        raise ValueError(f"need two curves or more to resample, got {len(judged)}")
    if apart.shape != judged.shape or (apart < 0).any():
        raise ValueError(
            f"need a distance of 0 or above for each gold, got {apart.shape} for {judged.shape}, the least "
            f"of them {apart.min()}"
        )
    return apart, judged


def _bootstrapped(
    columns: Columns,
    peak: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    apart: np.ndarray,
    golds: np.ndarray,
    *,
    confidence: float,
    draws: tuple[int, int],
) -> FormIntervals:
    resamples, seed = draws
    if not 0 < confidence < 1 or resamples < 100:
        raise ValueError(
            f"need a confidence between 0 and 1 and 100 resamples, got {confidence}, {resamples}"
        )
    count = len(golds)
    rows = np.stack([columns(row) for row in apart])  # (U, K, 2)
    grams, moments = np.einsum("ukc,ukd->ucd", rows, rows), np.einsum("ukc,uk->uc", rows, golds)
    if np.linalg.matrix_rank(grams.sum(0)) < 2:
        raise ValueError(f"{apart.shape[1]} points a curve do not determine two coefficients")
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    times = np.concatenate([np.ones((1, count)), times])  # the first is the fit to all curves, each once
    gram, moment = np.tensordot(times, grams, 1), times @ moments
    alpha, beta = np.linalg.solve(gram, moment[..., None])[..., 0].T
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        reached = [np.where(beta > 0, value, math.inf) for value in peak(alpha, beta)]

    def interval(values: np.ndarray) -> Interval:
        # an end that was drawn, never one between two draws: between a number and infinity there is none
        low, high = np.quantile(
            values[1:], [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf"
        )
        return Interval(
            mean=float(values[0]), low=float(low), high=float(high), confidence=confidence, count=count
        )

    return FormIntervals(
        alpha=interval(alpha),
        beta=interval(beta),
        peak_distance=interval(reached[0]),
        peak_gold=interval(reached[1]),
        turning=float((beta[1:] > 0).mean()),
    )


@dataclass(frozen=True)
class LogTrend:
    """``c(N) = intercept + slope · log₁₀ N``: what a factor of ten in size adds to a coefficient.

    `slope` is an interval, Student's with N − 2 degrees of freedom; `r_squared` of the line, 1 for two values
    that are one.
    """

    intercept: float
    slope: Interval
    r_squared: float

    def __call__(self, size: Number) -> float:
        """The coefficient that the line has at a size."""
        return self.intercept + self.slope.mean * math.log10(size)


def fit_log_trend(sizes: Sequence[Number], coefficients: Values, *, confidence: float = 0.95) -> LogTrend:
    """The least-squares line through a coefficient against the logarithm of a size.

    Gao et al. 2022, figure 3, find that α and β of best-of-n and β of reinforcement learning fall or rise
    about so with the number of the proxy's parameters; the same serves for labels.

    Args:
        sizes: N ≥ 3 positive numbers, not all the same: parameters, or labels.
        coefficients: (N,), one fitted α, β or peak a size.

    Raises:
        ValueError: on fewer than three points, or sizes that do not differ or are not above 0.

    Example:
        >>> trend = fit_log_trend([10, 100, 1000], [1.0, 2.0, 3.0])
        >>> round(trend.slope.mean, 9), round(trend.intercept, 9), round(trend(1e4), 9)
        (1.0, 0.0, 4.0)
    """
    x, y = as_values(sizes, at_least=1), as_values(coefficients, at_least=1)
    if len(x) < 3 or len(x) != len(y) or (x <= 0).any() or np.ptp(x) == 0:
        raise ValueError(
            f"need three sizes above 0 that differ, a coefficient each; got {sizes} and {len(y)}"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    logs = np.log10(x)
    apart = logs - logs.mean()
    slope = float((apart * y).sum() / (apart**2).sum())
    intercept = float(y.mean() - slope * logs.mean())
    residual, spread = float(((y - intercept - slope * logs) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    freedom = len(x) - 2
    error = math.sqrt(residual / freedom / float((apart**2).sum()))
    half = student_quantile((1 + confidence) / 2, freedom=freedom) * error
    interval = Interval(mean=slope, low=slope - half, high=slope + half, confidence=confidence, count=len(x))
    return LogTrend(intercept, interval, 1 - residual / spread if spread else 1.0)


def peak_of(form: Form) -> tuple[float, float]:
    """A form's peak as two numbers, distance and gold; both infinite if it never turns.

    >>> from rlhf_mini.evaluation.overoptimisation import BestOfNForm
    >>> peak_of(BestOfNForm(alpha=1.0, beta=-1.0))
    (inf, inf)
    """
    peak = form.peak
    return (math.inf, math.inf) if peak is None else (peak.distance, peak.gold)
