"""What chapter 08 claims, measured on one pipeline: `rlhf-mini claims 08` prints it and writes the records."""

from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.hindsight import family, measures, toy
from rlhf_mini.chapters.hindsight.family import EVERY_STEP, FILTERED, OURS
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "08"

CLAIMS = (
    Claim(
        "hindsight in the grid",
        "Where any cell may be asked for, a robot that sees each walk with four of the cells it came to reaches what is asked in at "
        "least 10 points more of its walks than one that does not, and knows a shortest way to at least 10 points more of the cells.",
        measures.grid,
        lambda m: m["reached 4"] > m["reached 0"] + 0.1 and m["known 4"] > m["known 0"] + 0.1,
    ),
    Claim(
        "one goal alone",
        "Where one far cell alone is asked for, hindsight changes nothing in a table: the robot comes there exactly as often, and less often than "
        "to what is asked where any cell may be asked for.",
        measures.grid,
        lambda m: m["one goal 0"] == m["one goal 1"] == m["one goal 4"] < m["reached 4"],
    ),
    Claim(
        "the filter's way",
        "In a table the likelihood on relabelled outputs and filtered behaviour cloning are one, step by step to 12 digits, if a right "
        "output is asked for; both come within a tenth of the first distance of the filtered start.",
        measures.same_end,
        lambda m: m["gap_on_the_way"] < 1e-12 and m["to_filtered"] < m["at_first"] / 10,
    ),
    Claim(
        "failures alone",
        "From 64 failures and no success, likelihood and filter learn nothing of how to be right; with the contrast the chance of a "
        "right output at least doubles on average over 20 tables, and in some of them it falls.",
        measures.from_failures,
        lambda m: (
            max(m["likelihood"], m["filtered"]) < 1e-12
            and m[f"contrast {toy.MANY}"] > 2 * m["start"]
            and m[f"rose {toy.MANY}"] < 1
        ),
    ),
    Claim(
        "smoothing, counted",
        "Learned perfectly, targets smoothed by 0.2 leave fewer than one in ten answers of twelve tokens whole at temperature 1.",
        measures.smoothing_counted,
        lambda m: (
            max(m["gradient 0.02"], m["gradient 0.2"]) < 1e-12 and m["whole 0.2"] < 0.1 < m["whole 0.02"]
        ),
    ),
    Claim(
        "the bug's symptoms",
        "With solutions paired to other problems the script finds at most half as many right among the samples as the judge, the first "
        "loss is more than three times ours, and numbers are copied less often than with ours by at least 30 points.",
        measures.hunt,
        lambda m: (
            m["sampled wrong"] < m["judged wrong"] / 2
            and m["first_loss wrong"] > 3 * m["first_loss right"]
            and m["copied wrong"] < m["copied right"] - 0.3
        ),
    ),
    Claim(
        "right by accident",
        "Of the right answers of the start that is rarely right, at least a third are right by accident, with a wrong step; and at least "
        "one and a half times as many solutions solve some sum as solve, in every step, the one that was asked.",
        measures.accidents,
        lambda m: (
            m["every step is right"] < m["the answer is right"] * 2 / 3
            and m["it solves some sum"] > 1.5 * m["every step is right"]
        ),
    ),
    Claim(
        "the sum that was solved",
        "From a start that is rarely right, learning each solution under the sum that it really solves ends at least 20 points of "
        "right answers above the start and above filtering by the answer, and above a filter that reads every step.",
        measures.sums,
        lambda m: (
            m[f"right {OURS}"] > max(m["right start"], m[f"right {FILTERED}"]) + 0.2
            and m[f"right {OURS}"] > m[f"right {EVERY_STEP}"]
        ),
        live=False,
    ),
    Claim(
        "right steps",
        "Learning right solutions whole, and of wrong ones the right steps, ends at least 20 points above the same start.",
        measures.sums,
        lambda m: m["right relabelled steps"] > m["right start"] + 0.2,
        live=False,
    ),
    Claim(
        "right or wrong",
        "Relabelled with the verdict, the model on sums ends below its start, from either start, and from the better one a contrast "
        "without smoothing makes it worse; on stories, asked with a word that it had never read, it ends below the SFT model.",
        measures.verdicts,
        lambda m: (
            m["rarely right relabelled verdict"] < m["rarely right start"]
            and m["right verdict with contrast"] < m["right relabelled verdict"] < m["right start"]
            and m["gold relabelled verdict"] < m["gold SFT"]
        ),
        live=False,
    ),
    Claim(
        "success is common",
        "From a start that is often right, filtering by the answer learns sums too, by at least 10 points, and relabelling leads it by less "
        "than from the start that is rarely right; it does not lead a filter that reads every step by more than 10 points.",
        measures.often,
        lambda m: (
            m[f"right {FILTERED}"] > m["right start"] + 0.1
            and m[f"right {OURS}"] - m[f"right {FILTERED}"] < m["lead rarely"]
            and m[f"right {OURS}"] < m[f"right {EVERY_STEP}"] + 0.1
        ),
        live=False,
    ),
    Claim(
        "HIR learns stories",
        "On stories, relabelled to the requests that they fulfil, HIR has at least 1.0 more gold than the SFT model, and filtering with "
        "the same script is within 0.2 of it; learned as they were asked, as many stories bring less gold than the SFT model has.",
        measures.stories,
        lambda m: (
            m[f"gold {OURS}"] > m["gold SFT"] + 1
            and abs(m[f"gold {FILTERED}"] - m[f"gold {OURS}"]) < 0.2
            and m["gold no relabelling"] < m["gold SFT"]
        ),
        live=False,
    ),
    Claim(
        "the script as a reward",
        "PPO with the script as its reward ends within 0.2 of HIR's gold, and farther from the SFT model by at least 1 nat.",
        measures.stories,
        lambda m: (
            abs(m["gold PPO, script"] - m[f"gold {OURS}"]) < 0.2
            and m["kl_k1 PPO, script"] > m[f"kl_k1 {OURS}"] + 1
        ),
        live=False,
    ),
    Claim(
        "what a contrast costs",
        "On stories a contrast without smoothing, two-way and more so among four requests, ends with less gold than the likelihood alone, "
        "and farther from the SFT model.",
        measures.contrasts,
        lambda m: (
            m["gold with a four-way contrast"] < m["gold with contrast"] < m[f"gold {OURS}"]
            and m["kl_k1 with a four-way contrast"] > m["kl_k1 with contrast"] > m[f"kl_k1 {OURS}"]
        ),
        live=False,
    ),
    Claim(
        "smoothing in rounds",
        "With targets smoothed by 0.2 and samples at temperature 1, rounds of relabelling end below 5% of right answers on sums and "
        "below a gold of 0.5 on stories.",
        measures.smoothing,
        lambda m: m["right with ε = 0.2"] < 0.05 and m["gold with ε = 0.2"] < 0.5,
        live=False,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's tables of runs, on sums and on stories."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for experiment, runs in family.EXPERIMENTS.items():
        names = measures.STORIES_TOLD if runs is family.STORIES else measures.SUMS_TOLD
        for one in runs:
            told = one.measured(pipeline)
            tables[experiment, one.name] = {
                "group": one.group or OURS,
                **{name: told[name] for name in names if name in told},
            }
    return records_of(CHAPTER, pipeline, tables)
