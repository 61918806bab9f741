"""What chapter 12 claims, measured on one pipeline: `rlhf-mini claims 12` prints it and writes the records."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from rlhf_mini.chapters.claims import Claim, Numbers, records_of
from rlhf_mini.chapters.verifiable import measures
from rlhf_mini.chapters.verifiable.choices import IN_REWARD, METHODS, PREFERENCE, REWARDS, WITH_CRITIC
from rlhf_mini.chapters.verifiable.family import (
    ALL,
    CURVES,
    EITHER,
    GAP_REWARDS,
    GRADUAL,
    HELD,
    LATE,
    NEVER,
    OURS,
    SPARSE,
    THINKING,
    from_name,
    gap_name,
    reused_name,
    run,
    start_name,
    twice_reused_name,
)
from rlhf_mini.chapters.verifiable.measures import BEFORE
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "12"
CLIPPED = ("PPO", "GRPO", "Dr. GRPO", "DAPO", WITH_CRITIC)  # by tokens, at the usual bounds
# What a row of the chapter's tables holds of a run: of a look at its policy, and of its log.
OF_LOOKS = (
    "answer_right", "all_right", "in_form", "follows", "carries_first", "length", "steps", "worked", "right_bare",
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
    "both from the first",
    HELD,
    *(gap_name(gap, side) for gap in GAP_REWARDS for side in ("open", "closed") if gap != "steps unchecked"),
)

_claim = partial(Claim, live=False)  # judged by its records: each needs trainings


def _of(numbers: Numbers, metric: str, names: Sequence[str]) -> list[float]:
    return [numbers[f"{metric} {name}"] for name in names]


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "the loss reads zero",
        "On-policy GRPO's policy loss is never farther from 0 than a hundred-thousandth, while its gradient's norm is above 0.3 on "
        "average and the share of right answers rises by at least 0.1.",
        measures.loss,
        lambda m: m["loss_largest"] < 1e-5 and m["grad_norm"] > 0.3 and m["last"] > m["first"] + 0.1,
    ),
    _claim(
        "the methods learn",
        "With one step on every draw each of the nine methods gives at least 0.1 more right answers to held-out problems than the "
        "start, and no two of them are farther apart than 0.05.",
        measures.methods,
        lambda m: (
            min(_of(m, "answer_right", METHODS)) > m[f"answer_right {BEFORE}"] + 0.1
            and max(_of(m, "answer_right", METHODS)) - min(_of(m, "answer_right", METHODS)) < 0.05
        ),
    ),
    _claim(
        "the same step",
        "With one step on every draw no method clips a token; GRPO ends within 0.001 of GSPO, and DAPO of CISPO.",
        measures.methods,
        lambda m: (
            max(_of(m, "clip_fraction", METHODS)) == 0
            and abs(m["answer_right GRPO"] - m["answer_right GSPO"]) < 1e-3
            and abs(m["answer_right DAPO"] - m["answer_right CISPO"]) < 1e-3
        ),
    ),
    _claim(
        "who gains",
        "With eight steps on every draw PPO, GRPO, Dr. GRPO, DAPO and PPO with a critic give at least 0.02 more right answers than "
        "with one.",
        measures.methods,
        lambda m: (
            min(m[f"answer_right {reused_name(one)}"] - m[f"answer_right {one}"] for one in CLIPPED) > 0.02
        ),
    ),
    _claim(
        "who forgets",
        "With eight steps on every draw REINFORCE, which has nothing to hold it, ends with less than 0.05 of its answers right.",
        measures.methods,
        lambda m: m[f"answer_right {reused_name('REINFORCE')}"] < 0.05,
    ),
    _claim(
        "who clips",
        "With eight steps on every draw GSPO silences at least ten times as large a share of the tokens as GRPO.",
        measures.methods,
        lambda m: m["clip_fraction GSPO, reused"] > 10 * m["clip_fraction GRPO, reused"],
    ),
    _claim(
        "what the bound is for",
        "With sixteen steps on every draw at least 0.7 of the answers are right if ratios are clipped, and less than 0.2 if they are not.",
        measures.clipping,
        lambda m: (
            m[f"answer_right {twice_reused_name(reused_name(OURS))}"] > 0.7
            and m[f"answer_right {twice_reused_name(NEVER)}"] < 0.2
        ),
    ),
    _claim(
        "KL in the loss",
        "A price of KL by k2 or k3 in the loss, or in the reward, ends at less KL than where none is paid; k1 in the loss at more than twice "
        "as much.",
        measures.kl,
        lambda m: (
            max(m[f"kl_k1 KL {place}"] for place in ("k2 in the loss", "k3 in the loss", IN_REWARD))
            < m[f"kl_k1 {reused_name(OURS)}"]
            < 0.5 * m["kl_k1 KL k1 in the loss"]
        ),
    ),
    _claim(
        "averages",
        "Where long answers must grow out of short ones, the mean over each answer learns most slowly, the mean over all tokens "
        "faster, and a sum over tokens by one length fastest.",
        measures.averages,
        lambda m: (
            m[f"answer_right {from_name(SPARSE)}"]
            < m["answer_right average over all tokens"]
            < m["answer_right average over one length"]
        ),
    ),
    _claim(
        "the start",
        "As much training adds at least 0.1 to a start that is right more than once in three answers; one that is right less than once in "
        "fifty learns nothing, and at least 0.9 of its groups are without spread.",
        measures.beginnings,
        lambda m: (
            m[f"answer_right {BEFORE}"] > 1 / 3
            and m[f"answer_right {OURS}"] > m[f"answer_right {BEFORE}"] + 0.1
            and max(m[f"answer_right {start_name(GRADUAL[0])}"], m[f"answer_right {from_name(GRADUAL[0])}"])
            < 0.02
            and m[f"without_spread_first {from_name(GRADUAL[0])}"] > 0.9
        ),
    ),
    _claim(
        "steps emerge",
        "Paid for right answers alone, a policy that writes steps less than once in seven times comes to write them in more than 0.8 of its "
        "answers, and is right at least four times as often.",
        measures.thinking,
        lambda m: (
            m[f"worked {start_name(SPARSE)}"] < 1 / 7
            and m[f"worked {from_name(SPARSE)}"] > 0.8
            and m[f"answer_right {from_name(SPARSE)}"] > 4 * m[f"answer_right {start_name(SPARSE)}"]
        ),
    ),
    _claim(
        "steps do not emerge",
        "A policy that was last shown answers alone writes steps less than once in fifty times. After as much training, and after four times as "
        "much, it writes them in less than 0.3 of its answers; even then it is right less than half as often as one that began with a few steps.",
        measures.thinking,
        lambda m: (
            m[f"worked {start_name(THINKING[0])}"] < 1 / 50
            and max(m[f"worked {from_name(THINKING[0])}"], m[f"worked {LATE}"]) < 0.3
            and m[f"answer_right {LATE}"] < 0.5 * m[f"answer_right {from_name(SPARSE)}"]
        ),
    ),
    _claim(
        "what is learned",
        "Training from the start that writes steps once in five times at most raises pass@1 at least fourfold. Of what it solves "
        "afterwards in 64 tries, it could solve at least 0.9 before.",
        measures.tries,
        lambda m: (
            m[f"pass 1 {from_name(SPARSE)}"] > 4 * m[f"pass 1 {start_name(SPARSE)}"]
            and m[f"pass 64 {start_name(SPARSE)}"] > 0.9 * m[f"pass 64 {from_name(SPARSE)}"]
        ),
    ),
    _claim(
        "a vote",
        "The answer of most of 16 tries of the reader is right more often than one try of the policy that GRPO made of it.",
        measures.tries,
        lambda m: m[f"majority 16 {BEFORE}"] > m[f"pass 1 {OURS}"],
    ),
    _claim(
        "the form",
        "A reward for the form beside that for the answer leads to more answers in form than the latter alone; by itself it leads to no fewer "
        "of them, to within 0.05, and to fewer than half as many right ones.",
        measures.formats,
        lambda m: (
            m["in_form with a format reward"] > m[f"in_form {from_name(SPARSE)}"]
            and m["in_form a format reward alone"] > m["in_form with a format reward"] - 0.05
            and m["answer_right a format reward alone"] < 0.5 * m["answer_right with a format reward"]
        ),
    ),
    _claim(
        "padding",
        "Paid for each step that is written, a policy's reward rises by half, and less than 0.05 of what it writes is all right. Paid "
        "for right steps, more becomes all right, by at least 0.1.",
        measures.gaps,
        lambda m: (
            m["last padding: open"] > 1.5 * m["first padding: open"]
            and m["all_right padding: open"] < 0.05
            and m["all_right padding: closed"] > m[f"all_right {BEFORE}"] + 0.1
        ),
    ),
    _claim(
        "listing",
        "Paid for the right number anywhere in the answer, a policy's reward ends as high as that of one that must end in it, to within 0.1, and "
        "fewer of its answers are right, by at least 0.04.",
        measures.gaps,
        lambda m: (
            abs(m["last listing: open"] - m["last listing: closed"]) < 0.1
            and m["answer_right listing: open"] < m["answer_right listing: closed"] - 0.04
        ),
    ),
    _claim(
        "two stages",
        "After a first stage for right answers, a second for people's taste and right answers writes the carry first in less than 0.5 of "
        "its solutions. Both from the first, with a price of KL, write it so in more than 0.7, and at least 0.05 more of the answers are right than before.",
        measures.stages,
        lambda m: (
            m["carries_first then both"] < 0.5
            and m[f"carries_first {HELD}"] > 0.7
            and m[f"answer_right {HELD}"] > m[f"answer_right {start_name(EITHER)}"] + 0.05
        ),
    ),
    _claim(
        "taste alone",
        "A second stage for people's taste alone unlearns the sums: less than half as many answers are right as after the first stage.",
        measures.stages,
        lambda m: m["answer_right then preference alone"] < 0.5 * m["answer_right first stage"],
    ),
    _claim(
        "group size",
        "The share of groups without spread falls with their size: from above 0.3 of pairs to below 0.05 of groups of 32 in the first "
        "iterations.",
        measures.sizes,
        lambda m: (
            m["without_spread_first G = 2"] > 0.3
            and m["without_spread_first G = 32"] < 0.05
            and m["without_spread_first G = 2"]
            > m["without_spread_first G = 4"]
            > m["without_spread_first GRPO"]
        ),
    ),
    _claim(
        "drawn again",
        "Drawing groups without spread again leaves at most a tenth of as many of them at the end, for more answers drawn.",
        measures.sizes,
        lambda m: (
            m["without_spread_last redrawn"] <= 0.1 * m["without_spread_last GRPO"]
            and m["drawn redrawn"] > m["drawn GRPO"]
        ),
    ),
)


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
