"""What the claims of chapter 10 measure: flat names, plain numbers."""

from collections.abc import Sequence
from typing import Any

from rlhf_mini.chapters.rlaif import (
    family,
    feedback_runs,
    judge_quality,
    judges,
    label_quality,
    phase_two,
    synthesis,
    toy,
    toy_labels,
    toy_ratings,
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
RATERS_TOLD = ("gold_right", "spread", "tied")
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


# ------------------------------------------------------------------------------------------ the toy language


def cures(pipeline: Pipeline) -> dict[str, float]:
    """Faults of a judge and their cures, where everything can be counted: see `toy.cures`."""
    return dict(pipeline.measured(toy.cures))


def few_labels(pipeline: Pipeline) -> dict[str, float]:
    """What soft labels are worth, and how far rewards learned from few labels lead from π*: see `toy_labels`."""
    return {**pipeline.measured(toy_labels.variance), **pipeline.measured(toy_labels.few)}


def few_choices(pipeline: Pipeline) -> dict[str, float]:
    """A mean rating as the reward beside reward models of few drawn choices: see `toy_ratings.distilled`."""
    return dict(pipeline.measured(toy_ratings.distilled))


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
    metrics = (
        "right",
        "right_one_order",
        "same_place",
        "sure",
        "calibration",
        "calibration_one_order",
        "calibration_clamped",
    )
    alone = pipeline.measured(judge_quality.thinking)
    return {
        **of_judges(pipeline, (SILENT, THINKS), *metrics),
        **{f"{name} thinking": value for name, value in alone.items()},
    }


def people(pipeline: Pipeline) -> dict[str, float]:
    """The judge and the annotators: who agrees with gold, and with whom; on the pairs of the reward model too."""
    told = of_judges(pipeline, (OURS,), "gold_right", "with_annotator", "annotator_right", "ceiling")
    for name, reading in READINGS.items():
        found = pipeline.measured(label_quality.on_annotated_pairs, **reading)
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
    """Distilled RLAIF with other labels and from other judges, and how often the reward model between is right
    (`reward_right …`, by gold, on held-out pairs), that of RLHF's labels too.
    """
    runs = [one for one in family.FEEDBACK if one.settings["kind"] == "distilled"]
    found = ends(pipeline, [one.name for one in runs], "gold", "kl_k1", "unkind_declined", "kind_declined")
    labels: dict[str, dict[str, Any]] = {RLHF: {"people": True}}
    labels |= {one.name: {k: v for k, v in one.settings.items() if k != "kind"} for one in runs}
    for name, settings in labels.items():
        found[f"reward_right {name}"] = pipeline.measured(label_quality.of_reward_model, **settings)[
            "gold_right"
        ]
    return found


def budgets(pipeline: Pipeline) -> dict[str, int]:
    """Who was asked how often, by the settings: `people …` labels of people, `judge …` questions to the judge while it
    judges, and `taught …` judgements of known truth that taught it, before.
    """
    profile = pipeline.profile
    rated = profile.ppo.iterations * profile.ppo.episodes + feedback_runs.RATED
    by_people = round(0.5 * phase_two.PAIRS)
    return {
        f"people {RLHF}": profile.pairs, f"judge {RLHF}": 0, f"taught {RLHF}": 0,
        f"people {DISTILLED}": 0, f"judge {DISTILLED}": 2 * profile.pairs, f"taught {DISTILLED}": judges.EXAMPLES,
        "people one order": 0, "judge one order": profile.pairs, "taught one order": judges.EXAMPLES,
        f"people {DIRECT}": 0, f"judge {DIRECT}": rated, f"taught {DIRECT}": judges.EXAMPLES,
        f"people {SECOND}": by_people, f"judge {SECOND}": 2 * (phase_two.PAIRS - by_people),
        f"taught {SECOND}": judges.EXAMPLES,
    }  # fmt: skip


def revisions(pipeline: Pipeline) -> dict[str, Any]:
    """What each revision changes: lists by revision."""
    return dict(pipeline.measured(label_quality.revisions_told))


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
    """Both phases with labels after thoughts, clamped or not, and what the labels are worth; those of a judge that was
    taught the same comparisons without reasons are there to compare with.
    """
    names = (SECOND, "CAI, thoughts", "CAI, thoughts, clamped")
    found = ends(pipeline, names, "gold_safe_prompts", "red_team_declined", "kind_declined")
    silent = family.judge(SILENT).settings
    labels: tuple[dict[str, Any], ...] = (
        {},
        {"thoughts": True},
        {"thoughts": True, "clamp": True},
        silent,
    )
    for name, one in zip((*names, SILENT), labels, strict=True):
        told = pipeline.measured(label_quality.on_harmlessness, **one)
        found |= {f"{metric} labels, {name}": value for metric, value in told.items()}
    return found


def rubric(pipeline: Pipeline) -> dict[str, float]:
    """The rubric beside a preference model of people's labels on helpfulness, and that model alone."""
    names = (mix_name(1.0), *(one.name for one in family.RUBRICS))
    metrics = ("gold", "gold_safe_prompts", "red_team_declined", "wrapped_declined", "kind_declined")
    right = pipeline.measured(judge_quality.classifier_quality)["right"]
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
        by_round = pipeline.measured(judge_quality.rounds_told, judge=judge)
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
