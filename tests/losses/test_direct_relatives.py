"""RPO, KTO, SimPO, ORPO and CPL: by hand, their gradients, their limits and what they refuse."""

import math
import re

import pytest
import torch

from rlhf_mini.losses import (
    contrastive_preference_loss,
    dpo_loss,
    ipo_loss,
    kto_loss,
    odds_ratio_loss,
    rpo_backward_kl_loss,
    rpo_forward_kl_loss,
    rpo_squared_loss,
    simpo_loss,
)

F64 = torch.float64
RPO = {"backward": rpo_backward_kl_loss, "forward": rpo_forward_kl_loss, "squared": rpo_squared_loss}
ONE = {"kl_weight": 1.0, "reward_scale": 1.0}


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=F64)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def slope_of(loss, at: torch.Tensor) -> torch.Tensor:
    at = at.clone().requires_grad_()
    return torch.autograd.grad(loss(at).sum(), at)[0]


@pytest.fixture(params=RPO.values(), ids=RPO.keys())
def rpo(request):
    return request.param


def test_rpo_by_hand():
    # The policy says 3 to 1 for the first answer, the scores say 1 to 1.
    a, b, zero = column(math.log(3)), column(0.0), column(0.0)
    # KL(½ ‖ ¾) = ½ log(½ / ¾) + ½ log(½ / ¼) = ½ log(4/3); KL(¾ ‖ ½) = ¾ log(3/2) + ¼ log(1/2).
    torch.testing.assert_close(rpo_backward_kl_loss(a, zero, b, zero, **ONE), column(math.log(4 / 3) / 2))
    forward = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    torch.testing.assert_close(rpo_forward_kl_loss(a, zero, b, zero, **ONE), column(forward))
    torch.testing.assert_close(rpo_squared_loss(a, zero, b, zero, **ONE), column(math.log(3) ** 2))
    assert abs(math.log(4 / 3) / 2 - forward) > 0.01  # forward and backward differ


def test_rpo_scales_the_leads_before_it_compares_them(rpo):
    # β h = 0.1 · (9 − 4) and η (r − r') = 2 · (1.5 − 1): both ½ and 1.
    found = rpo(column(9.0), column(4.0), column(1.5), column(1.0), kl_weight=0.1, reward_scale=2.0)
    expected = rpo(column(0.5), column(0.0), column(1.0), column(0.0), **ONE)
    torch.testing.assert_close(found, expected)


def test_rpo_is_zero_where_the_leads_agree_and_only_there(rpo):
    leads, zero = torch.linspace(-30, 30, 121, dtype=F64), torch.zeros(121, dtype=F64)
    assert (rpo(leads, zero, leads, zero, **ONE) == 0).all()
    near = torch.linspace(-8, 8, 33, dtype=F64)
    zero = torch.zeros(33, dtype=F64)
    for miss in (-2.0, -0.01, 0.01, 2.0):
        assert (rpo(near + miss, zero, near, zero, **ONE) > 1e-9).all()
        slope = slope_of(
            lambda chosen, near=near, zero=zero: rpo(chosen, zero, near, zero, **ONE), near + miss
        )
        assert (slope.sign() == math.copysign(1, miss)).all()


def test_rpo_gradients_in_the_lead():
    a, b = 2 * draw(2, 9)
    zero = torch.zeros(9, dtype=F64)
    sigma_a, sigma_b = 1 / (1 + (-a).exp()), 1 / (1 + (-b).exp())
    for loss, expected in (
        (rpo_backward_kl_loss, sigma_a - sigma_b),
        (rpo_forward_kl_loss, sigma_a * (1 - sigma_a) * (a - b)),
        (rpo_squared_loss, 2 * (a - b)),
    ):
        found = slope_of(lambda chosen, loss=loss: loss(chosen, zero, b, zero, **ONE), a)
        torch.testing.assert_close(found, expected)
        other = slope_of(lambda rejected, loss=loss: loss(a, rejected, b, zero, **ONE), zero)
        torch.testing.assert_close(other, -expected)


def test_rpo_does_not_care_which_answer_comes_first(rpo):
    chosen, rejected, better, worse = draw(4, 9)
    options = {"kl_weight": 0.3, "reward_scale": 2.0}
    torch.testing.assert_close(
        rpo(rejected, chosen, worse, better, **options), rpo(chosen, rejected, better, worse, **options)
    )


