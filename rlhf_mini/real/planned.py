"""What a training would take, before it begins: memory by what it is for, operations, hours on a known GPU.

Parameters and activations are counted on the very architecture (`models.counted`), with LoRA, checkpoints and
autocast as they are set; no weight is read. What the numbers leave out is what `evaluation.training_cost`
leaves out: they say what does not fit, and not that something does.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from rlhf_mini.evaluation.training_cost import A100, GIB, Memory, bill
from rlhf_mini.models.adapters import train_head_too
from rlhf_mini.models.checkpoints import checkpoint_activations
from rlhf_mini.models.counted import Counted, counted
from rlhf_mini.models.lora import add_lora
from rlhf_mini.real.rows import Encoded
from rlhf_mini.real.settings import Method, Settings

# Forward passes of a sequence beside the training pass: of the reference, of draws, of a baseline.
FURTHER_PASSES = {"dpo": 1, "kto": 3, "ppo": 4, "grpo": 2}
PAIRED = ("reward", "dpo", "orpo")
WITH_REFERENCE = ("kto", "ppo", "grpo")  # in memory; DPO asks its reference once and keeps what it said
UTILISATION = 0.4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training would take.

    Attributes:
        trained, frozen: numbers that learn and that do not, of all models together.
        memory: bytes, by what they are for.
        steps: of the optimizer.
        sequences, tokens: of what goes through the model at once, at its longest.
        flops: operations in all, about.
    """

    trained: int
    frozen: int
    memory: Memory
    steps: int
    sequences: int
    tokens: int
    flops: float

    def lines(self) -> list[str]:
        """The plan in words, a line for each thing."""
        memory, sizes = self.memory, ("weights", "frozen", "gradients", "optimizer", "activations", "cache")
        parts = ", ".join(f"{name} {size(getattr(memory, name))}" for name in sizes if getattr(memory, name))
        hours = bill(self.flops, A100, devices=1, utilisation=UTILISATION, price=0).hours
        return [
            f"{self.trained:,} numbers learn, {self.frozen:,} do not",
            f"at least {size(memory.total)} of memory: {parts}",
            f"{self.steps} steps, at most {self.sequences} sequences of {self.tokens} tokens at once",
            f"about {self.flops:.1e} operations: {hours:.2g} hours of one {A100.name} at {UTILISATION:.0%} "
            "of its peak",
        ]


def size(count: int) -> str:
    """Bytes in a unit that can be read.

    >>> size(3 * 2**20), size(5 * 2**30)
    ('3.0 MiB', '5.0 GiB')
    """
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"


