"""The runs that no other chapter has: the critic-free methods on stories, and PPO at other prices of KL and other budgets.

All start from the SFT model and learn from the pipeline's reward model, on the prompts of the stage `ppo`. The critic-free
methods draw as many answers an iteration as PPO has episodes and make as many steps on them, at a learning rate of their own.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.group_methods import named_methods
from rlhf_mini.methods.groups import Groups
from rlhf_mini.methods.grpo import GRPOConfig, grpo
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.reward_parts import Part, cut_off_penalty
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo

SAMPLES = 4  # answers a prompt: the group
QUARTERS = (1, 2, 3, 4)


def saved_after(quarter: int) -> str:
    """The subfolder of a run's policy after so many quarters of its iterations.

    >>> saved_after(4)
    'after 4 quarters'
    """
    return f"after {quarter} quarter{'s' if quarter > 1 else ''}"


class Keeper:
    """Saves the policy after each quarter of the iterations, and at the end the log and what the run took."""

    def __init__(self, policy: PreTrainedModel, folder: Path, *, iterations: int) -> None:
        self.policy, self.folder, self.iterations = policy, folder, iterations
        self.started, self.spent = time.process_time(), dict[int, float]()

    def before(self, iteration: int) -> None:
        """To be called before an iteration's updates, the first being 0, and once with `iterations` at the end."""
        for quarter in QUARTERS:
            if iteration == self.iterations * quarter // max(QUARTERS) and quarter not in self.spent:
                self.spent[quarter] = time.process_time() - self.started
                self.policy.save_pretrained(self.folder / saved_after(quarter))

    def close(self, log: list[dict[str, float]]) -> None:
        """Save the last quarter, the log, and the processor's seconds up to each quarter."""
        self.before(self.iterations)
        (self.folder / "log.json").write_text(json.dumps(log))
        (self.folder / "processor_seconds.json").write_text(json.dumps([*self.spent.values()]))


def by_groups(pipeline: Pipeline, folder: Path, *, method: str, kl_weight: float, rate: float) -> None:
    """Kept: the policies of a method of `group_methods`, by its name there, after each quarter of its iterations.

    Dr. GRPO and the methods after it in that table have no place for KL: for them `kl_weight` must be 0. Raises ValueError on
    another name.
    """
    usual, tokenizer, reference = pipeline.profile.ppo, pipeline.tokenizer(), pipeline.policy("sft")
    methods = named_methods(longest=usual.max_new_tokens)
    if method not in methods:
        raise ValueError(f"unknown method {method!r}: choose one of {', '.join(methods)}")
    prompts, _ = prompts_for_ppo(pipeline)
    policy = copy_of(reference)
    keeper = Keeper(policy, folder, iterations=usual.iterations)

    def on_groups(iteration: int, groups: Groups, metrics: dict[str, float]) -> None:
        keeper.before(iteration)

    log = grpo(
        policy,
        reference,
        tokenizer,
        prompts,
        _parts(pipeline),
        methods[method],
        config=group_config(pipeline, kl_weight=kl_weight, rate=rate),
        generator=pipeline.generator("chapter 14 groups"),
        on_groups=on_groups,
    )
    keeper.close(log)


def _parts(pipeline: Pipeline) -> dict[str, Part]:
    """The reward model, and PPO's price of an answer without an end."""
    reward_model, end = pipeline.reward_model(), pipeline.tokenizer().eos_token_id

    def score(sequences: Sequences) -> torch.Tensor:
        return scores(reward_model, sequences)

    price = Part(cut_off_penalty(end_token=end), weight=pipeline.profile.ppo.missing_eos_penalty)
    return {"reward model": Part(score), "ended": price}


def group_config(pipeline: Pipeline, *, kl_weight: float, rate: float) -> GRPOConfig:
    """PPO's iterations, answers, minibatches and passes; groups of `SAMPLES`."""
    usual = pipeline.profile.ppo
    return GRPOConfig(
        iterations=usual.iterations,
        prompts=usual.episodes // SAMPLES,
        drawing=Drawing(samples=SAMPLES, temperature=usual.temperature, max_new_tokens=usual.max_new_tokens),
        minibatch=usual.minibatch,
        epochs=usual.epochs,
        optimizer=dataclasses.replace(usual.optimizer, learning_rate=rate),
        kl_weight=kl_weight,
    )


def by_ppo(pipeline: Pipeline, folder: Path, *, share: float | int = 1, **changes: Any) -> None:
    """Kept: the policies of PPO with some fields of the profile's `PPOConfig` changed, after each quarter of its iterations.

    `share`: of the profile's iterations, at least one. Nothing changed, the last policy is that of the stage `ppo`.
    """
    usual = pipeline.profile.ppo
    config = dataclasses.replace(usual, iterations=max(1, round(share * usual.iterations)), **changes)
    reward_model, policy = pipeline.reward_model(), copy_of(pipeline.policy("sft"))
    prompts, add_gold = prompts_for_ppo(pipeline)
    keeper = Keeper(policy, folder, iterations=config.iterations)

    def on_rollout(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        keeper.before(iteration)
        add_gold(iteration, rollout, metrics)

    log = ppo(
        policy,
        value_model_for(reward_model).requires_grad_(True),
        pipeline.policy("sft"),
        lambda sequences: scores(reward_model, sequences),
        pipeline.tokenizer(),
        prompts,
        config=config,
        generator=pipeline.generator("ppo"),
        on_rollout=on_rollout,
    )
    keeper.close(log)
