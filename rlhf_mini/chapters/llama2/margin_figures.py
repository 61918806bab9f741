"""Figures of margins: accuracy and distance by rating, the shape of the scores, and the bug hunt's symptoms.

Each takes one mapping a seed, as `claims.margin_tables` or `bug_hunt.symptoms` measures it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlhf_mini.chapters.llama2.margins import BINS, TABLES
from rlhf_mini.reader import Curve, Level, Picture, beside, training_curves

# Touvron et al. 2023, Table 28: accuracy (%) of the helpfulness model by rating, the least clear first, and over all.
PUBLISHED = {
    "none": (54.5, 59.8, 66.9, 79.1, 62.5),
    "small": (55.0, 60.4, 67.3, 80.4, 63.0),
    "large": (54.3, 60.5, 67.5, 80.7, 62.9),
}
ROLE = {"none": "reference", "small": "reward", "large": "loss"}
NAMES = {"none": "no\nmargin", "small": "small", "large": "large"}
PLACES = [1, 2, 3, 4]  # the four ratings, from the least clear to the clearest
RATING_AXIS = "rating, 1 negligibly to 4 significantly better"

Seeds = Sequence[Mapping[str, Any]]


def gains(seeds: Seeds, table: str) -> list[list[float]]:
    """By how many points a table of margins changes accuracy, by rating; a row a seed."""
    return [
        [100 * (a - b) for a, b in zip(m[f"accuracy {table}"][:4], m["accuracy none"][:4], strict=True)]
        for m in seeds
    ]


def published_gains(table: str) -> list[float]:
    """The same in the paper's Table 28."""
    return [a - b for a, b in zip(PUBLISHED[table][:4], PUBLISHED["none"][:4], strict=True)]


def gain_curves(seeds: Seeds) -> Picture:
    """What either table changes in accuracy, by rating: here and in the paper."""
    panels = []
    for title, rows in (("here", gains), ("Llama 2", lambda _, table: [published_gains(table)])):
        curves = [Curve(NAMES[t], ROLE[t], PLACES, rows(seeds, t)) for t in ("small", "large")]
        panels.append(
            training_curves(
                curves,
                levels=[Level("no\nmargin", 0.0)],
                xlabel=RATING_AXIS,
                ylabel=f"{title}: change in accuracy (points)",
                alt=f"Change in accuracy by rating for the small and the large margins, {title}.",
            )
        )
    return beside(*panels)


def gap_curves(seeds: Seeds) -> Picture:
    """How far the scores of a pair lie apart, by rating, for the three tables."""
    return training_curves(
        [Curve(NAMES[t], ROLE[t], PLACES, [m[f"gap {t}"] for m in seeds]) for t in TABLES],
        xlabel=RATING_AXIS,
        ylabel="chosen − rejected score (nats)",
        alt="Mean difference of the scores of a pair by rating: near zero for the least clear pairs under all three "
        "tables; for the clearest it is largest with the large margins and smallest without.",
    )


def split_curves(seeds: Seeds) -> Picture:
    """Histograms of σ(score) over the answers to kind prompts, as in the paper's Figure 27."""
    middles = ((torch.arange(BINS) + 0.5) / BINS).tolist()
    return training_curves(
        [
            Curve(NAMES[t], ROLE[t], middles, [[100 * share for share in m[f"histogram {t}"]] for m in seeds])
            for t in TABLES
        ],
        xlabel="σ(score)",
        ylabel="answers to kind prompts (%)",
        alt="Histograms of the scores sent through the sigmoid: without margin a broad hump in the middle; with the "
        "large margins most answers lie near 0 or near 1.",
    )


def hunt_curves(runs: Mapping[str, Seeds]) -> Picture:
    """The bug hunt's symptoms along a short training, seeds thin: the loss in training, and on held-out pairs one at
    a time and in batches of 32.
    """
    training = [
        Curve(label, role, runs[way][0]["step"], [m["loss"] for m in runs[way]])
        for way, label, role in (("right", "ours", "policy"), ("wrong", "hers", "loss"))
    ]
    held_out = [
        Curve(label, role, runs[way][0]["step"], [m[key] for m in runs[way]])
        for way, key, label, role in (
            ("right", "loss_of_1", "ours, 1", "policy"),
            ("right", "loss_of_32", "ours, 32", "reference"),
            ("wrong", "loss_of_1", "hers, 1", "data"),
            ("wrong", "loss_of_32", "hers, 32", "loss"),
        )
    ]
    return beside(
        training_curves(
            training,
            xlabel="update",
            ylabel="training loss (nats per pair)",
            alt="Training loss along a short run: hers ends above ours.",
        ),
        training_curves(
            held_out,
            xlabel="update",
            ylabel="held-out loss, pairs in a batch (nats per pair)",
            alt="Loss of the held-out pairs computed one pair at a time and in batches of 32: ours is the same "
            "either way, hers is higher in batches.",
        ),
    )
