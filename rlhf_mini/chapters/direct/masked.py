"""Llama 3's masked format tokens: DPO where the end token counts in neither answer.

An answer that is nothing but its end token would have nothing left to learn from; its pair is left out, and the next
one stands in.
"""

from functools import partial
from pathlib import Path

from transformers import AutoModelForCausalLM

from rlhf_mini.chapters.direct.data import packed, pairs_of
from rlhf_mini.chapters.direct.family import PAIRS, RATE
from rlhf_mini.chapters.direct.objectives import dpo
from rlhf_mini.chapters.direct.runs import said_of
from rlhf_mini.chapters.direct.training import settings
from rlhf_mini.methods.dpo import kept_reference, train_on_pairs
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline


def trained_masked(pipeline: Pipeline, folder: Path, *, kl_weight: float) -> None:
    """A kept policy: DPO on the first `PAIRS` pairs whose answers say something, without their end tokens."""
    rows = [row for row in pairs_of(pipeline) if row["chosen"].strip() and row["rejected"].strip()][:PAIRS]
    pairs, reference = packed(pipeline, rows, masked=True), pipeline.policy("sft")
    model = copy_of(reference)
    train_on_pairs(
        model,
        pairs,
        kept_reference(reference, pairs),
        partial(dpo, kl_weight=kl_weight),
        config=settings(RATE),
        generator=pipeline.generator("chapter 07"),
    )
    model.save_pretrained(folder)


def outcome_masked(pipeline: Pipeline, *, kl_weight: float) -> dict[str, float]:
    """`said_of` that policy."""
    folder = pipeline.kept(trained_masked, kl_weight=kl_weight)
    policy = freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)
    return said_of(pipeline, policy)
