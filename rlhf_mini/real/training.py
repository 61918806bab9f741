"""Train a real model on real data with one of the book's methods, from a plan to a folder that loads again.

    from rlhf_mini.real.settings import LoRA, Settings
    from rlhf_mini.real.training import train

    train("sft", "some/model", "rows.jsonl", "out", settings=Settings(steps=200, lora=LoRA(rank=16)))

First everything that can be wrong is looked for; then the plan is told: memory, steps, operations. Only then
are weights loaded. The folder `out` is written whole or not at all: the model as `transformers` saves it, its
tokenizer, a model card, `results.json`, and `log.jsonl` with a line for each step. While training, the log
grows in the folder `out.part`, where it stays if the training is interrupted.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rlhf_mini.data.load import Source
from rlhf_mini.data.pretrained import load_causal_lm
from rlhf_mini.devices import describe, pick_device
from rlhf_mini.models import freeze
from rlhf_mini.models.adapters import save_adapters
from rlhf_mini.models.build import scalar_head
from rlhf_mini.models.lora import merge_lora
from rlhf_mini.real.card import write_training_card
from rlhf_mini.real.draws import grpo_by_program, ppo_against
from rlhf_mini.real.planned import Plan, size
from rlhf_mini.real.ready import LOG, Ready, check_room, empty_folder, part_of, ready
from rlhf_mini.real.rows import Data
from rlhf_mini.real.settings import Settings
from rlhf_mini.real.works import (
    Job,
    Numbers,
    Work,
    bfloat16,
    direct_preferences,
    fine_tuning,
    odds_ratio,
    pretraining,
    reward_modelling,
    unpaired_feedback,
)
from rlhf_mini.split import main_process, rows_at_once, wait_for_all

RESULTS = "results.json"
Tell = Callable[[str], object]

WORKS: Mapping[str, Callable[..., Work]] = {
    "pretrain": pretraining,
    "sft": fine_tuning,
    "reward": reward_modelling,
    "dpo": direct_preferences,
    "kto": unpaired_feedback,
    "orpo": odds_ratio,
    "ppo": ppo_against,
    "grpo": grpo_by_program,
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a training.

    Attributes:
        folder: where the model is; `plan`: what was expected of it.
        before, after: the method's numbers on the rows held out.
        seconds: of the training alone; `peak_bytes`: the most memory, see `peak_memory`.
    """

    folder: Path
    plan: Plan
    before: Numbers
    after: Numbers
    seconds: float
    peak_bytes: int


def plan(
    method: str,
    base_model: str | os.PathLike[str],
    data: Data | Source,
    *,
    settings: Settings | None = None,
    reward_model: str | os.PathLike[str] | None = None,
) -> Plan:
    """What `train` with the same arguments would take; no weight is loaded, and nothing written.

    Raises ValueError wherever `train` would before its first step, but for weights that cannot be read.
    """
    return ready(method, base_model, data, settings or Settings(), reward_model).plan


def train(
    method: str,
    base_model: str | os.PathLike[str],
    data: Data | Source,
    out: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    reward_model: str | os.PathLike[str] | None = None,
    tell: Tell = print,
) -> Trained:
    """Train `base_model` by `method` (a key of `METHODS`) on `data`, and save what came of it in `out`.

    - `base_model`: hub name or folder of any causal language model of `transformers`.
    - `data`: a source of the loader that the method reads, or `read_data`'s result.
    - `reward_model`: folder or hub name of a one-label sequence classifier; PPO needs one, nothing else reads
      it.
    - `tell`: called with each line of the plan, the device and the results.

    In several processes (`rlhf_mini.split`) all train, and the first writes and tells. Raises ValueError,
    before anything is trained, for an unknown method, a model, tokenizer or data that cannot be read or do
    not fit together, rows beyond the context, LoRA without a layer to adapt, a reward model that is missing,
    not wanted or of another vocabulary, a folder that is not empty, and a disk without room.
    """
    settings, target = settings or Settings(), empty_folder(out)
    checked = ready(method, base_model, data, settings, reward_model)
    check_room(target, checked.plan)
    device, tell = pick_device(), tell if main_process() else _silence
    for line in _introduction(checked, settings, describe(device)):
        tell(line)
    part = part_of(target)
    base, tokenizer = load_causal_lm(base_model, dtype=settings.dtype)
    models = [base.to(device)]
    if reward_model is not None:
        models.append(_loaded_reward_model(reward_model, settings).to(device))
    log = _Log(part / LOG if main_process() else None)
    job = Job(
        method=checked.method,
        settings=settings,
        rows=checked.rows,
        tokenizer=tokenizer,
        steps=checked.plan.steps,
        hook=log.step,
        rollout=log.rollout,
    )
    model, before, after, seconds = _worked(checked.name, job, models, device)
    trained = Trained(
        folder=target,
        plan=checked.plan,
        before=before,
        after=after,
        seconds=seconds,
        peak_bytes=peak_memory(device),
    )
    if main_process():
        _save(part, model, tokenizer, checked, trained, settings, str(base_model))
        _put(part, target)
    wait_for_all()
    for line in _conclusion(trained, device):
        tell(line)
    return trained


