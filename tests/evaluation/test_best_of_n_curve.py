"""Best-of-n from a pool: against all subsets one by one, the single-n function, and exact distributions."""

import math
from itertools import combinations

import numpy as np
import pytest

from rlhf_mini.evaluation.best_of_n import best_of_n_expectation
from rlhf_mini.evaluation.best_of_n_curve import best_of_n_curve, selection_weights

GOLDS = [[3.0, -1.0, 0.5, 2.0, 2.5, 0.0], [1.0, 1.0, 4.0, -2.0, 0.0, 7.0]]
PROXIES = [[0.1, 0.9, 0.4, 0.8, 0.2, 0.3], [1.0, 2.0, 2.0, 2.0, 0.0, 1.0]]  # the second with ties


def _by_enumeration(golds, proxies, n):
    """Over all subsets: mean gold and proxy of the highest proxy, of those that tie their mean gold."""
    found = []
    for subset in combinations(range(len(golds)), n):
        best = max(proxies[i] for i in subset)
        tied = [golds[i] for i in subset if proxies[i] == best]
        found.append((sum(tied) / len(tied), best))
    return [sum(column) / len(found) for column in zip(*found, strict=True)]


@pytest.mark.parametrize("n", range(1, 7))
def test_it_is_the_mean_over_all_subsets(n):
    curve = best_of_n_curve(GOLDS, PROXIES, sizes=[n])
    for row in range(2):
        gold, proxy = _by_enumeration(GOLDS[row], PROXIES[row], n)
        assert curve.gold[row, 0] == pytest.approx(gold)
        assert curve.proxy[row, 0] == pytest.approx(proxy)


def test_weights_are_counts_of_subsets():
    for total, n in ((1, 1), (6, 1), (6, 2), (6, 6), (30, 7)):
        counted = [math.comb(rank - 1, n - 1) / math.comb(total, n) for rank in range(1, total + 1)]
        assert selection_weights(total, n).tolist() == pytest.approx(counted)


@pytest.mark.parametrize("n", [1, 2, 64, 1000, 1024])
def test_weights_of_a_large_pool_are_exact(n):
    """Against whole numbers of three hundred digits, to nine digits; they add up to 1."""
    weights, subsets = selection_weights(1024, n), math.comb(1024, n)
    for rank in (1, 2, n, 700, 1023, 1024):
        exact = math.comb(rank - 1, n - 1) / subsets
        assert weights[rank - 1] == pytest.approx(exact, rel=1e-9, abs=1e-300)
    assert weights.sum() == pytest.approx(1.0, rel=1e-12)


def test_it_agrees_with_the_function_for_one_n():
    rng = np.random.default_rng(0)
    golds, proxies = rng.standard_normal((3, 50)), rng.integers(0, 12, size=(3, 50)).astype(float)
    sizes = [1, 3, 10, 50]
    curve = best_of_n_curve(golds, proxies, sizes=sizes)
    for row in range(3):
        for place, n in enumerate(sizes):
            one = best_of_n_expectation(golds[row], proxies[row], n=n)
            assert curve.gold[row, place] == pytest.approx(one)


def test_it_is_unbiased_for_fresh_draws():
    """Pools of 20 from three answers with chances ½, 0.3, 0.2; best of 4 is known: q = F⁴ − G⁴.

    4,000 pools: the mean's standard error is about 0.004, so that five of them pass a false alarm once in a
    million.
    """
    values, chances = np.array([0.0, 2.0, 1.0]), np.array([0.5, 0.3, 0.2])  # gold; the proxy ranks 0 < 1 < 2
    exact = values @ [0.5**4, 0.8**4 - 0.5**4, 1 - 0.8**4]
    drawn = np.random.default_rng(1).choice(3, p=chances, size=(4000, 20))
    curve = best_of_n_curve(values[drawn], drawn.astype(float), sizes=[4])
    error = curve.gold[:, 0].std() / math.sqrt(4000)
    assert error < 0.01
    assert abs(curve.gold[:, 0].mean() - exact) < 5 * error


def test_one_is_the_mean_and_all_are_the_best():
    curve = best_of_n_curve(GOLDS, PROXIES, sizes=[1, 6])
    np.testing.assert_allclose(curve.gold[:, 0], np.mean(GOLDS, axis=1))
    np.testing.assert_allclose(curve.proxy[:, 1], [0.9, 2.0])
    assert curve.gold[0, 1] == -1.0
    assert curve.gold[1, 1] == pytest.approx((1 + 4 - 2) / 3)


def test_the_proxy_never_falls_and_gold_turns_where_it_misleads():
    curve = best_of_n_curve([GOLDS[0]], [PROXIES[0]], sizes=[1, 2, 3, 4, 5, 6])
    assert (np.diff(curve.proxy, axis=1) > 0).all()
    assert curve.turn < 6


def test_kl_is_the_closed_form():
    curve = best_of_n_curve(GOLDS, PROXIES, sizes=[1, 2, 4])
    assert curve.kl.tolist() == pytest.approx([0.0, math.log(2) - 0.5, math.log(4) - 0.75])
    assert (curve.distance**2).tolist() == pytest.approx(curve.kl.tolist())


def test_the_order_of_the_pool_does_not_matter():
    order = [4, 1, 5, 0, 3, 2]
    shuffled = [[row[i] for i in order] for row in GOLDS], [[row[i] for i in order] for row in PROXIES]
    ours, theirs = (best_of_n_curve(*pool, sizes=[1, 2, 5]) for pool in ((GOLDS, PROXIES), shuffled))
    np.testing.assert_allclose(ours.gold, theirs.gold)


@pytest.mark.parametrize("sizes", [[], [0, 1], [2, 1], [1, 1], [1, 7]])
def test_sizes_out_of_range_are_refused(sizes):
    with pytest.raises(ValueError, match="must rise and lie from 1 to the 6"):
        best_of_n_curve(GOLDS, PROXIES, sizes=sizes)


def test_other_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"got \(1, 6\) for \(2, 6\)"):
        best_of_n_curve(GOLDS, PROXIES[:1], sizes=[1])
    with pytest.raises(ValueError, match="finite"):
        best_of_n_curve([[1.0, math.nan]], [[1.0, 2.0]], sizes=[1])
    with pytest.raises(ValueError, match="from 1 to the 3 samples, got 4"):
        selection_weights(3, 4)
