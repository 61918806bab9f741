"""PPO on top of a rejection-sampled policy, as in Llama 2's last version: its reward is the whitened logit of R_c."""

import dataclasses
from collections.abc import Callable

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

ITERATIONS = 10


def whitened(score: Callable[[Sequences], Tensor]) -> Callable[[Sequences], Tensor]:
    """The score with mean 0 and variance 1 over each rollout."""

    def of(sequences: Sequences) -> Tensor:
        raw = score(sequences)
        return whiten(raw, torch.ones_like(raw, dtype=torch.bool), shift_mean=True)

    return of


def ppo_on_top(
    pipeline: Pipeline, *, memory: str = "all", iterations: int = ITERATIONS
) -> dict[str, dict[str, float]]:
    """A campaign's last policy before and after a few iterations of PPO against its last reward models."""
    folder = pipeline.kept(rounds.campaign, choose="best", memory=memory)
    start = freeze(AutoModelForCausalLM.from_pretrained(folder / f"v{rounds.ROUNDS}"))
    models = {side: sides.load(folder / side) for side in sides.SIDES}
    policy = copy_of(start)
    requests = stories.draw_requests(2000, seed=pipeline.seed_for("chapter 06 PPO prompts"))
    log = ppo(
        policy,
        value_model_for(models["helpfulness"]).requires_grad_(True),
        start,
        whitened(rounds.combined_score(pipeline, models)),
        pipeline.tokenizer(),
        [encode_prompt(pipeline.tokenizer(), request.text) for request in requests],
        config=dataclasses.replace(pipeline.profile.ppo, iterations=iterations),
        generator=pipeline.generator("chapter 06 PPO"),
    )
    return {
        "before": rounds.look(pipeline, start),
        "after": rounds.look(pipeline, freeze(policy)),
        "kl_to_start": {"kl_k3": log[-1]["kl_k3"]},
    }