def test_rpo_limits_are_dpo_and_ipo():
    chosen, rejected = 3 * draw(2, 9)
    sure, zero = torch.full((9,), 1e4, dtype=F64), torch.zeros(9, dtype=F64)
    backward = rpo_backward_kl_loss(chosen, rejected, sure, zero, kl_weight=0.3, reward_scale=1.0)
    torch.testing.assert_close(backward, dpo_loss(chosen, rejected, kl_weight=0.3))
    half = torch.full((9,), 0.5, dtype=F64)
    squared = rpo_squared_loss(chosen, rejected, half, zero, kl_weight=0.3, reward_scale=1.0)
    torch.testing.assert_close(squared / 0.3**2, ipo_loss(chosen, rejected, kl_weight=0.3))


def test_rpo_keeps_its_digits_where_chances_round_to_one(rpo):
    # KL between coins of log-odds 40 and 42 is about e⁻⁴⁰ − e⁻⁴²(1 + 2) or the like: tiny, above 0, no NaN.
    losses = rpo(
        column(40.0, 42.0, 800.0),
        column(0.0, 0.0, 0.0),
        column(42.0, 40.0, -800.0),
        column(0.0, 0.0, 0.0),
        **ONE,
    )
    assert torch.isfinite(losses).all()
    assert (losses > 0).all()


def test_rpo_refuses_weights_that_cannot_be(rpo):
    four = [column(0.0)] * 4
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"kl_weight must be above 0, as 0.1 is; received {bad}"):
            rpo(*four, kl_weight=bad, reward_scale=1.0)
        with pytest.raises(ValueError, match=f"reward_scale must be above 0, as 1 is; received {bad}"):
            rpo(*four, kl_weight=0.1, reward_scale=bad)


def test_kto_by_hand():
    # z₀ = 1, β = log 3: a log-ratio of 2 is one unit of gain, σ(log 3) = 3/4; of 0 one unit of loss, 1/4.
    log_ratios, desirable = column(2.0, 0.0, 1.0, 2.0, 0.0, 1.0), torch.tensor([True] * 3 + [False] * 3)
    weights = {"desirable_weight": 4.0, "undesirable_weight": 8.0}
    losses = kto_loss(log_ratios, desirable, torch.tensor(1.0, dtype=F64), kl_weight=math.log(3), **weights)
    # Good answers cost 4 (1 − σ): 1, 3, 2. Bad ones 8 (1 − σ(−…)) = 8 σ: 6, 2, 4.
    torch.testing.assert_close(losses, column(1.0, 3.0, 2.0, 6.0, 2.0, 4.0))


def test_kto_pulls_good_answers_up_and_bad_ones_down_most_where_they_are_neither():
    log_ratios = torch.linspace(-40, 40, 81, dtype=F64)
    baseline = torch.tensor(3.0, dtype=F64)
    for good, sign in ((True, -1), (False, 1)):
        labels = torch.full((81,), good)
        slope = slope_of(lambda u, labels=labels: kto_loss(u, labels, baseline, kl_weight=0.5), log_ratios)
        assert (slope.sign() == sign).all()
        assert slope.abs().argmax() == 43  # at a log-ratio of 3, the baseline
        assert math.isclose(slope.abs().max(), 0.5 / 4)  # β/4
        assert slope[0].abs() < 1e-8  # saturated: even a good answer that became very unlikely is left alone
        assert slope[-1].abs() < 1e-7


def test_kto_weights_scale_their_own_side_only():
    log_ratios, desirable = draw(8), torch.arange(8) % 2 == 0
    baseline = torch.tensor(0.2, dtype=F64)
    plain = kto_loss(log_ratios, desirable, baseline, kl_weight=0.5)
    weighted = kto_loss(
        log_ratios, desirable, baseline, kl_weight=0.5, desirable_weight=3.0, undesirable_weight=0.0
    )
    torch.testing.assert_close(weighted[desirable], 3 * plain[desirable])
    assert (weighted[~desirable] == 0).all()
    only_bad = kto_loss(log_ratios, desirable, baseline, kl_weight=0.5, desirable_weight=0.0)
    assert (only_bad[desirable] == 0).all()
    assert torch.equal(only_bad[~desirable], plain[~desirable])


def test_the_baseline_of_kto_moves_the_loss_but_carries_no_gradient():
    policy = torch.tensor(1.0, dtype=F64, requires_grad=True)
    losses = kto_loss(policy * column(2.0), torch.tensor([True]), policy * 1.0, kl_weight=1.0)
    # 1 − σ(2p − z₀) at p = 1, z₀ = 1: the slope in p is −2 σ(1) σ(−1), and not −1 times it.
    (slope,) = torch.autograd.grad(losses.sum(), policy)
    sigma = 1 / (1 + math.exp(-1))
    assert math.isclose(slope.item(), -2 * sigma * (1 - sigma))
    higher = kto_loss(column(2.0), torch.tensor([True]), torch.tensor(1.5, dtype=F64), kl_weight=1.0)
    assert higher.item() > losses.item()


