"""What chapter 07 measures for its claims, a mapping of numbers each; the verdicts on them are in `claims`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.direct import toy, toy_runs
from rlhf_mini.chapters.direct.data import held_out_pairs, packed, pairs_of
from rlhf_mini.chapters.direct.family import BETWEEN, CONTROLS, FLIPPED, OURS, PAIRS, STEPS, run
from rlhf_mini.chapters.direct.subsets import MASKED, WITHOUT, outcome_on
from rlhf_mini.methods.dpo import answer_logps
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories.parser import read_story, split_sentences
from rlhf_mini.worlds.stories.plots import DECLINES

TOY_WEIGHT = 0.5  # β on the toy language
TOY_WEIGHTS = (0.25, 0.5, 1.0)
SHIFT_WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0)
CERTAIN_WEIGHTS = (0.1, 1.0)
BETAS = {"β = 0.1": 0.1, "β = 0.3": 0.3, OURS: 1.0, "β = 3": 3.0}
WORDED = (OURS, "β = 0.1", "KTO")  # the runs whose declines are looked at wording by wording
REFERENCE_FREE = ("SimPO", "SLiC", "CPL")
NEAR = (
    "cDPO", "robust DPO", "IPO", "RPO, backward", "RPO, forward", "RPO, squared", "DPO per token", "IPO per token", "R-DPO",
    "ORPO",
)  # fmt: skip
SIDES = ("chosen", "rejected")
AT_ZERO = "both: KTO with z₀ = 0"
TURNED = f"{FLIPPED:.0%} turned"


def ends(pipeline: Pipeline, names: Sequence[str], *metrics: str) -> dict[str, float]:
    """Some numbers of some runs: metric and name → number."""
    return {f"{metric} {name}": run(name).measured(pipeline)[metric] for name in names for metric in metrics}


def derivation(pipeline: Pipeline) -> dict[str, Any]:
    """Each equation's largest error on a toy language."""
    return toy.derivation(seed=pipeline.seed, kl_weight=TOY_WEIGHT)


def gradient(pipeline: Pipeline) -> dict[str, float]:
    """The gradient written out against the one that is differentiated."""
    return toy.gradient_check(seed=pipeline.seed, kl_weight=TOY_WEIGHT)


def landing(pipeline: Pipeline) -> dict[str, Any]:
    """Where DPO lands on exact preferences, by β, and the way there."""
    numbers: dict[str, Any] = {}
    for kl_weight in TOY_WEIGHTS:
        found = pipeline.measured(toy_runs.exact_dpo, kl_weight=kl_weight)
        numbers |= {
            f"{name} {kl_weight:g}": found[name] for name in ("landed", "of_half_weight", "to_optimum")
        }
        numbers["step"] = found["step"]
    return numbers


def two_steps(pipeline: Pipeline) -> dict[str, Any]:
    """DPO beside a reward model and its exact optimum."""
    return pipeline.measured(toy_runs.two_steps, kl_weight=TOY_WEIGHT)


def optimum_moves(pipeline: Pipeline) -> dict[str, Any]:
    """What π* itself does to the chosen and the rejected, by β."""
    return toy.displacement(seed=pipeline.seed, kl_weights=SHIFT_WEIGHTS)


def certain(pipeline: Pipeline) -> dict[str, Any]:
    """DPO and IPO where labels never err: the ends of their ways, by β or τ."""
    found = pipeline.measured(toy_runs.deterministic)
    ends_of = {
        f"{metric} {name}": curve[-1]
        for metric in ("kl_ref", "worst")
        for name, curve in found[metric].items()
    }
    return {**ends_of, "ipo_gap": max(found["ipo_gap"].values())}


def never_compared(pipeline: Pipeline) -> dict[str, Any]:
    """What becomes of texts in no pair."""
    found = pipeline.measured(toy_runs.off_policy)
    return {
        "shown_gap": max(found["shown_gap"].values()),
        "indifference": found["indifference"],
        **{f"hidden_mass {name}": mass for name, mass in found["hidden_mass"].items()},
    }


def few_labels(pipeline: Pipeline) -> dict[str, Any]:
    """Gold from few and from many labels, by β, after the most steps."""
    found = pipeline.measured(toy_runs.finite)
    few, many = found["gold"][-1][0], found["gold"][-1][-1]
    return {
        "few": few,
        "many": many,
        "promised": found["promised"][-1][0],
        "gained": found["gained"][-1][0],
        "kl_weights": found["kl_weights"],
    }


def whose_texts(pipeline: Pipeline) -> dict[str, float]:
    """Reward, and the distance from π*, by whose texts were compared."""
    found = pipeline.measured(toy_runs.sources)
    return {
        f"{metric} {name}": numbers[metric]
        for name, numbers in found.items()
        for metric in ("gold", "to_best")
    }


def turned(pipeline: Pipeline) -> dict[str, float]:
    """Labels turned round on the toy language: infinitely many, and few."""
    return pipeline.measured(toy_runs.turned)


def learned(pipeline: Pipeline) -> dict[str, float]:
    """SFT, DPO and PPO on the same held-out requests."""
    return ends(pipeline, ("SFT", OURS, "PPO"), "gold", "kl_k1", "proxy", "pair_accuracy")


