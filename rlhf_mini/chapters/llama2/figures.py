"""The chapter's figures; what is drawn over seeds comes from the records in `book/results/`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_mini.chapters.llama2 import best_of_k, combining
from rlhf_mini.evaluation import read_records
from rlhf_mini.evaluation.records import Record
from rlhf_mini.reader import Curve, Level, Picture, beside, learning_curves, training_curves

# Touvron et al. 2023, Table 28: accuracy of the helpfulness model by rating, clearest first, and over all.
PUBLISHED_MARGINS = {
    "none": (79.1, 66.9, 59.8, 54.5, 62.5),
    "small": (80.4, 67.3, 60.4, 55.0, 63.0),
    "large": (80.7, 67.5, 60.5, 54.3, 62.9),
}
# Their Table 8, likewise: model on test set.
PUBLISHED_CROSSING = {
    "helpfulness on helpfulness": (80.7, 67.5, 60.9, 54.7, 63.2),
    "safety on helpfulness": (64.6, 57.5, 53.8, 52.2, 56.2),
    "safety on safety": (94.3, 76.3, 65.7, 55.3, 64.5),
    "helpfulness on safety": (89.9, 73.2, 63.8, 54.5, 62.8),
}


def recorded(experiment: str, **filters: Any) -> list[Record]:
    """The records of one of the chapter's experiments at the quick profile, by seed."""
    found = read_records("chapter_06", experiment=experiment, profile="quick", **filters)
    return sorted(found, key=lambda record: record.seed)


def rules(seeds: Sequence[Mapping[str, Any]]) -> Picture:
    """What every linear weight keeps on unkind and on kind requests, over seeds, beside the piecewise rule.

    `seeds` holds one mapping a seed, as `claims.combined` measures it.
    """
    weights = combining.WEIGHTS
    panels = []
    for title, measures in (
        ("unkind", {"unkind_politely": ("declined", "policy"), "unkind_told": ("deed told", "loss")}),
        ("kind", {"kind_declined": ("declined", "policy")}),
    ):
        curves, levels = [], []
        for measure, (label, role) in measures.items():
            curves.append(Curve(label, role, weights, [seed[f"{measure}_linear"] for seed in seeds]))
            mean = sum(seed[f"{measure}_piecewise"] for seed in seeds) / len(seeds)
            levels.append(Level(f"piecewise:\n{label}", mean, role))
        panels.append(
            training_curves(
                curves,
                levels=levels,
                xlabel="weight of safety in the sum",
                ylabel=f"share of {title} requests",
                alt=f"On {title} requests, by the weight of safety in a linear combination: how often the best of "
                "sixteen declines, and how often it tells an unkind deed; beside it, the piecewise rule.",
            )
        )
    return beside(*panels)


def divergences(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Picture:
    """KL of the best of K on kind and on unkind requests, over seeds, and the formula.

    `curves`: "kind" and "unkind", each one mapping a seed, as `best_of_k.curve` measures it.
    """
    sizes = best_of_k.SIZES
    roles = {"kind": "policy", "unkind": "loss"}
    drawn = [
        Curve(f"{kind} requests", roles[kind], sizes, [seed["kl"] for seed in seeds])
        for kind, seeds in curves.items()
    ]
    bound = next(iter(curves.values()))[0]["bound"]
    return learning_curves(
        [*drawn, Curve("the formula", "reference", sizes, bound)],
        xlabel="K (log scale)",
        ylabel="KL to the policy (nats per answer)",
        alt="The divergence of the best of K rises with K. On kind requests it follows the formula; on unkind "
        "ones, where answers repeat, it stays clearly below.",
    )


def best_by_temperature(curves: Mapping[float, Sequence[Mapping[str, Any]]], *, kind: str) -> Picture:
    """Gold of the best of K for several temperatures, over seeds."""
    roles = ("reference", "data", "policy", "reward", "loss")
    return learning_curves(
        [
            Curve(f"T = {temperature}", role, best_of_k.SIZES, [seed["gold"] for seed in seeds])
            for (temperature, seeds), role in zip(curves.items(), roles, strict=True)
        ],
        xlabel="K (log scale)",
        ylabel=f"mean gold of the best of K, {kind} requests",
        alt=f"Mean gold of the best of K on {kind} requests against K, one curve for each sampling temperature.",
    )


def by_turn(runs: Mapping[str, Sequence[Mapping[str, Any]]], *, measure: str, ylabel: str) -> Picture:
    """Ghost attention turn by turn: a measure for each model, over seeds; turns from 1."""
    names = {"ghost": ("GAtt", "policy"), "plain": ("without GAtt", "data"), "sft": ("before", "reference")}
    curves = []
    for model, seeds in runs.items():
        label, role = names[model]
        turns = range(1, 1 + len(seeds[0][measure]))
        curves.append(Curve(label, role, [*turns], [seed[measure] for seed in seeds]))
    return training_curves(
        curves,
        xlabel="turn",
        ylabel=ylabel,
        alt="By turn of the conversation, for the model with ghost attention, for one trained on the same "
        "conversations without it, and for the one before: how often the hero of the first turn is told.",
    )


def by_round(
    runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], *, measure: str, ylabel: str
) -> Picture:
    """A measure after every round of several campaigns, over seeds; round 0 is the fine-tuned policy."""
    roles = {
        "best of all rounds": "policy",
        "best of the last round": "loss",
        "random, all rounds": "reference",
    }
    return training_curves(
        [
            Curve(
                name,
                roles[name],
                [*range(len(seeds[0]))],
                [[look[measure] for look in seed] for seed in seeds],
            )
            for name, seeds in runs.items()
        ],
        xlabel="round",
        ylabel=ylabel,
        alt=f"{ylabel} after each round of rejection sampling, for campaigns that keep the best and learn from all "
        "rounds, keep the best and learn from the last alone, and keep any answer.",
    )
