"""What chapter 12 claims, measured on one pipeline: `rlhf-mini claims 12` prints it and writes the records."""

from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.verifiable import measures
from rlhf_mini.chapters.verifiable.choices import IN_REWARD, METHODS, PREFERENCE, REWARDS, WITH_CRITIC
from rlhf_mini.chapters.verifiable.family import (
    ALL,
    CURVES,
    GAP_REWARDS,
    GRADUAL,
    OURS,
    SPARSE,
    from_name,
    gap_name,
    reused_name,
    run,
    start_name,
)
from rlhf_mini.chapters.verifiable.measures import BEFORE
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "12"
GROUP_METHODS = tuple(name for name in METHODS if name != WITH_CRITIC)
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
    *(one.name for one in ALL if one.group in ("average", "clip", "stages", "redraws") and not one.untrained),
    *(gap_name(gap, side) for gap in GAP_REWARDS for side in ("open", "closed")),
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "the loss reads zero",
        "On-policy GRPO's policy loss is never farther from 0 than a hundred-thousandth, while its gradient's norm is above 0.3 on "
        "average and the share of right answers rises by at least 0.1.",
        measures.loss,
        lambda m: m["loss_largest"] < 1e-5 and m["grad_norm"] > 0.3 and m["last"] > m["first"] + 0.1,
        live=False,
    ),
    Claim(
        "the methods learn",
        "With one step on every draw each of the eight group methods ends with at least 0.05 more right answers to held-out "
        "problems than it began with.",
        measures.methods,
        lambda m: (
            min(m[f"answer_right {name}"] for name in GROUP_METHODS) > m[f"answer_right {BEFORE}"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "the same step",
        "With one step on every draw no method clips a token, and GRPO and GSPO end within 0.001 of one another.",
        measures.methods,
        lambda m: (
            max(m[f"clip_fraction {name}"] for name in METHODS) == 0
            and abs(m["answer_right GRPO"] - m["answer_right GSPO"]) < 1e-3
        ),
        live=False,
    ),
    Claim(
        "who clips",
        "With eight steps on every draw GSPO silences at least ten times as large a share of the tokens as GRPO.",
        measures.methods,
        lambda m: m["clip_fraction GSPO, reused"] > 10 * m["clip_fraction GRPO, reused"],
        live=False,
    ),
    Claim(
        "KL in the loss",
        "A price of KL by k2 or k3 in the loss, or in the reward, ends at most at 0.8 of the KL that goes unpaid; k1 in the loss does "
        "not.",
        measures.kl,
        lambda m: (
            max(m[f"kl_k1 KL {place}"] for place in ("k2 in the loss", "k3 in the loss", IN_REWARD))
            < 0.8 * m[f"kl_k1 {reused_name(OURS)}"]
            < m["kl_k1 KL k1 in the loss"]
        ),
        live=False,
    ),
    Claim(
        "clip-higher",
        "With an upper bound of 1 + 1 instead of 1 + 0.2 more entropy is left at the end, with a bound of 1 ± 0.05 less.",
        measures.clipping,
        lambda m: (
            m["entropy_last clip 0.05 and 0.05"]
            < m[f"entropy_last {reused_name(OURS)}"]
            < m["entropy_last clip 0.2 and 1"]
        ),
        live=False,
    ),
    Claim(
        "averages",
        "Where steps are rare and only answers with steps are right, all three averages over tokens lead to more steps.",
        measures.averages,
        lambda m: min(value for name, value in m.items() if name.startswith("worked ")) > 0.2,
        live=False,
    ),
    Claim(
        "the start",
        "As much training adds at least 0.1 to a start that is right every other time, and less than 0.05 to one that is right less than "
        "once in ten.",
        measures.beginnings,
        lambda m: (
            m[f"answer_right {OURS}"] > m[f"answer_right {BEFORE}"] + 0.1
            and m[f"answer_right {start_name(GRADUAL[0])}"] < 0.1
            and m[f"answer_right {from_name(GRADUAL[0])}"]
            < m[f"answer_right {start_name(GRADUAL[0])}"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "steps emerge",
        "Paid for right answers alone, a policy that writes steps less than once in seven times comes to write them in more than half of its "
        "answers, and is right at least three times as often.",
        measures.thinking,
        lambda m: (
            m[f"worked {start_name(SPARSE)}"] < 1 / 7
            and m[f"worked {from_name(SPARSE)}"] > 0.5
            and m[f"answer_right {from_name(SPARSE)}"] > 3 * m[f"answer_right {start_name(SPARSE)}"]
        ),
        live=False,
    ),
    Claim(
        "steps do not emerge",
        "A policy that was last shown answers without steps only writes steps in less than one of fifty answers, and still does after as much "
        "training.",
        measures.thinking,
        lambda m: max(m["worked start: answers alone"], m["worked from answers alone"]) < 0.02,
        live=False,
    ),
    Claim(
        "what is learned",
        "Training raises pass@1 by at least 0.1 and pass@64 by less than 0.02: the start solves as many problems, if it may try often "
        "enough.",
        measures.tries,
        lambda m: (
            m[f"pass 1 {OURS}"] > m[f"pass 1 {BEFORE}"] + 0.1
            and m[f"pass 64 {OURS}"] < m[f"pass 64 {BEFORE}"] + 0.02
        ),
        live=False,
    ),
    Claim(
        "a vote",
        "The answer of most of 16 tries of the start is right more often than one try of the trained policy.",
        measures.tries,
        lambda m: m[f"majority 16 {BEFORE}"] > m[f"pass 1 {OURS}"],
        live=False,
    ),
    Claim(
        "the form",
        "A reward for the form beside that for the answer leads to more answers in form than the latter alone; by itself it leads to no fewer "
        "of them, and to fewer right ones.",
        measures.formats,
        lambda m: (
            m["in_form with a format reward"] > m[f"in_form {from_name(SPARSE)}"]
            and m["in_form a format reward alone"] > m["in_form with a format reward"] - 0.05
            and m["answer_right a format reward alone"] < m["answer_right with a format reward"]
        ),
        live=False,
    ),
    Claim(
        "padding",
        "Paid for each step, a policy comes to write more steps than there are columns: the reward rises by half, and what is all right falls "
        "below half of the start's. Paid for right steps, more becomes all right.",
        measures.gaps,
        lambda m: (
            m["last padding: open"] > 1.5 * m["first padding: open"]
            and m["all_right padding: open"] < 0.5 * m[f"all_right {BEFORE}"]
            and m["all_right padding: closed"] > m[f"all_right {BEFORE}"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "two stages",
        "After the second stage with people's taste alone fewer answers are right than before it, with the checker beside it no fewer, to within "
        "0.03; the taste is met more often either way.",
        measures.stages,
        lambda m: (
            m["answer_right then preference alone"] < m["answer_right first stage"] - 0.03
            and m["answer_right then both"] > m["answer_right first stage"] - 0.03
            and min(m["carries_first then preference alone"], m["carries_first then both"])
            > m["carries_first first stage"] + 0.03
        ),
        live=False,
    ),
    Claim(
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
        live=False,
    ),
    Claim(
        "drawn again",
        "Drawing groups without spread again leaves at most a tenth of as many of them at the end, for more answers drawn.",
        measures.sizes,
        lambda m: (
            m["without_spread_last redrawn"] <= 0.1 * m["without_spread_last GRPO"]
            and m["drawn redrawn"] > m["drawn GRPO"]
        ),
        live=False,
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
