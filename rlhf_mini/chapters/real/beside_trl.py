"""The same training twice: by our methods and by TRL's trainers, from one saved model, on the same rows.

Both sides load the model and the tokenizer from one folder, read the same rows in the same batches, and are
told the same learning rate, decay rates, weight decay, schedule and clipping. Then their losses by step must
agree up to rounding, and so must the weights that they end with. Where TRL's defaults differ from ours,
`trl_arguments` says what it has to be told.

    method        TRL 1.16         what makes the two the same
    sft           SFTTrainer       one batch a step, so that both divide by the batch's answer tokens
    reward model  RewardTrainer    nothing more
    dpo           DPOTrainer       nothing more; TRL asks the reference in each step, we once
    kto           KTOTrainer       batches of the same rows in the same order: the baseline is the batch's own
    grpo          GRPOTrainer      TRL learns from our answers; loss_type="grpo", no bias correction of the KL

TRL is asked for one thing that is not its default in all five: rows in the given order
(`train_sampling_strategy="sequential"`; GRPO has a sampler of its own, and `shuffle_dataset=False`). What it
is given are the rows of our batches in the order in which we take them, epoch after epoch.

One difference remains and is refused: a linear warm-up begins at 0 in `transformers`, so that its first step
changes nothing, and at 1/warmup_steps here. TRL seeds the global random generators of torch, numpy and Python.
"""

import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
)

from rlhf_mini.batch import Pairs
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.handover import hand_over_rows, require_package
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.dpo import DPOConfig, dpo
from rlhf_mini.methods.kto import Labelled, kto
from rlhf_mini.methods.reward_model import RewardModelConfig, train_reward_model
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import copy_of, freeze

Rows = Sequence[Mapping[str, Any]]
METHODS = ("sft", "reward model", "dpo", "kto")  # GRPO, which needs a reward and answers, is in beside_grpo
TRAINERS = {"sft": "SFT", "reward model": "Reward", "dpo": "DPO", "kto": "KTO", "grpo": "GRPO"}


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What both sides are told.

    Attributes:
        batch: rows a step; pairs for a reward model and for DPO.
        epochs: passes over the rows; what does not fill a last batch is left out.
        optimizer: without warm-up, and with a rate that falls to 0 or stays; see above.
        kl_weight: β of DPO and KTO.
        seed: of the order of the rows.

    Raises:
        ValueError: for a schedule that TRL cannot be told.
    """

    batch: int = 8
    epochs: int = 1
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=1e-3, weight_decay=0.1, final_fraction=0.0)
    )
    kl_weight: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what would make the two learning rates differ."""
        if self.optimizer.warmup_steps or self.optimizer.final_fraction not in (0, 1):
            raise ValueError(
                "both sides can be told no warm-up (transformers begins one at 0, and we at 1/warmup_steps) "
                f"and a final_fraction of 0 or 1, got {self.optimizer}"
            )

    def generator(self) -> torch.Generator:
        """The order of the rows, the same each time."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, eq=False)
class Side:
    """One side's training.

    Attributes:
        loss, grad_norm: by step; the norm before clipping.
        seconds: by step, each from the end of the step before it, the batch and the log included.
        setup: seconds from the saved folder and the rows to the first step.
        weights: the trained model's, by name.
    """

    loss: list[float]
    grad_norm: list[float]
    seconds: list[float]
    setup: float
    weights: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Beside:
    """Both sides, and the weights that both began with."""

    ours: Side
    trl: Side
    start: dict[str, Tensor]

    @property
    def loss_apart(self) -> float:
        """The largest difference of the two losses over all steps, in units of the loss."""
        return _largest(self.ours.loss, self.trl.loss)

    @property
    def norm_apart(self) -> float:
        """The largest difference of the two gradient norms, as a part of our largest norm.

        Not of each step's own: KTO's gradient can vanish on a batch, and what is left is rounding.
        """
        return _largest(self.ours.grad_norm, self.trl.grad_norm) / max(self.ours.grad_norm)

    @property
    def weights_apart(self) -> float:
        """The distance of the two ends, as a part of the way from the start to ours; Euclidean."""
        return distance(self.ours.weights, self.trl.weights) / distance(self.ours.weights, self.start)


def distance(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """The Euclidean distance of two models' weights; ValueError if they are not the same parameters.

    >>> distance({"w": torch.tensor([0.0, 3.0])}, {"w": torch.tensor([4.0, 0.0])})
    5.0
    """
    if first.keys() != second.keys():
        raise ValueError(f"the parameters differ: {sorted(first.keys() ^ second.keys())}")
    return math.sqrt(sum(float((first[name] - second[name]).double().square().sum()) for name in first))


def weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """A copy of the model's parameters by name, on the CPU; tied ones once."""
    return {name: weight.detach().cpu().clone() for name, weight in model.named_parameters()}


