"""PPO on top of a rejection-sampled policy, as in Llama 2's last version: its reward is the whitened logit of R_c."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.llama2 import rounds, sides
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.estimators import whiten
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

ITERATIONS, PROMPTS = 20, 2000
KL_WEIGHTS = {"light": 0.05, "heavy": 0.5}  # the light one is that of the chapter on PPO


def whitened(score: Callable[[Sequences], Tensor], *, means: list[float]) -> Callable[[Sequences], Tensor]:
    """The score with mean 0 and variance 1 over each rollout; what the mean was is appended to `means`."""

    def of(sequences: Sequences) -> Tensor:
        raw = score(sequences)
        means.append(float(raw.mean()))
        return whiten(raw, torch.ones_like(raw, dtype=torch.bool), shift_mean=True)

    return of


def ppo_on_top(pipeline: Pipeline, *, kl_weight: float, iterations: int = ITERATIONS) -> dict[str, Any]:
    """A campaign's last policy before and after some iterations of PPO against its last reward models.

    `reward` is the mean logit of R_c over each rollout, before it is whitened; `kl_to_start` that to the policy
    before, in the last rollout (nats an answer).
    """
    folder = pipeline.kept(rounds.campaign, choose="best", memory="all")
    start = freeze(AutoModelForCausalLM.from_pretrained(folder / f"v{rounds.ROUNDS}"))
    models = {side: sides.load(folder / side) for side in sides.SIDES}
    policy, reward = copy_of(start), list[float]()
    requests = stories.draw_requests(PROMPTS, seed=pipeline.seed_for("chapter 06 PPO prompts"))
    log = ppo(
        policy,
        value_model_for(models["helpfulness"]).requires_grad_(True),
        start,
        whitened(rounds.combined_score(pipeline, models), means=reward),
        pipeline.tokenizer(),
        [encode_prompt(pipeline.tokenizer(), request.text) for request in requests],
        config=dataclasses.replace(pipeline.profile.ppo, iterations=iterations, kl_weight=kl_weight),
        generator=pipeline.generator("chapter 06 PPO"),
    )
    return {
        "before": rounds.look(pipeline, start),
        "after": rounds.look(pipeline, freeze(policy)),
        "reward": reward,
        "kl_to_start": log[-1]["kl_k3"],
    }
