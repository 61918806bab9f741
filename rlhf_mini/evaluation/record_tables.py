"""Tables of records: one row a method (or any field), one column a metric, each cell mean ± interval over
seeds.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlhf_mini.evaluation.intervals import Interval, student_interval
from rlhf_mini.evaluation.records import Record, _is_finite_number


@dataclass(frozen=True)
class Cell:
    """A mean over `seeds` seeds with the half-width of its 95% interval (None for one seed)."""

    mean: float
    half_width: float | None
    seeds: int

    def text(self, *, decimals: int) -> str:
        """The cell as printed, with a true minus sign."""
        mean = f"{round(self.mean, decimals) + 0.0:.{decimals}f}".replace("-", "−")  # + 0.0 turns −0 into 0
        return mean if self.half_width is None else f"{mean} ± {self.half_width:.{decimals}f}"


@dataclass(frozen=True, kw_only=True)
class RecordTable:
    """Rows of cells under headings, with a note on what ± and the profile are. A notebook renders it."""

    row_title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    note: str
    decimals: int

    def _texts(self) -> list[list[str]]:
        return [
            [name, *("–" if cell is None else cell.text(decimals=self.decimals) for cell in cells)]
            for name, cells in self.rows
        ]

    def to_markdown(self) -> str:
        """The table in Markdown, numbers aligned right, with its note under it."""
        lines = [[self.row_title, *self.columns], ["---", *["---:"] * len(self.columns)], *self._texts()]
        body = "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )
        return f"{body}\n\n{self.note}"

    def to_html(self) -> str:
        """The table in plain HTML with a caption; `reader.tables.records` adds the book's style."""
        head = "".join(
            f'<th scope="col">{html.escape(title)}</th>' for title in (self.row_title, *self.columns)
        )
        body = "".join(
            f'<tr><th scope="row">{html.escape(name)}</th>'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for name, *cells in self._texts()
        )
        caption = f"<caption>{html.escape(self.note)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    _repr_markdown_ = to_markdown
    _repr_html_ = to_html

    def __str__(self) -> str:
        return self.to_markdown()


def summarise(records: Sequence[Record], metric: str) -> Interval:
    """Student's 95% interval over seeds of one metric of one method's records.

    Raises:
        ValueError: if a seed appears twice, if records of several profiles are mixed, or on fewer than two
            seeds.
    """
    return student_interval(_values(records, metric))


def _values(records: Sequence[Record], metric: str) -> list[float]:
    """The metric by seed; records without it are left out, as a method may not have every metric."""
    seeds = [record.seed for record in records]
    if len(set(seeds)) < len(seeds):
        keys = sorted({record.key[:3] for record in records})
        raise ValueError(
            f"a seed appears twice among {keys}: filter the records down to one experiment and method"
        )
    profiles = sorted({record.profile for record in records})
    if len(profiles) > 1:
        raise ValueError(f"records of several profiles would be averaged: {profiles}. Filter with profile=…")
    values = [record.metrics[metric] for record in records if metric in record.metrics]
    for value in values:
        if not (isinstance(value, bool) or _is_finite_number(value)):
            raise ValueError(f"metric {metric!r} is not a number that a table can average: {value!r}")
    return [float(value) for value in values]


def _cell(records: Sequence[Record], metric: str) -> Cell | None:
    values = _values(records, metric)
    if len(values) < 2:
        return Cell(values[0], None, 1) if values else None
    return Cell(sum(values) / len(values), student_interval(values).half_width, len(values))


def records_table(
    records: Sequence[Record], *, metrics: Mapping[str, str], rows: str = "method", decimals: int = 2
) -> RecordTable:
    """Lays records out as a table of means over seeds with 95% intervals (Student's).

    Args:
        records: of one profile, each (row, seed) at most once.
        metrics: metric name → column title with its unit, in order.
        rows: the field that names a row; rows keep the order of their first record.
        decimals: digits after the point. A metric that no record of a row has shows "–".

    Raises:
        ValueError: on no records, mixed profiles, a repeated seed, or a metric that no record has (naming
            those there are).
    """
    if not records:
        raise ValueError("no records to show")
    known = sorted({name for record in records for name in record.metrics})
    if missing := [name for name in metrics if name not in known]:
        raise ValueError(f"no record has the metric(s) {missing}; there: {known}")
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(str(getattr(record, rows)), []).append(record)
    profiles = sorted({record.profile for record in records})
    if len(profiles) > 1:
        raise ValueError(f"a table compares runs of one profile, got {profiles}. Filter with profile=…")
    body = tuple((name, tuple(_cell(group, metric) for metric in metrics)) for name, group in groups.items())
    counts = sorted({cell.seeds for _, cells in body for cell in cells if cell is not None})
    seeds = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    spread = "one seed" if counts == [1] else f"mean over {seeds} seeds ± 95% interval"
    return RecordTable(
        row_title=rows,
        columns=tuple(metrics.values()),
        rows=body,
        note=f"{spread}; profile {profiles[0]}",
        decimals=decimals,
    )
