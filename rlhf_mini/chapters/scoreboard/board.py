"""The board as it is read from its records: what every table and figure of the chapter is made of.

Nothing here trains or measures. Intervals of means are Student's over seeds; those of Elo come from a bootstrap over seeds and
requests. Where a thing is not on record it is None, and tables show a dash.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlhf_mini.chapters.scoreboard.work import Work
from rlhf_mini.evaluation.bradley_terry_ranking import TIE, EloTable, elo_table
from rlhf_mini.evaluation.intervals import Interval, student_interval
from rlhf_mini.evaluation.records import Record, read_records
from rlhf_mini.evaluation.win_rate import win_rate

ANCHOR = "SFT"
TIES = 1.0  # with everybody beforehand, of hundreds of requests: keeps strengths finite and weighs nothing
COUNTED = ("drawn", "read", "learned", "labels", "judge_labels")


@dataclass(frozen=True)
class Point:
    """One policy of a method on one seed: KL to the SFT model (None where it is not known), seconds in all, gold."""

    label: str
    kl: float | None
    seconds: float | None
    gold: float


class Board:
    """The records of one profile. `names` are the methods in the order of the records.

    Raises ValueError on no records of methods, several profiles, or a method that is there twice on one seed.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        found = sorted(records, key=lambda record: record.seed)
        if len(profiles := {record.profile for record in found}) > 1:
            raise ValueError(f"a board compares runs of one profile, got {sorted(profiles)}")
        self.rows = _by_name(found, "methods")
        self.dials, self.budgets = _by_name(found, "dials"), _by_name(found, "budgets")
        self.colder = _by_name(found, "colder")
        if ANCHOR not in self.rows:
            raise ValueError(f"a board compares with {ANCHOR!r}, which is not among {[*self.rows]}")
        self._prices = [record.metrics for record in found if record.experiment == "prices"]
        self.profile = found[0].profile

    @classmethod
    def read(cls, name: str | Path = "chapter_14", *, profile: str = "quick") -> "Board":
        """The board on record. Raises FileNotFoundError or ValueError where there is none of this profile."""
        return cls(read_records(name, profile=profile))

    @property
    def names(self) -> list[str]:
        """All methods."""
        return [*self.rows]

    def seeds(self, name: str) -> list[int]:
        """The seeds of a method. Raises ValueError on an unknown method."""
        return [record.seed for record in self.records(name)]

    def records(self, name: str) -> list[Record]:
        """A method's records, by seed. Raises ValueError on an unknown method."""
        if name not in self.rows:
            raise ValueError(f"no method is called {name!r}; there are {self.names}")
        return self.rows[name]

    def fact(self, name: str, key: str) -> Any:
        """What is the same on every seed: `family`, `from_chapter`, `dial`, `label`."""
        return self.records(name)[0].metrics[key]

    def values(self, name: str, metric: str) -> list[float]:
        """A metric, or one of `derived`, of those seeds of a method that have it."""
        if metric in DERIVED:
            found = [DERIVED[metric](self, record) for record in self.records(name)]
        else:
            found = [record.metrics.get(metric) for record in self.records(name)]
        return [float(value) for value in found if value is not None]

    def interval(self, name: str, metric: str) -> Interval | None:
        """Its mean with Student's interval over seeds, of one seed a point; None where no seed has it."""
        values = self.values(name, metric)
        if len(values) > 1:
            return student_interval(values)
        return (
            Interval(mean=values[0], low=values[0], high=values[0], confidence=0.95, count=1)
            if values
            else None
        )

    def mean(self, name: str, metric: str) -> float | None:
        """Its mean over seeds; None where no seed has it."""
        values = self.values(name, metric)
        return sum(values) / len(values) if values else None

    # ------------------------------------------------------------------------------------------ head to head

    @cached_property
    def common_seeds(self) -> list[int]:
        """The seeds that every method has. Raises ValueError if there is none."""
        common = sorted(set.intersection(*(set(self.seeds(name)) for name in self.names)))
        if not common:
            raise ValueError(f"no seed has all methods: { {name: self.seeds(name) for name in self.names} }")
        return common

    @cached_property
    def elo(self) -> EloTable:
        """Everybody against everybody by gold, request by request, on the common seeds; SFT stands at 0."""
        golds = {
            name: [
                record.metrics["golds"] for record in self.records(name) if record.seed in self.common_seeds
            ]
            for name in self.names
        }
        return elo_table(golds, anchor=ANCHOR, ties=TIES)

    def beats_anchor(self, record: Record) -> float | None:
        """The share of requests on which a record's answer has more gold than SFT's of that seed, ties counting half."""
        anchor = [one for one in self.records(ANCHOR) if one.seed == record.seed]
        if not anchor or "golds" not in record.metrics:
            return None
        return win_rate(record.metrics["golds"], anchor[0].metrics["golds"], tie_margin=TIE).rate.mean

    # ------------------------------------------------------------------------------------------------- price

    @cached_property
    def prices(self) -> dict[str, float] | None:
        """The processor's seconds for an answer drawn, read and learned from: means over the seeds that measured them."""
        if not self._prices:
            return None
        names = ("drawn", "read", "learned")
        return {name: sum(one[name] for one in self._prices) / len(self._prices) for name in names}

    def seconds(self, record: Record, *, before: bool = True) -> float | None:
        """The processor's seconds of a run by its counted work, with what had to be done before it or without."""
        if self.prices is None:
            return None
        work = work_of(record, "own") + (work_of(record, "before") if before else Work())
        return work.seconds(self.prices)

    # ---------------------------------------------------------------------------------------------- its ways

    def points(self, name: str, seed: int) -> list[Point]:
        """All policies of a method on a seed, its row, its dial's and its budgets', in this order."""
        main = self.records(name)
        others = [
            record
            for rows in (self.dials, self.budgets)
            for records in rows.values()
            for record in records
            if record.metrics["method"] == name
        ]
        return [
            Point(
                record.method,
                record.metrics.get("kl_k3"),
                self.seconds(record),
                record.metrics["gold"],
            )
            for record in (*main, *others)
            if record.seed == seed
        ]


def work_of(record: Record, which: str) -> Work:
    """The counted work on record: `own` or `before`."""
    return Work(**{name: record.metrics[f"{which}_{name}"] for name in COUNTED})


DERIVED = {
    "beats_sft": Board.beats_anchor,
    "seconds": Board.seconds,
    "own_seconds": lambda board, record: board.seconds(record, before=False),
    "labels": lambda board, record: record.metrics["own_labels"] + record.metrics["before_labels"],
    "judge_labels": lambda board, record: (
        record.metrics["own_judge_labels"] + record.metrics["before_judge_labels"]
    ),
    "samples": lambda board, record: record.metrics["own_drawn"] + record.metrics["before_drawn"],
}


def _by_name(records: Sequence[Record], experiment: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.experiment == experiment:
            found.setdefault(record.method, []).append(record)
    for name, rows in found.items():
        seeds = [record.seed for record in rows]
        if len({*seeds}) < len(seeds):
            raise ValueError(f"{name!r} is on record twice for a seed: {seeds}")
    return found
