"""Where the chapter's runs begin: small models that have read worked sums, more of them or fewer, or seen others last.

A policy can only learn from what it sometimes does. So all runs begin with models that have read: worked sums, right
and wrong ones, answers without steps, and now and then a second answer or a step said twice. They differ in how much
they have read, or in what they were shown last. The sums that a run asks for were in no demonstration: a model that has
learned a wrong solution by heart would write nothing else.
"""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.small_sums import BATCH, LEVEL, fine_tuned_start, tokenizer
from rlhf_mini.chapters.verifiable.orders import carry_in_front
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import Sum

CONTEXT = 64
READ, SHOWN, ASKED = 4000, 1000, 640  # sums read by all, shown last to a start, asked for in training
EPOCHS = 14  # of reading
LAST_EPOCHS, LAST_RATE = 2, 5e-4  # of what a start is shown last
READER, SPARSE, EITHER = "the reader", "steps once in five", "carry first or last"
# What all have read, as in `demonstrations`; and for how many epochs, where it is not `EPOCHS`.
READINGS: Mapping[str, float] = {"error_rate": 0.35, "bare": 0.1, "hedges": 0.08, "stutters": 0.04}
SHORT_READINGS: Mapping[str, int] = {"half the reading": 7, "a seventh of the reading": 2}
# What a start has been shown last: demonstrations, and for `epochs` at the `rate`, where these are not the usual ones.
SHOWN_LAST: Mapping[str, dict[str, float]] = {
    "answers alone": {"error_rate": 0.2, "bare": 1.0},
    SPARSE: {"error_rate": 0.2, "bare": 0.8},
    EITHER: {"error_rate": 0.3, "carries": 0.5, "epochs": 8, "rate": 1e-3},
}
STARTS = (READER, *SHORT_READINGS, *SHOWN_LAST)


def problems(pipeline: Pipeline, part: str) -> list[Sum]:
    """The sums of a part, "read", "shown" or "asked"; all of them different."""
    drawn = sums.draw_sums(READ + SHOWN + ASKED, LEVEL, seed=pipeline.seed_for("chapter 12 sums"))
    bounds = {"read": (0, READ), "shown": (READ, READ + SHOWN), "asked": (READ + SHOWN, len(drawn))}
    return drawn[slice(*bounds[part])]


def demonstrations(
    pipeline: Pipeline, part: str, *, error_rate: float, **habits: float
) -> tuple[list[str], list[str]]:
    """Prompts and solutions, one to each problem of a part.

    - `error_rate`: so many go wrong, by one slip.
    - `habits`: a name of `HABITS` → the share that is written so, right or wrong.
    """
    rng, shown = pipeline.rng(f"chapter 12 {part}"), problems(pipeline, part)
    prompts = [problem.text for problem in shown]
    texts = sums.demonstrate(shown, error_rate=error_rate, seed=pipeline.seed_for(f"chapter 12 slips {part}"))
    names, weights = [*habits, ""], [*habits.values(), 1 - sum(habits.values())]
    chosen = rng.choices(names, weights, k=len(texts))
    written = [
        HABITS[habit](prompt, text, rng) if habit else text
        for prompt, text, habit in zip(prompts, texts, chosen, strict=True)
    ]
    return prompts, written


def answer_alone(prompt: str, solution: str, rng: random.Random) -> str:
    """A worked solution without its steps.

    >>> answer_alone("27+58", "7+8=15 2+5+1=8 =85", random.Random(0))
    '=85'
    """
    return solution.rsplit(" ", 1)[-1]


def second_answer(prompt: str, solution: str, rng: random.Random) -> str:
    """A worked solution that names a second number, one or ten off, after its answer: a hedge.

    >>> second_answer("27+58", "7+8=15 2+5+1=8 =85", random.Random(0))
    '7+8=15 2+5+1=8 =85 =95'
    """
    answer = int(solution.rsplit("=", 1)[1])
    near = [answer + off for off in (-10, -1, 1, 10) if answer + off >= 0]
    return f"{solution} ={rng.choice(near)}"


def first_step_twice(prompt: str, solution: str, rng: random.Random) -> str:
    """A worked solution that says its first step twice.

    >>> first_step_twice("27+58", "7+8=15 2+5+1=8 =85", random.Random(0))
    '7+8=15 7+8=15 2+5+1=8 =85'
    """
    return f"{solution.split(' ', 1)[0]} {solution}"


def carry_moved(prompt: str, solution: str, rng: random.Random) -> str:
    """A worked solution with its carry in front.

    >>> carry_moved("27+58", "7+8=15 2+5+1=8 =85", random.Random(0))
    '7+8=15 1+2+5=8 =85'
    """
    return carry_in_front(prompt, solution)


HABITS: Mapping[str, Callable[[str, str, random.Random], str]] = {
    "bare": answer_alone,
    "hedges": second_answer,
    "stutters": first_step_twice,
    "carries": carry_moved,
}


def reader(pipeline: Pipeline, folder: Path, *, epochs: int) -> None:
    """A kept model: a small Llama after some epochs of worked sums, as all runs' models were."""
    shown = demonstrations(pipeline, "read", **READINGS)
    model = fine_tuned_start(pipeline, *shown, context=CONTEXT, epochs=epochs, purpose="chapter 12 reader")
    model.save_pretrained(folder)


def taught(
    pipeline: Pipeline, folder: Path, *, epochs: int = LAST_EPOCHS, rate: float = LAST_RATE, **shown: float
) -> None:
    """A kept model: the reader after some epochs of other demonstrations."""
    model = copy_of(start_of(pipeline, READER))
    told = pack_texts(tokenizer(), *demonstrations(pipeline, "shown", **shown))
    config = SFTConfig(
        epochs=epochs, batch=BATCH, optimizer=OptimizerConfig(learning_rate=rate, final_fraction=0.1)
    )
    sft(model, told, config=config, generator=pipeline.generator("chapter 12 start"))
    model.save_pretrained(folder)


def start_of(pipeline: Pipeline, name: str) -> PreTrainedModel:
    """The start of this name, frozen; taught once, and kept."""
    if name in SHOWN_LAST:
        folder = pipeline.kept(taught, **SHOWN_LAST[name])
    else:
        folder = pipeline.kept(reader, epochs=EPOCHS if name == READER else SHORT_READINGS[name])
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)