def test_kto_refuses_by_name(unchecked):
    u, good, zero = column(0.0, 1.0), torch.tensor([True, False]), torch.tensor(0.0, dtype=F64)
    for bad in (torch.tensor(-0.1), torch.tensor(math.nan), torch.zeros(2)):
        with pytest.raises(
            ValueError,
            match=re.escape(
                f"baseline must be one number of at least 0, a divergence in nats; received {bad.tolist()}."
            ),
        ):
            kto_loss(u, good, bad, kl_weight=0.1)
    with pytest.raises(ValueError, match=r"A mask holds True where a position counts; received torch\.int64"):
        kto_loss(u, good.long(), zero, kl_weight=0.1)
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"kl_weight must be above 0, as 0.1 is; received {bad}"):
            kto_loss(u, good, zero, kl_weight=bad)
    for side in ("desirable_weight", "undesirable_weight"):
        with pytest.raises(ValueError, match="must be 0 or above; received"):
            kto_loss(u, good, zero, kl_weight=0.1, **{side: -1.0})
        with pytest.raises(ValueError, match="must be 0 or above; received"):
            kto_loss(u, good, zero, kl_weight=0.1, **{side: math.nan})


def test_simpo_by_hand():
    # Means of −1 and −3/2 at β = 2 are 1 apart; γ = 1 − log 3 leaves log 3, and γ = 1 leaves nothing.
    means = column(-1.0), column(-1.5)
    torch.testing.assert_close(simpo_loss(*means, scale=2.0, margin=0.0).exp(), column(1 + math.exp(-1)))
    torch.testing.assert_close(simpo_loss(*means, scale=2.0, margin=1.0).exp(), column(2.0))
    torch.testing.assert_close(simpo_loss(*means, scale=2.0, margin=1 + math.log(3)).exp(), column(4.0))
    slope = slope_of(lambda p: simpo_loss(p, means[1], scale=2.0, margin=1 + math.log(3)), means[0])
    torch.testing.assert_close(slope, column(-2 * 0.75))  # −β (1 − ¼)


def test_simpo_without_a_margin_is_dpo_without_a_reference():
    chosen, rejected = -draw(2, 9).abs()
    expected = dpo_loss(chosen, rejected, kl_weight=2.0)
    torch.testing.assert_close(simpo_loss(chosen, rejected, scale=2.0, margin=0.0), expected)


def test_odds_ratio_by_hand():
    # P = 3/4 and 1/2 have odds of 3 and 1: 3/(3 + 1). P = 1/2 and 4/5: odds of 1 and 4, 1/5.
    chosen, rejected = column(0.75, 0.5).log(), column(0.5, 0.8).log()
    losses = odds_ratio_loss(chosen, rejected)
    torch.testing.assert_close(losses, -column(0.75, 0.2).log())
    # The slope in log P is −σ(−log odds ratio) / (1 − P): −(1/4)/(1/4) and −(4/5)/(1/2).
    slope = slope_of(lambda p: odds_ratio_loss(p, rejected), chosen)
    torch.testing.assert_close(slope, -column(1.0, 1.6))
    # In the other one's it is the same chance over its own 1 − P: (1/4)/(1/2) and (4/5)/(1/5).
    slope = slope_of(lambda p: odds_ratio_loss(chosen, p), rejected)
    torch.testing.assert_close(slope, column(0.5, 4.0))


