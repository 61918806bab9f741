"""Pairs that the policy writes itself: online DPO, and DPO in rounds.

An offline run sees pairs of the SFT model's answers. Online DPO sees as many, but each pair comes from the policy as
it is at that step; iterated DPO stands between the two, with a third of the pairs written anew before each of three
rounds.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from rlhf_mini.chapters.direct.objectives import dpo
from rlhf_mini.chapters.direct.training import BATCH, WARMUP, settings
from rlhf_mini.data.chat import answer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.dpo import kept_reference, train_on_pairs
from rlhf_mini.methods.online_dpo import (
    Judge,
    OnlineDPOConfig,
    judged_pairs,
    online_dpo,
    prefer_higher,
)
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

JUDGES = ("panel", "reward model")
ROUNDS = 3


def panel_judge(seed: int) -> Judge:
    """One annotator of the panel a pair, who errs and has tastes, as for the offline pairs."""
    calls = 0

    def judge(prompts: list[str], first: list[str], second: list[str]) -> Tensor:
        nonlocal calls
        rows = [
            {"prompt": p, "first": a, "second": b} for p, a, b in zip(prompts, first, second, strict=True)
        ]
        judged = stories.annotate(rows, seed=seed + calls)
        calls += 1
        return torch.tensor([bool(row["first_won"]) for row in judged])

    return judge


def judge_of(pipeline: Pipeline, name: str) -> Judge:
    """The annotators or the reward model.

    Raises:
        ValueError: on another name.
    """
    if name == "panel":
        return panel_judge(pipeline.seed_for("chapter 07 online judge"))
    if name == "reward model":
        reward_model = pipeline.reward_model()
        return prefer_higher(lambda sequences: scores(reward_model, sequences), pipeline.tokenizer())
    raise ValueError(f"unknown judge {name!r}: choose one of {', '.join(JUDGES)}")


def prompts_for(pipeline: Pipeline, count: int) -> list[str]:
    """Training prompts, one a pair, the same in both kinds of run."""
    seed = pipeline.seed_for("chapter 07 online prompts")
    return [request.text for request in stories.draw_requests(count, seed=seed)]


def online(
    pipeline: Pipeline, folder: Path, *, judge: str, kl_weight: float, rate: float, count: int
) -> None:
    """A kept policy of online DPO, after `count` pairs."""
    reference = pipeline.policy("sft")
    policy = copy_of(reference)
    config = OnlineDPOConfig(
        steps=max(1, count // BATCH),
        batch=BATCH,
        max_new_tokens=pipeline.profile.max_new_tokens,
        optimizer=OptimizerConfig(learning_rate=rate, warmup_steps=WARMUP, final_fraction=0.05),
    )
    online_dpo(
        policy,
        reference,
        pipeline.tokenizer(),
        prompts_for(pipeline, count),
        judge_of(pipeline, judge),
        partial(dpo, kl_weight=kl_weight),
        config=config,
        generator=pipeline.generator("chapter 07 online"),
    )
    policy.save_pretrained(folder)


def iterated(
    pipeline: Pipeline, folder: Path, *, judge: str, kl_weight: float, rate: float, count: int, renewed: bool
) -> None:
    """A kept policy of DPO in `ROUNDS` rounds, `count` pairs in all; `renewed`: each starts a new reference."""
    tokenizer, generator = pipeline.tokenizer(), pipeline.generator("chapter 07 iterated")
    reference, asked, chooses = (
        pipeline.policy("sft"),
        prompts_for(pipeline, count),
        judge_of(pipeline, judge),
    )
    policy = copy_of(reference)
    share = len(asked) // ROUNDS
    for round_ in range(ROUNDS):
        prompts = asked[round_ * share : (round_ + 1) * share]
        first, second = (
            answer(
                policy,
                tokenizer,
                prompts,
                max_new_tokens=pipeline.profile.max_new_tokens,
                generator=generator,
            )
            for _ in range(2)
        )
        pairs = judged_pairs(tokenizer, prompts, first, second, chooses(prompts, first, second))
        if renewed:
            reference = freeze(copy_of(policy))
        train_on_pairs(
            policy,
            pairs,
            kept_reference(reference, pairs),
            partial(dpo, kl_weight=kl_weight),
            config=settings(rate),
            generator=generator,
        )
    policy.save_pretrained(folder)
