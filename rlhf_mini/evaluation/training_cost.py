"""What training a large model takes: bytes by method, operations, hours and money on given hardware.

A trained number costs `Precision.trained` bytes: weight, gradient and AdamW's two moments, 16 in all whether
all of it is float32 or the weight and gradient are bfloat16 beside a float32 copy of the weight (Rajbhandari
et al. 2020, arXiv 1910.02054, §3.1). A frozen one costs its weight. What the methods differ in is which
models they hold:

    method             trained             frozen                        sequences of a micro-batch of B
    full fine-tuning   policy              –                             B
    LoRA               adapters            policy                        B
    DPO                policy              reference                     2B: chosen and rejected
    PPO                policy, values      reference, reward model       B
    GRPO               policy              reference                     B; the reward is a program

Two peaks do not add up: keys and values are needed while drawing, activations while learning. What is left
out: the framework's own memory, buffers of communication, fragmentation, and what a step holds for a moment
(one layer's gradients in another type, say). Measured peaks lie above these numbers, which say what does not
fit, and not that something does.

Time is operations divided by the rate at which the hardware really works, a share of its peak. That share,
the price and the number of devices are the reader's: nothing here knows them.
"""

from dataclasses import dataclass

from rlhf_mini.models.footprint import (
    Shape,
    activation_bytes,
    cache_bytes,
    checkpointed_activation_bytes,
    forward_flops,
    logit_bytes,
)

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bytes of one number: its weight, its gradient, and what the optimizer keeps of it."""

    weight: int
    gradient: int
    optimizer: int

    @property
    def trained(self) -> int:
        """Bytes of one number that is trained."""
        return self.weight + self.gradient + self.optimizer


FLOAT32 = Precision(weight=4, gradient=4, optimizer=8)
MIXED = Precision(weight=2, gradient=2, optimizer=12)  # the moments, and a float32 copy of the weight
BFLOAT16 = Precision(weight=2, gradient=2, optimizer=4)  # everything; small updates are lost to rounding


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """What goes through a model at once: `sequences` of `tokens` tokens each, checkpointed at layers or
    not."""

    sequences: int
    tokens: int
    checkpointed: bool = True

    def __post_init__(self) -> None:
        """Refuse an empty batch."""
        if min(self.sequences, self.tokens) < 1:
            raise ValueError(f"sequences and tokens must be at least 1, got {self}")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes by what they are for; `total` is the larger of the two peaks."""

    weights: int
    frozen: int
    gradients: int
    optimizer: int
    activations: int
    cache: int = 0

    @property
    def kept(self) -> int:
        """What stays from step to step: weights, gradients, the optimizer's state."""
        return self.weights + self.frozen + self.gradients + self.optimizer

    @property
    def total(self) -> int:
        """The most that is needed at once: what is kept, and activations or cache, whichever is larger."""
        return self.kept + max(self.activations, self.cache)

    def sharded(self, devices: int) -> "Memory":
        """The share of each of several devices under FSDP or ZeRO-3, rounded up.

        What is kept is divided; activations and cache belong to each device's own sequences, and are not.
        Raises ValueError for less than one device.
        """
        if devices < 1:
            raise ValueError(f"devices must be at least 1, got {devices}")
        divided = {name: -(-getattr(self, name) // devices) for name in ("weights", "frozen", "gradients")}
        optimizer = -(-self.optimizer // devices)
        return Memory(**divided, optimizer=optimizer, activations=self.activations, cache=self.cache)


def full_memory(shape: Shape, batch: MicroBatch, *, precision: Precision) -> Memory:
    """Full fine-tuning, and pretraining: everything is trained."""
    return _held(precision, trained=shape.parameters, activations=_activations(shape, batch, precision))


def lora_memory(shape: Shape, batch: MicroBatch, *, precision: Precision, rank: int) -> Memory:
    """LoRA on all matrices of all layers, without touching the output projection.

    Adapters are kept as `precision` says, the frozen weights at its weight's size. Activations are those of
    full fine-tuning: an adapter needs the same inputs that its matrix would.
    """
    return _held(
        precision,
        trained=shape.lora_parameters(rank),
        frozen=shape.parameters,
        activations=_activations(shape, batch, precision),
    )


def dpo_memory(shape: Shape, batch: MicroBatch, *, precision: Precision) -> Memory:
    """DPO with its reference in memory; `batch.sequences` pairs.

    Where the reference's log-probabilities are computed once and kept, as `methods.dpo` does, the reference
    is not there while training: then it is `full_memory` of twice the sequences.
    """
    pairs = MicroBatch(sequences=2 * batch.sequences, tokens=batch.tokens, checkpointed=batch.checkpointed)
    return _held(
        precision,
        trained=shape.parameters,
        frozen=shape.parameters,
        activations=_activations(shape, pairs, precision),
    )


def ppo_memory(shape: Shape, batch: MicroBatch, *, precision: Precision, drawn: int) -> Memory:
    """PPO with four models of one size; `drawn` answers at once while sampling, `batch` while learning.

    Policy and values are trained, with a backbone each; reference and reward model are frozen. Both passes of
    a step are held at once, as a loss that adds the two needs them.
    """
    passes = _activations(shape, batch, precision) + _backbone_activations(shape, batch, precision)
    return _held(
        precision,
        trained=shape.parameters + shape.scorer_parameters,
        frozen=shape.parameters + shape.scorer_parameters,
        activations=passes,
        cache=cache_bytes(shape, sequences=drawn, tokens=batch.tokens, value_bytes=precision.weight),
    )


def grpo_memory(shape: Shape, batch: MicroBatch, *, precision: Precision, drawn: int) -> Memory:
    """GRPO with a reference and a reward that is a program; `drawn` answers at once while sampling.

    Without a KL term there is no reference: subtract `frozen`.
    """
    return _held(
        precision,
        trained=shape.parameters,
        frozen=shape.parameters,
        activations=_activations(shape, batch, precision),
        cache=cache_bytes(shape, sequences=drawn, tokens=batch.tokens, value_bytes=precision.weight),
    )


def _held(precision: Precision, *, trained: int, activations: int, frozen: int = 0, cache: int = 0) -> Memory:
    return Memory(
        weights=trained * precision.weight,
        frozen=frozen * precision.weight,
        gradients=trained * precision.gradient,
        optimizer=trained * precision.optimizer,
        activations=activations,
        cache=cache,
    )


def _backbone_activations(shape: Shape, batch: MicroBatch, precision: Precision) -> int:
    count = checkpointed_activation_bytes if batch.checkpointed else activation_bytes
    return count(shape, sequences=batch.sequences, tokens=batch.tokens, value_bytes=precision.weight)


def _activations(shape: Shape, batch: MicroBatch, precision: Precision) -> int:
    logits = logit_bytes(shape, sequences=batch.sequences, tokens=batch.tokens, value_bytes=precision.weight)
    return _backbone_activations(shape, batch, precision) + logits


# ---------------------------------------------------------------- passes: forward-equivalents of a token

SFT_PASSES = 3  # forward, and backward at twice the cost
DPO_PASSES = 4  # the same, and the reference's forward pass; of chosen and rejected alike
EVALUATION_PASSES = 1


def ppo_passes(*, epochs: int) -> int:
    """Forward passes that a token of an answer costs: drawn, scored by four models, learned by two.

    Drawing, then policy, values, reference and reward model read the whole; each epoch trains policy and
    values.
    """
    return 1 + 4 + epochs * 2 * SFT_PASSES


def grpo_passes(*, epochs: int) -> int:
    """The same of GRPO: drawn, read by policy and reference, and each epoch trains the policy.

    >>> grpo_passes(epochs=1), ppo_passes(epochs=1)
    (6, 11)
    """
    return 1 + 2 + epochs * SFT_PASSES


# ------------------------------------------------------------------------------------ hours and money


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One accelerator, by its data sheet.

    Attributes:
        flops: operations a second at its peak, dense, 16 bits.
        memory: bytes.
        bandwidth: bytes a second between memory and processor.
    """

    name: str
    flops: float
    memory: int
    bandwidth: float

    def __post_init__(self) -> None:
        """Refuse hardware that does nothing."""
        if min(self.flops, self.memory, self.bandwidth) <= 0:
            raise ValueError(f"flops, memory and bandwidth must be above 0, got {self}")


# NVIDIA's data sheets: T4 (2019), A100 80GB SXM (2021), H100 SXM5 (2022); figures without sparsity.
T4 = Hardware(name="T4", flops=65e12, memory=16 * 10**9, bandwidth=320e9)
A100 = Hardware(name="A100 80GB", flops=312e12, memory=80 * 10**9, bandwidth=2039e9)
H100 = Hardware(name="H100 80GB", flops=989.4e12, memory=80 * 10**9, bandwidth=3350e9)


@dataclass(frozen=True, kw_only=True)
class Bill:
    """How long and how much: `hours` by the clock, `device_hours` on all devices together, `money` for
    these."""

    hours: float
    device_hours: float
    money: float


def bill(
    flops: float | int,
    hardware: Hardware,
    *,
    devices: int,
    utilisation: float,
    price: float | int,
) -> Bill:
    """The bill for `flops` operations at `price` a device and hour, in the currency of the price.

    `utilisation` is the share of the peak that is reached, in (0, 1]: 0.3 to 0.5 is common in training large
    models; Chowdhery et al. 2022, arXiv 2204.02311, table 3, lists 0.21 to 0.46. Raises ValueError for a
    share outside, fewer than one device, or a negative number.

    >>> bill(989.4e12 * 3600, H100, devices=2, utilisation=0.5, price=3)
    Bill(hours=1.0, device_hours=2.0, money=6.0)
    """
    if not 0 < utilisation <= 1 or devices < 1 or min(flops, price) < 0:
        raise ValueError(
            "need 0 < utilisation <= 1, at least one device, flops and price not below 0, got "
            f"utilisation={utilisation}, devices={devices}, flops={flops}, price={price}"
        )
    device_hours = flops / (hardware.flops * utilisation) / 3600
    return Bill(hours=device_hours / devices, device_hours=device_hours, money=device_hours * price)


def decoding_seconds(
    shape: Shape, hardware: Hardware, *, sequences: int, prompt: int, new_tokens: int, value_bytes: int
) -> float:
    """The least time to draw `new_tokens` tokens for each of `sequences` prompts on one device.

    For every new token all weights and the cache so far are read once; the operations take time too, and the
    longer of the two counts. With few sequences it is the reading, which is why drawing takes so large a part
    of PPO and GRPO though its operations are few. Pope et al. 2022, arXiv 2211.05102, §2.
    """
    seconds = 0.0
    for tokens in range(prompt + 1, prompt + new_tokens + 1):
        read = shape.parameters * value_bytes
        read += cache_bytes(shape, sequences=sequences, tokens=tokens, value_bytes=value_bytes)
        computed = sequences * forward_flops(shape, keys=tokens)
        seconds += max(read / hardware.bandwidth, computed / hardware.flops)
    return seconds
