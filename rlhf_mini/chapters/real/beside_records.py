"""The comparison with TRL as records: five trainings beside each other, what a wrong setting does, and what each costs.

Everything begins with one small Llama of the story world (`small.small_start`), and needs TRL: without it each function
raises ValueError and says what to install. The page draws the records, so that it can be read without TRL.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rlhf_mini.chapters.real import beside_costs, beside_grpo, beside_trl
from rlhf_mini.chapters.real.beside_data import ROWS, Start, request_texts
from rlhf_mini.chapters.real.beside_trl import METHODS, TRAINERS, Beside, Shared
from rlhf_mini.chapters.real.small import small_start
from rlhf_mini.data.handover import require_package
from rlhf_mini.evaluation.records import Record, read_records
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.pipeline import Pipeline

CHAPTER = "15"
# Steep enough that clipping, decay rates and weight decay all matter within so few steps.
OPTIMIZER = OptimizerConfig(learning_rate=1e-3, weight_decay=0.1, final_fraction=0.0, clip_norm=0.5)
RATES = {"kto": 2e-4}  # a steeper one carries every answer of a batch to where its loss is flat
EPOCHS = 2
COUNTS = {"sft": 64, "reward model": 64, "dpo": 64, "kto": 32}  # KTO has two rows of each pair
IDLE = 0.1  # processors that other programs may take; with more, seconds are not kept
DISTANCES = ("loss", "norm", "ends")
BESIDE: Mapping[str, Callable[..., Beside]] = MappingProxyType(
    {
        "sft": beside_trl.sft_beside_trl,
        "reward model": beside_trl.reward_beside_trl,
        "dpo": beside_trl.dpo_beside_trl,
        "kto": beside_trl.kto_beside_trl,
    }
)


@dataclass(frozen=True)
class Setting:
    """One setting that parts the two: the method it is shown on, what TRL is told, and whether it is TRL's default."""

    method: str
    told: Mapping[str, Any]
    default: bool = False


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "rows in random order": Setting("sft", {"train_sampling_strategy": "random"}, default=True),
        "AdamW's β₂ is 0.999": Setting("sft", {"adam_beta2": 0.999}, default=True),
        "AdamW's ε is 1e-4": Setting("sft", {"adam_epsilon": 1e-4}),
        "no weight decay": Setting("sft", {"weight_decay": 0.0}, default=True),
        "gradients clipped at 1": Setting("reward model", {"max_grad_norm": 1.0}, default=True),
        "computed in bfloat16": Setting("sft", {"bf16": True}, default=True),
        "a constant rate": Setting("sft", {"lr_scheduler_type": "constant"}),
        "two steps of warm-up": Setting("sft", {"warmup_steps": 2}),
        "scores centred, 0.01": Setting("reward model", {"center_rewards_coefficient": 0.01}),
        "DPO: β is 0.11": Setting("dpo", {"beta": 0.11}),
        "KTO: bad answers weigh 1.1": Setting("kto", {"undesirable_weight": 1.1}),
        "GRPO: mean over all tokens": Setting("grpo", {"loss_type": "dapo"}, default=True),
        "GRPO: spread not divided by": Setting("grpo", {"scale_rewards": "none"}),
        "GRPO: clip range 0.1": Setting("grpo", {"epsilon": 0.1}),
        "GRPO: KL with its ratio": Setting("grpo", {"use_bias_correction_kl": True}, default=True),
    }
)


def shared_by(method: str, seed: int) -> Shared:
    """What both sides of one of the four methods are told."""
    optimizer = replace(OPTIMIZER, learning_rate=RATES.get(method, OPTIMIZER.learning_rate))
    return Shared(batch=8, epochs=EPOCHS, optimizer=optimizer, seed=seed)


def groups_of(seed: int) -> beside_grpo.GroupShared:
    """What both sides of GRPO are told."""
    return beside_grpo.GroupShared(
        iterations=8, prompts=4, samples=4, longest=48, optimizer=OPTIMIZER, seed=seed
    )


def words_said(prompt: str, answer: str) -> float:
    """The share of the request's words that the answer says: a reward with degrees, so that a start that has learned little
    finds some of its answers better than others.

    >>> words_said("a fox and a kite", "A fox sat.")
    0.5
    """
    asked = set(re.findall(r"\w+", prompt.lower()))
    return len(asked & set(re.findall(r"\w+", answer.lower()))) / len(asked)


@contextmanager
def trl_start(pipeline: Pipeline) -> Iterator[Start]:
    """The start in a temporary folder, and TRL there; ValueError that says what to install where it is not."""
    try:
        require_package("accelerate")
        require_package("trl")
    except ImportError as error:
        raise ValueError(f"{error}. The comparison on record can be read without it") from error
    with tempfile.TemporaryDirectory() as folder:
        yield small_start(Path(folder) / "start", seed=pipeline.seed)


