"""The chapter's figures and tables, drawn from the records in `book/results/`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rlhf_mini.chapters.judging import held_out_requests
from rlhf_mini.chapters.ppo.bug_hunt import symptom_figures
from rlhf_mini.chapters.ppo.variants import CONTROL, MIXED, OURS, SIGNS, STARLING, VARIANTS, Variant, variant
from rlhf_mini.chapters.record_figures import recorded_in
from rlhf_mini.evaluation import records_table
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import (
    Curve,
    Level,
    Picture,
    Sample,
    beside,
    frames,
    learning_curves,
    proxy_and_gold,
    records,
    samples_table,
    seed_dots,
    training_curves,
)
from rlhf_mini.worlds import stories

OUTCOMES = {
    "gold": "gold",
    "difference": "gold less ours",
    "proxy": "proxy",
    "kl_k1": "KL (nats)",
    "document_nats": "nats a story",
}
WATCHED = {
    "last_explained_variance": "variance explained",
    "clipped": "clipped (%)",
    "last_entropy": "entropy (nats a token)",
    "ended": "ended (%)",
    "distinct_2": "distinct-2",
}
recorded = partial(recorded_in, "05")  # the chapter's records of an experiment, by seed


def details(variants: Sequence[Variant], columns: dict[str, str], *, decimals: int = 2) -> Picture:
    """Rows of the ablation, ours first. Differences are taken seed by seed, before they are averaged."""
    found = recorded("details")
    ours = {record.seed: record.metrics for record in found if record.method == OURS}
    rows = []
    for one in (variant(OURS), *(one for one in variants if one.name != OURS)):
        for record in found:
            if record.method == one.name and record.seed in ours:
                rows.append(replace(record, method=one.title, metrics=_row(record, ours[record.seed])))
    return records(records_table(rows, metrics=columns, decimals=decimals))


def _row(record: Record, ours: dict[str, Any]) -> dict[str, float]:
    """A run's numbers, and what the table makes of them."""
    told = {name: value for name, value in record.metrics.items() if name != "group"}
    if record.method != OURS:
        told["difference"] = told["gold"] - ours["gold"]
    return told | {
        "clipped": 100 * told["last_clip_fraction"],
        "ended": 100 * told["last_finished"],
    }


def differences() -> Picture:
    """Gold of every detail less ours, a dot a seed, with the band of the controls."""
    found: dict[str, dict[int, float]] = {}
    for record in recorded("details"):
        found.setdefault(record.method, {})[record.seed] = record.metrics["gold"]
    ours = found[OURS]
    luck: list[float] = []
    groups: dict[str, dict[str, list[float]]] = {}
    for one in (one for one in VARIANTS if one.name != OURS and one.name in found):
        less = [gold - ours[seed] for seed, gold in found[one.name].items()]
        groups.setdefault(one.group, {})[one.name] = less
        luck += less if one.group == CONTROL else []
    worst = sorted((sum(less) / len(less), name) for rows in groups.values() for name, less in rows.items())
    told = ", ".join(f"{name} ({mean:.1f})".replace("-", "−") for mean, name in worst[:8])
    return seed_dots(
        groups,
        luck=luck,
        xlabel="gold less that of ours",
        alt=f"Gold of every run less that of ours, by detail, one dot a seed. The means that lie lowest: {told}. The "
        f"controls lie between {min(luck):.2f} and {max(luck):.2f}.".replace("-0", "−0"),
        caption="A dot is a seed, a stroke their mean; linear up to ±0.5, logarithmic beyond. Shaded: the range of the "
        "controls, which is luck.",
    )


def outcomes() -> Picture:
    """Every detail of the ablation: what came of it."""
    return details(VARIANTS, OUTCOMES)


def watched() -> Picture:
    """Every detail of the ablation: what was seen in the last rollouts."""
    return details(VARIANTS, WATCHED)


def mixed() -> Picture:
    """PPO-ptx beside PPO."""
    return details(MIXED, OUTCOMES)


def starling() -> Picture:
    """Critic pretraining, prices for length and shifted scores beside PPO."""
    columns = {name: OUTCOMES[name] for name in ("gold", "difference", "kl_k1")}
    return details(STARLING, {**columns, "length": "length (tokens)", "ended": "ended (%)"})


