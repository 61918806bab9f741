"""APA's step and its training: what it looks at, what λ does, and that it climbs."""

import dataclasses
import inspect
import math

import pytest
import torch

import rlhf_mini.methods.apa as module
from rlhf_mini.exact import kl_divergence, kl_optimum
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import policy_gradient_loss
from rlhf_mini.methods.apa import APAConfig, apa, apa_step_loss
from rlhf_mini.methods.ppo import collect
from rlhf_mini.models import copy_of, freeze, response_logp
from rlhf_mini.tensors import masked_mean


def settings(**changes) -> APAConfig:
    numbers = {
        "iterations": 2,
        "episodes": 16,
        "minibatch": 8,
        "epochs": 1,
        "max_new_tokens": 3,
        "optimizer": OptimizerConfig(learning_rate=1e-2),
        "kl_weight": 0.5,
        "missing_eos_penalty": 0.0,
    }
    return APAConfig(**{**numbers, **changes})


@pytest.fixture
def rollout(toy_policy, toy_values, toy_score, toy_tokenizer):
    return collect(
        toy_policy,
        toy_values,
        freeze(copy_of(toy_policy)),
        toy_score,
        toy_tokenizer,
        [[0]] * 16,
        config=settings().rollouts,
        kl_weight=0.0,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.fixture
def run(toy_policy, toy_values, toy_score, toy_tokenizer):
    """Trains copies; returns the policy and the log."""

    def run(config, **more):
        policy = copy_of(toy_policy)
        log = apa(
            policy,
            copy_of(toy_values),
            freeze(copy_of(toy_policy)),
            toy_score,
            toy_tokenizer,
            [[0]],
            config=config,
            generator=torch.Generator().manual_seed(0),
            **more,
        )
        return policy, log

    return run


def gradient_of(loss, policy):
    policy.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in policy.parameters()])


def test_the_loss_by_hand(toy_policy, toy_values, rollout):
    """The policy is the initial one: the regression's error is −A/λ on every token."""
    loss, metrics = apa_step_loss(toy_policy, toy_values, rollout, config=settings(value_weight=0.2))
    response = rollout.sequences.response
    regression = float(rollout.advantages[response].square().mean()) / 0.5**2
    value = float(0.5 * (rollout.values_old - rollout.returns)[response].square().mean())
    assert float(metrics["policy_loss"]) == pytest.approx(regression, rel=1e-4)
    assert float(metrics["value_loss"]) == pytest.approx(value, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(regression + 0.2 * value, rel=1e-4)
    assert float(metrics["distance"]) == pytest.approx(0, abs=1e-5)


def test_the_first_step_is_the_policy_gradient_s(toy_policy, toy_values, rollout):
    loss, _ = apa_step_loss(toy_policy, toy_values, rollout, config=settings(value_weight=0.0))
    ours = gradient_of(loss, toy_policy)
    sequences = rollout.sequences
    logp = response_logp(toy_policy, sequences.tokens, sequences.mask, sequences.response)
    plain = masked_mean(policy_gradient_loss(logp, rollout.advantages), sequences.response)
    torch.testing.assert_close(ours, 2 / 0.5 * gradient_of(plain, toy_policy), rtol=1e-3, atol=1e-5)


def test_it_depends_on_the_drawing_policy_nowhere(toy_policy, toy_values, rollout):
    junk = dataclasses.replace(rollout, logp_old=rollout.logp_old - 7.0)
    one, other = (
        apa_step_loss(toy_policy, toy_values, each, config=settings())[0] for each in (rollout, junk)
    )
    assert torch.equal(one, other)


def test_rewards_have_paid_nothing_for_kl(run):
    """Not even when the policy has moved: what the tokens earn adds up to the score."""
    seen = []
    run(settings(iterations=4), on_rollout=lambda number, rollout, metrics: seen.append((rollout, metrics)))
    assert [metrics["kl_weight"] for _, metrics in seen] == [0.0] * 4
    assert seen[-1][1]["kl_k3"] > 1e-3
    for rollout, _ in seen:
        earned = (rollout.rewards * rollout.sequences.response).sum(1)
        torch.testing.assert_close(earned, rollout.scores, rtol=0, atol=1e-5)


def test_advantages_are_whitened(run):
    def look(number, rollout, metrics):
        kept = rollout.advantages[rollout.sequences.response]
        assert float(kept.mean()) == pytest.approx(0, abs=1e-5)
        assert float(kept.std()) == pytest.approx(1, abs=0.05)

    run(settings(), on_rollout=look)


def test_it_climbs_and_a_smaller_weight_goes_further(run, toy_policy, exact_logp, language, text_rewards):
    """Exact expectations over all texts; the largest is what a policy without any anchor could reach."""
    rewards = torch.tensor([text_rewards[text] for text in language.texts], dtype=torch.float64)
    start = exact_logp(toy_policy).double()
    found = {}
    for weight in (0.3, 30.0):
        policy, _ = run(settings(iterations=60, episodes=64, minibatch=64, kl_weight=weight))
        logp = exact_logp(policy).double()
        found[weight] = (float((logp.exp() * rewards).sum()), float(kl_divergence(logp, start)))
    before = float((start.exp() * rewards).sum())
    reachable = float((kl_optimum(start, rewards, kl_weight=0.05).logp.exp() * rewards).sum())
    assert found[0.3][0] > before + 0.3 * (reachable - before)
    assert found[0.3][1] > 0.1
    assert found[30.0][1] < 0.05


def test_the_log_and_the_models(run):
    policy, log = run(settings(iterations=3))
    assert len(log) == 3
    assert {"policy_loss", "value_loss", "distance", "score", "kl_k1", "length", "seconds"} <= {*log[0]}
    assert not policy.training


def test_the_rollouts_are_ppo_s():
    config = settings(gae_lambda=0.9, temperature=0.7)
    for name in ("iterations", "episodes", "minibatch", "epochs", "gae_lambda", "temperature", "optimizer"):
        assert getattr(config.rollouts, name) == getattr(config, name)
    assert config.rollouts.kl_weight == 0
    assert APAConfig(
        **{n: getattr(config, n) for n in list(inspect.signature(APAConfig).parameters)[:6]}
    ) == (
        APAConfig(
            iterations=2, episodes=16, minibatch=8, epochs=1, max_new_tokens=3, optimizer=config.optimizer
        )
    )


def test_what_is_refused(run, toy_policy, toy_values, toy_score, toy_tokenizer):
    for wrong in (0.0, math.inf, -0.1):
        with pytest.raises(ValueError, match="kl_weight must be finite and above 0"):
            settings(kl_weight=wrong)
    with pytest.raises(ValueError, match="must be a multiple of minibatch"):
        settings(minibatch=5)
    with pytest.raises(ValueError, match="shares its weights"):
        module.apa(
            toy_policy,
            toy_values,
            toy_policy,
            toy_score,
            toy_tokenizer,
            [[0]],
            config=settings(),
            generator=torch.Generator(),
        )
