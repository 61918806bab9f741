"""Where each direct loss leads, on a language whose texts can be listed.

A policy is a table: one number for each text, a softmax over them. The data are *all* pairs at once, each
with its exact chance of being drawn and of being judged one way or the other, so that the expected loss is a
sum; its minimum is found to the last digits and held against the distribution that theory names. Nothing is
sampled. In each test the same with one sign turned must lead elsewhere.
"""

import math

import pytest
import torch

from rlhf_mini.exact import ToyLanguage, kl_divergence, kl_optimum
from rlhf_mini.losses import (
    conservative_dpo_loss,
    contrastive_preference_loss,
    dpo_loss,
    ipo_loss,
    length_regularised_dpo_loss,
    robust_dpo_loss,
    rpo_backward_kl_loss,
    rpo_forward_kl_loss,
    rpo_squared_loss,
)

F64 = torch.float64
LANGUAGE = ToyLanguage(vocabulary=4, steps=2)  # 13 texts of one or two tokens
TEXTS = len(LANGUAGE.texts)
LENGTHS = torch.tensor([len(text) for text in LANGUAGE.texts])
FIRST, SECOND = (
    place.flatten() for place in torch.meshgrid(torch.arange(TEXTS), torch.arange(TEXTS), indexing="ij")
)
BETA = 0.5
HERE, ELSEWHERE = 1e-10, 1e-2  # nats: found, and missed


def draw(seed: int) -> torch.Tensor:
    return torch.randn(TEXTS, generator=torch.Generator().manual_seed(seed), dtype=F64)


LOGP_REF = draw(0).log_softmax(0)
REWARDS = draw(1)
WRITER = draw(2).softmax(0)  # who wrote the answers that are compared: neither the reference nor the policy
DRAWN = WRITER[FIRST] * WRITER[SECOND]  # the chance of each ordered pair; an answer may meet itself
BRADLEY_TERRY = torch.sigmoid(REWARDS[FIRST] - REWARDS[SECOND])  # the chance that the first is preferred
OPTIMUM = kl_optimum(LOGP_REF, REWARDS, kl_weight=BETA).logp


def judged(preferred: torch.Tensor, loss):
    """The expected loss, of log π, if the first of a pair is preferred with these chances."""

    def expected(logp: torch.Tensor) -> torch.Tensor:
        ratios = logp - LOGP_REF
        both = loss(ratios, FIRST, SECOND), loss(ratios, SECOND, FIRST)
        return (DRAWN * (preferred * both[0] + (1 - preferred) * both[1])).sum()

    return expected


def scored(loss):
    """The expected loss of pairs that nobody judged."""
    return lambda logp: (DRAWN * loss(logp - LOGP_REF, FIRST, SECOND)).sum()


def minimum(expected) -> torch.Tensor:
    """The log-probabilities where an expected loss is least, from the reference on."""
    logits = LOGP_REF.clone().requires_grad_()
    tight = {"tolerance_grad": 1e-11, "tolerance_change": 0, "max_iter": 500, "history_size": 30}
    optimizer = torch.optim.LBFGS([logits], line_search_fn="strong_wolfe", **tight)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = expected(logits.log_softmax(0))
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.detach().log_softmax(0)


def away(expected, target: torch.Tensor) -> float:
    return kl_divergence(minimum(expected), target).item()


def on_pairs(loss, **options):
    """A loss of two log-ratios, taken at numbered texts."""
    return lambda ratios, won, lost: loss(ratios[won], ratios[lost], **options)


def turned(loss):
    """The same with the answers exchanged: a sign error."""
    return lambda ratios, won, lost: loss(ratios, lost, won)


def test_dpo_lands_on_the_optimum_of_the_reward_that_the_judges_follow():
    dpo = on_pairs(dpo_loss, kl_weight=BETA)
    assert away(judged(BRADLEY_TERRY, dpo), OPTIMUM) < HERE
    assert away(judged(BRADLEY_TERRY, turned(dpo)), OPTIMUM) > ELSEWHERE
    # β in the loss is β in the objective: with another one it is another optimum.
    other = on_pairs(dpo_loss, kl_weight=2 * BETA)
    assert away(judged(BRADLEY_TERRY, other), OPTIMUM) > ELSEWHERE
    assert away(judged(BRADLEY_TERRY, other), kl_optimum(LOGP_REF, REWARDS, kl_weight=2 * BETA).logp) < HERE


