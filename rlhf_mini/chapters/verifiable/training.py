"""The chapter's trainings, each kept: a start, a reward in parts, a method, and as many answers for all.

Whatever is paid for, the truth is logged: `TRUTH` takes part in every reward, at the weight 0 where a run does not
say otherwise.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.chapters.small_sums import tokenizer
from rlhf_mini.chapters.verifiable import taste
from rlhf_mini.chapters.verifiable.choices import (
    LONGEST,
    PREFERENCE,
    REWARDS,
    TRUTH,
    WITH_CRITIC,
    group_method,
)
from rlhf_mini.chapters.verifiable.starts import READER, problems, start_of
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing, text_score
from rlhf_mini.methods.critic_pretraining import pretrain_critic
from rlhf_mini.methods.grpo import GRPOConfig, grpo
from rlhf_mini.methods.ppo import PPOConfig, ppo, value_model_for
from rlhf_mini.methods.reward_parts import Part, score_parts, weighted_sum
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.sums_verifier import TextReward

ITERATIONS, WARMUP = 40, 5
ANSWERS, SAMPLES = 128, 8  # of an iteration, and to each prompt
RATE, RATE_OF_CRITIC, LAST_FRACTION = 5e-4, 1e-3, 0.1
WARM = 5  # of PPO's iterations go to its critic alone
STEPS_OF_CRITIC: Mapping[str, Any] = {"minibatch": ANSWERS // 4, "epochs": 4}  # on each of their draws
# What a run does unless it says otherwise; `minibatch` None is all answers at once.
USUAL: Mapping[str, Any] = {
    "start": READER,
    "reward": {"answer right": 1.0},
    "method": "GRPO",
    "changes": {},
    "rate": RATE,
    "iterations": ITERATIONS,
    "samples": SAMPLES,
    "minibatch": None,
    "epochs": 1,
    "kl_weight": 0.0,
    "redraws": 0,
}
LOGGED = (
    "reward", *(f"score_{name}" for name in (*REWARDS, PREFERENCE)), "pass_rate", "pass_any", "without_spread",
    "entropy", "length", "length_right", "length_wrong", "finished", "kl_k1", "loss", "policy_loss", "kl_loss",
    "grad_norm", "ratio_deviation", "clip_fraction", "drawn", "seconds",
)  # fmt: skip


def trained(pipeline: Pipeline, folder: Path, **changes: Any) -> None:
    """A kept policy and its log, an entry an iteration; `changes` are of `USUAL`.

    `start` is a name, or the settings of a kept training that this one goes on from.
    """
    settings = {**USUAL, **changes}
    if unknown := changes.keys() - USUAL.keys():
        raise ValueError(f"a run has no {sorted(unknown)}; it has {sorted(USUAL)}")
    before = beginning(pipeline, settings["start"])
    policy = copy_of(before)
    learn = with_critic if settings["method"] == WITH_CRITIC else in_groups
    log = learn(pipeline, policy, before, **settings)
    policy.save_pretrained(folder)
    kept = [{name: entry[name] for name in LOGGED if name in entry} for entry in log]
    (folder / "log.json").write_text(json.dumps(kept))


def beginning(pipeline: Pipeline, start: str | Mapping[str, Any]) -> PreTrainedModel:
    """The model that a run starts from, frozen: a start by name, or the policy of an earlier run."""
    if isinstance(start, str):
        return start_of(pipeline, start)
    folder = pipeline.kept(trained, **start)
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)


class Reading:
    """The words of the answers that were asked about last, read once for all rewards that look at them."""

    def __init__(self) -> None:
        self._of: Sequences | None = None
        self._pairs: list[tuple[str, str]] = []
        self._read = text_score(tokenizer(), self._note)

    def _note(self, prompt: str, text: str) -> float:
        self._pairs.append((prompt, text))
        return 0.0

    def score(self, reward: TextReward) -> Score:
        """A reward on words as a reward on sequences."""

        def score(sequences: Sequences) -> torch.Tensor:
            if sequences is not self._of:
                self._of, self._pairs = sequences, []
                self._read(sequences)
            return torch.tensor([reward(*pair) for pair in self._pairs])

        return score


def reward_parts(pipeline: Pipeline, reward: Mapping[str, float]) -> dict[str, Part]:
    """The parts of a reward with their weights, and the truth at the weight 0."""
    reading = Reading()
    weights = {**reward, **{name: 0.0 for name in TRUTH if name not in reward}}
    return {
        name: Part(taste.preference(pipeline) if name == PREFERENCE else reading.score(REWARDS[name]), weight)
        for name, weight in weights.items()
    }


def asked(pipeline: Pipeline) -> list[list[int]]:
    """The prompts of every training, encoded."""
    words = tokenizer()
    return [encode_prompt(words, problem.text) for problem in problems(pipeline, "asked")]


def optimizer(settings: Mapping[str, Any]) -> OptimizerConfig:
    """The rate rises for `WARMUP` iterations, because Adam's first steps are as large for noise as for anything, then falls."""
    steps = settings["epochs"] * (ANSWERS // (settings["minibatch"] or ANSWERS))
    rate = settings["rate"]
    return OptimizerConfig(learning_rate=rate, warmup_steps=WARMUP * steps, final_fraction=LAST_FRACTION)


def in_groups(
    pipeline: Pipeline, policy: PreTrainedModel, reference: PreTrainedModel, **settings: Any
) -> list[dict[str, float]]:
    """Train with a group method; returns the log, with the lengths of right and of wrong answers."""
    config = GRPOConfig(
        iterations=settings["iterations"],
        prompts=ANSWERS // settings["samples"],
        drawing=Drawing(samples=settings["samples"], temperature=1.0, max_new_tokens=LONGEST),
        minibatch=settings["minibatch"] or ANSWERS,
        epochs=settings["epochs"],
        optimizer=optimizer(settings),
        kl_weight=settings["kl_weight"],
        redraws=settings["redraws"],
    )

    def add_lengths(iteration: int, groups: Any, metrics: dict[str, float]) -> None:
        right = groups.scores["answer right"] > 0
        lengths = groups.answers.sequences.response.sum(1).float()
        for name, chosen in (("right", right), ("wrong", ~right)):
            metrics[f"length_{name}"] = float(lengths[chosen].mean()) if chosen.any() else metrics["length"]

    return grpo(
        policy,
        reference,
        tokenizer(),
        asked(pipeline),
        reward_parts(pipeline, settings["reward"]),
        group_method(settings["method"], **settings["changes"]),
        config=config,
        generator=pipeline.generator("chapter 12 training"),
        on_groups=add_lengths,
    )


def with_critic(
    pipeline: Pipeline, policy: PreTrainedModel, reference: PreTrainedModel, **settings: Any
) -> list[dict[str, float]]:
    """PPO with a critic of the policy's size, whose first `WARM` iterations the policy does not learn in."""
    parts, prompts, words = reward_parts(pipeline, settings["reward"]), asked(pipeline), tokenizer()

    def score(sequences: Sequences) -> torch.Tensor:
        return weighted_sum(parts, score_parts(parts, sequences))

    def config(iterations: int, steps: Mapping[str, Any], optimizer: OptimizerConfig) -> PPOConfig:
        return PPOConfig(
            iterations=iterations,
            episodes=ANSWERS,
            minibatch=steps["minibatch"] or ANSWERS,
            epochs=steps["epochs"],
            max_new_tokens=LONGEST,
            optimizer=optimizer,
            kl_weight=settings["kl_weight"],
            value_clip_range=1e9,
            value_weight=1.0,
            gae_lambda=1.0,
            missing_eos_penalty=0.0,
        )

    critic = value_model_for(new_reward_model(reference, seed=pipeline.seed)).requires_grad_(True)
    generator = pipeline.generator("chapter 12 training")
    warm = config(WARM, STEPS_OF_CRITIC, OptimizerConfig(learning_rate=RATE_OF_CRITIC))
    pretrain_critic(critic, policy, reference, score, words, prompts, config=warm, generator=generator)

    def add_reward(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        metrics["reward"] = metrics["score"]

    return ppo(
        policy,
        critic,
        reference,
        score,
        words,
        prompts,
        config=config(settings["iterations"] - WARM, settings, optimizer(settings)),
        generator=generator,
        on_rollout=add_reward,
    )


def policy_of(pipeline: Pipeline, **changes: Any) -> PreTrainedModel:
    """The policy of a kept training, frozen."""
    return beginning(pipeline, changes)


def log_of(pipeline: Pipeline, **changes: Any) -> list[dict[str, float]]:
    """What a kept training logged, an entry an iteration."""
    return json.loads((pipeline.kept(trained, **changes) / "log.json").read_text())