def _worked(
    name: str, job: Job, models: Sequence[PreTrainedModel], device: torch.device
) -> tuple[PreTrainedModel, Numbers, Numbers, float]:
    """The trained model, the numbers before and after, and the seconds of the training between them."""
    read_only = job.settings.rows_at_once or job.settings.batch  # rows in memory where nothing is learned
    with bfloat16(job.settings, device):
        with rows_at_once(read_only):
            work = WORKS[name](job, *models)
            before = work.measure()
        started = time.perf_counter()
        with rows_at_once(job.settings.rows_at_once):
            work.train()
        seconds = time.perf_counter() - started
        with rows_at_once(read_only):
            after = work.measure()
    return work.model, before, after, seconds


def peak_memory(device: torch.device) -> int:
    """The most memory that this process has held so far, bytes: on a GPU of its tensors, elsewhere of all.

    0 where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else 1024 * peak


def _silence(line: str) -> None:
    """What the other processes tell."""


class _Log:
    """One JSON line for each optimizer step, written at once; a rollout's numbers go with its step."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.waiting: Numbers = {}
        if file is not None:
            shutil.rmtree(file.parent, ignore_errors=True)  # what an interrupted training left
            file.parent.mkdir(parents=True)

    def rollout(self, iteration: int, drawn: Any, metrics: Numbers) -> None:
        self.waiting = dict(metrics)

    def step(self, step: int, entry: dict[str, float]) -> None:
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"step": step, **entry, **self.waiting}) + "\n")


# ---------------------------------------------------------------------------------------------- beside it


def _loaded_reward_model(reward_model: str | os.PathLike[str], settings: Settings) -> PreTrainedModel:
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            reward_model, dtype=settings.dtype, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"cannot load a reward model from {str(reward_model)!r}: {error}") from error
    scalar_head(model)
    return freeze(model)


def _save(
    part: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    checked: Ready,
    trained: Trained,
    settings: Settings,
    base_model: str,
) -> None:
    if settings.lora is not None and not settings.lora.merge:
        save_adapters(model, part, base_model=base_model)
    else:
        merge_lora(model)
        model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    results = {
        "method": checked.name,
        "base_model": base_model,
        "data": checked.data.name,
        "settings": {
            name: str(value) if name == "dtype" else value for name, value in asdict(settings).items()
        },
        "before": trained.before,
        "after": trained.after,
        "seconds": trained.seconds,
        "peak_bytes": trained.peak_bytes,
        "plan": asdict(trained.plan),
    }
    (part / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    write_training_card(
        part,
        name=trained.folder.name,
        method=checked.method,
        base_model=base_model,
        data=checked.data.name,
        settings=settings,
        steps=checked.plan.steps,
        before=trained.before,
        after=trained.after,
        held=len(checked.rows.held),
    )


def _put(part: Path, target: Path) -> None:
    if target.is_dir():
        target.rmdir()  # it is empty
    part.rename(target)


def _introduction(checked: Ready, settings: Settings, device: str) -> list[str]:
    rows, lines = checked.rows, [f"{checked.method.title} on {device}"]
    if checked.method.data != "text":
        left = f", {rows.left_out} longer than {settings.max_length} tokens left out" if rows.left_out else ""
        lines.append(f"{len(rows.train)} rows to learn from, {len(rows.held)} held out{left}")
        if checked.tokenizer.chat_template is None:
            lines.append("the tokenizer has no chat template: an answer follows its prompt as plain text")
    if settings.dtype is torch.bfloat16 and settings.lora is None:
        lines.append(
            "the weights are bfloat16: steps below 1/512 of a weight are rounded away. Weights in float32 "
            "under autocast (bf16) keep them"
        )
    return lines + checked.plan.lines()


def _conclusion(trained: Trained, device: torch.device) -> list[str]:
    what = "of tensors on the GPU" if device.type == "cuda" else "of the whole process"
    lines = [f"trained in {trained.seconds:.1f} s; at most {size(trained.peak_bytes)} {what}"]
    for name, value in trained.after.items():
        lines.append(f"{name} {trained.before[name]:.4f} before, {value:.4f} after, on the rows held out")
    return lines
