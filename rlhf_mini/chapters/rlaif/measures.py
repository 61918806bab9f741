"""What the claims of chapter 10 measure: flat names, plain numbers."""

from collections.abc import Sequence
from typing import Any

from rlhf_mini.chapters.rlaif import (
    family,
    judge_quality,
    labels,
    phase_one,
    phase_two,
    rubric_runs,
    self_rewarded,
    synthesis,
)
from rlhf_mini.chapters.rlaif.family import (
    DIRECT,
    DISTILLED,
    FEWER,
    FIRST,
    HELPER,
    MATCHES,
    OURS,
    RLHF,
    SECOND,
    SFT,
    SHARES,
    SILENT,
    THINKS,
    mix_name,
)
from rlhf_mini.chapters.rlaif.judges import SIZES
from rlhf_mini.chapters.rlaif.outcomes import head_to_head
from rlhf_mini.pipeline import Pipeline

# What a row of the tables holds of a policy, and of a judge.
TOLD = (
    "gold", "gold_safe_prompts", "gold_unkind_prompts", "helpfulness", "safety", "followed", "unkind_declined", "unkind_told",
    "kind_declined", "red_team_declined", "red_team_told", "wrapped_declined", "wrapped_told", "kl_k1", "kl_k3", "length",
    "distinct_2", "proxy",
)  # fmt: skip
JUDGES_TOLD = (
    "right", "right_one_order", "same_place", "first_chosen", "calibration", "calibration_one_order", "calibration_clamped",
    "sure", "gold_right", "gold_right_one_order", "gold_same_place", "gold_calibration", "with_annotator", "annotator_right",
    "ceiling",
)  # fmt: skip
READINGS: dict[str, dict[str, bool]] = {
    "both orders": {},
    "one order": {"both_orders": False},
    "hard": {"hard": True},
}


def ends(pipeline: Pipeline, names: Sequence[str], *metrics: str) -> dict[str, float]:
    """Numbers of several policies as `metric name`."""
    told = {name: family.run(name).measured(pipeline) for name in names}
    return {f"{metric} {name}": told[name][metric] for name in names for metric in metrics}


def of_judges(pipeline: Pipeline, names: Sequence[str], *metrics: str) -> dict[str, float]:
    """Numbers of several judges as `metric name`."""
    told = {name: family.judge(name).measured(pipeline) for name in names}
    return {f"{metric} {name}": told[name][metric] for name in names for metric in metrics}


# ------------------------------------------------------------------------------------------------ the judges


def sizes(pipeline: Pipeline) -> dict[str, float]:
    """Judges of several sizes."""
    return of_judges(pipeline, (*SIZES, OURS), "right", "same_place", "gold_right", "gold_same_place")


def lessons(pipeline: Pipeline) -> dict[str, float]:
    """Judges taught from fewer lessons and from more."""
    return of_judges(pipeline, (*FEWER, OURS), "right", "same_place", "gold_right", "gold_same_place")


def orders(pipeline: Pipeline) -> dict[str, float]:
    """What asking in both orders does for the chapter's judge, and for the least taught."""
    return of_judges(
        pipeline,
        (*FEWER, OURS),
        "right",
        "right_one_order",
        "same_place",
        "first_chosen",
        "calibration",
        "calibration_one_order",
    )


def principles(pipeline: Pipeline) -> dict[str, float]:
    """How often the chapter's judge is right, by principle."""
    told = family.judge(OURS).measured(pipeline)
    return dict(told["principles"])


def thoughts(pipeline: Pipeline) -> dict[str, float]:
    """A judge that thinks first, beside one that was taught the same comparisons without reasons."""
    metrics = ("right", "same_place", "sure", "calibration", "calibration_clamped")
    alone = pipeline.measured(judge_quality.thinking)
    return {
        **of_judges(pipeline, (SILENT, THINKS), *metrics),
        **{f"{name} thinking": value for name, value in alone.items()},
    }


def people(pipeline: Pipeline) -> dict[str, float]:
    """The judge and the annotators: who agrees with gold, and with whom; on the pairs of the reward model too."""
    told = of_judges(pipeline, (OURS,), "gold_right", "with_annotator", "annotator_right", "ceiling")
    for name, reading in READINGS.items():
        found = pipeline.measured(labels.label_quality, **reading)
        told |= {f"{metric} labels, {name}": value for metric, value in found.items()}
    return told


# ---------------------------------------------------------------------------------------------- the policies


