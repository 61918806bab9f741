"""What a reader decides about one training, and what each method takes where nothing was decided."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from rlhf_mini.data.pretrained import DTYPES
from rlhf_mini.loop import OptimizerConfig

WARMUP = 0.05  # of the steps
LORA_FACTOR = 10  # low-rank changes want about ten times the rate of the weights themselves


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method as the command knows it.

    - `title`: in words; `data`: which loader reads its rows.
    - `learning_rate`: for all weights, where none is given; `LORA_FACTOR` times as much for LoRA.
    - `weight`, `weight_is`: the one number that the method's loss has beside the rate, and what it is.
    - `draws`: whether it learns from its own samples.
    """

    title: str
    data: str
    learning_rate: float
    weight: float = 0.0
    weight_is: str = ""
    draws: bool = False


# Starting points, from the papers and the trainers' own defaults; a reader with a validation set does better.
METHODS: Mapping[str, Method] = {
    "pretrain": Method(title="continued pretraining", data="text", learning_rate=1e-5),
    "sft": Method(title="supervised fine-tuning", data="instructions", learning_rate=1e-5),
    "reward": Method(title="a reward model from preferences", data="preferences", learning_rate=1e-5),
    "dpo": Method(
        title="direct preference optimisation",
        data="preferences",
        learning_rate=5e-7,
        weight=0.1,
        weight_is="β, how closely the policy is held to its start",
    ),
    "kto": Method(
        title="Kahneman–Tversky optimisation",
        data="unpaired",
        learning_rate=5e-7,
        weight=0.1,
        weight_is="β, how closely the policy is held to its start",
    ),
    "orpo": Method(
        title="odds-ratio preference optimisation",
        data="preferences",
        learning_rate=8e-6,
        weight=0.1,
        weight_is="λ, of the odds beside the likelihood",
    ),
    "ppo": Method(
        title="PPO against a reward model",
        data="prompts",
        learning_rate=1e-6,
        weight=0.05,
        weight_is="the price of one nat of KL, in standard deviations of the reward",
        draws=True,
    ),
    "grpo": Method(
        title="GRPO on answers that a program checks",
        data="verifiable",
        learning_rate=1e-6,
        weight=0.04,
        weight_is="β, the price of one nat of KL in the loss",
        draws=True,
    ),
}


def method_named(name: str) -> Method:
    """The method of this name; ValueError, with the known ones, for another.

    >>> method_named("dpo").weight
    0.1
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: choose one of {', '.join(METHODS)}")
    return METHODS[name]


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Train a low-rank change of the weights (`models.lora`) instead of the weights.

    - `rank`: r; `alpha`: the change is multiplied by α/r, None for α = 2r.
    - `targets`: last parts of the layers' names, None for every linear layer of the backbone.
    - `merge`: whether the change is added to the weights when the model is saved, which gives an ordinary
      model; else A and B are saved alone, in the layout of `peft`.
    """

    rank: int
    alpha: float | int | None = None
    targets: Sequence[str] | None = None
    merge: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.rank < 1 or (self.alpha is not None and not 0 < self.alpha < math.inf):
            raise ValueError(f"LoRA needs a rank of at least 1 and an alpha above 0, got {self}")

    @property
    def scale(self) -> float | int:
        """α."""
        return 2 * self.rank if self.alpha is None else self.alpha


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; None stands for the method's own (`METHODS`).

    - `batch`: rows of a step: texts, pairs or answers; `steps` in all, or `epochs` passes over the rows.
    - `weight`: the method's own number, `Method.weight_is`.
    - `rows_at_once`: rows in memory at a time, None for all of a batch; the gradient is the same.
    - `bf16`: compute in bfloat16 by autocast, weights in float32. On a GPU that knows bfloat16 it is so
      anyway. `dtype`: of the weights; bfloat16 rounds small steps away (`data.pretrained.load_causal_lm`).
    - `max_length`: tokens; longer rows are left out. Without it they are an error if the context is shorter.
      Of plain text it is the length of a block.
    - `max_new_tokens`: of an answer, for methods that draw; `group`: answers to a prompt, for GRPO.
    - `held_out`: rows that are kept for measuring only.
    """

    batch: int = 16
    learning_rate: float | None = None
    steps: int | None = None
    epochs: int = 1
    weight: float | None = None
    lora: LoRA | None = None
    rows_at_once: int | None = None
    checkpoint_activations: bool = False
    bf16: bool = False
    dtype: torch.dtype = torch.float32
    max_length: int | None = None
    max_new_tokens: int = 128
    group: int = 8
    held_out: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        counts = ("batch", "steps", "epochs", "rows_at_once", "max_length", "max_new_tokens", "held_out")
        low = [name for name in counts if getattr(self, name) is not None and getattr(self, name) < 1]
        if low:
            raise ValueError(f"{', '.join(low)} must be at least 1, got {getattr(self, low[0])}")
        if self.group < 2:
            raise ValueError(f"group must be at least 2, got {self.group}: answers are compared in groups")
        if self.weight is not None and not 0 <= self.weight < math.inf:
            raise ValueError(f"weight must be finite and not negative, got {self.weight}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be finite and above 0, got {self.learning_rate}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {self.dtype}")

    def optimizer(self, method: Method, *, steps: int) -> OptimizerConfig:
        """AdamW at the given rate or the method's own, warmed up over `WARMUP` of the steps, then falling to
        a tenth."""
        rate = self.learning_rate
        if rate is None:
            rate = method.learning_rate * (1 if self.lora is None else LORA_FACTOR)
        return OptimizerConfig(
            learning_rate=rate, betas=(0.9, 0.95), warmup_steps=round(WARMUP * steps), final_fraction=0.1
        )

    def weight_for(self, method: Method) -> float:
        """The method's number: given, or its own."""
        return method.weight if self.weight is None else self.weight
