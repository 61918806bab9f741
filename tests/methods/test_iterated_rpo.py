"""RPO in rounds: where k rounds end, on a language that can be listed, and what renewing is good for."""

import pytest
import torch

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.exact import TablePolicy, ToyLanguage, kl_divergence, kl_optimum
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import dpo_loss, rpo_backward_kl_loss
from rlhf_mini.methods import iterated_rpo as module
from rlhf_mini.methods.dpo import DPOConfig, compare, kept_reference
from rlhf_mini.methods.iterated_rpo import RPOConfig, ScoredPairs, iterated_rpo, rpo_objective
from rlhf_mini.models import copy_of, freeze, new_llama, token_logits

LANGUAGE = ToyLanguage(vocabulary=3, steps=2)  # seven texts
BETA, ETA, ROUNDS = 2.0, 1.5, 3
REWARDS = torch.tensor([0.4, -0.8, 0.0, 1.2, -0.3, 0.9, -1.1], dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def all_pairs():
    """Every pair of different texts once, the earlier text as the first; with their scores."""
    count = len(LANGUAGE.texts)
    first, second = torch.triu_indices(count, count, offset=1)
    texts = Sequences(LANGUAGE.tokens, LANGUAGE.mask, LANGUAGE.response)
    rewards = REWARDS.float()
    return ScoredPairs(Pairs(texts.rows(first), texts.rows(second)), rewards[first], rewards[second])


def settings(*, epochs=1, rounds=ROUNDS, rate=1e-2, kl_weight=BETA, **changes):
    optimizer = OptimizerConfig(learning_rate=rate, warmup_steps=5, final_fraction=0.0)
    training = DPOConfig(epochs=epochs, batch=21, optimizer=optimizer)
    return RPOConfig(rounds=rounds, training=training, kl_weight=kl_weight, reward_scale=ETA, **changes)


@pytest.fixture
def policy():
    """A small Llama whose vocabulary is the language's; one other token pads."""
    return new_llama(
        vocab_size=4, width=32, layers=1, heads=2, context=8, pad_token=3, eos_token=0, bos_token=1, seed=0
    ).eval()


def logp_of(model):
    """The log-probability of every text, given that it is one: no text holds the token that pads."""

    def logits_of(tokens):
        return token_logits(model, tokens, torch.ones_like(tokens, dtype=torch.bool))

    with torch.no_grad():
        return LANGUAGE.sequence_logp(logits_of).log_softmax(0)


def tilted(logp, power):
    """π ∝ π_0 exp(power · r)."""
    return kl_optimum(logp, REWARDS, kl_weight=1 / power).logp


# ------------------------------------------------------------------------------- exactly, with a table


def fitted(reference, *, kl_weight):
    """The policy at the least RPO loss over all pairs, found by L-BFGS on a table of logits."""
    first, second = torch.triu_indices(7, 7, offset=1)
    policy = TablePolicy.of_distribution(LANGUAGE, reference)
    optimizer = torch.optim.LBFGS(
        policy.parameters(),
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss():
        ratios = LANGUAGE.sequence_logp(policy) - reference
        losses = rpo_backward_kl_loss(
            ratios[first],
            ratios[second],
            REWARDS[first],
            REWARDS[second],
            kl_weight=kl_weight,
            reward_scale=ETA,
        )
        return losses.mean()

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    assert float(loss()) < 1e-12  # it is realisable: the minimum is 0
    return LANGUAGE.sequence_logp(policy).detach()


def start_logp():
    return LANGUAGE.sequence_logp(TablePolicy.random(LANGUAGE, generator=seeded(3))).detach()


def test_one_round_ends_at_the_optimum_under_a_price_of_kl():
    start = start_logp()
    expected = kl_optimum(start, ETA * REWARDS, kl_weight=BETA).logp
    torch.testing.assert_close(fitted(start, kl_weight=BETA), expected, rtol=0, atol=1e-5)


def test_rounds_with_a_renewed_reference_multiply_and_three_at_beta_are_one_at_a_third():
    start = logp = start_logp()
    for number in range(1, ROUNDS + 1):
        logp = fitted(logp, kl_weight=BETA)
        torch.testing.assert_close(logp, tilted(start, number * ETA / BETA), rtol=0, atol=1e-5)
    torch.testing.assert_close(logp, fitted(start, kl_weight=BETA / ROUNDS), rtol=0, atol=1e-5)


# ---------------------------------------------------------------------- the loop, with a language model


@pytest.mark.slow  # hundreds of steps, until nothing is left to learn
def test_the_loop_ends_where_the_algebra_says(policy):
    """At its minimum the loss is 0 on every pair, so that there is no noise: 150 steps a round come near."""
    start, found = logp_of(policy), []
    iterated_rpo(
        policy,
        all_pairs(),
        config=settings(epochs=150),
        generator=seeded(),
        on_round=lambda number: found.append(logp_of(policy)),
    )
    for number, logp in enumerate(found, start=1):
        assert float(kl_divergence(logp, tilted(start, number * ETA / BETA))) < 3e-3
    # one round's end is far from three rounds', and so the test tells them apart
    assert float(kl_divergence(found[2], found[0])) > 0.1


@pytest.mark.slow  # hundreds of steps, until nothing is left to learn
def test_with_a_reference_that_stays_the_later_rounds_do_nothing(policy):
    start, found = logp_of(policy), []
    histories = iterated_rpo(
        policy,
        all_pairs(),
        config=settings(epochs=150),
        generator=seeded(),
        fixed_reference=freeze(copy_of(policy)),
        on_round=lambda number: found.append(logp_of(policy)),
    )
    for logp in found:
        assert float(kl_divergence(logp, tilted(start, ETA / BETA))) < 3e-3
    assert histories[0][0]["loss"] > 100 * histories[1][0]["loss"]


def test_each_round_s_reference_is_the_policy_as_it_finds_it(policy, monkeypatch, weights_of, same_weights):
    seen, ends, start = [], [], weights_of(policy)

    def watched(reference, pairs):
        assert not {id(p) for p in reference.parameters()} & {id(p) for p in policy.parameters()}
        seen.append(weights_of(reference))
        return kept_reference(reference, pairs)

    monkeypatch.setattr(module, "kept_reference", watched)
    options = {"config": settings(epochs=2), "generator": seeded()}
    iterated_rpo(policy, all_pairs(), on_round=lambda number: ends.append(weights_of(policy)), **options)
    assert [same_weights(*pair) for pair in zip(seen, [start, *ends], strict=False)] == [True] * 3
    assert not same_weights(ends[0], ends[1])
    seen.clear()
    fixed = freeze(copy_of(policy))
    iterated_rpo(policy, all_pairs(), fixed_reference=fixed, **options)
    assert all(same_weights(found, weights_of(fixed)) for found in seen)


# -------------------------------------------------------------------------------------- the objective


def compared(policy, scored):
    rows = torch.arange(len(scored.pairs))
    return compare(policy, rows, scored.pairs, kept_reference(policy, scored.pairs))


def test_equal_scores_at_the_start_pull_at_nothing_where_dpo_does(policy):
    level = all_pairs()
    level = ScoredPairs(level.pairs, torch.ones(21), torch.ones(21))
    objective = rpo_objective(level, config=settings())
    norms = []
    for loss in (objective, lambda pair: dpo_loss(*pair.log_ratios, kl_weight=BETA)):
        policy.zero_grad()
        loss(compared(policy, level)).mean().backward()
        norms.append(max(float(weight.grad.abs().max()) for weight in policy.parameters()))
    assert norms[0] < 1e-6
    assert norms[1] > 1e-2


def test_swapping_answers_with_their_scores_leaves_the_loss_as_it_is(policy):
    scored = all_pairs()
    swapped = ScoredPairs(Pairs(scored.pairs.rejected, scored.pairs.chosen), scored.rejected, scored.chosen)
    losses = [
        rpo_objective(one, config=settings())(compared(policy, one)).detach() for one in (scored, swapped)
    ]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-6)
    assert losses[0].max() > 0.1


def test_the_sft_term_is_the_mean_of_minus_log_pi(policy):
    scored = all_pairs()
    with torch.no_grad():
        pair = compared(policy, scored)
        without, with_ = (
            rpo_objective(scored, config=settings(sft_weight=weight))(pair) for weight in (0.0, 0.5)
        )
    torch.testing.assert_close(with_ - without, -0.5 * pair.chosen / pair.chosen_length)
    assert (with_ > without).all()


def test_another_objective_can_take_its_place(policy, weights_of, same_weights):
    """A loss without a gradient on the pairs leaves the policy where it was."""
    before = weights_of(policy)
    iterated_rpo(
        policy,
        all_pairs(),
        config=settings(),
        generator=seeded(),
        objective=lambda pair: 0.0 * pair.chosen,
    )
    assert same_weights(weights_of(policy), before)


def test_what_is_refused():
    scored = all_pairs()
    with pytest.raises(ValueError, match=r"21 pairs need as many scores .* got shapes \(21,\) and \(3,\)"):
        ScoredPairs(scored.pairs, scored.chosen, torch.zeros(3))
    for changes in ({"rounds": 0}, {"kl_weight": 0.0}, {"sft_weight": -1.0}):
        with pytest.raises(ValueError, match="must be"):
            settings(**changes)
