"""What chapter 15 claims, measured on models that are built here: `rlhf-mini claims 15` prints it and writes the records.

The last three claims are about TRL, which has to be installed to measure them; the page judges them by their records.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from rlhf_mini.chapters.claims import Claim, Numbers, records_of
from rlhf_mini.chapters.real import beside_records, measures, pair
from rlhf_mini.chapters.real.beside_records import SETTINGS
from rlhf_mini.chapters.real.beside_trl import METHODS, TRAINERS
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "15"
DECAY = "AdamW's β₂ is 0.999"


def _kept(pipeline: Pipeline, *, experiment: Callable[[Pipeline], dict[str, Any]]) -> dict[str, Any]:
    return pipeline.measured(experiment)


def _claim(
    name: str,
    sentence: str,
    experiment: Callable[[Pipeline], dict[str, Any]],
    holds: Callable[[Any], bool],
    *,
    live: bool = True,
) -> Claim:
    return Claim(name, sentence, partial(_kept, experiment=experiment), holds, live=live)


def _those(numbers: Numbers, start: str) -> list[float]:
    """The numbers whose names begin so."""
    return [value for name, value in numbers.items() if name.startswith(start)]


def curves_apart(m: Numbers, method: str) -> float:
    """The largest difference of a method's two losses, in one process and in two."""
    return max(abs(one - two) for one, two in zip(m[f"one {method}"], m[f"two {method}"], strict=True))


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "rows at once",
        "Read four rows at a time, a batch of 24 has the gradient of the whole to a hundred-thousandth of its length, for a mean over "
        "tokens and for a loss with a statistic of the batch in it; less than a fifth of the activations is held.",
        measures.a_few_rows,
        lambda m: max(_those(m, "rows ")) < 1e-5 and m["kept"] < 0.2,
    ),
    _claim(
        "micro-batches",
        "The mean of the gradients of micro-batches of four rows lies at least a tenth of the gradient's length from it for the mean over "
        "tokens, and at least a quarter for the loss with a statistic of the batch.",
        measures.a_few_rows,
        lambda m: m["micro token mean"] > 0.1 and m["micro batch baseline"] > 0.25,
    ),
    _claim(
        "a mean of means",
        "If of two processes one has the shorter rows, the mean of their own means has a gradient at least a tenth of its length off; "
        "if rows are dealt out at random, less than half as far.",
        measures.two_halves,
        lambda m: m["sorted"] > 0.1 and m["shuffled"] < 0.5 * m["sorted"],
    ),
    _claim(
        "two processes",
        "SFT, a reward model, DPO and KTO learn in two processes what they learn in one: every loss moves by a hundredth or more, no loss of a step differs by "
        "more than a hundred-thousandth, and the ends lie less than a hundredth of the way apart.",
        pair.two_and_one,
        lambda m: all(
            abs(m[f"one {method}"][-1] - m[f"one {method}"][0]) > 0.01
            and curves_apart(m, method) < 1e-5
            and m[f"ends {method}"] < 0.01
            for method in pair.METHODS
        ),
    ),
    _claim(
        "counted",
        "The activations that are counted without weights are, byte for byte, what autograd holds: for Qwen2, GPT-NeoX and Llama, in "
        "float32, under autocast to bfloat16 and with LoRA. The formula has the matrices' operations to a thousandth.",
        measures.counts,
        lambda m: (
            max(map(abs, _those(m, "apart "))) == 0
            and min(_those(m, "held ")) > 1e5
            and abs(m["operations"] - 1) < 1e-3
        ),
    ),
    _claim(
        "checkpoints",
        "With checkpoints less than a seventh of the activations is held, in eval mode as in train mode; with the method of transformers "
        "the same in train mode, and in eval mode as much as without.",
        measures.eval_mode,
        lambda m: (
            max(*_those(m, "ours "), *_those(m, "theirs train ")) < 1 / 7
            and min(_those(m, "theirs eval ")) > 0.999
        ),
    ),
    _claim(
        "LoRA",
        "LoRA of rank 4 keeps less than 0.35 of the weights, gradients and moments of a small Qwen2, and more than 0.85 of its "
        "activations.",
        measures.lora,
        lambda m: m["kept"] < 0.35 and m["activations"] > 0.85,
    ),
    _claim(
        "rounded away",
        "A step of AdamW at a rate of 1e-7 moves more than nine in ten weights in float32, and less than one in fifty in bfloat16.",
        measures.rounding,
        lambda m: m["float32"] > 0.9 and m["bfloat16"] < 0.02,
    ),
    _claim(
        "beside TRL",
        "SFT, reward model, DPO, KTO and GRPO here and in TRL 1.16: no loss differs by more than a hundred-thousandth over 16 steps, no "
        "norm of a gradient by more than a ten-thousandth of the largest, and the ends lie less than a thousandth of the way apart.",
        beside_records.five,
        lambda m: (
            max(m[f"loss {method}"] for method in TRAINERS) < 1e-5
            and max(m[f"norm {method}"] for method in TRAINERS) < 1e-4
            and max(m[f"ends {method}"] for method in TRAINERS) < 1e-3
            and min(m[f"falls {method}"] for method in METHODS) > 0.01
        ),
        live=False,
    ),
    _claim(
        "a wrong setting",
        "Each of fifteen settings, seven of them TRL's defaults, parts the two: the ends lie at least ten times as far apart as "
        "with all settings alike.",
        beside_records.apart,
        lambda m: (
            min(m[f"ends {name}"] / m[f"ends, {one.method} alike"] for name, one in SETTINGS.items()) > 10
        ),
        live=False,
    ),
    _claim(
        "hidden in the loss",
        "TRL's default for AdamW's second decay rate, 0.999 in the place of 0.98, moves no step's loss by more than a thousandth, which no "
        "figure shows; the ends lie at least fifty times as far apart as with all settings alike.",
        beside_records.apart,
        lambda m: m[f"loss {DECAY}"] < 1e-3 and m[f"ends {DECAY}"] > 50 * m["ends, sft alike"],
        live=False,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The table of what both sides cost, which needs TRL."""
    return records_of(CHAPTER, pipeline, beside_records.cost_tables(pipeline))