# ------------------------------------------------------------------------------------------- the four methods


def sft_beside_trl(
    start: Path, rows: Rows, *, shared: Shared, told: Mapping[str, Any] | None = None
) -> Beside:
    """Supervised fine-tuning of the policy saved at `start` on rows with `prompt` and `completion`, twice.

    `told` are further arguments of TRL's configuration, to see what they change. Raises ImportError, saying
    what to install, where TRL is missing.
    """
    return _beside("sft", start, rows, shared, told)


def reward_beside_trl(
    start: Path, rows: Rows, *, shared: Shared, told: Mapping[str, Any] | None = None
) -> Beside:
    """The same of the reward model saved at `start`, on rows with `prompt`, `chosen` and `rejected`."""
    return _beside("reward model", start, rows, shared, told)


def dpo_beside_trl(
    start: Path, rows: Rows, *, shared: Shared, told: Mapping[str, Any] | None = None
) -> Beside:
    """The same of DPO, from the policy saved at `start`, which is its reference too."""
    return _beside("dpo", start, rows, shared, told)


def kto_beside_trl(
    start: Path, rows: Rows, *, shared: Shared, told: Mapping[str, Any] | None = None
) -> Beside:
    """The same of KTO, on rows with `prompt`, `completion` and `label`."""
    return _beside("kto", start, rows, shared, told)


def _beside(method: str, start: Path, rows: Rows, shared: Shared, told: Mapping[str, Any] | None) -> Beside:
    require_package("accelerate")
    require_package("trl")
    began = weights_of(loaded(method, start)[0])
    return Beside(our_side(method, start, rows, shared), trl_side(method, start, rows, shared, told), began)


def loaded(method: str, start: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The saved model, as the method trains it, and its tokenizer."""
    kind = AutoModelForSequenceClassification if method == "reward model" else AutoModelForCausalLM
    return kind.from_pretrained(start), AutoTokenizer.from_pretrained(start)


def our_side(method: str, start: Path, rows: Rows, shared: Shared) -> Side:
    """Our training. Raises ValueError for a method that is none of `METHODS`, or too few rows."""
    began = time.perf_counter()
    model, tokenizer = loaded(method, start)
    data = packed(method, tokenizer, rows)
    sizes: dict[str, Any] = {"epochs": shared.epochs, "batch": shared.batch, "optimizer": shared.optimizer}
    setup = time.perf_counter() - began
    generator = shared.generator()
    if method == "sft":
        history = sft(model, data, config=SFTConfig(**sizes), generator=generator)
    elif method == "reward model":
        history = train_reward_model(model, data, config=RewardModelConfig(**sizes), generator=generator)
    else:
        train: Callable[..., list[dict[str, float]]] = dpo if method == "dpo" else kto
        history = train(
            model, freeze(copy_of(model)), data, kl_weight=shared.kl_weight, config=DPOConfig(**sizes),
            generator=generator,
        )  # fmt: skip
    return side_of(history, setup, model)


def side_of(history: Sequence[Mapping[str, float]], setup: float, model: PreTrainedModel) -> Side:
    """A side from what its training logged."""
    logged = {name: [entry[name] for entry in history] for name in ("loss", "grad_norm", "seconds")}
    return Side(**logged, setup=setup, weights=weights_of(model))


def packed(method: str, tokenizer: PreTrainedTokenizerBase, rows: Rows) -> Any:
    """The rows as our methods take them: sequences, pairs, or answers with verdicts."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")

    def column(name: str) -> Any:
        return pack_texts(tokenizer, [row["prompt"] for row in rows], [row[name] for row in rows])

    if method in ("reward model", "dpo"):
        return Pairs(column("chosen"), column("rejected"))
    if method == "sft":
        return column("completion")
    return Labelled(column("completion"), torch.tensor([bool(row["label"]) for row in rows]))


