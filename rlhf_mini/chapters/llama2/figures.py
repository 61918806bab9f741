"""The chapter's figures; what is drawn over seeds comes from the records in `book/results/`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlhf_mini.chapters.llama2 import best_of_k, combining, on_top
from rlhf_mini.evaluation import read_records, records_table
from rlhf_mini.evaluation.records import Record
from rlhf_mini.reader import Curve, Level, Picture, beside, learning_curves, records, training_curves

# Touvron et al. 2023, Table 8: accuracy (%) by rating, the least clear first, and over all.
PUBLISHED_CROSSING = {
    "helpfulness on helpfulness": (54.7, 60.9, 67.5, 80.7, 63.2),
    "safety on helpfulness": (52.2, 53.8, 57.5, 64.6, 56.2),
    "safety on safety": (55.3, 65.7, 76.3, 94.3, 64.5),
    "helpfulness on safety": (54.5, 63.8, 73.2, 89.9, 62.8),
}
FIRST_ROW = "fine-tuned policy"  # of the scoreboard; versions follow by number
COLUMNS = ("negligibly", "slightly", "better", "significantly", "all")


def recorded(experiment: str, **filters: Any) -> list[Record]:
    """The records of one of the chapter's experiments at the quick profile, by seed."""
    found = read_records("chapter_06", experiment=experiment, profile="quick", **filters)
    return sorted(found, key=lambda record: record.seed)


def values(claim: str) -> list[dict[str, Any]]:
    """What a claim measured on every seed on record."""
    return [dict(record.metrics) for record in recorded("claims", method=claim)]


def table(rows: Sequence[Record], columns: Mapping[str, str]) -> Picture:
    """Records as a table of the book, these columns only."""
    kept = [replace(row, metrics={key: row.metrics[key] for key in columns}) for row in rows]
    return records(records_table(kept, metrics=columns))


def crossing_table(*, mixed: bool) -> Picture:
    """Accuracy (%) by rating of each model on each side's pairs: its own pairs only, or Llama 2's mix."""
    rows = [row for row in recorded("crossing") if row.method.endswith(", mixed") == mixed]
    named = [
        replace(
            row,
            method=row.method.removesuffix(", mixed"),
            metrics={name: 100 * share for name, share in zip(COLUMNS, row.metrics["accuracy"], strict=True)},
        )
        for row in rows
    ]
    return records(records_table(named, metrics={name: name for name in COLUMNS}, decimals=1))


def scoreboard() -> Picture:
    """The chapter's policies on the same held-out requests."""
    columns = {
        "gold": "gold",
        "politely_declined": "unkind: politely declined",
        "unkind_told": "unkind: deed told",
        "kind_declined": "kind: declined",
        "kl_k3": "KL (nats)",
    }
    rows = sorted(recorded("scoreboard"), key=lambda row: (row.method != FIRST_ROW, row.method))
    return table(rows, columns)


def detection_curves(seeds: Sequence[Mapping[str, Any]]) -> Picture:
    """Precision and recall of "safety below the threshold" as a detector of unkind deeds, over seeds."""
    thresholds = seeds[0]["threshold"]
    return training_curves(
        [
            Curve("precision", "policy", thresholds, [seed["precision"] for seed in seeds]),
            Curve("recall", "data", thresholds, [seed["recall"] for seed in seeds]),
        ],
        xlabel="threshold on R_s",
        ylabel="share",
        alt="Precision and recall of a low safety score as a detector of unkind deeds, against the threshold: recall "
        "rises with it, precision falls.",
    )


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
    roles = ("reference", "data", "policy", "reward", "loss")  # as many as there are temperatures, at most
    return learning_curves(
        [
            Curve(f"T = {temperature}", role, best_of_k.SIZES, [seed["gold"] for seed in seeds])
            for (temperature, seeds), role in zip(curves.items(), roles, strict=False)
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
        alt=f"{ylabel} by turn of the conversation: highest for the model with ghost attention, lower for one that was "
        "trained on the same questions without it, with the model before beside them.",
    )


def by_round(
    runs: Mapping[str, Sequence[Mapping[str, Sequence[float]]]], *, measure: str, ylabel: str
) -> Picture:
    """A measure after every round of several campaigns, over seeds; round 0 is the fine-tuned policy.

    `runs` maps the names of `rounds.CAMPAIGNS` to one mapping a seed, as `rounds.along` measures it.
    """
    looks = {
        "best of all rounds": ("best,\nall rounds", "policy"),
        "best of the last round": ("best,\nlast round", "loss"),
        "random, all rounds": ("random", "reference"),
        "random, batches of mixed lengths": ("random,\nmixed", "data"),
    }
    curves = [
        Curve(*looks[name], [*range(len(seeds[0][measure]))], [seed[measure] for seed in seeds])
        for name, seeds in runs.items()
    ]
    return training_curves(
        curves,
        xlabel="round",
        ylabel=ylabel,
        alt=f"{ylabel} after each round of rejection sampling, for campaigns that keep the best and learn from all "
        "rounds, keep the best and learn from the last alone, and keep any answer, in batches of similar and of mixed lengths.",
    )


def wear_curves(seeds: Sequence[Mapping[str, Any]]) -> Picture:
    """How often the last helpfulness model orders two answers as gold does, for each version's answers."""
    shares = [[100 * share for share in seed["ordered"]] for seed in seeds]
    return training_curves(
        [Curve("pairs of\nits answers", "reward", [*range(len(shares[0]))], shares)],
        levels=[Level("a coin", 50.0)],
        xlabel="version (0 is the fine-tuned policy)",
        ylabel="pairs ordered as gold orders them (%)",
        alt="Share of pairs of answers that the campaign's last helpfulness model orders as gold does, by the version "
        "that wrote them: between seven and eight in ten for the fine-tuned policy, about six in ten for the last.",
    )


def reward_on_top(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Picture:
    """The reward before it is whitened along PPO on top of the last version, for both KL weights."""
    looks = {"light": "loss", "heavy": "policy"}
    curves = [
        Curve(
            f"KL weight\n{on_top.KL_WEIGHTS[name]}",
            looks[name],
            [*range(1, 1 + len(seeds[0]["reward"]))],
            [seed["reward"] for seed in seeds],
        )
        for name, seeds in runs.items()
    ]
    return training_curves(
        curves,
        xlabel="iteration of PPO",
        ylabel="mean logit of the combined reward",
        alt="The mean logit of the combined reward along twenty iterations of PPO on top of the last version, for a "
        "light and a heavy KL weight: it rises with the light one, and less or not at all with the heavy one.",
    )


def sampled(kind: str, temperature: float) -> list[dict[str, Any]]:
    """What `best_of_k.curve` measured for one kind of prompts and one temperature, by seed."""
    found = recorded("best of K", method=f"{kind}, temperature {temperature}")
    return [dict(record.metrics) for record in found]


def runs_of(experiment: str, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """The records of several rows of one experiment: name → one mapping a seed."""
    return {name: [dict(r.metrics) for r in recorded(experiment, method=name)] for name in names}
