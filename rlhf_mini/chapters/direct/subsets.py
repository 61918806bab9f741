"""DPO on pairs that are chosen or shown in another way: whose fault the lost declines are, and Llama 3's masking.

*Without over-cautious pairs*: a decline of a kind prompt is rejected, and rightly, but it is the same sentence that is
wanted on an unkind prompt. *End token masked*: the end token counts in neither answer, as Llama 3's format tokens do
not; an answer that is nothing else would have nothing left to learn from, and its pair is left out. What is left out
is made up for by the pairs that follow.
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

WITHOUT = "without over-cautious pairs"
MASKED = "end token masked"


def overcautious(row: Row) -> bool:
    """Whether the pair rejects a decline of a kind prompt."""
    return not row["safety_prompt"] and read_story(row["rejected"]).declined


def says_something(row: Row) -> bool:
    """Whether neither answer is empty."""
    return bool(row["chosen"].strip() and row["rejected"].strip())


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


def subset(pipeline: Pipeline, which: str) -> list[Row]:
    """The first `PAIRS` pairs that belong to `WITHOUT` or `MASKED`.

    Raises:
        ValueError: on another name.
    """
    if which not in (WITHOUT, MASKED):
        raise ValueError(f"unknown subset {which!r}: choose {WITHOUT!r} or {MASKED!r}")
    kept = says_something if which == MASKED else lambda row: not overcautious(row)
    return [row for row in pairs_of(pipeline) if kept(row)][:PAIRS]


def trained_on(pipeline: Pipeline, folder: Path, *, which: str, kl_weight: float) -> None:
    """A kept policy: DPO on a subset."""
    pairs = packed(pipeline, subset(pipeline, which), masked=which == MASKED)
    reference = pipeline.policy("sft")
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


def outcome_on(pipeline: Pipeline, *, which: str, kl_weight: float) -> dict[str, float]:
    """`said_of` that policy, and the counts."""
    folder = pipeline.kept(trained_on, which=which, kl_weight=kl_weight)
    policy = freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)
    return {**said_of(pipeline, policy), **counted(pipeline)}