def in_our_order(method: str, tokenizer: PreTrainedTokenizerBase, rows: Rows, shared: Shared) -> list[Any]:
    """The rows in the order in which our batches take them, all epochs one after the other."""
    data = packed(method, tokenizer, rows)
    lengths = data.answers.lengths if method == "kto" else data.lengths
    batches = shuffled_batches(
        lengths, batch=shared.batch, epochs=shared.epochs, generator=shared.generator()
    )
    return [rows[place] for taken in batches for place in taken.tolist()]


def trl_side(
    method: str, start: Path, rows: Rows, shared: Shared, told: Mapping[str, Any] | None = None
) -> Side:
    """TRL's training of the same model on the same batches; `told` overrides what it is told."""
    trl, began = require_package("trl"), time.perf_counter()
    name = TRAINERS[method]
    model, tokenizer = loaded(method, start)
    ordered = in_our_order(method, tokenizer, rows, shared)
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl_arguments(shared, steps=len(ordered) // shared.batch, folder=folder)
        arguments |= {"train_sampling_strategy": "sequential", "max_length": None}
        if method in ("dpo", "kto"):
            arguments["beta"] = shared.kl_weight
        if method == "sft":
            arguments["loss_type"] = "nll"
        reference = {"ref_model": freeze(copy_of(model))} if method in ("dpo", "kto") else {}
        return trained(
            lambda: getattr(trl, f"{name}Trainer")(
                model,
                args=getattr(trl, f"{name}Config")(**arguments | {**(told or {})}),
                train_dataset=handed_over(ordered, tokenizer, trainer=f"trl.{name}Trainer"),
                processing_class=tokenizer,
                **reference,
            ),
            began,
        )


# -------------------------------------------------------------------------------------------- what TRL is told


def trl_arguments(shared: Shared, *, steps: int, folder: str) -> dict[str, Any]:
    """The arguments of all of TRL's configurations that make them do as our loop does.

    Four of them are not TRL's defaults: the decay rates (0.9, 0.999), bfloat16, checkpointed activations, and
    one log in ten steps. Its optimizer is AdamW as ours is, with ε = 1e-8, and its weight decay spares biases
    and normalisations by their names, where ours spares all vectors: in a Llama these are the same.
    """
    config = shared.optimizer
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": shared.batch,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear" if config.final_fraction == 0 else "constant",
        "warmup_steps": 0,
        "adam_beta1": config.betas[0],
        "adam_beta2": config.betas[1],
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.clip_norm if math.isfinite(config.clip_norm) else 0.0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def handed_over(rows: Rows, tokenizer: PreTrainedTokenizerBase, *, trainer: str) -> datasets.Dataset:
    """The rows as TRL gets them: messages, through the file that `hand_over_rows` writes."""
    with tempfile.TemporaryDirectory() as folder:
        file = hand_over_rows(rows, tokenizer, Path(folder) / "rows.jsonl", trainer=trainer)
        return datasets.Dataset.from_list([json.loads(line) for line in file.read_text("utf-8").splitlines()])


def trained(make: Callable[[], Any], began: float) -> Side:
    """Make a trainer and train, without a line printed for every step; `began` is when its setup did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about TRL's own arguments
        warnings.filterwarnings("ignore", message=".*rollout_func.*")
        trainer, clock = make(), Clock()
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        setup = time.perf_counter() - began
        trainer.train()
    losses = [entry for entry in trainer.state.log_history if "loss" in entry]
    history = [
        {"loss": entry["loss"], "grad_norm": entry["grad_norm"], "seconds": seconds}
        for entry, seconds in zip(losses, clock.seconds, strict=True)
    ]
    return side_of(history, setup, trainer.model)


class Clock(TrainerCallback):
    """Notes the seconds of every step, from the end of the step before it."""

    def __init__(self) -> None:
        """Nothing has been noted."""
        self.seconds: list[float] = []
        self.since = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start."""
        self.since = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note, and start again."""
        now = time.perf_counter()
        self.seconds.append(now - self.since)
        self.since = now


def _largest(first: Sequence[float], second: Sequence[float]) -> float:
    return max(abs(one - other) for one, other in zip(first, second, strict=True))
