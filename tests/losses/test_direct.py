"""The losses of direct alignment on pairs: by hand, gradients, limits, where they are least."""

import math
import re

import pytest
import torch

from rlhf_mini.losses import (
    calibration_loss,
    conservative_dpo_loss,
    dpo_loss,
    implied_lead,
    ipo_loss,
    length_regularised_dpo_loss,
    pairwise_loss,
    robust_dpo_loss,
)

F64 = torch.float64


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=F64)


def pairs(*, seed: int = 0, count: int = 12) -> torch.Tensor:
    """Log-ratios of both answers, ``(2, count)``."""
    return 3 * torch.randn(2, count, generator=torch.Generator().manual_seed(seed), dtype=F64)


def slope_at(lead: float, loss) -> float:
    """The derivative of a loss in the log-ratio of the preferred answer, the other one's at 0."""
    chosen = column(lead).requires_grad_()
    return torch.autograd.grad(loss(chosen, column(0.0)).sum(), chosen)[0].item()


def test_dpo_by_hand():
    # The policy made the first answer e² times as likely and the second e⁻¹ times: h = 3. With β = log 3 / 3
    # that is a lead of log 3, and σ(log 3) = 3/4. The other way round σ(−log 3) = 1/4.
    kl_weight = math.log(3) / 3
    losses = dpo_loss(column(2.0, -1.0), column(-1.0, 2.0), kl_weight=kl_weight)
    torch.testing.assert_close(losses, column(math.log(4 / 3), math.log(4)))


def test_a_policy_that_is_the_reference_costs_log_two_whatever_beta_is():
    still = torch.zeros(3, dtype=F64)
    expected = torch.full((3,), math.log(2), dtype=F64)
    for kl_weight in (0.01, 0.5, 10.0):
        for loss in (dpo_loss, conservative_dpo_loss, robust_dpo_loss):
            options = {} if loss is dpo_loss else {"flip_rate": 0.3}
            torch.testing.assert_close(loss(still, still, kl_weight=kl_weight, **options), expected)
    # Identity preference optimisation then misses its lead of 1/(2τ) = 5 by all of it.
    torch.testing.assert_close(ipo_loss(still, still, kl_weight=0.1), torch.full((3,), 25.0, dtype=F64))


def test_the_gradient_of_dpo_is_the_papers():
    # ∇L = −β σ(r_l − r_w) (∇ log π(y_w) − ∇ log π(y_l)) with r = β log π/π_ref: here log π(y) is a logit less
    # the log of a sum, whose gradient is the indicator of y less the probabilities.
    generator = torch.Generator().manual_seed(0)
    logits, logp_ref = torch.randn(2, 6, generator=generator, dtype=F64)
    logp_ref, kl_weight = logp_ref.log_softmax(0), 0.3
    won, lost = torch.tensor([0, 1, 5, 3, 2]), torch.tensor([4, 0, 3, 2, 1])
    logits.requires_grad_()
    log_ratios = logits.log_softmax(0) - logp_ref
    losses = dpo_loss(log_ratios[won], log_ratios[lost], kl_weight=kl_weight)
    (found,) = torch.autograd.grad(losses.sum(), logits)
    rewards = kl_weight * log_ratios.detach()
    probabilities = logits.detach().softmax(0).tolist()
    expected = torch.zeros(6, dtype=F64)
    for w, other in zip(won.tolist(), lost.tolist(), strict=True):
        weight = 1 / (1 + math.exp(rewards[w] - rewards[other]))  # σ(r_l − r_w)
        for y in range(6):
            towards = ((y == w) - probabilities[y]) - ((y == other) - probabilities[y])
            expected[y] -= kl_weight * weight * towards
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_dpo_is_a_reward_model_whose_reward_is_beta_times_the_log_ratio():
    chosen, rejected = pairs()
    expected = pairwise_loss(0.2 * chosen, 0.2 * rejected)
    torch.testing.assert_close(dpo_loss(chosen, rejected, kl_weight=0.2), expected)
    lead = implied_lead(chosen, rejected, kl_weight=0.2)
    torch.testing.assert_close(lead, 0.2 * chosen - 0.2 * rejected)


def test_only_the_difference_counts_so_both_may_fall():
    # What both answers lose alike costs nothing, in any of these losses.
    chosen, rejected = pairs()
    lengths = torch.randint(1, 9, (2, 12), generator=torch.Generator().manual_seed(1))
    both = torch.linspace(-50, 50, 12, dtype=F64)
    for loss, options in (
        (dpo_loss, {"kl_weight": 0.3}),
        (conservative_dpo_loss, {"kl_weight": 0.3, "flip_rate": 0.1}),
        (robust_dpo_loss, {"kl_weight": 0.3, "flip_rate": 0.1}),
        (ipo_loss, {"kl_weight": 0.3}),
        (calibration_loss, {"margin": 1.0}),
        (
            lambda *ratios, **o: length_regularised_dpo_loss(*ratios, *lengths, **o),
            {"kl_weight": 0.3, "length_weight": 1.0},
        ),
    ):
        torch.testing.assert_close(
            loss(chosen + both, rejected + both, **options), loss(chosen, rejected, **options)
        )


