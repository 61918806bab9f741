"""The temperature of sampling and that of scoring, when they are not the same."""

import math
from typing import Any

import torch
from torch import nn

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.chapters.ppo.runs import Ingredients, Watch, outcome, usual
from rlhf_mini.data.chat import draw
from rlhf_mini.loop import Training
from rlhf_mini.methods.ppo import estimated, update
from rlhf_mini.methods.rollouts import rollout_metrics, scored
from rlhf_mini.models import response_logp
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo


def mismatched(pipeline: Pipeline, *, sampled_at: float, recomputed: bool) -> dict[str, Any]:
    """PPO whose answers are drawn at one temperature and learned from at temperature 1; see `runs.outcome`.

    The rollout's log-probabilities are the sampler's, at its temperature; or, `recomputed`, the policy's at
    temperature 1, so that every ratio starts at 1 and the check on it has nothing to see.

    PPO's own function has one temperature for both, so this loop is made of its steps.
    """
    parts, generator = usual(pipeline), pipeline.generator("ppo")
    config, end_token = parts.config, pipeline.tokenizer().eos_token_id
    prompts, add_gold = prompts_for_ppo(pipeline)
    watch = Watch(pipeline, parts, temperature=sampled_at)
    models, log = nn.ModuleDict({"policy": parts.policy, "value": parts.value_model}).eval(), []
    with Training(
        models, optimizer=config.optimizer, steps=config.steps, hooks=[watch.on_step], description="PPO"
    ) as training:
        for iteration in range(config.iterations):
            chosen = torch.randint(len(prompts), (config.episodes,), generator=generator).tolist()
            rollout = _drawn(
                pipeline,
                parts,
                [prompts[i] for i in chosen],
                generator,
                temperature=sampled_at,
                recomputed=recomputed,
            )
            metrics = rollout_metrics(rollout, kl_weight=config.kl_weight, end_token=end_token)
            add_gold(iteration, rollout, metrics)
            watch.on_rollout(iteration, rollout, metrics)
            entries = update(
                training,
                parts.policy,
                parts.value_model,
                rollout,
                config=config,
                generator=generator,
                ratio_tolerance=math.inf,
            )
            means = {name: sum(entry[name] for entry in entries) / len(entries) for name in entries[0]}
            log.append({**means, **metrics, "seconds": sum(entry["seconds"] for entry in entries)})
    return outcome(pipeline, watch, log)


def _drawn(
    pipeline: Pipeline,
    parts: Ingredients,
    prompts: list[tuple[int, ...]],
    generator: torch.Generator,
    *,
    temperature: float,
    recomputed: bool,
) -> Rollout:
    """A rollout sampled at `temperature`, with everything else at the configuration's."""
    tokenizer, config = pipeline.tokenizer(), parts.config
    samples = draw(
        parts.policy,
        tokenizer,
        prompts,
        max_new_tokens=config.max_new_tokens,
        generator=generator,
        temperature=temperature,
    )
    if recomputed:
        with torch.no_grad():
            logp = response_logp(parts.policy, samples.tokens, samples.mask, samples.response)
        samples = samples._replace(logp=logp)
    return estimated(
        samples,
        scored(parts.score, Sequences(samples.tokens, samples.mask, samples.response)),
        parts.value_model,
        pipeline.policy("sft"),
        config=config,
        kl_weight=config.kl_weight,
        end_token=tokenizer.eos_token_id,
    )