def rows_for(method: str, seed: int) -> list[dict[str, Any]]:
    """The rows that a method learns from here."""
    return ROWS[method](COUNTS[method], seed=seed)


def five(pipeline: Pipeline) -> dict[str, Any]:
    """The five methods on both sides: `loss …`, `norm …` and `ends …`, how far they lie apart (`Beside`), `falls …`, how far
    our loss falls to the mean of the last four steps, and the curves of the loss, `ours …` and `trl …`. Of GRPO, whose loss says little, the curves are of the
    gradient's norm, and it has no `falls`."""
    seed = pipeline.seed
    found: dict[str, Any] = {}
    with trl_start(pipeline) as start:
        for method in METHODS:
            rows, shared = rows_for(method, seed), shared_by(method, seed)
            one = BESIDE[method](start.of(method), rows, shared=shared)
            found |= _told(method, one) | _curves(method, one.ours.loss, one.trl.loss)
            found[f"falls {method}"] = one.ours.loss[0] - sum(one.ours.loss[-4:]) / 4
        prompts, groups = request_texts(32, seed=seed), groups_of(seed)
        one = beside_grpo.grpo_beside_trl(start.policy, prompts, words_said, shared=groups)
        found |= _told("grpo", one) | _curves("grpo", one.ours.grad_norm, one.trl.grad_norm)
    return found


def apart(pipeline: Pipeline) -> dict[str, float]:
    """How far the two lie apart where TRL is told one of `SETTINGS`: `loss …`, `norm …`, `ends …`; and with all settings
    alike, from `five`: `loss, sft alike` and so on."""
    seed, alike = pipeline.seed, pipeline.measured(five)
    found = {
        f"{what}, {method} alike": alike[f"{what} {method}"] for what in DISTANCES for method in TRAINERS
    }
    with trl_start(pipeline) as start:
        prompts, groups = request_texts(32, seed=seed), groups_of(seed)
        ours = {
            method: beside_trl.our_side(
                method, start.of(method), rows_for(method, seed), shared_by(method, seed)
            )
            for method in METHODS
        }
        ours["grpo"], draws = beside_grpo.our_grpo(start.policy, prompts, words_said, shared=groups)
        for name, setting in SETTINGS.items():
            method, told = setting.method, setting.told
            began = beside_trl.weights_of(beside_trl.loaded(method, start.of(method))[0])
            if method == "grpo":
                theirs = beside_grpo.trl_replaying(
                    start.policy, prompts, words_said, draws, shared=groups, told=told
                )
            else:
                rows = rows_for(method, seed)
                theirs = beside_trl.trl_side(method, start.of(method), rows, shared_by(method, seed), told)
            found |= _told(name, Beside(ours[method], theirs, began))
    return found


def costs(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Memory, and on an idle machine seconds, of both sides of each method, each in a process of its own.

    A row has `method`, `side` and `peak` in MB beyond what was there after the imports, see `beside_costs`; `seconds` of a
    step and `setup` are there only if other programs were at rest before and after it.
    """
    rows = []
    with trl_start(pipeline) as start:
        for method in TRAINERS:
            for side in beside_costs.SIDES:
                before = beside_costs.processors_in_use()
                grpo = method == "grpo"
                work = beside_costs.Work(
                    method=method, side=side, start=start, rows=32 if grpo else COUNTS[method],
                    shared=groups_of(pipeline.seed) if grpo else shared_by(method, pipeline.seed),
                )  # fmt: skip
                (row,) = beside_costs.as_numbers({(method, side): beside_costs.cost(work)})
                quiet = max(before, beside_costs.processors_in_use()) < IDLE
                kept = ("method", "side", "peak", *(("seconds", "setup") if quiet else ()))
                rows.append({name: row[name] for name in kept})
    return rows


def _told(name: str, one: Beside) -> dict[str, float]:
    distances = (one.loss_apart, one.norm_apart, one.weights_apart)
    return {f"{what} {name}": value for what, value in zip(DISTANCES, distances, strict=True)}


def _curves(method: str, ours: list[float], trl: list[float]) -> dict[str, list[float]]:
    return {f"ours {method}": ours, f"trl {method}": trl}


def cost_tables(pipeline: Pipeline) -> dict[tuple[str, str], dict[str, Any]]:
    """The table of costs as records' metrics, by experiment and row."""
    return {
        ("costs", f"{row['method']}, {row['side']}"): {
            name: float(row[name]) for name in ("peak", "seconds", "setup") if name in row
        }
        for row in pipeline.measured(costs)
    }


def on_record(name: str) -> list[Record]:
    """The records of an experiment, one a seed and row; empty where there are none."""
    try:
        return read_records(f"chapter_{CHAPTER}", experiment=name)
    except (FileNotFoundError, ValueError):  # no file, or no such experiment in it
        return []