def test_length_regularised_dpo_lands_on_the_optimum_of_the_reward_less_a_price_per_token():
    def by_length(price: float):
        def loss(ratios, won, lost):
            return length_regularised_dpo_loss(
                ratios[won], ratios[lost], LENGTHS[won], LENGTHS[lost], kl_weight=BETA, length_weight=price
            )

        return loss

    target = kl_optimum(LOGP_REF, REWARDS - 0.7 * LENGTHS, kl_weight=BETA).logp
    assert away(judged(BRADLEY_TERRY, by_length(0.7)), target) < HERE
    assert away(judged(BRADLEY_TERRY, by_length(-0.7)), target) > ELSEWHERE
    assert away(judged(BRADLEY_TERRY, turned(by_length(0.7))), target) > ELSEWHERE
    assert away(judged(BRADLEY_TERRY, by_length(0.0)), OPTIMUM) < HERE


def total_order() -> torch.Tensor:
    """The better of two always wins; an answer ties with itself."""
    return torch.heaviside(REWARDS[FIRST] - REWARDS[SECOND], torch.tensor(0.5, dtype=F64))


def circular() -> torch.Tensor:
    """Chances that no reward explains: who beats whom is drawn anew for each pair."""
    chance = torch.rand(TEXTS, TEXTS, generator=torch.Generator().manual_seed(3), dtype=F64)
    upper = chance.triu(1)
    return (upper + (1 - chance).triu(1).T + 0.5 * torch.eye(TEXTS, dtype=F64)).flatten()


@pytest.mark.parametrize(
    "preferred", [total_order(), circular(), BRADLEY_TERRY], ids=["order", "circle", "reward"]
)
def test_ipo_lands_on_the_optimum_of_the_chance_to_win(preferred):
    # Azar et al., §5: whatever the chances p(y ≻ y′), with both answers drawn from μ the loss is least at
    # π ∝ π_ref exp(p(y ≻ μ)/τ), the optimum for the reward "chance to beat an answer of μ". By hand: a pair's
    # expected loss is h² − h (2p − 1)/τ and a constant, least at h = (p − ½)/τ; fitting leads u(y) − u(y′) to
    # such numbers by least squares gives u(y) the mean over y′ of (p − ½)/τ.
    win_rate = (preferred.view(TEXTS, TEXTS) * WRITER).sum(1)
    target = kl_optimum(LOGP_REF, win_rate, kl_weight=BETA).logp
    ipo = on_pairs(ipo_loss, kl_weight=BETA)
    assert away(judged(preferred, ipo), target) < HERE
    assert away(judged(preferred, turned(ipo)), target) > ELSEWHERE


def test_where_the_better_always_wins_dpo_has_no_minimum_and_ipo_has():
    # The total order once more. Along the optimum's direction DPO only gains, IPO turns round.
    dpo, ipo = (judged(total_order(), on_pairs(loss, kl_weight=BETA)) for loss in (dpo_loss, ipo_loss))
    ranks = REWARDS.argsort().argsort().double()

    def at(loss, steepness: float) -> float:
        return loss((LOGP_REF + steepness * ranks).log_softmax(0)).item()

    steps = [0.5 * 2**k for k in range(8)]
    values = [at(dpo, step) for step in steps]
    assert values == sorted(values, reverse=True)
    # What is left are answers that met themselves.
    assert math.isclose(values[-1], math.log(2) * float((WRITER**2).sum()), rel_tol=1e-9)
    assert min(at(ipo, step) for step in steps) < at(ipo, steps[-1]) / 100


