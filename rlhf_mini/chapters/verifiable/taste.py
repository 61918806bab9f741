"""People's taste in solutions, as a model learns it from pairs: the second stage's reward.

People like to see the carry first, in front of the digits that it is added to. They do not check the sum. The model
that learns this from their choices knows it only where it has seen it.
"""

import json
import math
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.chapters.small_sums import tokenizer
from rlhf_mini.chapters.verifiable.choices import LONGEST
from rlhf_mini.chapters.verifiable.orders import carries_first, has_carry
from rlhf_mini.chapters.verifiable.starts import EITHER, problems, start_of
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.reward_model import RewardModelConfig, normalise, scores, train_reward_model
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline

PAIRS, TEST_PAIRS = 1000, 200
DRAWN_FOR = 4  # draws for each pair that is wanted: most solutions of a draw agree
SHARPNESS = 4.0  # how much likelier a carry in front makes a choice, in nats
LEARNING = RewardModelConfig(
    epochs=4, batch=32, optimizer=OptimizerConfig(learning_rate=1e-3, final_fraction=0.1)
)


def pairs(pipeline: Pipeline, *, test: bool = False) -> tuple[list[str], list[str], list[str]]:
    """Prompts, and of two solutions of the start the one that people chose and the other one.

    Only sums with a carry are asked, and only pairs that differ in what people like are kept. The solution with the
    carry in front is chosen with chance ``σ(SHARPNESS)``. Raises ValueError if too few pairs differ.
    """
    purpose = f"chapter 12 pairs{' test' if test else ''}"
    count, rng, generator = TEST_PAIRS if test else PAIRS, pipeline.rng(purpose), pipeline.generator(purpose)
    carrying = [problem.text for problem in problems(pipeline, "asked") if has_carry(problem.text)]
    drawn = rng.choices(carrying, k=DRAWN_FOR * count)
    policy = start_of(pipeline, EITHER)
    first, second = (
        answer(policy, tokenizer(), drawn, max_new_tokens=LONGEST, generator=generator) for _ in range(2)
    )
    prompts, chosen, rejected = [], [], []
    for prompt, one, other in zip(drawn, first, second, strict=True):
        liked = carries_first(prompt, one) - carries_first(prompt, other)
        if liked == 0:
            continue
        better = rng.random() < 1 / (1 + math.exp(-SHARPNESS * liked))
        prompts.append(prompt)
        chosen.append(one if better else other)
        rejected.append(other if better else one)
    if len(prompts) < count:
        raise ValueError(f"{count} pairs that differ are wanted, and {len(prompts)} of {len(drawn)} do")
    return prompts[:count], chosen[:count], rejected[:count]


def packed(told: tuple[list[str], list[str], list[str]]) -> Pairs:
    """Pairs in words as token sequences."""
    prompts, chosen, rejected = told
    words = tokenizer()
    return Pairs(chosen=pack_texts(words, prompts, chosen), rejected=pack_texts(words, prompts, rejected))


def learned(pipeline: Pipeline, folder: Path) -> None:
    """A kept reward model of the pairs, normalised on what was rejected, and how often it agrees with people."""
    shown, tested = packed(pairs(pipeline)), packed(pairs(pipeline, test=True))
    model = new_reward_model(start_of(pipeline, EITHER), seed=pipeline.seed).requires_grad_(True)
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
