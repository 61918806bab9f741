"""Sequence KL from samples, held against sums over every sequence of a tiny language; best-of-n by hand."""

import inspect
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf_mini.evaluation.best_of_n import best_of_n_expectation, best_of_n_kl, best_of_n_kl_bound
from rlhf_mini.evaluation.kl import sampled_kl


def _language():
    """Two steps over three tokens: π and π_ref as first- and second-step tables, and all nine sequences."""
    generator = torch.Generator().manual_seed(4)
    tables = [
        torch.randn(shape, generator=generator, dtype=torch.float64).log_softmax(-1)
        for shape in ((3,), (3, 3))
    ]
    reference = [
        table + 0.7 * torch.randn(table.shape, generator=generator, dtype=torch.float64) for table in tables
    ]
    reference = [table.log_softmax(-1) for table in reference]
    pairs = torch.tensor(list(itertools.product(range(3), repeat=2)))
    score = lambda model: torch.stack([model[0][pairs[:, 0]], model[1][pairs[:, 0], pairs[:, 1]]], dim=1)  # noqa: E731
    return score(tables), score(reference)


def test_both_estimators_average_to_the_exact_sequence_kl():
    """Expectations are sums over all nine sequences, weighted by π: no sampling error at all."""
    logp, logp_ref = _language()
    weight = logp.sum(1).exp()
    exact = (weight * (logp - logp_ref).sum(1)).sum()
    estimate = sampled_kl(logp, logp_ref, torch.ones(9, 2, dtype=torch.bool))
    assert float((weight * estimate.k1).sum()) == pytest.approx(float(exact), rel=1e-12)
    assert float((weight * estimate.k3).sum()) == pytest.approx(float(exact), rel=1e-12)
    assert float(exact) > 0.05
    assert (estimate.k3 >= 0).all()
    assert (estimate.k1 < 0).any()


def test_means_and_standard_errors_by_hand():
    # k1 = log 2 and log 4: mean 1.5 log 2; s = log 2 / √2, so the standard error is log 2 / 2.
    logp = torch.log(torch.tensor([[0.5], [0.8]]))
    logp_ref = torch.log(torch.tensor([[0.25], [0.2]]))
    estimate = sampled_kl(logp, logp_ref, torch.ones(2, 1, dtype=torch.bool))
    assert estimate.k1_mean == pytest.approx(1.5 * math.log(2), rel=1e-6)
    assert estimate.k1_standard_error == pytest.approx(math.log(2) / 2, rel=1e-6)
    # k3 = ½ − 1 + log 2 and ¼ − 1 + log 4.
    k3 = [-0.5 + math.log(2), -0.75 + math.log(4)]
    assert estimate.k3_mean == pytest.approx(sum(k3) / 2, rel=1e-6)
    assert estimate.k3_standard_error == pytest.approx((k3[1] - k3[0]) / 2, rel=1e-6)
    assert set(estimate.metrics()) == {"kl_k1", "kl_k1_standard_error", "kl_k3", "kl_k3_standard_error"}


def test_junk_under_the_mask_counts_nothing():
    logp, logp_ref = torch.full((2, 3), -1.0), torch.full((2, 3), -2.0)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    clean = sampled_kl(logp, logp_ref, mask)
    logp[0, 1], logp_ref[1, 2] = math.nan, -math.inf
    dirty = sampled_kl(logp, logp_ref, mask)
    assert dirty.k1.tolist() == clean.k1.tolist() == [2.0, 0.0]
    assert dirty.k3.tolist() == clean.k3.tolist()


def test_bad_input_is_refused():
    ones, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="share a shape"):
        inspect.unwrap(sampled_kl)(ones, ones, mask[:, :2])  # past the shape checker that tests switch on
    with pytest.raises(ValueError, match="two sequences"):
        sampled_kl(ones[:1], ones[:1], mask[:1])
    broken = ones.clone()
    broken[1, 2] = -math.inf
    with pytest.raises(ValueError, match="row 1, position 2"):
        sampled_kl(ones, broken, mask)


