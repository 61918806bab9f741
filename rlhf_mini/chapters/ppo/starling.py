"""What Starling-7B is reported to have changed in PPO: a pretrained critic, and a price for length."""

import dataclasses
from typing import Any

from rlhf_mini.chapters.ppo.runs import usual, watched_run
from rlhf_mini.methods.critic_pretraining import pretrain_critic
from rlhf_mini.methods.shaped_scores import with_constant, with_length_reward
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo


def critic_first(pipeline: Pipeline, *, iterations: int, gae_lambda: float) -> dict[str, Any]:
    """A watched run whose value model has learned for some iterations before the policy moves.

    Returns `runs.outcome` with `critic`, the log of the critic's own training, one list a name.
    """
    parts = usual(pipeline)
    config = dataclasses.replace(parts.config, gae_lambda=gae_lambda)
    log = pretrain_critic(
        parts.value_model,
        pipeline.policy("sft"),
        pipeline.policy("sft"),
        parts.score,
        pipeline.tokenizer(),
        prompts_for_ppo(pipeline)[0],
        config=dataclasses.replace(config, iterations=iterations, kl_weight=0.0),
        generator=pipeline.generator("critic"),
    )
    run = watched_run(pipeline, dataclasses.replace(parts, config=config))
    return {**run, "critic": {name: [entry[name] for entry in log] for name in log[0]}}


def priced_length(pipeline: Pipeline, *, per_token: float) -> dict[str, Any]:
    """A watched run in which every token of an answer is rewarded with `per_token`, or costs it."""
    parts = usual(pipeline)
    score = with_length_reward(parts.score, per_token=per_token)
    return watched_run(pipeline, dataclasses.replace(parts, score=score))


def shifted_scores(pipeline: Pipeline, *, constant: float, gae_lambda: float) -> dict[str, Any]:
    """A watched run with a constant added to every score, which changes no comparison and no optimum."""
    parts = usual(pipeline)
    return watched_run(
        pipeline,
        dataclasses.replace(
            parts,
            score=with_constant(parts.score, constant=constant),
            config=dataclasses.replace(parts.config, gae_lambda=gae_lambda),
        ),
    )
