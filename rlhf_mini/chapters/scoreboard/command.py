"""`rlhf-mini scoreboard`: every method of the book, trained once, measured once, and written down as a record.

Policies that other chapters have in the cache are used as they are. What is finished stays; the same command goes on where it
was interrupted, and with other seeds it adds to the records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlhf_mini.chapters.cells import Order, measure_each, record_cell, task_of
from rlhf_mini.chapters.kept import is_kept
from rlhf_mini.chapters.scoreboard import measuring
from rlhf_mini.chapters.scoreboard.entries import ENTRIES
from rlhf_mini.chapters.scoreboard.methods import Entry, Point
from rlhf_mini.chapters.scoreboard.policies import clock_seconds
from rlhf_mini.evaluation.intervals import Number
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.progress import hide_foreign_bars

CHAPTER, RECORDS = "14", "chapter_14"
EXPERIMENTS = ("prices", "methods", "colder", "dials", "budgets")
SHOWN = ("gold", "helpfulness", "safety", "proxy", "kl_k3", "length", "distinct_2", "story_nats")
# For planning alone: seconds of one core at the quick profile for an answer drawn, read and learned from, and what judging
# one policy takes. They stand in no record.
GUESSED = {"drawn": 0.0055, "read": 0.0018, "learned": 0.005}
JUDGING, SAMPLING = 12.0, 25.0
BYTES_TRAINED, BYTES_FROZEN = 16, 4  # a weight, its gradient and Adam's two moments; a weight alone


@dataclass(frozen=True)
class Cell:
    """One measurement: the table and the row that it belongs to, the method, and which of its policies.

    Of the prices there is no method.
    """

    experiment: str
    name: str
    entry: Entry | None = None
    point: Point | None = None

    def is_measured(self, pipeline: Pipeline) -> bool:
        """Whether `measured` would only read; builds nothing."""
        if self.point is None:
            return is_kept(pipeline, measuring.prices)
        return self.point.policy.is_measured(pipeline)

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """Its numbers for a record; measured once and kept. Every request's gold is on record of the board's rows alone."""
        if self.point is None or self.entry is None:
            return pipeline.measured(measuring.prices)
        told = self.point.policy.measured(pipeline)
        if self.experiment != "methods":
            told = {name: value for name, value in told.items() if name != "golds"}
        return {**told, **facts(pipeline, self.entry, self.point, told)}

    def still_to_pay(self, pipeline: Pipeline) -> float:
        """About how many seconds of one core it would take: training, unless that is kept, and judging.

        What must be there before a run, a reward model or a judge, is not in it: the pipeline's stages and other chapters'
        runs may be kept already, and several methods need the same.
        """
        if self.is_measured(pipeline):
            return 0.0
        if self.point is None or self.point.policy.folder(pipeline) is None:
            return SAMPLING
        trains = not self.point.policy.is_there(pipeline)
        return JUDGING + (self.point.own(pipeline.profile, None).seconds(GUESSED) if trains else 0.0)


def cells() -> tuple[Cell, ...]:
    """All cells: the prices, and every point of every method."""
    found = [Cell("prices", "an answer")]
    for entry in ENTRIES:
        for experiment, points in entry.points().items():
            for point in points:
                found.append(Cell(experiment, row_name(entry, experiment, point), entry, point))
    return tuple(found)


def row_name(entry: Entry, experiment: str, point: Point) -> str:
    """How a point is called: as its method, and beside the main one what is different.

    A method's one setting on the board has the method's name alone, also where it is sampled colder.
    """
    if experiment in ("methods", "colder"):
        return entry.name
    return (
        f"{entry.name}, {entry.dial} {point.label}"
        if experiment == "dials"
        else f"{entry.name}, {point.label}"
    )


def facts(pipeline: Pipeline, entry: Entry, point: Point, told: dict[str, Any]) -> dict[str, Any]:
    """What a record says besides what was measured: whose point it is, what it took, and what training held in memory.

    - `own_…`: the run's own work; `before_…`: what had to be done before (see `work.Work`). Of a run's subfolder, up to there.
    - `held_megabytes`: weights, gradients and Adam's moments of all models held in training; of what is not trained, the
      weights of the models that answering needs. Activations and batches are not in it.
    - `clock_seconds`: of the whole run as it is kept, with what it had to build first and whatever looked on; only where known.
    """
    folder = point.policy.folder(pipeline)
    own, before = point.own(pipeline.profile, folder), entry.before(pipeline.profile, None)
    numbers: dict[str, Any] = {
        "method": entry.name,
        "family": entry.family,
        "from_chapter": entry.chapter,
        "dial": entry.dial,
        "label": point.label,
        **{f"own_{name}": value for name, value in vars(own).items()},
        **{f"before_{name}": value for name, value in vars(before).items()},
        "held_megabytes": held_megabytes(entry, told["parameters"]),
    }
    seconds = None if folder is None else clock_seconds(folder)
    return numbers if seconds is None else {**numbers, "clock_seconds": seconds}


def held_megabytes(entry: Entry, parameters: Number) -> float:
    """The memory of the models, in MB of 2^20 bytes: see `facts`. A policy that is only sampled is one model at least."""
    frozen = entry.frozen if entry.trained else max(1, entry.frozen)
    return parameters * (BYTES_TRAINED * entry.trained + BYTES_FROZEN * frozen) / 2**20


def chosen(order: Order, methods: Sequence[str] = ()) -> list[tuple[int, Cell]]:
    """The cells that were asked for, of all methods or of those named.

    Raises ValueError on an unknown experiment or method, or a seed given twice.
    """
    known = [one.name for one in ENTRIES]
    if unknown := [name for name in methods if name not in known]:
        raise ValueError(f"unknown methods {unknown}: choose from {known}")
    wanted = [cell for cell in cells() if not methods or cell.entry is None or cell.entry.name in methods]
    return order.among(wanted, EXPERIMENTS)


def listed(order: Order, methods: Sequence[str] = ()) -> float:
    """Print every cell with what it is expected to take, or that it is kept; returns the seconds in all.

    A run that several cells look at, after its rounds or quarters, is counted once.
    """
    total, paid = 0.0, set[tuple[int, Path | None]]()
    pipelines = {seed: order.pipeline(seed) for seed in order.seeds}
    for seed, cell in chosen(order, methods):
        pipeline, told = pipelines[seed], "kept"
        if not cell.is_measured(pipeline):
            folder = cell.point.policy.folder(pipeline) if cell.point else None
            again = folder is not None and (seed, folder) in paid
            seconds = JUDGING if again else cell.still_to_pay(pipeline)
            paid.add((seed, folder))
            there = cell.point is None or again or cell.point.policy.is_there(pipeline)
            total, told = (
                total + seconds,
                f"about {seconds:.0f} s, {'to judge' if there else 'to train and judge'}",
            )
        print(f"seed {seed}  {cell.experiment:10} {cell.name:44} {told}")
    print(f"{total / 3600:.1f} hours of one processor's core to do")
    return total


def measure_all(order: Order, methods: Sequence[str] = ()) -> list[Record]:
    """Measure every cell, print a line and write a record for each as it is done; returns the records."""
    tasks = [task_of(*one) for one in chosen(order, methods)]
    return measure_each(order, tasks, partial(record_cell, order, chapter=CHAPTER, find=_cell), _line)


def _cell(pipeline: Pipeline, experiment: str, name: str) -> Cell:
    return next(one for one in cells() if (one.experiment, one.name) == (experiment, name))


def _line(record: Record) -> str:
    told = [f"{name} {record.metrics[name]:.2f}" for name in SHOWN if name in record.metrics]
    return (
        f"seed {record.seed}  {record.experiment:10} {record.method:44} {record.seconds:6.1f} s  "
        + "  ".join(told)
    )


def scoreboard(
    seeds: Sequence[int], only: Sequence[str], methods: Sequence[str], *, dry_run: bool, **where: Any
) -> int:
    """The command; returns the exit status."""
    hide_foreign_bars()
    order = Order(seeds=tuple(seeds), only=tuple(only), **where)
    if dry_run:
        listed(order, methods)
    else:
        measure_all(order, methods)
    return 0
