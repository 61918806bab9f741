"""Scores of several models as one, and how far annotators can be trusted: by hand and by recovery."""

import math

import pytest
import torch

from rlhf_mini.estimators.ensembles import (
    disagreement,
    mean_score,
    uncertainty_weighted_score,
    worst_score,
)
from rlhf_mini.estimators.reliability import annotator_scales

F64 = torch.float64
SCORES = torch.tensor([[1.0, 4.0], [2.0, 4.0], [6.0, 4.0]], dtype=F64)


def test_ensembles_by_hand():
    # Means 3 and 4; variances ((−2)² + (−1)² + 3²) / 3 = 14/3 and 0.
    assert mean_score(SCORES).tolist() == [3.0, 4.0]
    assert worst_score(SCORES).tolist() == [1.0, 4.0]
    expected = torch.tensor([3 - 0.5 * 14 / 3, 4.0], dtype=F64)
    torch.testing.assert_close(uncertainty_weighted_score(SCORES, weight=0.5), expected)
    torch.testing.assert_close(disagreement(SCORES), torch.tensor([math.sqrt(14 / 3), 0.0], dtype=F64))


def test_members_that_agree_are_one_and_their_order_does_not_matter():
    scores = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=F64)
    same = scores[:1].expand(4, 6)
    doubting = lambda s: uncertainty_weighted_score(s, weight=2.0)  # noqa: E731
    for combined in (mean_score, worst_score, doubting):
        torch.testing.assert_close(combined(same), scores[0])
        torch.testing.assert_close(combined(scores[[2, 0, 3, 1]]), combined(scores))
        torch.testing.assert_close(combined(scores[:1]), scores[0])
    torch.testing.assert_close(uncertainty_weighted_score(scores, weight=0.0), mean_score(scores))
    assert (worst_score(scores) <= uncertainty_weighted_score(scores, weight=0.0)).all()
    torch.testing.assert_close(disagreement(scores + 3.0), disagreement(scores))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(3,), (0, 3), (1, 2, 3)])
def test_ensembles_refuse_what_has_no_members(shape):
    for combined in (mean_score, worst_score, disagreement):
        with pytest.raises(ValueError, match="one row for each of M members"):
            combined(torch.zeros(shape))
    with pytest.raises(ValueError, match="one row for each of M members"):
        uncertainty_weighted_score(torch.zeros(shape), weight=1.0)


def test_ensembles_refuse_a_price_below_zero():
    with pytest.raises(ValueError, match="weight must be 0 or above"):
        uncertainty_weighted_score(SCORES, weight=-0.1)


def test_scales_by_hand():
    # With leads of ±2, right three times in four means 2 s = log 3; right once in four means 2 s = −log 3.
    leads = torch.tensor([2.0, 2.0, 2.0, -2.0, -2.0, -2.0, -2.0, 2.0])
    who = torch.tensor([0] * 4 + [1] * 4)
    expected = torch.tensor([math.log(3) / 2, -math.log(3) / 2])
    torch.testing.assert_close(annotator_scales(leads, who, count=2), expected)


def test_scales_recover_what_the_labels_were_drawn_with():
    generator, true = torch.Generator().manual_seed(0), torch.tensor([2.0, 1.0, 0.25, 0.0, -1.0])
    who = torch.arange(5).repeat(8_000)
    differences = 1.5 * torch.randn(40_000, generator=generator)
    won = torch.rand(40_000, generator=generator) < torch.sigmoid(true[who] * differences)
    leads = torch.where(won, differences, -differences)
    found = annotator_scales(leads, who, count=5)
    torch.testing.assert_close(found, true, atol=0.12, rtol=0)  # over four standard errors, even for scale 2


def test_scales_stop_at_the_limit_and_know_nothing_without_labels():
    found = annotator_scales(torch.tensor([1.0, 2.0, -1.0, 0.0]), torch.tensor([0, 0, 1, 2]), count=4)
    assert found.tolist() == [4.0, -4.0, 1.0, 1.0]
    assert annotator_scales(torch.ones(3), torch.zeros(3, dtype=torch.long), count=1, limit=2.0) == 2.0


@pytest.mark.usefixtures("unchecked")
def test_scales_refuse_what_does_not_fit():
    ones = torch.ones(2)
    with pytest.raises(ValueError, match=r"received \(2,\) and \(3,\)"):
        annotator_scales(ones, torch.zeros(3, dtype=torch.long), count=1)
    with pytest.raises(ValueError, match=r"annotators lie in 0 … 2, expected 0 … 1"):
        annotator_scales(ones, torch.tensor([0, 2]), count=2)
    with pytest.raises(ValueError, match=r"annotators lie in -1 … 0"):
        annotator_scales(ones, torch.tensor([-1, 0]), count=2)
    with pytest.raises(ValueError, match="limit must be at least 1"):
        annotator_scales(ones, torch.tensor([0, 0]), count=1, limit=0.5)
