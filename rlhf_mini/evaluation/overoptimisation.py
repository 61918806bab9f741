"""Over-optimisation: gold as a function of how far a policy has been optimised against a proxy of it.

Paper: Gao, Schulman and Hilton 2022, arXiv 2210.10760 ("Scaling laws for reward model overoptimization").
The distance is d = √KL(π ‖ π_init), the root of nats per sequence. Gold is counted from the start: R(0) = 0,
so that the mean gold of the policy that optimisation began from is to be taken off first. α and β are
*fitted*, for one proxy and one way of optimising; they describe gold that was measured, and predict none
where it was not.

Both forms are linear in α and β. Their least-squares fit is therefore one linear system, solved exactly.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rlhf_mini.evaluation.intervals import Number, Values, as_values

Table = Sequence[Sequence[Number]] | np.ndarray | torch.Tensor  # rows of values
Columns = Callable[[np.ndarray], np.ndarray]  # distances (N,) -> what the coefficients multiply, (N, k)


@dataclass(frozen=True)
class Peak:
    """Where a form turns: the distance d* (√nats) and the gold there, in the gold's unit above the start."""

    distance: float
    gold: float

    @property
    def kl(self) -> float:
        """KL at the peak, in nats per sequence: d*².

        >>> Peak(distance=1.5, gold=2.0).kl
        2.25
        """
        return self.distance**2


@dataclass(frozen=True)
class BestOfNForm:
    """``R(d) = d (α − β d)``, the form of best-of-n: a parabola in d through the start.

    Paper: Gao et al. 2022, §3.1, the first of the two forms.

    >>> BestOfNForm(alpha=2.0, beta=0.5)(1.0)
    1.5
    """

    alpha: float
    beta: float

    def __call__(self, distance: float) -> float:
        """Gold above the start at a distance. Raises ValueError for a distance below 0."""
        return float(self.at([distance])[0])

    def at(self, distances: Values) -> np.ndarray:
        """The same for many distances, (N,) -> (N,)."""
        return best_of_n_columns(as_distances(distances)) @ [self.alpha, self.beta]

    @property
    def peak(self) -> Peak | None:
        """d* = α / 2β, R* = α² / 4β; at the start if α ≤ 0, and None if β ≤ 0: such a curve never turns.

        From R'(d) = α − 2βd = 0.

        >>> BestOfNForm(alpha=2.0, beta=0.5).peak
        Peak(distance=2.0, gold=2.0)
        """
        if self.beta <= 0:
            return None
        if self.alpha <= 0:
            return Peak(0.0, 0.0)
        return Peak(self.alpha / (2 * self.beta), self.alpha**2 / (4 * self.beta))


@dataclass(frozen=True)
class ReinforcementForm:
    """``R(d) = d (α − β log d)``, the form of reinforcement learning; log is natural and R(0) = 0.

    Its slope α − β − β log d grows without bound towards d = 0, so that it is not meant for the first steps.

    Paper: Gao et al. 2022, §3.1, the second of the two forms.

    >>> ReinforcementForm(alpha=2.0, beta=1.0)(1.0)
    2.0
    """

    alpha: float
    beta: float

    def __call__(self, distance: float) -> float:
        """Gold above the start at a distance. Raises ValueError for a distance below 0."""
        return float(self.at([distance])[0])

    def at(self, distances: Values) -> np.ndarray:
        """The same for many distances, (N,) -> (N,)."""
        return reinforcement_columns(as_distances(distances)) @ [self.alpha, self.beta]

    @property
    def peak(self) -> Peak | None:
        """d* = exp(α/β − 1), R* = β d*; None if β ≤ 0, or so small that d* is beyond any number.

        From R'(d) = α − β log d − β = 0, so that log d* = α/β − 1 and α − β log d* = β.

        >>> ReinforcementForm(alpha=2.0, beta=2.0).peak
        Peak(distance=1.0, gold=2.0)
        """
        if self.beta <= 0 or self.alpha / self.beta > 700:
            return None
        distance = math.exp(self.alpha / self.beta - 1)
        return Peak(distance, self.beta * distance)

    def refitted(self, times: int) -> "ReinforcementForm":
        """The form after `times` rounds of RLHF, the proxy trained anew on fresh labels before each.

        If every round covers d/k and gains d/k (α − β log(d/k)), all k of them gain d (α − β log d + β log
        k): the same form with α + β log k. One round changes nothing. Raises ValueError below one round.

        Paper: Gao et al. 2022, the appendix on iterated RLHF.

        >>> ReinforcementForm(alpha=1.0, beta=2.0).refitted(1)
        ReinforcementForm(alpha=1.0, beta=2.0)
        """
        if times < 1:
            raise ValueError(f"times must be at least 1, got {times}")
        return ReinforcementForm(self.alpha + self.beta * math.log(times), self.beta)


Form = BestOfNForm | ReinforcementForm