def strengths(pipeline: Pipeline) -> dict[str, float]:
    """Gold, distance and shifts, by β."""
    metrics = ("gold", "gold_safe_prompts", "kl_k1", "chosen_shift", "rejected_shift", "pair_accuracy")
    return ends(pipeline, ("SFT", *BETAS), *metrics)


def declines(pipeline: Pipeline) -> dict[str, float]:
    """How unkind requests are met, by β and with the cures, and what was done to the pairs that teach it."""
    names = ("SFT", *BETAS, "NLL term", "PPO")
    metrics = (
        "gold",
        "unkind_declined",
        "kind_declined",
        "decline_shift",
        "story_shift",
        "overcautious_shift",
    )
    subsets = {which: on_subset(pipeline, which) for which in (WITHOUT, MASKED)}
    return {
        **ends(pipeline, names, *metrics),
        **{f"{metric} {which}": told[metric] for which, told in subsets.items() for metric in metrics},
        **{f"{name} {WITHOUT}": subsets[WITHOUT][name] for name in ("overcautious", "wanted")},
    }


def on_subset(pipeline: Pipeline, which: str) -> dict[str, float]:
    """What is said of DPO with β = 0.1 on a subset of `subsets`."""
    return pipeline.measured(outcome_on, which=which, kl_weight=BETAS["β = 0.1"])


def pair_lengths(pipeline: Pipeline) -> dict[str, float]:
    """What the chapter's pairs say of length, in tokens.

    `declines`, `stories`: mean lengths. Of pairs of two stories, `better`: by how much the one with more gold is
    longer, and `chosen`: the one that the annotators chose. `sentence`: the mean length of a sentence; `errs`: the
    share of pairs in which the answer with less gold was chosen.
    """
    rows = pairs_of(pipeline, count=PAIRS)
    pairs = packed(pipeline, rows)
    lengths = torch.stack([pairs.chosen.response.sum(1), pairs.rejected.response.sum(1)], 1).double()
    declined = torch.tensor([[read_story(row[side]).declined for side in SIDES] for row in rows])
    lead = torch.tensor([row["gold_chosen"] - row["gold_rejected"] for row in rows]).double()
    longer, stories = lengths[:, 0] - lengths[:, 1], ~declined.any(1)
    sentences = sum(len(split_sentences(row[side])) for row in rows for side in SIDES)
    return {
        "declines": _mean(lengths[declined]),
        "stories": _mean(lengths[~declined]),
        "better": _mean((lead.sign() * longer)[stories & (lead != 0)]),
        "chosen": _mean(longer[stories]),
        "sentence": float(lengths.sum()) / sentences,
        "errs": float((lead < 0).double().mean()),
    }


def _mean(values: Tensor) -> float:
    """Of no values, as in a tiny profile, it is 0."""
    return float(values.mean()) if len(values) else 0.0


def lengths(pipeline: Pipeline) -> dict[str, float]:
    """How long answers are, and what a loss or other labels make of it."""
    names = ("SFT", OURS, "gold's", "R-DPO", "DPO per token", "IPO per token", "PPO")
    return ends(pipeline, names, "length", "gold")


def family(pipeline: Pipeline) -> dict[str, float]:
    """Every method on the same pairs."""
    names = ("SFT", OURS, *NEAR, "ORPO from base", "KTO", *REFERENCE_FREE)
    return ends(pipeline, names, "gold", "kl_k1", "unkind_declined", "length")


def steps_to_kto(pipeline: Pipeline) -> dict[str, float]:
    """DPO, what lies between it and KTO, and both with twice as many steps."""
    between = [one.name for one in (*BETWEEN, *STEPS, *CONTROLS)]
    return ends(pipeline, ("SFT", OURS, *between, "KTO"), "gold", "kl_k1", "unkind_declined")


def wrong_labels(pipeline: Pipeline) -> dict[str, float]:
    """Three labels in ten turned round, by loss; and gold's labels."""
    names = (
        OURS,
        "gold's",
        TURNED,
        f"{TURNED}, cDPO",
        f"{TURNED}, robust",
        f"{TURNED}, IPO",
        "KTO",
        f"{TURNED}, KTO",
    )
    return ends(pipeline, names, "gold", "kl_k1")


def whose_pairs(pipeline: Pipeline) -> dict[str, float]:
    """As many pairs, of the SFT model, of demonstrators, and of the policy itself."""
    names = (
        OURS, "8,000 pairs", "demonstrators' pairs", "iterated, 3 rounds", "online, panel", "online, reward model", "PPO",
    )  # fmt: skip
    return ends(pipeline, names, "gold", "kl_k1", "proxy")


def wordings(pipeline: Pipeline, *, name: str) -> dict[str, float]:
    """What a run's policy did to each wording of a decline, in nats: mean log-ratios where it was preferred.

    Over the held-out unkind prompts on which it was preferred to any other answer; 0 where it never was.
    """
    rows = [row for row in held_out_pairs(pipeline) if row["safety_prompt"] and row["chosen"] in DECLINES]
    if not rows:
        return dict.fromkeys(DECLINES, 0.0)
    answers = packed(pipeline, rows).chosen
    before = answer_logps(pipeline.policy("sft"), answers)
    moved = (answer_logps(run(name).policy(pipeline), answers) - before).tolist()
    found = {}
    for wording in DECLINES:
        own = [shift for shift, row in zip(moved, rows, strict=True) if row["chosen"] == wording]
        found[wording] = sum(own) / len(own) if own else 0.0
    return found
