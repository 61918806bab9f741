"""PPO against the algebra: the policy lands on π* ∝ π_ref exp(r/β), which the toy language gives exactly."""

import pytest
import torch

from rlhf_mini.exact import expectation, kl_divergence, kl_objective, kl_optimum
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.ppo import PPOConfig, ppo
from rlhf_mini.models import copy_of, freeze

BETA, PENALTY = 1.0, 0.5


def trained(policy, value_model, score, tokenizer, *, iterations, seed=0):
    config = PPOConfig(
        iterations=iterations,
        episodes=256,
        minibatch=128,
        epochs=2,
        max_new_tokens=3,
        kl_weight=BETA,
        missing_eos_penalty=PENALTY,
        value_weight=0.5,
        optimizer=OptimizerConfig(learning_rate=5e-3, final_fraction=0.0),
    )
    reference, policy = freeze(policy), copy_of(policy)
    generator = torch.Generator().manual_seed(seed)
    log = ppo(policy, value_model, reference, score, tokenizer, [[0]], config=config, generator=generator)
    return policy, log


@pytest.mark.slow  # sixty iterations of PPO: five seconds on one core
def test_ppo_lands_on_the_optimum_of_its_objective(
    language, toy_policy, toy_values, toy_score, text_rewards, toy_tokenizer, exact_logp
):
    """Start: 0.46 nats from π*. Four seeds ended between 0.0100 and 0.0113; half the β is 0.5 nats off."""
    rewards = language.score(lambda text: text_rewards[text] - PENALTY * (text[-1] != language.end_token))
    start = exact_logp(toy_policy)
    optimum = kl_optimum(start, rewards, kl_weight=BETA)
    assert kl_divergence(start, optimum.logp) > 0.4

    policy, log = trained(toy_policy, toy_values, toy_score, toy_tokenizer, iterations=60)

    end = exact_logp(policy)
    assert kl_divergence(end, optimum.logp) < 0.02
    assert kl_objective(end, start, rewards, kl_weight=BETA) > optimum.value - 0.02
    # What training logged about itself is true: the last rollout's estimates agree with the sums. With 256
    # episodes the standard errors are near 0.05; 0.25 is five of them.
    exact_rewards = language.score(lambda text: text_rewards[text])
    assert log[-1]["score"] == pytest.approx(float(expectation(end, exact_rewards)), abs=0.25)
    assert log[-1]["kl_k3"] == pytest.approx(float(kl_divergence(end, start)), abs=0.25)
    assert log[-1]["kl_k1"] == pytest.approx(float(kl_divergence(end, start)), abs=0.25)


def test_ppo_follows_the_sign_of_the_reward(
    language, toy_policy, toy_values, toy_score, text_rewards, toy_tokenizer, exact_logp
):
    rewards = language.score(lambda text: text_rewards[text])
    start = exact_logp(toy_policy)

    policy, _ = trained(
        toy_policy, toy_values, lambda sequences: -toy_score(sequences), toy_tokenizer, iterations=15
    )

    end = exact_logp(policy)
    assert expectation(end, rewards) < expectation(start, rewards) - 0.3
    unfinished = language.score(lambda text: text[-1] != language.end_token)
    right, wrong = (
        kl_optimum(start, sign * rewards - PENALTY * unfinished, kl_weight=BETA).logp for sign in (-1, 1)
    )
    assert kl_divergence(end, right) < 0.25 * kl_divergence(start, right)
    assert kl_divergence(end, wrong) > kl_divergence(start, wrong)
