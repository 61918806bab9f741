"""The losses of pairs and ratings: by hand, and the reward model that they lead to."""

import math

import pytest
import torch

from rlhf_mini.losses import focal_pairwise_loss, next_token_loss, pairwise_loss, rating_loss, score_penalty

F64 = torch.float64


def test_by_hand():
    # σ(log 3) = 3/4, so a lead of log 3 costs log(4/3) and the same lag log 4.
    chosen, rejected = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]], dtype=F64)
    expected = torch.tensor([math.log(4 / 3), math.log(4)], dtype=F64)
    torch.testing.assert_close(pairwise_loss(chosen, rejected), expected)


def test_by_hand_with_a_margin():
    # A lead of 1 + log 3 with margin 1 is a lead of log 3.
    chosen, rejected, margin = torch.tensor([[1 + math.log(3)], [0.0], [1.0]], dtype=F64)
    expected = torch.tensor([math.log(4 / 3)], dtype=F64)
    torch.testing.assert_close(pairwise_loss(chosen, rejected, margin=margin), expected)


def test_equal_scores_cost_log_two_and_pull_apart_by_a_half():
    chosen, rejected = torch.ones(2, 3, dtype=F64).unbind()
    chosen.requires_grad_()
    loss = pairwise_loss(chosen, rejected)
    torch.testing.assert_close(loss, torch.full((3,), math.log(2), dtype=F64))
    assert torch.autograd.grad(loss.sum(), chosen)[0].tolist() == [-0.5] * 3  # −σ(0)


def test_a_constant_added_to_all_scores_does_not_matter():
    chosen, rejected = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    torch.testing.assert_close(pairwise_loss(chosen + 5, rejected + 5), pairwise_loss(chosen, rejected))


def test_a_zero_margin_is_none_and_a_larger_one_costs_more():
    chosen, rejected = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    zero = pairwise_loss(chosen, rejected, margin=torch.zeros(8, dtype=F64))
    assert torch.equal(zero, pairwise_loss(chosen, rejected))
    assert (pairwise_loss(chosen, rejected, margin=torch.ones(8, dtype=F64)) > zero).all()


def test_a_badly_wrong_pair_costs_its_lag():
    # −log σ(−1000) = 1000 to all digits; computed by way of exp it would be infinite.
    loss = pairwise_loss(torch.tensor([-500.0]), torch.tensor([500.0]))
    assert loss.item() == 1000.0


def test_the_minimum_is_the_true_log_odds():
    # If the first wins three times in four, the expected loss is least where the scores differ by log 3.
    lead = torch.zeros((), dtype=F64, requires_grad=True)
    optimizer = torch.optim.LBFGS([lead], line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def expected_loss() -> torch.Tensor:
        optimizer.zero_grad()
        zero = torch.zeros(1, dtype=F64)
        loss = 0.75 * pairwise_loss(lead[None], zero) + 0.25 * pairwise_loss(zero, lead[None])
        loss.sum().backward()
        return loss.sum()

    optimizer.step(expected_loss)
    assert math.isclose(lead.item(), math.log(3), rel_tol=1e-6)


def test_next_token_loss_by_hand():
    # A token with probability 1/8 surprises by three bits: 3 log 2 nats.
    loss = next_token_loss(torch.tensor([[0.125, 1.0]], dtype=F64).log())
    torch.testing.assert_close(loss, torch.tensor([[3 * math.log(2), 0.0]], dtype=F64))


def test_focal_by_hand():
    # A lead of log 3 is P = 3/4, with weight (1 − 2 · 1/4)² = 1/4; a lag of log 3 is P = 1/4, with weight 1.
    chosen, rejected = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]], dtype=F64)
    expected = torch.tensor([math.log(4 / 3) / 4, math.log(4)], dtype=F64)
    torch.testing.assert_close(focal_pairwise_loss(chosen, rejected, focus=2.0), expected)


def test_focal_leaves_wrong_pairs_alone_and_fades_on_right_ones():
    chosen, rejected = torch.randn(2, 64, generator=torch.Generator().manual_seed(0), dtype=F64)
    plain, focal = pairwise_loss(chosen, rejected), focal_pairwise_loss(chosen, rejected, focus=2.0)
    wrong = chosen <= rejected
    assert 10 < wrong.sum() < 54
    torch.testing.assert_close(focal[wrong], plain[wrong])
    assert (focal[~wrong] < plain[~wrong]).all()
    sharper = focal_pairwise_loss(chosen, rejected, focus=4.0)
    assert (sharper[~wrong] < focal[~wrong]).all()