@pytest.mark.parametrize("loss", [rpo_backward_kl_loss, rpo_forward_kl_loss, rpo_squared_loss])
def test_rpo_lands_on_the_optimum_from_scores_alone(loss):
    def rpo(*, scale: float, sign: int = 1):
        def at(ratios, one, other):
            scores = sign * REWARDS
            options = {"kl_weight": BETA, "reward_scale": scale}
            return loss(ratios[one], ratios[other], scores[one], scores[other], **options)

        return at

    assert away(scored(rpo(scale=1.0)), OPTIMUM) < HERE
    assert away(scored(rpo(scale=1.0, sign=-1)), OPTIMUM) > ELSEWHERE
    # η is a factor of the reward.
    doubled = kl_optimum(LOGP_REF, 2 * REWARDS, kl_weight=BETA).logp
    assert away(scored(rpo(scale=2.0)), doubled) < HERE
    assert away(scored(rpo(scale=1.0)), doubled) > ELSEWHERE


@pytest.mark.parametrize("flip_rate", [0.1, 0.3])
def test_of_flipped_labels_only_the_robust_loss_finds_the_optimum(flip_rate):
    flipped = (1 - flip_rate) * BRADLEY_TERRY + flip_rate * (1 - BRADLEY_TERRY)
    noisy = {"kl_weight": BETA, "flip_rate": flip_rate}
    robust, conservative = on_pairs(robust_dpo_loss, **noisy), on_pairs(conservative_dpo_loss, **noisy)
    plain = on_pairs(dpo_loss, kl_weight=BETA)
    assert away(judged(flipped, robust), OPTIMUM) < HERE
    missed = away(judged(flipped, plain), OPTIMUM), away(judged(flipped, conservative), OPTIMUM)
    assert missed[0] > ELSEWHERE
    assert missed[1] > missed[0]  # smoothing flattens flattened labels once more
    assert away(judged(flipped, turned(robust)), OPTIMUM) > ELSEWHERE


def test_the_robust_loss_runs_away_from_labels_cleaner_than_it_is_told():
    # If a text wins a pair with P, pulling it up far changes the expected loss by (1 − ε − P)/(1 − 2ε) per
    # unit of lead: downwards for ever where P is above 1 − ε, which labels flipped at that rate never are.
    flip_rate, best = 0.3, int(REWARDS.argmax())
    against = WRITER.clone()
    against[best] = 0.0  # an answer that meets itself keeps its lead of 0
    wins = BRADLEY_TERRY.view(TEXTS, TEXTS)[best]
    slope = 2 * WRITER[best] * (against * (1 - flip_rate - wins)).sum() / (1 - 2 * flip_rate)
    assert slope < 0
    expected = judged(BRADLEY_TERRY, on_pairs(robust_dpo_loss, kl_weight=1.0, flip_rate=flip_rate))
    pulled = torch.arange(TEXTS) == best
    far, farther = (expected((LOGP_REF + lead * pulled).log_softmax(0)) for lead in (500.0, 600.0))
    torch.testing.assert_close(farther - far, 100 * slope)


def test_conservative_dpo_on_clean_labels_is_dpo_on_flipped_ones():
    flipped = 0.8 * BRADLEY_TERRY + 0.2 * (1 - BRADLEY_TERRY)
    smoothed = minimum(judged(BRADLEY_TERRY, on_pairs(conservative_dpo_loss, kl_weight=BETA, flip_rate=0.2)))
    assert kl_divergence(smoothed, minimum(judged(flipped, on_pairs(dpo_loss, kl_weight=BETA)))).item() < HERE


def test_contrastive_preference_learning_lands_on_the_optimum_with_an_entropy_bonus():
    # Judges who go by regret: a text's advantages add up to r(y) − V, and in a difference V cancels. The best
    # policy with an entropy bonus of weight α is the optimum against a uniform reference.
    uniform = torch.full((TEXTS,), -math.log(TEXTS), dtype=F64)
    target = kl_optimum(uniform, REWARDS, kl_weight=BETA).logp

    def cpl(conservatism: float):
        def loss(ratios, won, lost):
            logp = ratios + LOGP_REF
            options = {"temperature": BETA, "conservatism": conservatism}
            return contrastive_preference_loss(logp[won], logp[lost], **options)

        return loss

    assert away(judged(BRADLEY_TERRY, cpl(1.0)), target) < HERE
    assert away(judged(BRADLEY_TERRY, turned(cpl(1.0))), target) > ELSEWHERE
    assert away(judged(BRADLEY_TERRY, cpl(0.5)), target) > ELSEWHERE  # the bias has its price