def test_a_very_wrong_pair_keeps_its_digits():
    # −log σ(−1000) = 1000; smoothed by 1/4 it is 3/4 of that, robust 3/2 of it.
    far = torch.tensor([-1000.0]), torch.tensor([0.0])
    assert dpo_loss(*far, kl_weight=1.0).item() == 1000.0
    assert conservative_dpo_loss(*far, kl_weight=1.0, flip_rate=0.25).item() == 750.0
    assert robust_dpo_loss(*far, kl_weight=1.0, flip_rate=0.25).item() == 1500.0


def test_without_flips_conservative_and_robust_are_dpo():
    chosen, rejected = pairs()
    plain = dpo_loss(chosen, rejected, kl_weight=0.3)
    for loss in (conservative_dpo_loss, robust_dpo_loss):
        assert torch.equal(loss(chosen, rejected, kl_weight=0.3, flip_rate=0.0), plain)


def test_conservative_dpo_by_hand_and_least_at_the_log_odds_of_the_label():
    # At a lead of log 3 the label is right with P = 3/4; ε = 1/4 makes it the entropy of a 3 : 1 coin.
    lead = math.log(3)
    entropy = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
    found = conservative_dpo_loss(column(lead), column(0.0), kl_weight=1.0, flip_rate=0.25)
    torch.testing.assert_close(found, column(entropy))
    for kl_weight, flip_rate in ((1.0, 0.25), (0.1, 0.1), (0.5, 0.01)):
        least = math.log((1 - flip_rate) / flip_rate) / kl_weight

        def loss(chosen, rejected, kl_weight=kl_weight, flip_rate=flip_rate):
            return conservative_dpo_loss(chosen, rejected, kl_weight=kl_weight, flip_rate=flip_rate)

        assert abs(slope_at(least, loss)) < 1e-15
        assert slope_at(0.9 * least, loss) < -1e-5
        assert slope_at(1.1 * least, loss) > 1e-5


def test_robust_dpo_by_hand():
    # At a lead of log 3: (−3/4 log 3/4 + 1/4 log 1/4) / (1/2).
    found = robust_dpo_loss(column(math.log(3)), column(0.0), kl_weight=1.0, flip_rate=0.25)
    torch.testing.assert_close(found, column((0.75 * math.log(4 / 3) - 0.25 * math.log(4)) / 0.5))


def test_robust_dpo_on_flipped_labels_is_on_average_dpo_on_the_clean_ones():
    chosen, rejected = pairs()
    clean = dpo_loss(chosen, rejected, kl_weight=0.3)
    for flip_rate in (0.05, 0.3, 0.49):
        options = {"kl_weight": 0.3, "flip_rate": flip_rate}
        kept, turned = (
            robust_dpo_loss(chosen, rejected, **options),
            robust_dpo_loss(rejected, chosen, **options),
        )
        torch.testing.assert_close((1 - flip_rate) * kept + flip_rate * turned, clean)
        kept, turned = (
            conservative_dpo_loss(*r, **options) for r in ((chosen, rejected), (rejected, chosen))
        )
        assert (
            (1 - flip_rate) * kept + flip_rate * turned - clean
        ).abs().max() > 0.01  # smoothing does not undo


def test_robust_dpo_never_turns_round_and_has_no_lower_bound():
    def loss(chosen, rejected):
        return robust_dpo_loss(chosen, rejected, kl_weight=1.0, flip_rate=0.2)

    # Its slope −((1 − ε) σ(−h) + ε σ(h)) / (1 − 2ε) is −ε/(1 − 2ε) = −1/3 far right, −4/3 far left.
    assert math.isclose(slope_at(60.0, loss), -1 / 3, rel_tol=1e-12)
    assert math.isclose(slope_at(-60.0, loss), -4 / 3, rel_tol=1e-12)
    assert all(slope_at(float(h), loss) < -0.3 for h in range(-20, 21))
    assert loss(column(600.0), column(0.0)).item() == pytest.approx(-200.0)


def test_ipo_by_hand_and_least_at_its_lead():
    # τ = 0.25 aims at a lead of 2. Leads of 5, 2 and −1 miss it by 3, 0 and −3.
    found = ipo_loss(column(3.0, 1.0, -3.0), column(-2.0, -1.0, -2.0), kl_weight=0.25)
    assert found.tolist() == [9.0, 0.0, 9.0]
    for kl_weight in (0.05, 1.0):
        least = 1 / (2 * kl_weight)

        def loss(chosen, rejected, kl_weight=kl_weight):
            return ipo_loss(chosen, rejected, kl_weight=kl_weight)

        assert slope_at(least, loss) == 0
        assert slope_at(least - 0.5, loss) == -1.0  # 2 (h − 1/(2τ))
        assert slope_at(least + 0.5, loss) == 1.0


