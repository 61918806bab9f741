"""Three sizes of models, and what training each takes: memory by its parts, operations, hours.

Everything is computed by `models.footprint` and `evaluation.training_cost` from the shapes below, which are
those of the published configurations: Llama 3.2 1B (Meta, 2024), Llama 2 7B and 70B (Touvron et al. 2023,
arXiv 2307.09288, and their configuration files).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rlhf_mini.evaluation.training_cost import (
    DPO_PASSES,
    GIB,
    H100,
    MIXED,
    SFT_PASSES,
    Bill,
    Hardware,
    Memory,
    MicroBatch,
    bill,
    full_memory,
    grpo_passes,
    lora_memory,
    ppo_passes,
)
from rlhf_mini.models.footprint import Shape, forward_flops, mean_keys

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "1B": Shape(
            vocabulary=128256, width=2048, intermediate=8192, layers=16, heads=32, key_value_heads=8,
            head_width=64, tied=True,
        ),
        "7B": Shape(
            vocabulary=32000, width=4096, intermediate=11008, layers=32, heads=32, key_value_heads=32,
            head_width=128, tied=False,
        ),
        "70B": Shape(
            vocabulary=32000, width=8192, intermediate=28672, layers=80, heads=64, key_value_heads=8,
            head_width=128, tied=False,
        ),
    }
)  # fmt: skip
PARTS = ("weights", "frozen", "gradients", "optimizer", "activations")
WAYS = ("full", "LoRA")
RANK = 16
BATCH = MicroBatch(sequences=1, tokens=2048)  # what goes through the model at once, checkpointed at layers
# Forward-equivalents of a token of a pair or an answer, by method; one epoch on each draw.
PASSES: Mapping[str, int] = MappingProxyType(
    {
        "SFT": SFT_PASSES,
        "reward model": SFT_PASSES,
        "DPO": DPO_PASSES,
        "GRPO": grpo_passes(epochs=1),
        "PPO": ppo_passes(epochs=1),
    }
)


def memory(size: str, way: str, *, batch: MicroBatch = BATCH, rank: int = RANK) -> Memory:
    """Bytes by their use for fine-tuning one of `SHAPES` in one of `WAYS`, in mixed precision.

    >>> round(memory("7B", "full").kept / 10**9)  # 16 bytes a parameter
    108
    """
    ways: dict[str, Callable[[], Memory]] = {
        "full": lambda: full_memory(SHAPES[size], batch, precision=MIXED),
        "LoRA": lambda: lora_memory(SHAPES[size], batch, precision=MIXED, rank=rank),
    }
    return ways[way]()


def parts_in_gib(
    size: str, way: str, *, batch: MicroBatch = BATCH, rank: int = RANK, devices: int = 1
) -> dict[str, float]:
    """The same by `PARTS`, in GiB of 2³⁰ bytes, on each of `devices` devices that share out what is kept."""
    found = memory(size, way, batch=batch, rank=rank).sharded(devices)
    return {name: getattr(found, name) / GIB for name in PARTS}


def training_bill(
    shape: Shape,
    *,
    method: str,
    tokens: float | int,
    length: int,
    hardware: Hardware = H100,
    devices: int,
    utilisation: float,
    price: float | int,
) -> Bill:
    """What `tokens` tokens of a method cost: passes × operations of a forward pass, by the hardware's rate.

    A forward pass is 2 operations for each number that a token is multiplied with and 4·L·H·d for each key,
    of which a token of a sequence of `length` sees (length + 1)/2. For SFT this is the rule of thumb
    6·N·D (Kaplan et al. 2020, arXiv 2001.08361, §2.1) with the attention's share, and without the embedding.
    Drawing is counted by its operations; it takes longer than these say, see `decoding_seconds`.

    `price` is a device's and hour's, the result in its currency.
    """
    operations = PASSES[method] * tokens * forward_flops(shape, keys=mean_keys(length))
    return bill(operations, hardware, devices=devices, utilisation=utilisation, price=price)
