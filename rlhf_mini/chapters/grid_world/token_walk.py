"""REINFORCE on the token world, held against the optimum that the algebra gives."""

import gymnasium
import torch
from torch import Tensor

from rlhf_mini.exact import (
    Optimum,
    TablePolicy,
    ToyLanguage,
    kl_divergence,
    kl_objective,
    kl_optimum,
)
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.episodes import (
    Episodes,
    TabularPolicy,
    TabularValues,
    collect,
    with_kl_penalty,
)
from rlhf_mini.methods.policy_gradient import PolicyGradientConfig, reinforce_with_baseline
from rlhf_mini.worlds.token_world import TOKEN_WORLD, rising_steps

LANGUAGE, KL_WEIGHT = ToyLanguage(), 0.5


def reference_logits(language: ToyLanguage = LANGUAGE) -> Tensor:
    """The reference: half of a standard normal number for each logit, the same for every seed; (S + 1, V)."""
    drawn = TablePolicy.random(language, generator=torch.Generator().manual_seed(2022)).logits.detach()
    return torch.cat([0.5 * drawn, drawn.new_zeros(1, language.vocabulary)])


def text_logp(policy: TabularPolicy, language: ToyLanguage = LANGUAGE) -> Tensor:
    """The log-probability of every text under a table over the world's states; (B,)."""
    return _text_logp(policy.logits.detach(), language)


def optimum(language: ToyLanguage = LANGUAGE, *, kl_weight: float = KL_WEIGHT) -> Optimum:
    """π*, from the reference and the rewards of all texts."""
    return kl_optimum(
        _text_logp(reference_logits(language), language), language.score(rising_steps), kl_weight=kl_weight
    )


def approach(
    seed: int, *, iterations: int = 400, episodes: int = 64, kl_weight: float = KL_WEIGHT
) -> dict[str, list[float]]:
    """REINFORCE with a learned baseline and a per-token KL penalty, started at the reference.

    Noted before every update and once at the end, all exactly: `objective`, E[r] − β KL(π ‖ π_ref);
    `kl_to_optimum`, KL(π ‖ π*); `kl_to_reference`, KL(π ‖ π_ref), both in nats per text.
    """
    envs = [gymnasium.make(TOKEN_WORLD, language=LANGUAGE, disable_env_checker=True) for _ in range(episodes)]
    states = len(LANGUAGE.states) + 1
    policy, values, reference = (
        TabularPolicy(states=states, actions=LANGUAGE.vocabulary),
        TabularValues(states=states),
        TabularPolicy(states=states, actions=LANGUAGE.vocabulary),
    )
    for table in (policy, reference):
        table.logits.data.copy_(reference_logits())
    rewards, best = LANGUAGE.score(rising_steps), optimum(kl_weight=kl_weight).logp
    logp_ref, generator = text_logp(reference), torch.Generator().manual_seed(seed)
    notes: dict[str, list[float]] = {"objective": [], "kl_to_optimum": [], "kl_to_reference": []}

    def note() -> None:
        logp = text_logp(policy)
        notes["objective"].append(float(kl_objective(logp, logp_ref, rewards, kl_weight=kl_weight)))
        notes["kl_to_optimum"].append(float(kl_divergence(logp, best)))
        notes["kl_to_reference"].append(float(kl_divergence(logp, logp_ref)))

    def play() -> Episodes:
        note()
        return with_kl_penalty(collect(envs, policy, generator=generator), reference, kl_weight=kl_weight)

    config = PolicyGradientConfig(
        iterations=iterations,
        optimizer=OptimizerConfig(learning_rate=0.05, final_fraction=0.0),
        discount=1.0,
    )
    reinforce_with_baseline(policy, values, play, config=config)
    note()
    return notes


def _text_logp(logits: Tensor, language: ToyLanguage) -> Tensor:
    return language.from_table(logits[:-1].log_softmax(-1)).sum(1)