def scoreboard() -> Picture:
    """The chapter's rows of the book's scoreboard."""
    rows = {
        OURS: "PPO",
        "β = 0": "PPO without KL",
        "γ = 1": "PPO-ptx, γ = 1",
        "critic first, λ = 1": "PPO, critic first",
    }
    columns = {
        "gold": "gold",
        "kl_k1": "KL (nats)",
        "proxy": "proxy",
        "distinct_2": "distinct-2",
        "length": "length (tokens)",
    }
    found = recorded("details")
    told = [replace(r, method=title) for name, title in rows.items() for r in found if r.method == name]
    return records(records_table(told, metrics=columns))


def signs() -> Picture:
    """The two wrong signs beside PPO."""
    columns = {
        "gold": "gold",
        "proxy": "proxy",
        "coherence": "coherence",
        "sft_nats": "surprise (nats a token)",
        "kl_k1": "KL (nats)",
    }
    return details(SIGNS, columns)


def along(
    metric: str, names: dict[str, tuple[str, str]], *, ylabel: str, alt: str, scale: float = 1
) -> Picture:
    """A number along some runs, seeds thin; names: run → (its label, role)."""
    curves = []
    for name, (label, role) in names.items():
        rows = [
            [scale * value for value in record.metrics[metric]] for record in recorded("curves", method=name)
        ]
        curves.append(Curve(label, role, [*range(len(rows[0]))], rows))
    return training_curves(curves, xlabel="iteration", ylabel=ylabel, alt=alt)


OUR_CURVE = {OURS: ("ours", "policy")}
# What goes wrong -> the number that shows it, its label, and the runs drawn beside ours.
SIGNATURES: dict[str, tuple[str, str, dict[str, tuple[str, str]]]] = {
    "The policy runs away": ("kl_k1", "KL to the SFT model (nats)", {"β = 0": ("β = 0", "loss")}),
    "Entropy collapses": ("entropy", "entropy (nats a token)", {"× 3": ("rate × 3", "loss")}),
    "The critic foresees nothing": (
        "explained_variance",
        "variance explained",
        {"from SFT, random head": ("from SFT", "loss")},
    ),
    "Answers grow long": (
        "length",
        "length (tokens)",
        {"no penalty without an end": ("no price of\nnot ending", "loss")},
    ),
    "The ratio is not 1": (
        "first_ratio_deviation",
        "mean |ρ − 1|, first minibatch",
        {
            "0.1 while learning": ("dropout", "loss"),
            "sampled at 0.7, scored at 1": ("0.7, scored\nat 1", "value"),
        },
    ),
}


def gallery() -> Picture:
    """Failure signatures: the curve that shows each, with ours beside it."""
    panels = []
    for title, (metric, label, runs) in SIGNATURES.items():
        shown = OUR_CURVE | runs
        ends = [f"{name} at {_last(metric, name):.3g}" for name in shown]
        alt = f"{title}: {label} along runs. On average over seeds and the last five rollouts, {', '.join(ends)}."
        panels.append(along(metric, shown, ylabel=label, alt=alt))
    return beside(*panels)


def _last(metric: str, name: str) -> float:
    """The mean of a curve's last five points over the seeds."""
    tails = [record.metrics[metric][-5:] for record in recorded("curves", method=name)]
    return sum(map(sum, tails)) / sum(map(len, tails))


def critics() -> Picture:
    """What the values foresee of each rollout, by how the critic starts."""
    runs = {
        OURS: ("from the\nreward model", "policy"),
        "head of zeros": ("head of\nzeros", "value"),
        "critic first, λ = 1": ("critic first", "loss"),
    }
    return along(
        "explained_variance",
        runs,
        ylabel="variance explained",
        alt="The variance of the returns that three critics explain along a run. The copy of the reward model begins far "
        "below zero and needs some iterations to reach it; the head of zeros begins at zero; the critic trained first "
        "begins above it.",
    )


def with_and_without() -> Picture:
    """Gold and proxy along the runs with and without a penalty."""
    runs = {OURS: ("ours", "policy"), "β = 0": ("no penalty", "loss")}
    return beside(
        along(
            "gold",
            runs,
            ylabel="mean gold reward",
            alt="With the penalty gold rises and stays; without it, gold turns and falls.",
        ),
        along(
            "score",
            runs,
            ylabel="mean proxy reward",
            alt="The proxy rises in both runs, and further without the penalty.",
        ),
    )