def test_focal_has_its_minimum_short_of_the_log_odds():
    # If the first wins three times in four, the focal losses' gradients do not cancel at P = ¾. By hand, with
    # u = P of the first and w = 2(1 − u): d/du of −¾ w² log u − ¼ log(1 − u) at u = ¾ is
    # ¾ (4 w log u − w²/u) + 1/(4(1 − u)) = ¾ (2 log ¾ − 1/3) + 1, above 0: the minimum lies below ¾.
    lead = torch.tensor([math.log(3)], dtype=F64, requires_grad=True)
    zero = torch.zeros(1, dtype=F64)
    both = [focal_pairwise_loss(lead, zero, focus=2.0), focal_pairwise_loss(zero, lead, focus=2.0)]
    (slope,) = torch.autograd.grad((0.75 * both[0] + 0.25 * both[1]).sum(), lead)
    du_by_dlead = 3 / 16
    expected = du_by_dlead * (0.75 * (2 * math.log(0.75) - 1 / 3) + 1)
    assert expected > 0.05
    torch.testing.assert_close(slope, torch.tensor([expected], dtype=F64))


def test_focal_keeps_its_digits_where_the_chance_rounds_to_one():
    # P = 1 − e⁻³⁰ is 1 to all of float32's digits, yet the weight is 2 e⁻³⁰ and −log P is e⁻³⁰.
    lead = torch.tensor([30.0], requires_grad=True)
    focal = focal_pairwise_loss(lead, torch.zeros(1), focus=1.0)
    (gradient,) = torch.autograd.grad(focal.sum(), lead)
    exact = 2 * math.exp(-30.0) ** 2
    assert math.isclose(focal.item(), exact, rel_tol=1e-4)
    assert math.isclose(gradient.item(), -2 * exact, rel_tol=1e-4)


def test_penalty_by_hand():
    # At 3 with limit 5: 8 · 2 = 16. At ±5 and beyond the paper's formula has no value, ours a tangent's.
    scores = torch.tensor([0.0, 3.0, -3.0], dtype=F64)
    torch.testing.assert_close(score_penalty(scores), -torch.tensor([25.0, 16.0, 16.0], dtype=F64).log())
    edge, slope = 4.95, 2 * 4.95 / (25 - 4.95**2)
    outside = score_penalty(torch.tensor([7.0, -7.0], dtype=F64))
    expected = -math.log(25 - edge**2) + slope * (7 - edge)
    torch.testing.assert_close(outside, torch.full((2,), expected, dtype=F64))


def test_penalty_is_least_at_zero_and_pushes_back_from_everywhere():
    scores = (torch.arange(-120, 121, dtype=F64) / 10).requires_grad_()
    penalty = score_penalty(scores)
    assert penalty.argmin() == 120
    (gradient,) = torch.autograd.grad(penalty.sum(), scores)
    assert torch.equal(gradient.sign(), torch.arange(-120, 121).sign().double())
    assert (penalty[121:].diff() > 0).all()
    slopes = gradient.diff()
    assert (slopes > -1e-9).all()  # convex: no step and no kink that turns back at ±4.95


def test_penalty_scales_with_its_limit():
    scores = torch.tensor([-0.9, 0.4], dtype=F64)
    expected = score_penalty(scores, limit=1.0) - 2 * math.log(3)
    torch.testing.assert_close(score_penalty(3 * scores, limit=3.0), expected)


def test_rating_loss_is_least_at_the_mean_rating():
    ratings = torch.tensor([2.0, 3.0, 7.0], dtype=F64)
    score = torch.full((3,), 4.0, dtype=F64, requires_grad=True)
    loss = rating_loss(score, ratings)
    torch.testing.assert_close(loss, torch.tensor([2.0, 0.5, 4.5], dtype=F64))
    assert torch.autograd.grad(loss.sum(), score)[0].sum() == 0


def test_numbers_that_cannot_be_are_refused():
    pair = torch.zeros(2), torch.zeros(2)
    for focus in (-1.0, math.nan):
        with pytest.raises(ValueError, match=f"focus must be 0 or above, as 2 is; received {focus}"):
            focal_pairwise_loss(*pair, focus=focus)
    for limit in (0.0, -5.0, math.nan):
        with pytest.raises(
            ValueError, match=f"limit must be above 0, in units of the scores; received {limit}"
        ):
            score_penalty(torch.zeros(2), limit=limit)