def test_equal_odds_cost_log_two_and_unlikely_answers_make_it_a_ratio_of_probabilities():
    logp = -draw(9).abs() - 0.1
    torch.testing.assert_close(odds_ratio_loss(logp, logp), torch.full((9,), math.log(2), dtype=F64))
    # For P → 0 odds are probabilities: with P of e⁻⁴⁰ and e⁻⁴¹ it is −log σ(1).
    torch.testing.assert_close(
        odds_ratio_loss(column(-40.0), column(-41.0)), column(math.log1p(math.exp(-1)))
    )


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_policy_that_is_certain_has_finite_odds(dtype):
    # 0 is P = 1; rounding can put a mean log-probability even above 0.
    eps = torch.finfo(dtype).eps
    certain = torch.tensor([-1e-3, -1e-6, -eps, 0.0, 0.5 * eps, 4 * eps], dtype=dtype)
    even = torch.full((6,), math.log(0.5), dtype=dtype)
    won, lost = odds_ratio_loss(certain, even), odds_ratio_loss(even, certain)
    assert torch.isfinite(won).all()
    assert torch.isfinite(lost).all()
    assert (won.diff() < 0).all()  # the more certain of the right answer, the cheaper
    assert (lost.diff() > 0).all()
    # With odds of 1 against it the loss is log(1 + (1 − P)/P) = −log P, and its slope −1, up to P = 1.
    inside = certain < 0
    torch.testing.assert_close(won[inside], -certain[inside], rtol=1e-3, atol=0)
    slope = slope_of(lambda p: odds_ratio_loss(p, even), certain)
    torch.testing.assert_close(slope[inside], torch.full((3,), -1.0, dtype=dtype), rtol=1e-3, atol=0)
    assert torch.isfinite(slope).all()
    assert (slope < 0).all()
    # And a certain answer that lost is pushed down by about 1/(1 − P), at most 1/ε.
    slope = slope_of(lambda p: odds_ratio_loss(even, p), certain)
    assert torch.isfinite(slope).all()
    torch.testing.assert_close(slope[2:], torch.full((4,), 1 / eps, dtype=dtype), rtol=1e-3, atol=0)


def test_contrastive_preference_by_hand():
    # α = 2 squares probabilities of 1/2 and 1/4: 1/4 of (1/4 + 1/16) is 4/5. λ = ½ leaves the other 1/4: ½.
    won, lost = column(0.5).log(), column(0.25).log()
    torch.testing.assert_close(contrastive_preference_loss(won, lost, temperature=2.0).exp(), column(1.25))
    conservative = contrastive_preference_loss(won, lost, temperature=2.0, conservatism=0.5)
    torch.testing.assert_close(conservative.exp(), column(2.0))
    # Slopes: −α (1 − ½) in the sum that won, −λ times that in the other.
    slope = slope_of(lambda s: contrastive_preference_loss(s, lost, temperature=2.0, conservatism=0.5), won)
    torch.testing.assert_close(slope, column(-1.0))
    slope = slope_of(lambda s: contrastive_preference_loss(won, s, temperature=2.0, conservatism=0.5), lost)
    torch.testing.assert_close(slope, column(0.5))


def test_contrastive_preference_without_a_bias_is_dpo_against_a_uniform_reference():
    # A reference that gives every answer the same probability cancels between two answers.
    logp_chosen, logp_rejected = -5 * draw(2, 9).abs()
    uniform = -math.log(85)
    expected = dpo_loss(logp_chosen - uniform, logp_rejected - uniform, kl_weight=0.1)
    torch.testing.assert_close(
        contrastive_preference_loss(logp_chosen, logp_rejected, temperature=0.1), expected
    )


def test_conservatism_prefers_two_stretches_that_are_both_likely():
    # The plain loss does not tell sums of −1 and −2 from −11 and −12; the biased one prefers the first.
    likely, unlikely = (column(-1.0), column(-2.0)), (column(-11.0), column(-12.0))
    plain = [contrastive_preference_loss(*sums, temperature=0.5) for sums in (likely, unlikely)]
    torch.testing.assert_close(*plain)
    biased = [
        contrastive_preference_loss(*sums, temperature=0.5, conservatism=0.5) for sums in (likely, unlikely)
    ]
    # By hand: α (λ s_l − s_w) = ½ (−1 + 1) = 0 and ½ (−6 + 11) = 5/2.
    torch.testing.assert_close(torch.cat(biased), column(math.log(2), math.log1p(math.exp(2.5))))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_scales_that_cannot_be_are_refused(bad):
    pair = column(-1.0), column(-2.0)
    with pytest.raises(ValueError, match=f"scale must be above 0; received {bad}"):
        simpo_loss(*pair, scale=bad, margin=0.5)
    with pytest.raises(ValueError, match=f"temperature must be above 0; received {bad}"):
        contrastive_preference_loss(*pair, temperature=bad)
    with pytest.raises(
        ValueError, match=f"conservatism must be above 0 and at most 1, as 0.5 is; received {bad}"
    ):
        contrastive_preference_loss(*pair, temperature=0.1, conservatism=bad)


def test_a_margin_below_zero_and_a_bias_above_one_are_refused():
    pair = column(-1.0), column(-2.0)
    for bad in (-0.5, math.nan):
        with pytest.raises(ValueError, match=f"margin must be 0 or above.*received {bad}"):
            simpo_loss(*pair, scale=2.0, margin=bad)
    with pytest.raises(ValueError, match=r"received 1\.5"):
        contrastive_preference_loss(*pair, temperature=0.1, conservatism=1.5)
