"""The small choices of training: schedule, warm-up, clipping, batch size; and what a tokenizer changes.

All runs see the same number of documents. Each departs from the first in one setting.
"""

import math
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from rlhf_mini.chapters.pretraining.runs import Run
from rlhf_mini.pipeline import Pipeline

DEFAULT = Run()
CHOICES: MappingProxyType[str, Run] = MappingProxyType(
    {
        "as the base model": DEFAULT,
        "constant rate": replace(DEFAULT, final_fraction=1.0),
        "no warm-up": replace(DEFAULT, warmup_steps=0),
        "no clipping": replace(DEFAULT, clip_norm=1e9),
        "rate × 4": replace(DEFAULT, learning_rate=DEFAULT.learning_rate * 4),
        "batch 64": replace(DEFAULT, batch=64, steps=60, warmup_steps=5),
    }
)
VOCABULARIES = (400, 0)


def ablation(pipeline: Pipeline) -> dict[str, float]:
    """The last held-out loss of each choice, in nats per token."""
    return {name: run.measured(pipeline)["held_out"][-1] for name, run in CHOICES.items()}


def two_tokenizers(pipeline: Pipeline) -> dict[str, Any]:
    """The same model and text under two vocabularies: perplexity per token, and bits per byte."""
    numbers: dict[str, Any] = {}
    for vocabulary in VOCABULARIES:
        result = replace(DEFAULT, vocabulary=vocabulary).measured(pipeline)
        name = "small" if vocabulary else "large"
        numbers[f"tokens_{name}"] = result["tokens_per_document"]
        numbers[f"perplexity_{name}"] = math.exp(result["held_out"][-1])
        numbers[f"bits_per_byte_{name}"] = result["bits_per_byte"]
        numbers[f"nats_per_document_{name}"] = result["nats_per_document"]
    return numbers
