"""A resumable command's cells: which are asked for, measured once each, and written down as each is done."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from tqdm.auto import tqdm

from rlhf_mini.chapters.claims import record_of
from rlhf_mini.evaluation.records import Record, write_records
from rlhf_mini.parallel import side_by_side
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.progress import hide_foreign_bars, progress_bar

Task = tuple[int, str, str]  # the seed, the experiment and the name of a cell


@runtime_checkable
class Named(Protocol):
    """What a cell is told apart by: its table and its row."""

    @property
    def experiment(self) -> str:
        """The table."""

    @property
    def name(self) -> str:
        """The row."""


@runtime_checkable
class Measured(Protocol):
    """What a cell can do: measure itself."""

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """Its numbers; measured once and kept."""


Cell = TypeVar("Cell", bound=Named)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was asked for: `only` some experiments, `jobs` at once, and where things are kept and written."""

    records: str
    profile: str | None = None
    seeds: tuple[int, ...] = (0,)
    only: tuple[str, ...] = ()
    cache: Path | None = None
    jobs: int | None = None

    def pipeline(self, seed: int) -> Pipeline:
        """The pipeline of a seed."""
        return Pipeline(self.profile, seed=seed, cache=self.cache)

    def among(self, cells: Sequence[Cell], experiments: Iterable[str]) -> list[tuple[int, Cell]]:
        """The cells of every seed, experiment by experiment.

        Raises ValueError on an unknown experiment, on a seed that is given twice, and on none.
        """
        experiments = list(experiments)
        if unknown := set(self.only) - set(experiments):
            raise ValueError(f"unknown experiments {sorted(unknown)}: choose from {experiments}")
        if len({*self.seeds}) < len(self.seeds) or not self.seeds:
            raise ValueError(f"give each seed once, and at least one; got {list(self.seeds)}")
        return [
            (seed, cell)
            for experiment in self.only or experiments
            for seed in self.seeds
            for cell in cells
            if cell.experiment == experiment
        ]


def task_of(seed: int, cell: Named) -> Task:
    """What names a cell in another process, where functions of settings do not travel well."""
    return seed, cell.experiment, cell.name


def record_cell(
    order: Order, task: Task, *, chapter: str, find: Callable[[Pipeline, str, str], Measured]
) -> Record:
    """Measure one cell, in whatever process; `find` looks it up by its pipeline, experiment and name."""
    hide_foreign_bars()
    seed, experiment, name = task
    pipeline = order.pipeline(seed)
    started = time.perf_counter()
    numbers = find(pipeline, experiment, name).measured(pipeline)
    return record_of(
        chapter=chapter,
        experiment=experiment,
        method=name,
        pipeline=pipeline,
        seconds=time.perf_counter() - started,
        metrics=numbers,
    )


def measure_each(
    order: Order, tasks: Sequence[Task], work: Callable[[Task], Record], line: Callable[[Record], str]
) -> list[Record]:
    """Measure every cell, print a line and write a record for each as it is done; returns the records."""
    records = []
    with progress_bar(total=len(tasks), description="cells") as bar:
        for record in side_by_side(work, tasks, description="cells", jobs=order.jobs):
            write_records(order.records, [record])
            tqdm.write(line(record))
            bar.update()
            records.append(record)
    return records
