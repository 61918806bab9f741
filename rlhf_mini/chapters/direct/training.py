"""One run of a direct method on the chapter's pairs.

Every run sees the same pairs in the same batches, so that two runs differ in what the experiment changes and in
nothing else.
"""

from pathlib import Path
from typing import Any

from rlhf_mini.chapters.direct.data import (
    packed,
    pairs_of,
    reference_of,
    reward_lead,
)
from rlhf_mini.chapters.direct.objectives import RPO, objective_of
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.dpo import DPOConfig, train_on_pairs
from rlhf_mini.methods.kto import kto, taken_apart
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline

BATCH, WARMUP = 32, 20
KTO = "KTO"


def settings(rate: float, *, batch: int = BATCH) -> DPOConfig:
    """One pass over the pairs, at a peak learning rate that decays to a twentieth."""
    optimizer = OptimizerConfig(learning_rate=rate, warmup_steps=WARMUP, final_fraction=0.05)
    return DPOConfig(epochs=1, batch=batch, optimizer=optimizer)


def trained(
    pipeline: Pipeline,
    folder: Path,
    *,
    method: str,
    numbers: dict[str, float],
    rate: float,
    start: str = "sft",
    masked: bool = False,
    batch: int = BATCH,
    **data: Any,
) -> None:
    """A kept policy: `method` of `objectives.py`, or KTO, on the pairs that `data` names (see `pairs_of`).

    `start` is the stage that training starts from and is kept near; `masked` leaves the end token out. A batch of
    KTO holds twice as many answers as others hold pairs, so that all make as many steps.
    """
    pairs = packed(pipeline, pairs_of(pipeline, **data), masked=masked)
    reference = pipeline.policy(start)
    model = copy_of(reference)
    generator, config = pipeline.generator("chapter 07"), settings(rate, batch=batch)
    if method == KTO:
        kto(
            model,
            reference,
            taken_apart(pairs),
            kl_weight=numbers["kl_weight"],
            config=settings(rate, batch=2 * batch),
            generator=generator,
        )
    else:
        lead = reward_lead(pipeline, pairs) if method in RPO else None
        train_on_pairs(
            model,
            pairs,
            reference_of(pipeline, start=start, masked=masked, **data),
            objective_of(method, numbers, reward_lead=lead),
            config=config,
            generator=generator,
        )
    model.save_pretrained(folder)