@pytest.mark.parametrize(("n", "nats"), [(8, 1.20), (64, 3.17), (512, 5.24), (1000, 5.91), (60_000, 10.00)])
def test_bound_is_the_published_table(n, nats):
    assert best_of_n_kl_bound(n) == pytest.approx(nats, abs=0.005)


def test_best_of_n_kl_by_hand():
    # Scores worst to best with probabilities .7, .2, .1; best of 4 picks them with .7⁴, .9⁴ − .7⁴, 1 − .9⁴.
    p, picked = [0.7, 0.2, 0.1], [0.2401, 0.6561 - 0.2401, 1 - 0.6561]
    expected = sum(q * math.log(q / p_k) for q, p_k in zip(picked, p, strict=True))
    assert best_of_n_kl(p, [1, 2, 3], n=4) == pytest.approx(expected, rel=1e-12)
    assert best_of_n_kl([0.1, 0.7, 0.2], [3, 1, 2], n=4) == pytest.approx(expected, rel=1e-12)
    assert best_of_n_kl(p, [1, 2, 3], n=64) == pytest.approx(2.29, abs=0.005)


def test_best_of_n_kl_equals_enumeration_of_draws_with_ties():
    """Every draw of 3 from four outcomes, two of which tie at the top; ties broken in proportion to π."""
    p, scores, n = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.0, 1.0, 2.0, 2.0]), 3
    picked = np.zeros(4)
    for draw in itertools.product(range(4), repeat=n):
        best = [i for i in draw if scores[i] == scores[list(draw)].max()]
        for i in best:
            picked[i] += p[list(draw)].prod() / len(best)
    expected = float((picked * np.log(picked / p)).sum())
    assert best_of_n_kl(p, scores, n=n) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.floats(0.05, 1), min_size=1, max_size=8), st.integers(1, 600))
def test_best_of_n_kl_lies_between_zero_and_the_bound(weights, n):
    p = np.array(weights) / sum(weights)
    kl = best_of_n_kl(p, np.arange(len(p), dtype=float), n=n)
    assert -1e-12 <= kl <= best_of_n_kl_bound(n) + 1e-9
    assert best_of_n_kl(p, np.zeros(len(p)), n=n) == pytest.approx(0, abs=1e-9)


def test_many_outcomes_reach_the_bound():
    # Without ties and with 100,000 outcomes the bound is nearly exact (the gap is of order n / outcomes).
    pool = np.full(100_000, 1e-5)
    assert best_of_n_kl(pool, np.arange(100_000.0), n=16) == pytest.approx(best_of_n_kl_bound(16), abs=1e-3)


def test_best_of_n_expectation_equals_all_subsets_with_ties():
    gold, proxy = np.array([5.0, -1.0, 2.0, 0.5, 3.0]), np.array([1.0, 4.0, 2.0, 4.0, 2.0])
    for n in range(1, 6):
        means = []
        for subset in itertools.combinations(range(5), n):
            best = [i for i in subset if proxy[i] == proxy[list(subset)].max()]
            means.append(gold[best].mean())
        assert best_of_n_expectation(gold, proxy, n=n) == pytest.approx(float(np.mean(means)), rel=1e-12)


def test_best_of_n_expectation_at_its_ends():
    gold, proxy = np.arange(300.0), np.arange(300.0)[::-1].copy()
    assert best_of_n_expectation(gold, proxy, n=1) == pytest.approx(gold.mean(), rel=1e-12)
    assert best_of_n_expectation(gold, proxy, n=300) == 0.0


def test_best_of_n_refuses_bad_input():
    with pytest.raises(ValueError, match="n must be"):
        best_of_n_kl_bound(0)
    with pytest.raises(ValueError, match="sum to 1"):
        best_of_n_kl([0.5, 0.4], [1, 2], n=2)
    with pytest.raises(ValueError, match="equally many"):
        best_of_n_kl([0.5, 0.5], [1, 2, 3], n=2)
    with pytest.raises(ValueError, match="n <= N"):
        best_of_n_expectation([1.0, 2.0], [1.0, 2.0], n=3)
