"""Where the chapter's runs begin: small models that have read worked sums, with faults or without their steps.

A policy can only learn from what it sometimes does. So all runs begin with models that have read much: worked sums,
right and wrong ones, answers without steps, and now and then a list of numbers or a step said twice. They differ in
what they were shown last. The sums that a run asks for were in no demonstration: a model that has learned a wrong
solution by heart would write nothing else.
"""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.small_sums import BATCH, LEVEL, fine_tuned_start, tokenizer
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import Sum

CONTEXT = 64
READ, SHOWN, ASKED = 4000, 1000, 640  # sums read by all, shown last to a start, asked for in training
EPOCHS = 14  # of what all have read
LAST_EPOCHS, LAST_RATE = 2, 5e-4  # of what a start is shown last
READER = "the reader"
# What all have read, and what a start has been shown last, as in `demonstrations`; nothing is nothing.
READINGS: Mapping[str, float] = {"error_rate": 0.35, "bare": 0.1, "lists": 0.04, "stutters": 0.04}
STARTS: Mapping[str, dict[str, Any]] = {
    READER: {},
    "a fifth right": {"error_rate": 0.8},
    "hardly ever right": {"error_rate": 0.97},
    "answers alone": {"error_rate": 0.2, "bare": 1.0},
    "steps once in five": {"error_rate": 0.2, "bare": 0.8},
    "in either order": {"error_rate": 0.3, "either_order": True},
}
LISTED = 3  # numbers, one of them the answer, where a demonstration lists instead of deciding


def problems(pipeline: Pipeline, part: str) -> list[Sum]:
    """The sums of a part, "read", "shown" or "asked"; all of them different."""
    drawn = sums.draw_sums(READ + SHOWN + ASKED, LEVEL, seed=pipeline.seed_for("chapter 12 sums"))
    bounds = {"read": (0, READ), "shown": (READ, READ + SHOWN), "asked": (READ + SHOWN, len(drawn))}
    return drawn[slice(*bounds[part])]


def demonstrations(
    pipeline: Pipeline, part: str, *, error_rate: float, either_order: bool = False, **habits: float
) -> tuple[list[str], list[str]]:
    """Prompts and solutions, one to each problem of a part.

    - `error_rate`: so many go wrong, by one slip.
    - `either_order`: whether a solution may take the numbers in the other order.
    - `habits`: a name of `HABITS` → the share that is written so, right or wrong.
    """
    rng, shown = pipeline.rng(f"chapter 12 {part}"), problems(pipeline, part)
    worked = shown
    if either_order:
        worked = [Sum(tuple(rng.sample(problem.numbers, len(problem.numbers)))) for problem in shown]
    texts = sums.demonstrate(
        worked, error_rate=error_rate, seed=pipeline.seed_for(f"chapter 12 slips {part}")
    )
    names, weights = [*habits, ""], [*habits.values(), 1 - sum(habits.values())]
    written = [
        HABITS[habit](text, rng) if habit else text
        for text, habit in zip(texts, rng.choices(names, weights, k=len(texts)), strict=True)
    ]
    return [problem.text for problem in shown], written


def answer_alone(solution: str, rng: random.Random) -> str:
    """A worked solution without its steps.

    >>> answer_alone("7+8=15 2+5+1=8 =85", random.Random(0))
    '=85'
    """
    return solution.rsplit(" ", 1)[-1]


def several_answers(solution: str, rng: random.Random) -> str:
    """Three numbers in a row instead of steps and an answer, one of them the answer.

    >>> several_answers("7+8=15 2+5+1=8 =85", random.Random(0))
    '=84 =85 =86'
    """
    first = max(0, int(solution.rsplit("=", 1)[1]) - rng.randrange(LISTED))
    return " ".join(f"={number}" for number in range(first, first + LISTED))


def first_step_twice(solution: str, rng: random.Random) -> str:
    """A worked solution that says its first step twice.

    >>> first_step_twice("7+8=15 2+5+1=8 =85", random.Random(0))
    '7+8=15 7+8=15 2+5+1=8 =85'
    """
    return f"{solution.split(' ', 1)[0]} {solution}"


HABITS: Mapping[str, Callable[[str, random.Random], str]] = {
    "bare": answer_alone,
    "lists": several_answers,
    "stutters": first_step_twice,
}


def reader(pipeline: Pipeline, folder: Path) -> None:
    """A kept model: a small Llama after some epochs of worked sums, as all runs' models were."""
    shown = demonstrations(pipeline, "read", **READINGS)  # type: ignore[arg-type]
    model = fine_tuned_start(pipeline, *shown, context=CONTEXT, epochs=EPOCHS, purpose="chapter 12 reader")
    model.save_pretrained(folder)


def taught(pipeline: Pipeline, folder: Path, **shown: Any) -> None:
    """A kept model: the reader after some epochs of other demonstrations."""
    model = copy_of(_loaded(pipeline, pipeline.kept(reader)))
    told = pack_texts(tokenizer(), *demonstrations(pipeline, "shown", **shown))
    optimizer = OptimizerConfig(learning_rate=LAST_RATE, final_fraction=0.1)
    config = SFTConfig(epochs=LAST_EPOCHS, batch=BATCH, optimizer=optimizer)
    sft(model, told, config=config, generator=pipeline.generator("chapter 12 start"))
    model.save_pretrained(folder)


def start_of(pipeline: Pipeline, name: str) -> PreTrainedModel:
    """The start of this name, frozen; taught once, and kept."""
    last = STARTS[name]
    return _loaded(pipeline, pipeline.kept(taught, **last) if last else pipeline.kept(reader))


def _loaded(pipeline: Pipeline, folder: Path) -> PreTrainedModel:
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)
