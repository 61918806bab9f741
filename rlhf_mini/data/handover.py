"""Handing over to TRL and OpenRLHF: a policy and a reward model as folders, data as rows with named columns.

Nothing is converted. The models are `transformers` models, so that a folder with the weights as safetensors,
the configuration and the tokenizer is all that either asks for; the data are JSON lines. What this module
adds is the checks, because each of the following runs without an error over there and trains something else:

- **The chat template.** TRL applies a template to messages only, never to plain text: a policy that was
  trained on `<|user|>…<|assistant|>` would be trained further without them. Rows are therefore written as
  messages wherever the tokenizer has a template. OpenRLHF needs `--data.apply_chat_template` beside them.
- **Padding.** Without a pad token a reward model refuses a second row; with the end token as pad token its
  score is read one token before the end. Both are refused here.
- **The reference by name.** GRPO in TRL loads its reference again from the name in the policy's
  configuration: a policy that was never saved has none. Load it from the folder that `hand_over_model` wrote.
- **The score's scale.** TRL reads a reward model's raw scores; `config.mean` and `config.std`, by which our
  methods and OpenRLHF's `normalize_reward` divide, do nothing there. Scale the KL weight by `config.std`
  instead.
- **The end token.** TRL's template ends an answer with it. OpenRLHF appends it where it is missing, with a
  space in front of it; messages under a template that ends answers avoid that.
- **A margin.** TRL's reward trainer and, with `--model.margin_loss_enable`, OpenRLHF's use the column
  `margin` wherever it is there; DPO ignores it.

Of several processes (`rlhf_mini.split`) the first alone writes, as in `models.adapters` and `models.publish`;
call `wait_for_all()` before another reads.

TRL 1.16 was run on what is written here (`tests/data/test_handover.py`); OpenRLHF 0.11 was read, not run.
"""

import importlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch.nn.utils import parametrize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.data.pretrained import check_tokenizer
from rlhf_mini.data.verifiable import matches
from rlhf_mini.models.build import scalar_head
from rlhf_mini.split import main_process

EXTRAS: Mapping[str, str] = {"trl": "bridge", "accelerate": "bridge", "peft": "lora"}  # of pyproject.toml
PROMPT = "prompt"
KEPT = ("label", "margin", "answer")  # what is neither a prompt nor an answer goes over as it is

# The columns that each trainer reads: TRL's by class, OpenRLHF's by command.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "trl.SFTTrainer": ("prompt", "completion"),
    "trl.RewardTrainer": ("prompt", "chosen", "rejected"),
    "trl.DPOTrainer": ("prompt", "chosen", "rejected"),
    "trl.KTOTrainer": ("prompt", "completion", "label"),
    "trl.GRPOTrainer": ("prompt",),
    "trl.RLOOTrainer": ("prompt",),
    "openrlhf.cli.train_sft": ("prompt", "completion"),
    "openrlhf.cli.train_rm": ("prompt", "chosen", "rejected"),
    "openrlhf.cli.train_dpo": ("prompt", "chosen", "rejected"),
    "openrlhf.cli.train_ppo_ray": ("prompt",),
}

# What OpenRLHF has to be told of the columns; with messages also --data.apply_chat_template.
OPENRLHF_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "openrlhf.cli.train_sft": ("--data.input_key", "prompt", "--data.output_key", "completion"),
    "openrlhf.cli.train_rm": (
        "--data.prompt_key", "prompt", "--data.chosen_key", "chosen", "--data.rejected_key", "rejected",
    ),
    "openrlhf.cli.train_dpo": (
        "--data.prompt_key", "prompt", "--data.chosen_key", "chosen", "--data.rejected_key", "rejected",
    ),
    "openrlhf.cli.train_ppo_ray": ("--data.input_key", "prompt"),
}  # fmt: skip


def hand_over_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | os.PathLike[str]
) -> Path:
    """Save a policy with its tokenizer so that `Auto…from_pretrained`, TRL and OpenRLHF load both; the
    folder.

    The folder is written beside and renamed when whole. Raises ValueError if it is already there, if model
    and tokenizer do not fit together, for a pad token that is missing or is the end token, for one that the
    model knows under another number, and for LoRA that was not merged.
    """
    _check(model, tokenizer)
    return _save(model, tokenizer, Path(folder))


