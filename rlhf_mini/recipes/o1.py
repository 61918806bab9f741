"""o1, as the open literature conjectures it: reinforcement learning on the outcome of worked solutions.

OpenAI has published no training method. What it reports is that accuracy rises with the compute of training
and with that of testing. This recipe is *a* method with these two properties, and not o1's: a model that
writes out its steps is paid for the right answer alone, and is then read out in three ways from one pool of
samples: one sample, the vote of several, and the best of several by a learned scorer.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedModel

from rlhf_mini.chapters.small_sums import tokenizer
from rlhf_mini.chapters.verifiable import training
from rlhf_mini.chapters.verifiable.choices import LONGEST, group_method
from rlhf_mini.chapters.verifiable.starts import start_of
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.groups import Groups
from rlhf_mini.methods.grpo import GRPOConfig, grpo
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes.reading_out import read_outs
from rlhf_mini.recipes.recipe import Recipe

CHECKPOINTS = {"an eighth": 1 / 8, "a quarter": 1 / 4, "a half": 1 / 2, "rl": 1.0}  # share of the iterations


def checkpoint_iterations(iterations: int) -> dict[str, int]:
    """After how many iterations each checkpoint is saved; more than one may be after as many.

    >>> checkpoint_iterations(40)
    {'an eighth': 5, 'a quarter': 10, 'a half': 20, 'rl': 40}
    """
    return {name: round(share * iterations) for name, share in CHECKPOINTS.items()}


def reinforced(
    pipeline: Pipeline,
    start: PreTrainedModel,
    *,
    reward: Mapping[str, float],
    iterations: int,
    method: str,
    rate: float,
) -> tuple[dict[str, PreTrainedModel], list[dict[str, float]]]:
    """The checkpoints of one run of chapter 12's, frozen, in the order of `CHECKPOINTS`, and its log."""
    policy, due = copy_of(start), checkpoint_iterations(iterations)
    saved: dict[str, PreTrainedModel] = {}

    def keep(iteration: int, groups: Groups | None, metrics: dict[str, float]) -> None:
        for name, after in due.items():
            if iteration == after and name not in saved:
                saved[name] = freeze(copy_of(policy))

    samples, answers = training.SAMPLES, training.ANSWERS
    log = grpo(
        policy,
        None,
        tokenizer(),
        training.asked(pipeline),
        training.reward_parts(pipeline, reward),
        group_method(method),
        config=GRPOConfig(
            iterations=iterations,
            prompts=answers // samples,
            drawing=Drawing(samples=samples, temperature=1.0, max_new_tokens=LONGEST),
            minibatch=answers,
            epochs=1,
            optimizer=training.optimizer({"rate": rate, "epochs": 1, "minibatch": None}),
        ),
        generator=pipeline.generator("chapter 12 training"),
        on_groups=keep,
    )
    keep(iterations, None, {})
    return {name: saved[name] for name in CHECKPOINTS}, log


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    start: str,
    reward: Mapping[str, float],
    iterations: int,
    method: str,
    rate: float,
) -> None:
    """Saves the start and the checkpoints, `log.json` of the training and `test_time.json` of the read-outs.

    - `start`: a name of chapter 12's `starts.STARTS`; `reward`: weights of the parts of
      `verifiable.choices.REWARDS`; `method`: one of its `METHODS` without a critic; `rate`: of learning.
    """
    begun = start_of(pipeline, start)
    saved, log = reinforced(pipeline, begun, reward=reward, iterations=iterations, method=method, rate=rate)
    policies = {"sft": begun, **saved}
    for name, policy in policies.items():
        policy.save_pretrained(folder / name)
    (folder / "log.json").write_text(json.dumps(log))
    (folder / "test_time.json").write_text(json.dumps(read_outs(pipeline, policies)))


RECIPE = Recipe(
    name="o1",
    title="o1, as the open literature conjectures it",
    year=2024,
    report="OpenAI, Learning to reason with LLMs (blog), and the o1 system card, arXiv 2412.16720",
    address="https://openai.com/index/learning-to-reason-with-llms",
    data="Public, licensed and own data for pretraining; those of reinforcement learning are not stated",
    reward="Not stated; a learned scoring function is named, at test time only",
    optimiser='"Our large-scale reinforcement learning algorithm"; undisclosed',
    anchor="Not stated",
    rounds="Not stated",
    reported=(
        "AIME 2024, o1, one sample: 74.4% (App. A)",
        "AIME 2024, o1, consensus of 64 samples: 83.3% (App. A)",
        "AIME 2024, o1, 1000 samples re-ranked by a learned scoring function: 93% (text)",
    ),
    left_out=(
        "The model, the data, the reward, the algorithm and the length of the chains",
        "The compute on either axis of its two plots",
        "What the scoring function is, and whether there is a search",
    ),
    set_right=(
        '"It was trained with verifiable rewards", "a process reward model", "tree search": nowhere stated',
        '"83% against 13% of GPT-4o": these are of 64 samples; of one sample, 74.4 against 9.3',
        '"o1-preview reaches 74%": that is o1; o1-preview has 44.6',
        '"Elo 1807 and the 49th percentile at the IOI": those are of o1-ioi; o1 has 1,673 on Codeforces',
        '"93% is pass@1000": it is one choice among 1000 samples',
    ),
    train=train,
    steps=("sft", *CHECKPOINTS),
    departures=(
        "All of it is a conjecture: GRPO on outcomes is what the open literature has (R1, Tülu 3)",
        "Sums of two numbers, which a program checks, and a model of its own: no story is told",
        "A solution has as many steps as the sum has columns: more thinking exists only as more samples",
        "Compute is counted in iterations and in samples",
    ),
    settings={
        "start": "the reader",
        "reward": {"answer right": 1.0},
        "iterations": 40,
        "method": "GRPO",
        "rate": 5e-4,
    },
    variants={
        "no steps written": {"start": "answers alone"},
        "steps paid, not the answer": {"reward": {"steps right": 1.0}},
    },
    world="sums",
)
