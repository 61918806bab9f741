"""The small choices of training: schedule, warm-up, clipping, learning rate, batch size.

All runs see the same number of documents. Each departs from the first in one setting; the first is not the book's
base model, which is wider and trained for longer at a lower rate.
"""

from dataclasses import replace
from types import MappingProxyType

from rlhf_mini.chapters.pretraining.runs import Run
from rlhf_mini.pipeline import Pipeline

DEFAULT = Run()
CHOICES: MappingProxyType[str, Run] = MappingProxyType(
    {
        "unchanged": DEFAULT,
        "constant rate": replace(DEFAULT, final_fraction=1.0),
        "no warm-up": replace(DEFAULT, warmup_steps=0),
        "no clipping": replace(DEFAULT, clip_norm=1e9),
        "rate × 4": replace(DEFAULT, learning_rate=DEFAULT.learning_rate * 4),
        "batch 64": replace(DEFAULT, batch=64, steps=60, warmup_steps=5),
    }
)


def ablation(pipeline: Pipeline) -> dict[str, float]:
    """The last held-out loss of each choice, in nats per token."""
    return {name: run.measured(pipeline)["held_out"][-1] for name, run in CHOICES.items()}
