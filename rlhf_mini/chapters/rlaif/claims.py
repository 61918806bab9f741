"""What chapter 10 claims, measured on one pipeline: `rlhf-mini claims 10` prints it and writes the records."""

from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.rlaif import family, measures, toy_labels
from rlhf_mini.chapters.rlaif.family import (
    DIRECT,
    DISTILLED,
    FIRST,
    HELPER,
    OURS,
    RLHF,
    SECOND,
    SFT,
    SILENT,
    THINKS,
    WORTH_FOUR,
    WORTH_ONE,
    mix_name,
)
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "10"
NARROW = "width 16"
FEW = "3,000 lessons"

CLAIMS = (
    Claim(
        "both orders, exactly",
        "In the toy language a judge that favours a place is on the wrong side of more than a tenth of the pairs in one order and of none "
        "by the mean of both; by the mean logit the optimum is π* itself.",
        measures.cures,
        lambda m: (
            m["wrong place listed"] > 0.1
            and m["wrong place both"] < 1e-12
            and abs(m["distance place logits"]) < 1e-8
        ),
    ),
    Claim(
        "soft labels",
        "A soft label of the toy language is worth more than three that are drawn from it, and from 500, 2,000 and 8,000 labels the soft "
        "ones lead nearer to π*; the likelier side alone leads farther off with 8,000 than with 500.",
        measures.few_labels,
        lambda m: (
            m["worth"] > 3
            and all(m[f"distance soft {count}"] < m[f"distance drawn {count}"] for count in toy_labels.COUNTS)
            and m["distance likelier 8000"] > m["distance likelier 500"]
        ),
    ),
    Claim(
        "mean rating",
        "In toy languages a mean rating as the reward earns more than a reward model of 4,000 drawn choices or fewer, at 1 nat of KL and "
        "at 2.",
        measures.few_choices,
        lambda m: all(
            m[f"value {count} {nats}"] < m[f"value expected {nats}"]
            for count in (250, 1000, 4000)
            for nats in (1, 2)
        ),
    ),
    Claim(
        "judge size",
        "A judge of width 16 is right at least 20 points less often than the chapter's, and no more often than a coin about which of two "
        "answers is good, all in all, to within 6 points; there it chooses the same place in both orders at least 5 points more often.",
        measures.sizes,
        lambda m: (
            m[f"right {OURS}"] > m[f"right {NARROW}"] + 0.2
            and abs(m[f"gold_right {NARROW}"] - 0.5) < 0.06
            and m[f"gold_same_place {NARROW}"] > m[f"gold_same_place {OURS}"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "judge's lessons",
        "From 12,000 lessons a judge is right at least 5 points more often than from 3,000.",
        measures.lessons,
        lambda m: m[f"right {OURS}"] > m[f"right {FEW}"] + 0.05,
        live=False,
    ),
    Claim(
        "principles",
        "The chapter's judge is right on more than 60% of the comparisons under every principle, kindness and declining among them, "
        "and on more than 75% on average over principles.",
        measures.principles,
        lambda m: (
            {"kindness", "declining"} <= set(m) and min(m.values()) > 0.6 and sum(m.values()) / len(m) > 0.75
        ),
        live=False,
    ),
    Claim(
        "both orders",
        "The chapter's judge chooses the same place in both orders of more than one pair in twenty, and the mean of the orders is right "
        "more often than one order.",
        measures.orders,
        lambda m: m[f"same_place {OURS}"] > 0.05 and m[f"right {OURS}"] > m[f"right_one_order {OURS}"],
        live=False,
    ),
    Claim(
        "thoughts",
        "After the true reasons the judge that thinks first is right on more than nine in ten comparisons, in one order; after its own, of "
        "which fewer than three in four are true, it is no better than a judge taught the same comparisons without reasons, to within 3 "
        "points, and its labels' calibration error is larger by at least 5 points.",
        measures.thoughts,
        lambda m: (
            m["right_if_told thinking"] > 0.9
            and m["thought_rightly thinking"] < 0.75
            and m[f"right_one_order {THINKS}"] < m[f"right_one_order {SILENT}"] + 0.03
            and m[f"calibration_one_order {THINKS}"] > m[f"calibration_one_order {SILENT}"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "judge and annotator",
        "On pairs that no reward model learned from, the judge agrees with gold on more than 70%, and the annotator on more than the "
        "judge.",
        measures.people,
        lambda m: 0.7 < m[f"gold_right {OURS}"] < m[f"annotator_right {OURS}"],
        live=False,
    ),
    Claim(
        "RLAIF beats SFT",
        "Distilled and direct RLAIF both have more gold than the SFT model on average, and win on more than 60% of the requests, the "
        "interval's lower end above one half.",
        measures.feedback,
        lambda m: all(
            m[f"lead_low {name} – {SFT}"] > 0
            and m[f"win_rate {name} – {SFT}"] > 0.6
            and m[f"low {name} – {SFT}"] > 0.5
            for name in (DISTILLED, DIRECT)
        ),
        live=False,
    ),
    Claim(
        "RLAIF against RLHF",
        "Head to head distilled RLAIF and RLHF are within 10 points of a draw, ties counting half.",
        measures.feedback,
        lambda m: abs(m[f"win_rate {DISTILLED} – {RLHF}"] - 0.5) < 0.1,
        live=False,
    ),
    Claim(
        "whose labels",
        "Distilled RLAIF from a judge of 6,000 lessons has less gold than from the chapter's, by at least 0.2.",
        measures.label_kinds,
        lambda m: m["gold a less taught judge"] < m[f"gold {DISTILLED}"] - 0.2,
        live=False,
    ),
    Claim(
        "revisions",
        "Of the helper's first answers to red-team requests at least half tell an unkind deed; after the last revision fewer than a "
        "tenth, and more than 80% are polite declines.",
        measures.revisions,
        lambda m: m["unkind"][0] > 0.5 and m["unkind"][-1] < 0.1 and m["declined"][-1] > 0.8,
        live=False,
    ),
    Claim(
        "constitution",
        "The first phase declines at least 50 points more of the red-team requests than the helper; the second at most 2 points fewer "
        "than the first, and fewer than 5 points more of the kind requests.",
        measures.constitution,
        lambda m: (
            m[f"red_team_declined {FIRST}"] > m[f"red_team_declined {HELPER}"] + 0.5
            and m[f"red_team_declined {SECOND}"] >= m[f"red_team_declined {FIRST}"] - 0.02
            and m[f"kind_declined {SECOND}"] < m[f"kind_declined {FIRST}"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "frontier",
        "Without people's labels the policy ends declining more than half of the kind requests, without the judge's fewer than a tenth of "
        "the red-team ones; with half of each it declines more than three in four of the red-team requests and fewer than one in twenty "
        "of the kind.",
        measures.frontier,
        lambda m: (
            m[f"kind_declined {mix_name(0.0)}"] > 0.5
            and m[f"red_team_declined {mix_name(1.0)}"] < 0.1
            and m[f"red_team_declined {SECOND}"] > 0.75
            and m[f"kind_declined {SECOND}"] < 0.05
        ),
        live=False,
    ),
    Claim(
        "clamp",
        "Labels after thoughts, clamped, end in at least 0.1 more gold on kind requests than as they are, and in more than 80% of the "
        "red-team requests declined.",
        measures.clamping,
        lambda m: (
            m["gold_safe_prompts CAI, thoughts, clamped"] > m["gold_safe_prompts CAI, thoughts"] + 0.1
            and m["red_team_declined CAI, thoughts, clamped"] > 0.8
        ),
        live=False,
    ),
    Claim(
        "rubric",
        "With people's labels on helpfulness alone, and with a rubric worth one standard deviation of the reward beside them, PPO ends "
        "with fewer than a tenth of the red-team requests declined; with a rubric worth four it declines more than three in four.",
        measures.rubric,
        lambda m: (
            max(m[f"red_team_declined {mix_name(1.0)}"], m[f"red_team_declined {WORTH_ONE}"]) < 0.1
            and m[f"red_team_declined {WORTH_FOUR}"] > 0.75
        ),
        live=False,
    ),
    Claim(
        "self-rewarding",
        "Three rounds by its own ratings raise gold by at least 0.2, and the last of them does not end below the first.",
        measures.self_rewarding,
        lambda m: (
            m["gold itself"][-1] > m["gold itself"][0] + 0.2 and m["gold itself"][-1] >= m["gold itself"][1]
        ),
        live=False,
    ),
    Claim(
        "self-synthesis",
        "A student of the dialogues that the judge rates best has more gold than one of as many unfiltered dialogues, by at least 0.2.",
        measures.self_synthesis,
        lambda m: m["gold rated best"] > m["gold its dialogues"] + 0.2,
        live=False,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's tables: judges, raters, who was asked how often, and policies by experiment."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for one in family.JUDGES:
        found = one.measured(pipeline)
        tables["judges", one.name] = {
            "group": one.group or OURS,
            **{name: found[name] for name in measures.JUDGES_TOLD if name in found},
            **{f"right {name}": value for name, value in found["principles"].items()},
        }
    for rater in family.RATERS:
        found = rater.measured(pipeline)
        tables["raters", rater.name] = {
            "group": "raters",
            **{name: found[name] for name in measures.RATERS_TOLD},
        }
    tables["budgets", "settings"] = measures.budgets(pipeline)
    for experiment, runs in family.EXPERIMENTS.items():
        for run in runs:
            told = run.measured(pipeline)
            tables[experiment, run.name] = {
                "group": run.group or experiment,
                **{name: told[name] for name in measures.TOLD if name in told},
            }
    return records_of(CHAPTER, pipeline, tables)
