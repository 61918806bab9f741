"""The chapter's figures and tables, drawn from the records in `book/results/` or from what a cell has measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rlhf_mini.chapters.hindsight.replay import BLOCK, GOAL, LOOKS, RELABELS, WAREHOUSE, goals_asked
from rlhf_mini.chapters.record_figures import recorded_in
from rlhf_mini.evaluation import records_table
from rlhf_mini.reader import (
    Curve,
    Level,
    Picture,
    beside,
    frames,
    grid_picture,
    records,
    training_curves,
)

CURVE_ROLES = ("policy", "data", "reward", "value", "loss")
SUM_COLUMNS = {
    "right": "right (%)",
    "greedy": "right, greedy (%)",
    "right_if_asked_for_wrong": "right, if wrong is asked for (%)",
}
STORY_COLUMNS = {
    "gold": "gold",
    "followed": "all wishes met (%)",
    "fulfil_something": "fulfils some request (%)",
    "unkind_declined": "unkind: declined (%)",
    "kl_k1": "KL (nats)",
    "distinct_2": "distinct pairs (%)",
}
SHARES = ("right", "greedy", "right_if_asked_for_wrong", "followed", "fulfil_something", "unkind_declined", "distinct_2")  # fmt: skip
recorded = partial(recorded_in, "08")  # the chapter's records of an experiment, by seed


def table(experiment: str, names: Sequence[str], columns: Mapping[str, str]) -> Picture:
    """Runs of `sums` or `stories` as a table of the book, in the given order; shares in per cent."""
    rows = []
    for name in names:
        for record in recorded(experiment, method=name):
            told = {
                key: 100 * value if key in SHARES else value
                for key, value in record.metrics.items()
                if key in columns
            }
            rows.append(replace(record, metrics={key: told[key] for key in columns}))
    return records(records_table(rows, metrics=columns, decimals=2 if "gold" in columns else 0))


def replay_curves(seeds: Sequence[Mapping[str, Any]]) -> Picture:
    """How often the robot comes to the cell that was asked for, by how many goals each walk is seen with afterwards.

    `seeds`: one result of `replay.curves` each.
    """
    names = {0: "as asked\nonly", 1: "and one\nreached", 4: "and four\nreached"}
    curves = []
    for relabels, role in zip(RELABELS, ("reference", "data", "policy"), strict=True):
        rows = [found[f"reached {relabels}"] for found in seeds]
        walks = [BLOCK * (number + 1) for number in range(len(rows[0]))]
        curves.append(Curve(names[relabels], role, walks, rows))
    ends = ", ".join(
        f"{curve.ys[:, -1].mean():.0%} with {k}" for curve, k in zip(curves, RELABELS, strict=True)
    )
    return training_curves(
        curves,
        xlabel="walks",
        ylabel="share that came to the asked cell",
        alt="The share of walks that came to the cell that was asked for, in blocks, by the number of goals that each walk is "
        f"seen with afterwards. In the last block: {ends}; seeds: {len(seeds)}.",
    )


def known_cells(found: Mapping[str, Sequence[Sequence[float]]]) -> Picture:
    """The warehouse with the share of runs that know a shortest way to each cell, without and with hindsight, by walks.

    `found`: the result of `replay.known_cells`.
    """
    pictures = []
    for place, walks in enumerate(LOOKS):
        panels = []
        for relabels, words in (("0", "without hindsight"), ("4", "four relabels")):
            shares = found[relabels][place]
            mean = sum(shares[goal] for goal in goals_asked()) / len(goals_asked())
            told = f"{words}: a shortest way to {mean:.0%} of the cells is known"
            panels.append(
                grid_picture(
                    WAREHOUSE,
                    values=shares,
                    scale=1.0,
                    notes={GOAL: f"{shares[GOAL]:.1f}"},  # where no value is written
                    alt=f"The warehouse after {walks} walks, {told}; each cell holds the share of runs.",
                    caption=told,
                )
            )
        pictures.append(beside(*panels))
    return frames(pictures, [str(walks) for walks in LOOKS], label="walks")


def round_curves(
    by_name: Mapping[str, Sequence[Sequence[float]]], *, ylabel: str, levels: Sequence[Level] = ()
) -> Picture:
    """Curves by round, round 0 being the start; for each name one list a seed.

    Raises:
        ValueError: for more names than there are roles.
    """
    if len(by_name) > len(CURVE_ROLES):
        raise ValueError(f"round_curves draws at most {len(CURVE_ROLES)} runs; received {[*by_name]}")
    curves = [
        Curve(name, role, [*range(len(rows[0]))], rows)
        for (name, rows), role in zip(by_name.items(), CURVE_ROLES, strict=False)
    ]
    ends = "; ".join(
        f"{name} from {curve.ys[:, 0].mean():.2f} to {curve.ys[:, -1].mean():.2f}".replace("\n", " ")
        for name, curve in zip(by_name, curves, strict=True)
    )
    return training_curves(
        curves,
        levels=levels,
        xlabel="round",
        ylabel=ylabel,
        alt=f"{ylabel.capitalize()} by round: {ends}. Seeds: {len(curves[0].ys)}.",
    )


def recorded_rounds(
    experiment: str, names: Mapping[str, str], metric: str = "by_round"
) -> dict[str, list[list[float]]]:
    """Curves on record for `round_curves`: label → one list a seed, `names` being run → label."""
    return {
        label: [list(record.metrics[metric]) for record in recorded(experiment, method=name)]
        for name, label in names.items()
    }