def hand_over_reward_model(
    reward_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | os.PathLike[str]
) -> Path:
    """The same for a reward model: a sequence classifier with one label.

    Its configuration says where OpenRLHF finds the head (`value_head_prefix`), and the mean and deviation of
    its scores, 0 and 1 if `methods.reward_model.normalise` was not called. Raises ValueError as
    `hand_over_model` does, and for a model with another head.
    """
    head = scalar_head(reward_model)
    if head.bias is not None:
        raise ValueError(
            f"the head of {type(reward_model).__name__} has a bias, which is a value model's: hand over the "
            "reward model, from new_reward_model"
        )
    _check(reward_model, tokenizer)
    config = reward_model.config
    named = {name: module for name, module in reward_model.named_children() if module is head}
    before = {name: getattr(config, name, None) for name in ("value_head_prefix", "mean", "std")}
    config.value_head_prefix = next(iter(named))
    config.mean, config.std = getattr(config, "mean", 0.0), getattr(config, "std", 1.0)
    try:
        return _save(reward_model, tokenizer, Path(folder))
    finally:
        for name, value in before.items():
            if value is None:
                delattr(config, name)


def hand_over_rows(
    rows: Iterable[Any],
    tokenizer: PreTrainedTokenizerBase,
    file: str | os.PathLike[str],
    *,
    trainer: str,
) -> Path:
    """Write rows as JSON lines with the columns that `trainer` (a key of `COLUMNS`) reads; returns the file.

    `rows` have text columns, as those of `load_instructions`, `load_preferences`, `load_unpaired` and
    `load_verifiable` do, or are what their streams give. With a chat template prompts and answers become
    messages; without one they stay text. Columns that the trainer does not read are left out, but for label,
    margin and answer. Rows are read one by one, so that a stream can be handed over. The file is written
    beside and renamed when whole.

    Raises ValueError for an unknown trainer, a row without one of its columns or with a text that is empty or
    no text (the message names row and column), and for no rows at all.
    """
    if trainer not in COLUMNS:
        raise ValueError(f"trainer must be one of {', '.join(COLUMNS)}; got {trainer!r}")
    target, number, messages = Path(file), 0, tokenizer.chat_template is not None
    if not main_process():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".part")
    try:
        with beside.open("w", encoding="utf-8") as lines:
            for number, row in enumerate(rows, start=1):
                columns = _columns(row, COLUMNS[trainer], number, messages=messages)
                lines.write(json.dumps(columns, ensure_ascii=False) + "\n")
        if not number:
            raise ValueError("there are no rows to hand over")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def verifier_for_trl(check: Callable[[str, str], bool] = matches) -> Callable[..., list[float]]:
    """A check of answers in words as a reward function for TRL's GRPO and RLOO: 1 if right, else 0.

    The rows must have a column `answer`, as `hand_over_rows` keeps it; TRL passes it on by name.

    >>> verifier_for_trl()(prompts=["2 + 2?"] * 2, completions=["#### 4", "#### 5"], answer=["4", "4"])
    [1.0, 0.0]
    """

    def reward(completions: list[Any], answer: list[str], **_: Any) -> list[float]:  # TRL passes every column
        said = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
        return [float(check(text, right)) for text, right in zip(said, answer, strict=True)]

    return reward


def require_package(name: str) -> ModuleType:
    """An optional package, imported; ImportError that says what to install where it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = EXTRAS.get(name)
        command = f"pip install 'rlhf-mini[{extra}]'" if extra else f"pip install {name}"
        told = "; it comes with an extra: " if extra else ": "
        raise ImportError(f"{name} is not installed{told}{command}") from error


def _columns(row: Any, wanted: tuple[str, ...], number: int, *, messages: bool) -> dict[str, Any]:
    row = row if isinstance(row, Mapping) else row._asdict()  # a stream gives named tuples
    columns: dict[str, Any] = {}
    for name in wanted:
        if name not in row:
            raise ValueError(f"row {number}: column {name!r} is missing; the columns are {sorted(row)}")
        value = row[name]
        if name in KEPT:
            columns[name] = value
            continue
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"row {number}: column {name!r} must hold text, got {value!r:.60}")
        role = "user" if name == PROMPT else "assistant"
        columns[name] = [{"role": role, "content": value}] if messages else value
    return columns | {name: row[name] for name in KEPT if row.get(name) is not None}


def _check(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    check_tokenizer(model, tokenizer)
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    if pad is None or pad == end:
        raise ValueError(
            f"the tokenizer's pad token is {pad} and its end token {end}; a trainer needs a pad token of its "
            "own, or it masks the ends and reads scores one token too early. Load the model with "
            "load_causal_lm, which adds one"
        )
    if model.config.pad_token_id != pad:
        raise ValueError(
            f"the configuration has pad_token_id {model.config.pad_token_id} and the tokenizer {pad}: "
            f"set model.config.pad_token_id = {pad}"
        )
    if any(parametrize.is_parametrized(module) for module in model.modules()):
        raise ValueError("the model has low-rank changes that were not merged: call merge_lora(model) first")


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    if not main_process():
        return folder
    if folder.exists():
        raise ValueError(f"{folder} is already there; give a new folder, or remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        whole = Path(beside) / "whole"
        model.save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        whole.rename(folder)
    return folder