def steps_of(method: Method, rows: Encoded, settings: Settings) -> int:
    """Optimizer steps: as many as were asked for, or as fill the epochs; at least one."""
    if settings.steps is not None:
        return settings.steps
    if method.data == "text":
        return max(1, settings.epochs * (len(rows.train) // rows.longest // settings.batch))
    a_step = settings.batch // settings.group if method.data == "verifiable" else settings.batch
    return max(1, settings.epochs * len(rows.train) // max(1, a_step))


def prepared(model: PreTrainedModel, settings: Settings, *, head: bool = False) -> PreTrainedModel:
    """The model, in place, with LoRA and checkpoints where they are asked for; `head` learns in any case."""
    model.requires_grad_(True)
    if settings.lora is not None:
        generator = torch.Generator().manual_seed(settings.seed)
        lora = settings.lora
        add_lora(model, rank=lora.rank, alpha=lora.scale, targets=lora.targets, generator=generator)
        if head:
            train_head_too(model)
    if settings.checkpoint_activations:
        checkpoint_activations(model)
    return model


def planned(
    name: str,
    method: Method,
    config: PreTrainedConfig,
    rows: Encoded,
    *,
    settings: Settings,
    reward_config: PreTrainedConfig | None = None,
) -> Plan:
    """Count what training `config`'s model on `rows` would take.

    `reward_config` is the reward model's, which PPO holds twice: frozen, and as the value model. Raises
    ValueError where LoRA has nothing to adapt or the architecture cannot be counted.
    """
    rows_held = min(settings.rows_at_once or settings.batch, settings.batch)
    sequences = rows_held * (2 if name in PAIRED and settings.rows_at_once is None else 1)
    count = _counter(settings, sequences, rows.longest)
    scorer = name == "reward"
    policy = count(AutoModelForSequenceClassification if scorer else AutoModelForCausalLM, config, scorer)
    trained, learning, activations = policy.trained_bytes, policy.trained, policy.activations
    frozen, still = policy.weight_bytes - policy.trained_bytes, policy.frozen
    if name in WITH_REFERENCE and not (name == "grpo" and settings.weight_for(method) == 0):
        whole = numbers_of(config)
        frozen, still = frozen + whole * settings.dtype.itemsize, still + whole
    flops = policy.training_flops
    if reward_config is not None:
        value = count(AutoModelForTokenClassification, reward_config, True)
        trained, learning = trained + value.trained_bytes, learning + value.trained
        reward_numbers = numbers_of(reward_config, scorer=True)
        frozen += value.weight_bytes - value.trained_bytes + reward_numbers * settings.dtype.itemsize
        still += value.frozen + reward_numbers
        activations, flops = activations + value.activations, flops + value.training_flops
    if not scorer:
        activations += _vocabulary_bytes(config, sequences, rows.longest, settings)
    flops += (FURTHER_PASSES.get(name, 0) + (settings.rows_at_once is not None)) * policy.forward_flops
    steps = steps_of(method, rows, settings)
    a_step = settings.batch * (2 if name in PAIRED else 1)
    return Plan(
        trained=learning,
        frozen=still,
        memory=Memory(
            weights=trained,
            frozen=frozen,
            gradients=trained,
            optimizer=2 * trained,
            activations=activations,
            cache=_cache_bytes(config, rows_held, rows.longest, settings) if method.draws else 0,
        ),
        steps=steps,
        sequences=sequences,
        tokens=rows.longest,
        flops=flops / sequences * a_step * steps * rows.mean / rows.longest,
    )


def numbers_of(config: PreTrainedConfig, *, scorer: bool = False) -> int:
    """Numbers in the model that a configuration describes; nothing is built in memory."""
    family = AutoModelForSequenceClassification if scorer else AutoModelForCausalLM
    with torch.device("meta"):
        model = family.from_config(_configured(config, scorer))
    return sum(parameter.numel() for parameter in model.parameters())


def _counter(settings: Settings, sequences: int, tokens: int) -> Callable[..., Counted]:
    def count(family: Any, config: PreTrainedConfig, head: bool) -> Counted:
        def build() -> PreTrainedModel:
            model = family.from_config(_configured(config, head), dtype=settings.dtype)
            return prepared(model.train(), settings, head=head)

        return counted(build, sequences=sequences, tokens=tokens, bfloat16=settings.bf16)

    return count


def _configured(config: PreTrainedConfig, scorer: bool) -> PreTrainedConfig:
    own = copy.deepcopy(config)
    if scorer:
        own.num_labels = 1
    return own


def _vocabulary_bytes(config: PreTrainedConfig, sequences: int, tokens: int, settings: Settings) -> int:
    """Logits, float32 log-probabilities and their gradient, as if every token counted."""
    value_bytes = 2 if settings.bf16 else settings.dtype.itemsize
    return sequences * tokens * config.vocab_size * (value_bytes + 4 + 4)


def _cache_bytes(config: PreTrainedConfig, sequences: int, tokens: int, settings: Settings) -> int:
    """Keys and values of what is drawn at once."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    value_bytes = 2 if settings.bf16 else settings.dtype.itemsize
    return 2 * config.num_hidden_layers * heads * width * sequences * tokens * value_bytes