def matches(pipeline: Pipeline) -> dict[str, float]:
    """Every match of `family.MATCHES`, as `win_rate A – B`, and likewise `low`, `high` and `ties`."""
    found: dict[str, float] = {}
    for ours, theirs in MATCHES:
        told = head_to_head(*(family.run(name).measured(pipeline) for name in (ours, theirs)))
        found |= {f"{metric} {ours} – {theirs}": value for metric, value in told.items()}
    return found


def feedback(pipeline: Pipeline) -> dict[str, float]:
    """RLAIF beside RLHF and the SFT model."""
    names = (SFT, RLHF, DISTILLED, DIRECT)
    return {
        **ends(pipeline, names, "gold", "kl_k1", "unkind_declined", "kind_declined"),
        **matches(pipeline),
    }


def label_kinds(pipeline: Pipeline) -> dict[str, float]:
    """Distilled RLAIF with other labels and from other judges."""
    names = tuple(one.name for one in family.FEEDBACK if one.group in ("labels", "judge"))
    return ends(pipeline, (DISTILLED, *names), "gold", "kl_k1", "unkind_declined", "kind_declined")


def revisions(pipeline: Pipeline) -> dict[str, Any]:
    """What each revision changes: lists by revision."""
    return dict(pipeline.measured(phase_one.revisions_told))


def constitution(pipeline: Pipeline) -> dict[str, float]:
    """The two phases beside the helper that refuses nothing, and the controls of the first."""
    names = (HELPER, "no revision", "one revision", FIRST, "revisions alone", SECOND)
    metrics = (
        "gold",
        "gold_safe_prompts",
        "red_team_declined",
        "red_team_told",
        "wrapped_declined",
        "kind_declined",
    )
    return ends(pipeline, names, *metrics)


def frontier(pipeline: Pipeline) -> dict[str, float]:
    """Harmlessness, helpfulness and evasiveness by the share of people's labels."""
    names = tuple(mix_name(share) for share in SHARES)
    return ends(
        pipeline, names, "gold_safe_prompts", "red_team_declined", "wrapped_declined", "kind_declined", "gold"
    )


def clamping(pipeline: Pipeline) -> dict[str, float]:
    """Both phases with labels after thoughts, clamped or not, and what the labels are worth."""
    names = (SECOND, "CAI, thoughts", "CAI, thoughts, clamped")
    found = ends(pipeline, names, "gold_safe_prompts", "red_team_declined", "kind_declined")
    for name, one in zip(names, ({}, {"thoughts": True}, {"thoughts": True, "clamp": True}), strict=True):
        told = pipeline.measured(phase_two.label_quality, **one)
        found |= {f"{metric} labels, {name}": value for metric, value in told.items()}
    return found


def rubric(pipeline: Pipeline) -> dict[str, float]:
    """The rubric beside the reward model alone."""
    names = (RLHF, *(one.name for one in family.RUBRICS))
    metrics = ("gold", "gold_safe_prompts", "red_team_declined", "wrapped_declined", "kind_declined")
    right = pipeline.measured(rubric_runs.classifier_quality)["right"]
    return {**ends(pipeline, names, *metrics), "classifier_right": right}


def self_rewarding(pipeline: Pipeline) -> dict[str, Any]:
    """Gold by round, rating by itself and by the start, and how well the policy rates: lists by round."""
    found: dict[str, Any] = {}
    for judge, rows in (("itself", "by itself"), ("the start", "by the start")):
        start = () if judge == "itself" else ("answers and rates",)
        names = (*start, *(one.name for one in family.SELF_REWARDING if one.group == rows))
        told = [family.run(name).measured(pipeline) for name in names]
        found |= {
            f"{metric} {judge}": [one[metric] for one in told] for metric in ("gold", "kl_k1", "length")
        }
        by_round = pipeline.measured(self_rewarded.rounds_told, judge=judge)
        found |= {f"{metric} {judge}": values for metric, values in by_round.items()}
    return found


def self_synthesis(pipeline: Pipeline) -> dict[str, float]:
    """Students of a model's own dialogues, and what the filters let through."""
    names = tuple(one.name for one in family.SYNTHESIS)
    found = ends(pipeline, names, "gold", "gold_safe_prompts", "unkind_declined", "kind_declined")
    for last in ("none", "rated"):
        told = pipeline.measured(synthesis.told, last_filter=last)
        found |= {f"{metric}, {last}": value for metric, value in told.items()}
    return found
