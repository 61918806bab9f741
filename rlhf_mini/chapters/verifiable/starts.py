"""Where the chapter's runs begin: small models that have read worked sums, with faults or without their steps.

A policy can only learn from what it sometimes does. So a start is described by what it was shown: how many of the
solutions were wrong, how many gave the answer alone, and whether the numbers were always taken in their own order.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.small_sums import LEVEL, fine_tuned_start
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import Sum

CONTEXT = 64
DEMONSTRATIONS, EPOCHS = 2500, 14
HALF_RIGHT = "half right"
# What each start has been shown; what is not said is as in `demonstrations`.
STARTS: Mapping[str, dict[str, Any]] = {
    HALF_RIGHT: {"error_rate": 0.4},
    "a fifth right": {"error_rate": 0.75},
    "hardly ever right": {"error_rate": 0.95},
    "no steps": {"error_rate": 0.2, "bare": 1.0},
    "steps once in a hundred": {"error_rate": 0.2, "bare": 0.99},
    "steps once in ten": {"error_rate": 0.2, "bare": 0.9},
    "steps every other time": {"error_rate": 0.2, "bare": 0.5},
    "in either order": {"error_rate": 0.2, "either_order": True},
}


def problems(pipeline: Pipeline) -> list[Sum]:
    """The sums that are demonstrated, and asked for in training; all of them different."""
    return sums.draw_sums(DEMONSTRATIONS, LEVEL, seed=pipeline.seed_for("chapter 12 sums"))


def demonstrations(
    pipeline: Pipeline, *, error_rate: float, bare: float = 0.0, either_order: bool = False
) -> tuple[list[str], list[str]]:
    """Prompts and solutions, one a problem.

    - `error_rate`: of them go wrong, by one slip.
    - `bare`: the share that is the answer alone, right or wrong, without the steps that led to it.
    - `either_order`: whether a solution may take the numbers in the other order.
    """
    rng, shown = pipeline.rng("chapter 12 demonstrations"), problems(pipeline)
    worked = shown
    if either_order:
        worked = [Sum(tuple(rng.sample(problem.numbers, len(problem.numbers)))) for problem in shown]
    seed = pipeline.seed_for("chapter 12 slips")
    texts = sums.demonstrate(worked, error_rate=error_rate, seed=seed)
    chances = [rng.random() for _ in texts]
    told = [
        answer_alone(text) if chance < bare else text for text, chance in zip(texts, chances, strict=True)
    ]
    return [problem.text for problem in shown], told


def answer_alone(solution: str) -> str:
    """A worked solution without its steps.

    >>> answer_alone("7+8=15 2+5+1=8 =85")
    '=85'
    """
    return solution.rsplit(" ", 1)[-1]


def taught(pipeline: Pipeline, folder: Path, *, epochs: int, **shown: Any) -> None:
    """A kept model: a small Llama after some epochs of demonstrations."""
    model = fine_tuned_start(
        pipeline,
        *demonstrations(pipeline, **shown),
        context=CONTEXT,
        epochs=epochs,
        purpose="chapter 12 start",
    )
    model.save_pretrained(folder)



def start_of(pipeline: Pipeline, name: str) -> PreTrainedModel:
    """The start of this name, frozen; taught once, and kept."""
    folder = pipeline.kept(taught, epochs=EPOCHS, **STARTS[name])
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)
