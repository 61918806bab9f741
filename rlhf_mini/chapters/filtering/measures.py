"""What chapter 09 measures for its claims, a mapping of numbers each; the verdicts on them are in `claims`."""

from collections.abc import Sequence
from typing import Any

import torch

from rlhf_mini.chapters.filtering import arithmetic, choosing, data, landing, toy
from rlhf_mini.chapters.filtering.family import BY_PROMPT, OURS, THRESHOLDS, run
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

DRAWN, ROUNDS, SHARE = 128, 8, 0.5  # of the experiment on finitely many samples


def ends(pipeline: Pipeline, names: Sequence[str], *metrics: str) -> dict[str, float]:
    """Some numbers of some runs: metric and name → number."""
    return {f"{metric} {name}": run(name).measured(pipeline)[metric] for name in names for metric in metrics}


def identities(pipeline: Pipeline) -> dict[str, float]:
    """Each equation's largest error on a toy language."""
    return toy.identities(seed=pipeline.seed)


def equal_kl(pipeline: Pipeline) -> dict[str, float]:
    """The most and the least reward that the filter and best-of-n miss of the tilt at their own KL."""
    found = toy.frontier(seed=pipeline.seed)
    return {
        "filter_most": max(found["filtered"]["missed"]),
        "filter_least": min(found["filtered"]["missed"]),
        "best_of_n_most": max(found["best of n"]["missed"]),
        "best_of_n_least": min(found["best of n"]["missed"]),
    }


def drift(pipeline: Pipeline) -> dict[str, float]:
    """How likely two draws differ after some rounds of finitely many samples, and how it should be."""
    found = toy.drift(seed=pipeline.seed, samples=DRAWN, rounds=ROUNDS, share=SHARE)
    return {
        "off": max(abs(a - b) for a, b in zip(found["differ random"], found["promised"], strict=True)),
        "start": found["promised"][0],
        "random": found["differ random"][-1],
        "best": found["differ best"][-1],
        "texts_random": found["texts random"][-1],
    }


def landed(pipeline: Pipeline) -> dict[str, float]:
    """How near the library's fine-tuning lands to the exact filter, on a small Llama."""
    return pipeline.measured(landing.landing)


def grows(pipeline: Pipeline) -> dict[str, float]:
    """As many samples in one, two and three Grows."""
    return ends(pipeline, ("SFT", "one Grow", "two Grows", OURS, "filtered once"), "gold", "kl_k1", "entropy")


def thresholds(pipeline: Pipeline) -> dict[str, float]:
    """Rising thresholds, and the highest and the lowest alone."""
    names = (OURS, "the highest threshold alone", "the lowest threshold alone", "no decay", "stops itself")
    return ends(pipeline, names, "gold", "kl_k1", "entropy")


def by_prompt(pipeline: Pipeline) -> dict[str, float]:
    """ReST on one scale for all prompts and on each prompt's own, beside SFT and PPO; and what the one scale keeps.

    `kept kind` and `kept unkind`: the shares of the SFT model's answers to either that lie above the lowest threshold.
    """
    answers = data.answers_of_sft(pipeline)
    kept = (data.reward_scale(pipeline)(answers.rewards) > THRESHOLDS[0]).float().mean(1)
    unkind = torch.tensor([stories.read_request(prompt).unkind is not None for prompt in answers.prompts])
    names = ("SFT", OURS, BY_PROMPT, "PPO", "all answers")
    return {
        **ends(pipeline, names, "gold", "kind_declined", "unkind_declined", "kl_k1"),
        "kept kind": _mean(kept[~unkind]),
        "kept unkind": _mean(kept[unkind]),
    }


def _mean(values: torch.Tensor) -> float:
    """Of no values, as in a tiny profile, it is 0."""
    return float(values.mean()) if len(values) else 0.0


def varied(pipeline: Pipeline) -> dict[str, float]:
    """How varied answers are, before and after."""
    return ends(pipeline, ("SFT", OURS, "RAFT", "PPO"), "entropy", "unique", "overlap", "distinct_2")


def too_fast(pipeline: Pipeline) -> dict[str, float]:
    """RAFT at two learning rates: gold, and what the reward model thinks."""
    return ends(pipeline, ("RAFT", "RAFT, too fast"), "gold", "proxy", "kl_k1", "unkind_declined")


def forgotten(pipeline: Pipeline) -> dict[str, float]:
    """How many unkind requests are still declined after ranking with either weight, and with a margin."""
    names = ("SFT", "RRHF, weight 1", "RRHF, weight 100", "SLiC")
    return ends(pipeline, names, "unkind_declined", "gold")


def beside_best_of_n(pipeline: Pipeline) -> dict[str, float]:
    """Gold and KL of ReST and of the best of eight, and best-of-n's gold at ReST's KL."""
    curve = pipeline.measured(choosing.best_of_n)
    found, eight = ends(pipeline, (OURS,), "gold", "kl_k1"), curve["n"].index(8.0)
    return {
        **found,
        "gold best of 8": curve["gold"][eight],
        "kl best of 8": curve["kl"][eight],
        "gold best of n at its KL": choosing.gold_at(curve, found[f"kl_k1 {OURS}"]),
    }


def sums(pipeline: Pipeline) -> dict[str, Any]:
    """Every method on sums: pass@k, variety and the accuracy on training problems, at its end and at the start."""
    found: dict[str, Any] = {}
    for name, history in pipeline.measured(arithmetic.runs).items():
        for metric in (*(f"pass_{k}" for k in arithmetic.PASSES), "differ", "train"):
            found[f"{metric} start"] = history[0][metric]
            found[f"{metric} {name}"] = history[-1][metric]
            found[f"{metric} first {name}"] = history[1][metric]
    return found
