"""Best-of-n from one pool of samples: its KL and its expected value, summed rather than sampled."""

import math

import numpy as np

from rlhf_mini.evaluation.intervals import Values, as_values


def best_of_n_kl_bound(n: int) -> float:
    """The upper bound log n − (n − 1) / n on KL[best-of-n‖π], in nats.

    It is exact when no two outcomes can tie; with ties or few outcomes the true KL is smaller.

    Papers: Stiennon et al. 2020 (the formula); Beirami et al. 2024, arXiv 2401.01879 (that it is a bound).

    Example:
        >>> best_of_n_kl_bound(1)
        0.0
        >>> round(best_of_n_kl_bound(8), 2)
        1.2
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return math.log(n) - (n - 1) / n


def best_of_n_kl(probabilities: Values, scores: Values, *, n: int) -> float:
    """KL[best-of-n‖π] of a distribution over listed outcomes, exactly, in nats.

    With p_k the probability of the k-th lowest score level and F_k of that level and those below, best-of-n
    picks the level with probability q_k = F_k^n − F_{k−1}^n, and KL = Σ_k q_k log (q_k / p_k). Ties are
    broken at random in proportion to π, so what ties adds nothing inside its level.

    Args:
        probabilities: (K,), positive, summing to 1 (to 1e-6). For a pool of samples: 1/K each.
        scores: (K,), what best-of-n ranks by.
        n: how many are drawn, at least 1.

    Returns:
        Nats, at most `best_of_n_kl_bound(n)`.

    Raises:
        ValueError: on unequal lengths, probabilities that do not sum to 1, or an n below 1.

    Example:
        >>> round(best_of_n_kl([0.7, 0.2, 0.1], [1, 2, 3], n=4), 4)
        0.4725
    """
    mass, levels = as_values(probabilities, at_least=1), as_values(scores, at_least=1)
    if n < 1 or mass.shape != levels.shape:
        raise ValueError(
            f"need n >= 1 and equally many probabilities and scores, got n={n}, {mass.shape}, {levels.shape}"
        )
    if (mass <= 0).any() or abs(mass.sum() - 1) > 1e-6:
        raise ValueError(
            f"probabilities must be positive and sum to 1, got sum {mass.sum()} and minimum {mass.min()}"
        )
    _, level = np.unique(levels, return_inverse=True)
    per_level = np.bincount(level, weights=mass / mass.sum())
    below = np.concatenate([[0.0], np.cumsum(per_level)])
    below[-1] = 1.0
    picked = below[1:] ** n - below[:-1] ** n
    seen = picked > 0  # F^n underflows to 0 for the lowest levels at large n; 0 log 0 = 0
    return float((picked[seen] * np.log(picked[seen] / per_level[seen])).sum())


def best_of_n_expectation(values: Values, scores: Values, *, n: int) -> float:
    """Expected value of the best of n, when n of the pool's N samples are drawn without replacement.

    The average over all C(N, n) subsets of the value of the subset's highest-scored member; with the pool
    sorted by score, the r-th lowest (r from 1) is the best of C(r − 1, n − 1) subsets. Equal scores share
    their weight evenly. Unbiased for fresh draws of n, with far less noise than drawing one subset.

    Paper: Nakano et al. 2021 (WebGPT), appendix I; Gao et al. 2022.

    Args:
        values: (N,), what is judged (gold).
        scores: (N,), what is ranked by (proxy); 1 ≤ n ≤ N.

    Returns:
        One number in the unit of `values`.

    Raises:
        ValueError: on unequal lengths or an n out of range.

    Example:
        >>> round(best_of_n_expectation([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], n=2), 3)  # pairs' best: 1, 2, 2
        1.667
    """
    judged, ranked = as_values(values, at_least=1), as_values(scores, at_least=1)
    if judged.shape != ranked.shape or not 1 <= n <= len(judged):
        raise ValueError(
            f"need as many values as scores and 1 <= n <= N, got {judged.shape}, {ranked.shape}, {n=}"
        )
    _, level, size = np.unique(ranked, return_inverse=True, return_counts=True)
    subsets = math.comb(len(judged), n)
    reached = [math.comb(int(top), n) for top in np.cumsum(size)]  # whole numbers: no overflow, no rounding
    steps = [high - low for low, high in zip([0, *reached[:-1]], reached, strict=True)]
    weight = np.array([step / subsets for step in steps])
    return float((weight * np.bincount(level, weights=judged) / size).sum())