def test_length_regularised_by_hand():
    # 4 tokens more at α = 0.5 add 2 to the lead of 1: σ(3). 4 tokens fewer take 2 away: σ(−1).
    ratios = column(1.0, 1.0), column(0.0, 0.0)
    lengths = torch.tensor([12, 8]), torch.tensor([8, 12])
    found = length_regularised_dpo_loss(*ratios, *lengths, kl_weight=1.0, length_weight=0.5)
    torch.testing.assert_close(found, column(math.log(1 + math.exp(-3)), math.log(1 + math.e)))
    # The longer winner is explained by its length already, and is pushed less.
    chosen = ratios[0].requires_grad_()
    losses = length_regularised_dpo_loss(chosen, ratios[1], *lengths, kl_weight=1.0, length_weight=0.5)
    (slope,) = torch.autograd.grad(losses.sum(), chosen)
    torch.testing.assert_close(slope, -column(1 / (1 + math.exp(3)), 1 / (1 + math.exp(-1))))


def test_length_regularised_is_dpo_where_lengths_or_their_price_do_not_differ():
    chosen, rejected = pairs()
    plain = dpo_loss(chosen, rejected, kl_weight=0.3)
    lengths = torch.randint(1, 99, (2, 12), generator=torch.Generator().manual_seed(1))
    options = {"kl_weight": 0.3}
    free = length_regularised_dpo_loss(chosen, rejected, *lengths, **options, length_weight=0.0)
    assert torch.equal(free, plain)
    alike = length_regularised_dpo_loss(
        chosen, rejected, lengths[0], lengths[0], **options, length_weight=0.7
    )
    assert torch.equal(alike, plain)


def test_lengths_keep_all_digits_of_the_log_ratios():
    # An integer times a Python number is float32 in torch: 0.1 · 3 would come out as 0.30000001192…
    zero, price = column(0.0), 0.1
    lengths = torch.tensor([4]), torch.tensor([1])
    found = length_regularised_dpo_loss(zero, zero, *lengths, kl_weight=1.0, length_weight=price)
    assert math.isclose(found.item(), math.log1p(math.exp(-3 * price)), rel_tol=1e-14)


def test_calibration_by_hand():
    # With δ = 2: a lead of ½ leaves 3/2, a lag of 1 costs 3, a lead of 2 or more nothing.
    chosen, rejected = column(-2.0, -3.0, -1.0, 0.0), column(-2.5, -2.0, -3.0, -9.0)
    chosen.requires_grad_()
    losses = calibration_loss(chosen, rejected, margin=2.0)
    assert losses.tolist() == [1.5, 3.0, 0.0, 0.0]
    (slope,) = torch.autograd.grad(losses.sum(), chosen)
    assert slope[[0, 1, 3]].tolist() == [-1.0, -1.0, 0.0]  # the third is at the kink
    # Scaled by β and with δ = 1 it is the hinge loss max(0, 1 − β h).
    chosen, rejected = pairs()
    hinge = calibration_loss(0.3 * chosen, 0.3 * rejected, margin=1.0)
    expected = [
        max(0.0, 1 - 0.3 * (w - lost)) for w, lost in zip(chosen.tolist(), rejected.tolist(), strict=True)
    ]
    torch.testing.assert_close(hinge, column(*expected))


@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan])
def test_weights_that_cannot_be_are_refused(bad):
    pair = column(0.0), column(0.0)
    length = torch.tensor([1])
    message = re.escape(f"kl_weight must be above 0, as 0.1 is; received {bad}.")
    for loss, options in (
        (implied_lead, {}),
        (dpo_loss, {}),
        (conservative_dpo_loss, {"flip_rate": 0.1}),
        (robust_dpo_loss, {"flip_rate": 0.1}),
        (ipo_loss, {}),
    ):
        with pytest.raises(ValueError, match=message):
            loss(*pair, kl_weight=bad, **options)
    with pytest.raises(ValueError, match=message):
        length_regularised_dpo_loss(*pair, length, length, kl_weight=bad, length_weight=0.1)


@pytest.mark.parametrize("bad", [-0.01, 0.5, 1.0, math.nan])
def test_flip_rates_that_cannot_be_are_refused(bad):
    for loss in (conservative_dpo_loss, robust_dpo_loss):
        with pytest.raises(ValueError, match=rf"flip_rate must be at least 0 and below 0.5.*received {bad}"):
            loss(column(0.0), column(0.0), kl_weight=0.1, flip_rate=bad)


def test_margins_below_zero_are_refused_and_zero_is_not():
    assert calibration_loss(column(1.0), column(3.0), margin=0.0).item() == 2.0
    for bad in (-1.0, math.nan):
        with pytest.raises(ValueError, match=f"margin must be 0 or above, in nats; received {bad}"):
            calibration_loss(column(0.0), column(0.0), margin=bad)
