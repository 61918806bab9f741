"""Methods that learn from a reward: PPO and what belongs to it, and the group methods."""

from collections.abc import Callable

import torch
from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.methods import group_methods
from rlhf_mini.methods.ppo import PPOConfig, ppo, value_model_for
from rlhf_mini.models import freeze
from tests.distributed.small import (
    ADAMW,
    DRAWING,
    PROMPTS,
    Result,
    language_model,
    reward_model,
    score,
    seeded,
    texts,
    word_tokenizer,
)


def ppo_settings(**changes: object) -> PPOConfig:
    numbers = {
        "iterations": 2,
        "episodes": 14,
        "minibatch": 7,
        "epochs": 2,
        "max_new_tokens": 6,
        "optimizer": ADAMW,
        "kl_weight": 0.1,
        "kl_target": 0.5,
        "temperature": 1.3,
        "clip_range": 0.05,
        "value_clip_range": 0.05,
    }
    return PPOConfig(**(numbers | changes))


def proximal() -> Result:
    """Whitening over the rollout, a value model, and the pretraining term of PPO-ptx."""
    from rlhf_mini.methods.pretraining_mix import pretraining_mix
    from rlhf_mini.methods.rehearsal import RehearsalConfig

    policy, values = language_model(), value_model_for(reward_model(2)).double()
    mix = pretraining_mix(
        policy,
        texts(9, seed=5),
        config=RehearsalConfig(documents_per_step=3, document_weight=0.3),
        generator=seeded(9),
    )
    log = ppo(
        policy,
        values,
        freeze(language_model(0)),
        score,
        word_tokenizer(),
        PROMPTS,
        config=ppo_settings(),
        generator=seeded(),
        auxiliary=mix,
    )
    return log, {"policy": policy, "values": values}


def learned_reward() -> Result:
    """PPO against a reward model, which every process asks for its rows."""
    from rlhf_mini.models import sequence_scores

    judge = freeze(reward_model(3))

    @torch.no_grad()
    def learned(sequences: Sequences) -> Tensor:
        return sequence_scores(judge, sequences.tokens, sequences.mask)

    policy, values = language_model(), value_model_for(reward_model(2)).double()
    log = ppo(
        policy,
        values,
        freeze(language_model(0)),
        learned,
        word_tokenizer(),
        PROMPTS,
        config=ppo_settings(iterations=1),
        generator=seeded(),
    )
    return log, {"policy": policy, "values": values}


def critic_first() -> Result:
    from rlhf_mini.methods.critic_pretraining import pretrain_critic

    policy, values = freeze(language_model()), value_model_for(reward_model(2)).double()
    log = pretrain_critic(
        values,
        policy,
        policy,
        score,
        word_tokenizer(),
        PROMPTS,
        config=ppo_settings(iterations=1),
        generator=seeded(),
    )
    return log, {"values": values}


def advantage_induced() -> Result:
    from rlhf_mini.methods.apa import APAConfig, apa

    policy, values = language_model(), value_model_for(reward_model(2)).double()
    config = APAConfig(
        iterations=2, episodes=14, minibatch=7, epochs=1, max_new_tokens=6, optimizer=ADAMW, kl_weight=0.5
    )
    initial = freeze(language_model())
    log = apa(policy, values, initial, score, word_tokenizer(), PROMPTS, config=config, generator=seeded())
    return log, {"policy": policy, "values": values}


def group_method(name: str) -> Callable[[], Result]:
    def run() -> Result:
        from rlhf_mini.methods.grpo import GRPOConfig, grpo
        from rlhf_mini.methods.reward_parts import Part

        policy, method = language_model(), group_methods.named_methods(longest=6)[name]
        config = GRPOConfig(
            iterations=2,
            prompts=3,
            drawing=DRAWING,
            minibatch=3,
            epochs=2,
            optimizer=ADAMW,
            kl_weight=0.1 if method.can_pay_for_kl else 0.0,
        )
        log = grpo(
            policy,
            freeze(language_model(1)),
            word_tokenizer(),
            PROMPTS,
            {"verifier": Part(score)},
            method,
            config=config,
            generator=seeded(),
        )
        return log, {"policy": policy}

    return run
