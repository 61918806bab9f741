"""Best-of-n for every n at once, from one pool of N samples a prompt: gold and proxy against KL.

Drawing n samples for each n anew would cost as much as all of them together and jump about; a pool has one
answer to "what would the best of n of these be, on average over all ways to choose n?", and that answer is
unbiased for fresh draws, whatever n ≤ N.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlhf_mini.evaluation.best_of_n import best_of_n_kl_bound
from rlhf_mini.evaluation.overoptimisation import Table, as_table


@dataclass(frozen=True)
class BestOfNCurve:
    """Expected gold and proxy of the best of n by the proxy, a row a prompt.

    Args:
        sizes: the K values of n, rising.
        gold, proxy: (P, K), each in its own unit.
    """

    sizes: tuple[int, ...]
    gold: np.ndarray
    proxy: np.ndarray

    @property
    def kl(self) -> np.ndarray:
        """(K,), log n − (n − 1)/n nats: exact where scores do not tie, else an upper bound."""
        return np.array([best_of_n_kl_bound(n) for n in self.sizes])

    @property
    def distance(self) -> np.ndarray:
        """(K,), d = √KL."""
        return np.sqrt(self.kl)

    @property
    def turn(self) -> int:
        """The n of the highest mean gold, the smallest such n."""
        return self.sizes[int(self.gold.mean(0).argmax())]


def selection_weights(total: int, n: int) -> np.ndarray:
    """How likely each of N ranked samples is to be the best of n drawn without replacement, (N,), lowest
    first.

    ``w_r = C(r − 1, n − 1) / C(N, n)`` for the r-th lowest, r from 1: the n − 1 others lie below it. Computed
    from the top, ``w_N = n / N`` and ``w_{r−1} = w_r (r − n) / (r − 1)``, which needs no large number.

    Raises:
        ValueError: if n is not from 1 to N.

    Example:
        >>> selection_weights(3, 2).round(4).tolist()  # two of the three pairs hold the highest
        [0.0, 0.3333, 0.6667]
    """
    if not 1 <= n <= total:
        raise ValueError(f"n must be from 1 to the {total} samples, got {n}")
    rank = np.arange(total, 1, -1)
    shrinks = (rank - n).clip(0) / (rank - 1)
    return (n / total * np.cumprod(np.concatenate([[1.0], shrinks])))[::-1]


def best_of_n_curve(golds: Table, proxies: Table, *, sizes: Sequence[int]) -> BestOfNCurve:
    """What the best of n by the proxy is worth in gold, and what the proxy thinks of it, for every n of
    `sizes`.

    The average over all C(N, n) subsets of a prompt's pool. Samples that tie in the proxy share their chance
    evenly, as if the ties were broken at random.

    Papers: Nakano et al. 2021 (WebGPT), appendix I (the estimator); Gao et al. 2022, §3.1 (its use).

    Args:
        golds: (P, N), what is judged.
        proxies: (P, N), what is ranked by; for an ensemble its combined score.
        sizes: whole numbers from 1 to N, rising.

    Returns:
        A BestOfNCurve; at n = 1 it holds the pool's means, and at N each pool's best.

    Raises:
        ValueError: on unequal shapes, NaN, or sizes that are out of range or do not rise.

    Example:
        >>> best_of_n_curve([[0.0, 1.0, 5.0]], [[1.0, 2.0, 2.0]], sizes=[1, 3]).gold.tolist()
        [[2.0, 3.0]]
    """
    judged, ranked = (as_table(values) for values in (golds, proxies))
    if judged.shape != ranked.shape:
        raise ValueError(f"need a proxy for each gold, got {ranked.shape} for {judged.shape}")
    total = judged.shape[1]
    if not sizes or list(sizes) != sorted({*sizes}) or not 1 <= sizes[0] <= sizes[-1] <= total:
        raise ValueError(f"sizes must rise and lie from 1 to the {total} samples, got {list(sizes)}")
    weights = np.stack([selection_weights(total, n) for n in sizes], axis=1)  # (N, K)
    rows = [_sorted_with_ties_shared(*row) for row in zip(judged, ranked, strict=True)]
    gold, proxy = (np.stack([row[which] for row in rows]) @ weights for which in (0, 1))
    return BestOfNCurve(tuple(sizes), gold, proxy)


def _sorted_with_ties_shared(golds: np.ndarray, proxies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both by rising proxy, (N,) each; gold is replaced by its mean among those that tie."""
    values, level, size = np.unique(proxies, return_inverse=True, return_counts=True)
    means = np.bincount(level, weights=golds) / size
    return means.repeat(size), values.repeat(size)