def distance_of(kl: Values) -> np.ndarray:
    """d = √KL, (N,) nats per sequence -> (N,).

    Raises ValueError for a KL below 0: of the estimates from samples, k3 is never negative and k1 may be.

    >>> distance_of([0.0, 4.0]).tolist()
    [0.0, 2.0]
    """
    nats = as_values(kl, at_least=1)
    if (nats < 0).any():
        raise ValueError(
            f"KL must not be negative, got {nats.min()}; k1 can be, where π has hardly moved: take k3"
        )
    return np.sqrt(nats)


def as_distances(distances: Values) -> np.ndarray:
    """Distances as an array, (N,); raises ValueError if one is below 0, NaN or infinite."""
    array = as_values(distances, at_least=1)
    if (array < 0).any():
        raise ValueError(f"a distance is a root of nats and not negative, got {array.min()}")
    return array


def as_table(values: Table) -> np.ndarray:
    """Rows of values as a finite float64 array (U, K); raises ValueError for anything else."""
    rows = values if isinstance(values, np.ndarray | torch.Tensor) else np.asarray(values, dtype=np.float64)
    return as_values(rows, at_least=1, dimensions=2)


def best_of_n_columns(distances: np.ndarray) -> np.ndarray:
    """What α and β multiply in best-of-n's form, (N, 2): d and −d²."""
    return np.stack([distances, -(distances**2)], axis=1)


def reinforcement_columns(distances: np.ndarray) -> np.ndarray:
    """What α and β multiply in reinforcement learning's form, (N, 2): d and −d log d, which is 0 at 0."""
    logs = np.log(np.where(distances > 0, distances, 1.0))
    return np.stack([distances, -distances * logs], axis=1)


def fit_best_of_n(distances: Values, golds: Values) -> BestOfNForm:
    """Least squares of ``R(d) = d (α − β d)``, exact.

    Args:
        distances: (N,), √nats per sequence, not negative, at least two of them different and above 0.
        golds: (N,), mean gold less that of the start.

    Raises:
        ValueError: on unequal lengths, a negative distance, or too few different ones.

    Example:
        >>> fit = fit_best_of_n([1.0, 2.0], [1.5, 2.0])  # α − β = 1.5, 2α − 4β = 2
        >>> round(fit.alpha, 9), round(fit.beta, 9)
        (2.0, 0.5)
    """
    return BestOfNForm(*solved(best_of_n_columns(as_distances(distances)), golds))


def fit_reinforcement(distances: Values, golds: Values) -> ReinforcementForm:
    """Least squares of ``R(d) = d (α − β log d)``, exact.

    Args and errors as in `fit_best_of_n`. Points near the start say little of where it turns, and the form is
    steepest there: leave out those of the first steps.

    Example:
        >>> fit = fit_reinforcement([1.0, math.e], [3.0, 2 * math.e])  # α = 3, α − β = 2
        >>> round(fit.alpha, 9), round(fit.beta, 9)
        (3.0, 1.0)
    """
    return ReinforcementForm(*solved(reinforcement_columns(as_distances(distances)), golds))


def solved(columns: np.ndarray, golds: Values) -> list[float]:
    """The coefficients c that minimise ‖columns · c − golds‖², (N, k), (N,) -> k numbers.

    Raises ValueError on unequal lengths, and where the points leave a coefficient undetermined.
    """
    judged = as_values(golds, at_least=1)
    if len(judged) != len(columns):
        raise ValueError(f"need a gold for each point, got {len(judged)} golds and {len(columns)} points")
    coefficients, _, rank, _ = np.linalg.lstsq(columns, judged, rcond=None)
    if rank < columns.shape[1]:
        raise ValueError(
            f"{len(columns)} points of rank {rank} do not determine {columns.shape[1]} coefficients; give "
            "more distances that differ and are not 0"
        )
    return [float(number) for number in coefficients]


def r_squared(golds: Values, predicted: Values) -> float:
    """The share of the variance of measured golds that a prediction explains: 1 − Σ(R − R̂)² / Σ(R − R̄)².

    R̄ is the mean of these very points. On points that were not fitted it can be below 0: worse than their
    mean.

    Args:
        golds, predicted: (N,) each, N ≥ 2.

    Raises:
        ValueError: on unequal lengths, or golds that do not differ, of which nothing can be explained.

    Example:
        >>> r_squared([0.0, 2.0], [0.5, 1.5])  # 1 − (¼ + ¼) / 2
        0.75
    """
    measured, told = as_values(golds, at_least=2), as_values(predicted, at_least=2)
    if measured.shape != told.shape:
        raise ValueError(f"need a prediction for each gold, got {told.shape} for {measured.shape}")
    spread = float(((measured - measured.mean()) ** 2).sum())
    if spread == 0:
        raise ValueError(f"all {len(measured)} golds are {measured[0]}: no variance to explain")
    return 1 - float(((measured - told) ** 2).sum()) / spread