def controllers() -> Picture:
    """β and KL along the two adaptive runs."""
    runs = {"adaptive, from 0.05": ("from 0.05", "policy"), "adaptive, from 0.5": ("from 0.5", "value")}
    return beside(
        along(
            "kl_weight",
            runs,
            ylabel="β (reward per nat)",
            alt="The two weights start a factor of ten apart and approach each other.",
        ),
        along(
            "kl_k1",
            runs,
            ylabel="KL to the SFT model (nats)",
            alt="The KL of both runs, with 6 nats as target.",
        ),
    )


def against_kl(name: str, *, alt: str) -> Picture:
    """Proxy and gold of a run against its KL, on every seed."""
    found = recorded("curves", method=name)
    kl, proxy, gold = (
        [
            _smoothed([max(0.0, value) for value in r.metrics[key]] if key == "kl_k1" else r.metrics[key])
            for r in found
        ]
        for key in ("kl_k1", "score", "gold")
    )
    return proxy_and_gold(kl, proxy=proxy, gold=gold, best_gold=stories.BEST, alt=alt)


def _smoothed(values: Sequence[float], *, window: int = 5) -> list[float]:
    """Means over a sliding window, shorter at the ends by what is missing."""
    half = window // 2
    parts = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def hunt_curves() -> Picture:
    """The bug hunt's symptoms: score and distance from the optimum, wrong and right."""
    wrong, right = ([r.metrics for r in recorded("hunt", method=way)] for way in ("wrong", "right"))
    return beside(*symptom_figures(wrong, right))


def kl_weight_curves() -> Picture:
    """Gold and proxy against β."""
    weights = {"β = 0.01": 0.01, OURS: 0.05, "β = 0.2": 0.2, "β = 1": 1.0}
    found = {name: recorded("details", method=name) for name in weights}
    without = recorded("details", method="β = 0")
    panels = []
    for metric, label, role in (("gold", "gold", "gold"), ("kl_k1", "KL", "reference")):
        rows = list(zip(*[[r.metrics[metric] for r in found[name]] for name in weights], strict=True))
        level = sum(r.metrics[metric] for r in without) / len(without)
        panels.append(
            learning_curves(
                [Curve(label, role, [*weights.values()], rows)],
                levels=[Level("no penalty", level)],
                xlabel="β, the price of a nat (log scale)",
                ylabel="mean gold reward" if metric == "gold" else "KL to the SFT model (nats)",
                alt=f"{label} against the KL weight, from 0.01 to 1, with the level of no penalty.",
            )
        )
    return beside(*panels)


def read_along(pipeline: Pipeline, name: str, *, request: int, caption: str) -> Picture:
    """One request's answers before some iterations of a run and at its end, under a slider."""
    (found,) = (record for record in recorded("texts", method=name) if record.seed == pipeline.seed)
    asked, kept = held_out_requests(pipeline)[request].text, found.metrics
    shown = []
    for text, gold, proxy in zip(
        kept[f"text_{request}"], kept[f"gold_{request}"], kept[f"proxy_{request}"], strict=True
    ):
        shown.append(samples_table([(asked, {caption: Sample(text=text, gold=gold, proxy=proxy)})]))
    return frames(
        shown, [f"{iteration:.0f}" for iteration in kept["iteration"]], label="after so many iterations"
    )


def read_ends(pipeline: Pipeline, names: dict[str, str], *, request: int) -> Picture:
    """One request's answers at the end of several runs; names: run → how its card is called."""
    asked, cards = held_out_requests(pipeline)[request].text, {}
    for name, title in names.items():
        (found,) = (record for record in recorded("texts", method=name) if record.seed == pipeline.seed)
        kept = found.metrics
        cards[title] = Sample(
            text=kept[f"text_{request}"][-1],
            gold=kept[f"gold_{request}"][-1],
            proxy=kept[f"proxy_{request}"][-1],
            role="policy" if name == OURS else "loss",
        )
    return samples_table([(asked, cards)])
