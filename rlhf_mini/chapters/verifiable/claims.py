"""What chapter 12 claims, measured on one pipeline: `rlhf-mini claims 12` prints it and writes the records."""

from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.verifiable.choices import PREFERENCE, REWARDS
from rlhf_mini.chapters.verifiable.family import (
    ALL,
    CURVES,
    GAP_REWARDS,
    OURS,
    SPARSE,
    from_name,
    gap_name,
    reused_name,
    run,
)
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "12"
# What a row of the chapter's tables holds of a run: of a look at its policy, and of its log.
OF_LOOKS = (
    "answer_right", "all_right", "in_form", "follows", "larger_first", "length", "steps", "worked", "right_bare",
    "right_worked",
)  # fmt: skip
OF_LOGS = (
    "entropy_first", "entropy_last", "without_spread_first", "without_spread_last", "reward_last", "kl_k1", "clip_fraction",
    "ratio_deviation", "loss_largest", "grad_norm", "drawn", "seconds",
)  # fmt: skip
# What is kept of every iteration of some runs.
OF_ITERATIONS = (
    *(f"score_{name}" for name in (*REWARDS, PREFERENCE)), "policy_loss", "entropy", "length", "length_right",
    "length_wrong", "without_spread", "kl_k1",
)  # fmt: skip
LOGS = (
    OURS,
    reused_name(OURS),
    from_name(SPARSE),
    *(one.name for one in ALL if one.group in ("average", "clip", "stages", "redraws") and not one.untrained),
    *(gap_name(gap, side) for gap in GAP_REWARDS for side in ("open", "closed")),
)

CLAIMS: tuple[Claim, ...] = ()


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's tables: runs, what more tries are worth, and what some runs logged by iteration."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for one in ALL:
        told = one.measured(pipeline)
        kept = (name for name in (*OF_LOOKS, *OF_LOGS) if name in told)
        tables["runs", one.name] = {"group": one.group, **{name: told[name] for name in kept}}
    for name in CURVES:
        tables["tries", name] = run(name).curves(pipeline)
    for name in LOGS:
        log = run(name).log(pipeline)
        tables["logs", name] = {
            metric: [entry[metric] for entry in log] for metric in OF_ITERATIONS if metric in log[0]
        }
    return records_of(CHAPTER, pipeline, tables)
