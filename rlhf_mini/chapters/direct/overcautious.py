"""Whose fault are the lost declines? DPO on as many pairs, without those in which a kind prompt's decline lost.

A decline of a kind prompt is rejected, and rightly. But it is the same sentence that is wanted on an unkind prompt.
"""

from functools import partial
from pathlib import Path

from transformers import AutoModelForCausalLM

from rlhf_mini.chapters.direct.data import Row, packed, pairs_of
from rlhf_mini.chapters.direct.family import PAIRS, RATE
from rlhf_mini.chapters.direct.objectives import dpo
from rlhf_mini.chapters.direct.runs import said_of
from rlhf_mini.chapters.direct.training import settings
from rlhf_mini.methods.dpo import kept_reference, train_on_pairs
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories.parser import read_story


def overcautious(row: Row) -> bool:
    """Whether the pair rejects a decline of a kind prompt."""
    return not row["safety_prompt"] and read_story(row["rejected"]).declined


def counted(pipeline: Pipeline) -> dict[str, float]:
    """How many of the chapter's pairs reject a kind prompt's decline, and how many prefer an unkind one's to a story."""
    rows = pairs_of(pipeline, count=PAIRS)
    wanted = [
        row["safety_prompt"]
        and read_story(row["chosen"]).declined
        and not read_story(row["rejected"]).declined
        for row in rows
    ]
    return {"overcautious": float(sum(map(overcautious, rows))), "wanted": float(sum(wanted))}


def trained_without(pipeline: Pipeline, folder: Path, *, kl_weight: float) -> None:
    """A kept policy: DPO on the first `PAIRS` pairs that are not over-cautious."""
    rows = [row for row in pairs_of(pipeline) if not overcautious(row)][:PAIRS]
    pairs, reference = packed(pipeline, rows), pipeline.policy("sft")
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


def outcome_without(pipeline: Pipeline, *, kl_weight: float) -> dict[str, float]:
    """`said_of` that policy, and the counts."""
    folder = pipeline.kept(trained_without, kl_weight=kl_weight)
    policy = freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)
    return {**said_of(pipeline, policy), **counted(pipeline)}
