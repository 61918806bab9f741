"""Everything that can be known, and can be wrong, before a weight is loaded."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from rlhf_mini.data.load import Source
from rlhf_mini.data.pretrained import check_folder, load_tokenizer
from rlhf_mini.real.planned import Plan, planned, size
from rlhf_mini.real.rows import Data, Encoded, encoded, read_data
from rlhf_mini.real.settings import Method, Settings, method_named

LOG = "log.jsonl"  # of the training, in the folder


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a training is given, checked: names, configuration, tokenizer, rows and the plan."""

    name: str
    method: Method
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    data: Data
    rows: Encoded
    plan: Plan


def check_asked(name: str, settings: Settings, reward_model: str | os.PathLike[str] | None) -> Method:
    """The method of this name; ValueError where what is asked of it does not go together.

    Nothing is read for it.
    """
    method = method_named(name)
    if (name == "ppo") != (reward_model is not None):
        raise ValueError(
            "PPO needs a reward model: a folder that `train reward` wrote, or the hub name of one"
            if name == "ppo"
            else f"{name} reads no reward model; only ppo does"
        )
    if name == "grpo" and settings.batch % settings.group:
        raise ValueError(
            f"GRPO's batch is of answers, {settings.group} to a prompt: {settings.batch} is no multiple of it"
        )
    if name == "kto" and settings.batch < 2:
        raise ValueError("KTO compares the answers of a batch with one another: use a batch of at least 2")
    return method


def ready(
    name: str,
    base_model: str | os.PathLike[str],
    data: Data | Source,
    settings: Settings,
    reward_model: str | os.PathLike[str] | None,
) -> Ready:
    """Read and check everything but the weights; ValueError for the first thing that is wrong.

    The arguments are those of `training.plan`.
    """
    method = check_asked(name, settings, reward_model)
    config, tokenizer = load_tokenizer(base_model)
    reward_config = None if reward_model is None else _reward_config(reward_model, tokenizer)
    context = min(_context(each) for each in (config, reward_config) if each is not None)
    data = data if isinstance(data, Data) else read_data(method, data)
    rows = encoded(method, data, tokenizer, context=context, settings=settings)
    return Ready(
        name=name,
        method=method,
        config=config,
        tokenizer=tokenizer,
        data=data,
        rows=rows,
        plan=planned(name, method, config, rows, settings=settings, reward_config=reward_config),
    )


def _context(config: PreTrainedConfig) -> int:
    context = getattr(config, "max_position_embeddings", None)
    if context is None:
        raise ValueError(
            f"the configuration of this {config.model_type} model states no context "
            "(max_position_embeddings), which rows are checked against"
        )
    return int(context)


def _reward_config(
    reward_model: str | os.PathLike[str], tokenizer: PreTrainedTokenizerBase
) -> PreTrainedConfig:
    """The reward model's configuration; it must read the policy's own tokens."""
    check_folder(reward_model)
    try:
        config = AutoConfig.from_pretrained(reward_model)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read a reward model from {str(reward_model)!r}: {error}") from error
    if config.num_labels != 1:
        raise ValueError(
            f"{str(reward_model)!r} has {config.num_labels} labels; a reward model has one: train it with "
            "`rlhf-mini train reward`"
        )
    try:
        own = AutoTokenizer.from_pretrained(reward_model).get_vocab()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(reward_model)!r} has no tokenizer beside it, so that nobody knows whether it reads the "
            "policy's tokens; save the tokenizer into the same folder"
        ) from error
    if own != tokenizer.get_vocab():
        raise ValueError(
            f"the reward model {str(reward_model)!r} has another vocabulary than the policy, whose tokens it "
            "is to score: train a reward model on the same base model"
        )
    return config


def part_of(target: Path) -> Path:
    """The folder that grows while `target` is not yet whole."""
    return target.with_name(target.name + ".part")


def empty_folder(out: str | os.PathLike[str]) -> Path:
    """The folder to write; ValueError unless it is new or empty, and nothing but a log lies beside it."""
    target = Path(out)
    part = part_of(target)
    if part.exists() and not (part / LOG).is_file():
        raise ValueError(f"{part} is in the way: a training keeps its log there; remove it, or rename it")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ValueError(f"{target} is there already and not empty; give a new folder, or remove it first")
    return target


def check_room(target: Path, plan: Plan) -> None:
    """Raise ValueError if the disk has no room for the model in float32."""
    place = target.absolute().parent
    while not place.exists():
        place = place.parent
    numbers = plan.trained + plan.frozen
    needed, free = 4 * numbers, shutil.disk_usage(place).free
    if free < needed:
        raise ValueError(
            f"{place} has {size(free)} left, and the model needs up to {size(needed)}: free some space, or "
            "write to another disk"
        )
