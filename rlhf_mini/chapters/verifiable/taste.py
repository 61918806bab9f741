"""People's taste in solutions, as a model learns it from pairs: the second stage's reward.

People like to count on from the larger number: of two solutions they prefer the one with more columns that begin with
the larger digit. They do not check the sum. The model that learns this from their choices knows it only where it has
seen it.
"""

import json
import math
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.chapters.small_sums import MAX_NEW_TOKENS, tokenizer
from rlhf_mini.chapters.verifiable.starts import problems, start_of
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.reward_model import RewardModelConfig, normalise, scores, train_reward_model
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.sums import read_solution

SOURCE = "in either order"  # the start whose solutions people have compared
PAIRS, TEST_PAIRS = 1000, 200
SHARPNESS = 4.0  # how much likelier a column more makes a choice, in nats
LEARNING = RewardModelConfig(
    epochs=4, batch=32, optimizer=OptimizerConfig(learning_rate=1e-3, final_fraction=0.1)
)


def larger_first(text: str) -> float:
    """The share of the written steps whose first number is not smaller than the second; 0 without steps.

    >>> larger_first("8+7=15 2+5+1=8 =85")
    0.5
    """
    steps = read_solution(text).steps
    return (
        sum(step.terms[0] >= max(step.terms[1:2], default=0) for step in steps) / len(steps) if steps else 0.0
    )


def pairs(pipeline: Pipeline, *, test: bool = False) -> tuple[list[str], list[str], list[str]]:
    """Prompts, and of two solutions of the start the one that people chose and the other one.

    The first is chosen with chance ``σ(SHARPNESS · (its columns − the other's))``.
    """
    purpose = f"chapter 12 pairs{' test' if test else ''}"
    count, rng, generator = TEST_PAIRS if test else PAIRS, pipeline.rng(purpose), pipeline.generator(purpose)
    prompts = [problem.text for problem in rng.choices(problems(pipeline, "asked"), k=count)]
    policy = start_of(pipeline, SOURCE)
    first, second = (
        answer(policy, tokenizer(), prompts, max_new_tokens=MAX_NEW_TOKENS, generator=generator)
        for _ in range(2)
    )
    chosen, rejected = [], []
    for one, other in zip(first, second, strict=True):
        chance = 1 / (1 + math.exp(SHARPNESS * (larger_first(other) - larger_first(one))))
        better, worse = (one, other) if rng.random() < chance else (other, one)
        chosen.append(better)
        rejected.append(worse)
    return prompts, chosen, rejected


def packed(told: tuple[list[str], list[str], list[str]]) -> Pairs:
    """Pairs in words as token sequences."""
    prompts, chosen, rejected = told
    words = tokenizer()
    return Pairs(chosen=pack_texts(words, prompts, chosen), rejected=pack_texts(words, prompts, rejected))


def learned(pipeline: Pipeline, folder: Path) -> None:
    """A kept reward model of the pairs, normalised on what was rejected, and how often it agrees with people."""
    shown, tested = packed(pairs(pipeline)), packed(pairs(pipeline, test=True))
    model = new_reward_model(start_of(pipeline, SOURCE), seed=pipeline.seed).requires_grad_(True)
    train_reward_model(model, shown, config=LEARNING, generator=pipeline.generator("chapter 12 taste"))
    normalise(model, shown.rejected)
    with torch.no_grad():
        agrees = (scores(model, tested.chosen) > scores(model, tested.rejected)).float().mean()
    model.save_pretrained(folder)
    (folder / "learned.json").write_text(json.dumps({"accuracy": float(agrees)}))


def accuracy(pipeline: Pipeline) -> float:
    """How often the learned taste chooses as people did, on pairs that it was not shown."""
    return float(json.loads((pipeline.kept(learned) / "learned.json").read_text())["accuracy"])


def preference(pipeline: Pipeline) -> Score:
    """The learned taste as a reward: mean 0 and deviation 1 on what people rejected."""
    model = freeze(AutoModelForSequenceClassification.from_pretrained(pipeline.kept(learned)))
    model = model.to(pipeline.device)

    def score(sequences: Sequences) -> Tensor:
        with torch.no_grad():
            return scores(model, sequences)

    return score
