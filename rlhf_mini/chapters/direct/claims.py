"""What chapter 07 claims, measured on one pipeline: `rlhf-mini claims 07` prints it and writes the records."""

import math
from collections.abc import Mapping
from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.direct import measures
from rlhf_mini.chapters.direct.bug_hunt import hunt, symptoms
from rlhf_mini.chapters.direct.course import course
from rlhf_mini.chapters.direct.family import ALL, OURS, OWN_PAIRS
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "07"
# What a row of the chapter's tables holds of a run.
TOLD = (
    "gold", "gold_safe_prompts", "gold_unkind_prompts", "unkind_declined", "kind_declined", "proxy", "kl_k1", "kl_k3",
    "length", "distinct_2", "followed", "chosen_shift", "rejected_shift", "chosen_rose", "pair_accuracy", "lead",
    "decline_shift", "story_shift", "overcautious_shift",
)  # fmt: skip


def _betas(numbers: Mapping[str, float], metric: str) -> list[float]:
    """A number of the runs of DPO, from the smallest β to the largest."""
    return [numbers[f"{metric} {name}"] for name in measures.BETAS]


CLAIMS = (
    Claim(
        "derivation",
        "On a toy language all equations of the derivation hold to 12 digits; without β log Z the reward is off by more than 0.01.",
        measures.derivation,
        lambda m: (
            max(m["reward"], m["lead"], m["chance"], m["objective"]) < 1e-12 and m["without_log_z"] > 0.01
        ),
    ),
    Claim(
        "gradient",
        "DPO's gradient is the difference of two score functions, weighted by how wrong the implicit reward is: to 12 digits.",
        measures.gradient,
        lambda m: m["gap"] < 1e-12 < m["without_weight"],
    ),
    Claim(
        "landing",
        "On exact preferences the minimum of DPO's loss is π*, within 1e-8 nats, for β = 0.25, 0.5 and 1; the optimum for half the β "
        "would be at least 0.01 nats off.",
        measures.landing,
        lambda m: all(
            m[f"landed {beta:g}"] < 1e-8 and m[f"of_half_weight {beta:g}"] > 0.01
            for beta in measures.TOY_WEIGHTS
        ),
    ),
    Claim(
        "two steps in one",
        "On the same labelled pairs DPO and the exact optimum for a fitted reward model are one policy: at every step on the way to "
        "10 digits, and at the end to 5.",
        measures.two_steps,
        lambda m: m["exists"] and m["gap_on_the_way"] < 1e-10 and m["gap"] < 1e-5,
    ),
    Claim(
        "certain labels",
        "Where labels never err, DPO with β = 0.1 and 1 has moved away by more than 10 nats of KL(π_ref ‖ π) after 3,000 steps, and IPO with τ = 0.1 "
        "and 1 by less, to its closed-form optimum.",
        measures.certain,
        lambda m: (
            min(m[f"kl_ref dpo {beta:g}"] for beta in measures.CERTAIN_WEIGHTS) > 10
            and max(m[f"kl_ref ipo {tau:g}"] for tau in measures.CERTAIN_WEIGHTS) < 10
            and m["ipo_gap"] < 1e-4
        ),
    ),
    Claim(
        "never compared",
        "Texts in no pair are moved all the same, and the loss does not say where to: giving them 1% or 99% of the mass costs the "
        "same, to 12 digits, while the texts that were compared are right among themselves.",
        measures.never_compared,
        lambda m: (
            m["indifference"] < 1e-12
            and m["shown_gap"] < 1e-8
            and abs(m["hidden_mass text"] - m["hidden_mass reference"]) > 0.02
        ),
    ),
    Claim(
        "few labels",
        "From 100 labels the smallest β promises more than five times what it gains, and gains at most 0.15 more than β = 1; from "
        "100,000 labels it gains at least 1 more.",
        measures.few_labels,
        lambda m: (
            m["promised"][0] > 5 * m["gained"][0]
            and m["few"][0] < m["few"][3] + 0.15
            and m["many"][0] > m["many"][3] + 1
        ),
    ),
    Claim(
        "whose texts",
        "From 10,000 labels on texts that are half the reference's and half the optimum's, DPO ends within 0.1 of the optimum's reward; "
        "on the reference's alone at least 0.2 below, and on the optimum's alone at least 0.8.",
        measures.whose_texts,
        lambda m: (
            abs(m["gold mixed"] - m["gold optimum"]) < 0.1
            and m["gold reference"] < m["gold optimum"] - 0.2
            and m["gold best"] < m["gold optimum"] - 0.8
        ),
    ),
    Claim(
        "the optimum moves the chosen down",
        "At the optimum itself the chosen have lost probability on average for small β: the two shifts add up to −2 KL(π_ref ‖ π*).",
        measures.optimum_moves,
        lambda m: m["identity"] < 1e-10 and m["chosen"][0] < 0 and m["rejected"][0] < m["chosen"][0],
    ),
    Claim(
        "DPO learns",
        "DPO's policy has at least 0.4 more gold than the SFT model at less than 2 nats, orders more than 65% of held-out pairs as "
        "their judges did, and has at least 0.3 less gold than PPO's.",
        measures.learned,
        lambda m: (
            m[f"gold {OURS}"] > m["gold SFT"] + 0.4
            and m[f"kl_k1 {OURS}"] < 2
            and m[f"pair_accuracy {OURS}"] > 0.65
            and m[f"gold {OURS}"] < m["gold PPO"] - 0.3
        ),
        live=False,
    ),
    Claim(
        "strength",
        "The policy stays nearer to the SFT model at every step of β from 0.1 to 0.3, 1 and 3.",
        measures.strengths,
        lambda m: _betas(m, "kl_k1") == sorted(_betas(m, "kl_k1"), reverse=True),
        live=False,
    ),
    Claim(
        "both fall",
        "At β = 0.1, 0.3 and 1 the mean log-probability of the held-out pairs' chosen answers falls, and that of the rejected ones "
        "falls further.",
        measures.strengths,
        lambda m: all(
            m[f"rejected_shift {name}"] < m[f"chosen_shift {name}"] < 0
            for name in ("β = 0.1", "β = 0.3", OURS)
        ),
        live=False,
    ),
    Claim(
        "declines are lost",
        "With β = 0.1 unkind requests are declined less often than by the SFT model, and by at least 15 points less often than with β = 1.",
        measures.declines,
        lambda m: (
            m["unkind_declined β = 0.1"] < m["unkind_declined SFT"]
            and m["unkind_declined β = 0.1"] < m[f"unkind_declined {OURS}"] - 0.15
        ),
        live=False,
    ),
    Claim(
        "whose fault",
        "More pairs reject a kind prompt's decline than prefer an unkind one's to a story. Without the former, DPO with β = 0.1 declines "
        "more of the unkind requests than with them, and more of the kind ones than the SFT model.",
        measures.declines,
        lambda m: (
            m[f"overcautious {measures.WITHOUT}"] > m[f"wanted {measures.WITHOUT}"]
            and m[f"unkind_declined {measures.WITHOUT}"] > m["unkind_declined β = 0.1"]
            and m[f"kind_declined {measures.WITHOUT}"] > m["kind_declined SFT"]
        ),
        live=False,
    ),
    Claim(
        "cures",
        "At β = 0.1 a term that keeps the chosen answer likely brings back at least 20 points of the declines and 0.2 of gold; "
        "leaving the end token out brings back less than 15 points.",
        measures.declines,
        lambda m: (
            m["unkind_declined NLL term"] > m["unkind_declined β = 0.1"] + 0.2
            and m["gold NLL term"] > m["gold β = 0.1"] + 0.2
            and m["unkind_declined end token masked"] < m["unkind_declined β = 0.1"] + 0.15
        ),
        live=False,
    ),
    Claim(
        "length",
        "DPO's answers are at least 2 tokens longer than the SFT model's. With R-DPO, and with gold's labels, they are at least 2 shorter than "
        "DPO's, and gold's labels have at least 0.05 more gold.",
        measures.lengths,
        lambda m: (
            m[f"length {OURS}"] > m["length SFT"] + 2
            and max(m["length R-DPO"], m["length gold's"]) < m[f"length {OURS}"] - 2
            and m["gold gold's"] > m[f"gold {OURS}"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "family",
        "From the same pairs KTO gets at least 0.1 more gold than DPO. cDPO, robust DPO, IPO, RPO, ORPO and what corrects for length end "
        "within 0.25 of DPO; SLiC and CPL at least 0.1 below it, and SimPO no more than 0.05 above.",
        measures.family,
        lambda m: (
            m["gold KTO"] > m[f"gold {OURS}"] + 0.1
            and all(abs(m[f"gold {name}"] - m[f"gold {OURS}"]) < 0.25 for name in measures.NEAR)
            and all(m[f"gold {name}"] < m[f"gold {OURS}"] - 0.1 for name in ("SLiC", "CPL"))
            and m["gold SimPO"] < m[f"gold {OURS}"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "no reference",
        "SimPO, SLiC and CPL decline fewer unkind requests than the SFT model and than DPO; ORPO, which fine-tunes on the chosen answers "
        "as well, at least nine tenths as many as the SFT model.",
        measures.family,
        lambda m: (
            all(
                m[f"unkind_declined {name}"] < min(m["unkind_declined SFT"], m[f"unkind_declined {OURS}"])
                for name in measures.REFERENCE_FREE
            )
            and m["unkind_declined ORPO"] > 0.9 * m["unkind_declined SFT"]
        ),
        live=False,
    ),
    Claim(
        "from DPO to KTO",
        "A loss that fades on both sides goes more than three times as far as DPO and gains at most 0.05 of gold; judging each answer apart ends "
        "within 0.15 of DPO; both together, with the baseline at 0, are within 0.1 of KTO and at least 0.1 above DPO.",
        measures.steps_to_kto,
        lambda m: (
            m["gold fading"] < m[f"gold {OURS}"] + 0.05
            and m["kl_k1 fading"] > 3 * m[f"kl_k1 {OURS}"]
            and abs(m["gold apart, β = 0.3"] - m[f"gold {OURS}"]) < 0.15
            and abs(m[f"gold {measures.AT_ZERO}"] - m["gold KTO"]) < 0.1
            and m[f"gold {measures.AT_ZERO}"] > m[f"gold {OURS}"] + 0.1
        ),
        live=False,
    ),
    Claim(
        "turned labels, counted",
        "With infinitely many labels, three in ten of them turned round, robust DPO lands on the optimum within 1e-8 nats, DPO and cDPO at least "
        "0.05 off. From 1,000 such labels cDPO ends nearest, and robust DPO more than twice as far off as DPO.",
        measures.turned,
        lambda m: (
            m["exact robust DPO"] < 1e-8
            and min(m["exact DPO"], m["exact cDPO"]) > 0.05
            and m["few cDPO"] < m["few DPO"] < m["few robust DPO"] / 2
        ),
    ),
    Claim(
        "turned labels",
        "With three labels in ten turned round DPO loses at least 0.25 of gold. On those labels cDPO has less gold than DPO, robust DPO and KTO "
        "have no less (within 0.05).",
        measures.wrong_labels,
        lambda m: (
            m[f"gold {measures.TURNED}"] < m[f"gold {OURS}"] - 0.25
            and m[f"gold {measures.TURNED}, cDPO"] < m[f"gold {measures.TURNED}"]
            and min(m[f"gold {measures.TURNED}, robust"], m[f"gold {measures.TURNED}, KTO"])
            > m[f"gold {measures.TURNED}"] - 0.05
        ),
        live=False,
    ),
    Claim(
        "own pairs",
        "From as many pairs, iterated DPO and online DPO with either judge have at least 0.05 more gold than offline DPO, at less than 3 nats; "
        "PPO has at least 0.1 more than each.",
        measures.whose_pairs,
        lambda m: all(
            m[f"gold {OURS}"] + 0.05 < m[f"gold {one.name}"] < m["gold PPO"] - 0.1
            and m[f"kl_k1 {one.name}"] < 3
            for one in OWN_PAIRS
        ),
        live=False,
    ),
    Claim(
        "bug hunt",
        "With a reference that moves along, the loss stays at log 2 to six digits, and the policy ends further from the optimum than it "
        "began, by two fifths or more; with one that is frozen it ends at less than half the distance.",
        hunt,
        lambda m: (
            abs(m["loss wrong"] - math.log(2)) < 1e-6
            and m["distance wrong"] > 1.4 * m["start"]
            and m["distance right"] < 0.5 * m["start"]
        ),
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's table of runs, and what single figures and sentences need beside it."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for one in ALL:
        told = one.measured(pipeline)
        tables["runs", one.name] = {"group": one.group or OURS, **{name: told[name] for name in TOLD}}
    for which in (measures.WITHOUT, measures.MASKED):
        told = measures.on_subset(pipeline, which)
        tables["runs", which] = {"group": "β = 0.1 and", **{name: told[name] for name in TOLD}}
    tables["pairs", "lengths"] = measures.pair_lengths(pipeline)
    for name in measures.WORDED:
        tables["wordings", name] = pipeline.measured(measures.wordings, name=name)
    for way in ("wrong", "right"):
        tables["bug hunt", way] = pipeline.measured(symptoms, way=way)
    for name, kl_weight in (("β = 1", 1.0), ("β = 0.1", 0.1)):
        tables["course", name] = pipeline.measured(course, kl_weight=kl_weight)
    return records_of(CHAPTER, pipeline, tables)
