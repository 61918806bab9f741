"""What a chapter claims, as data: a sentence, the numbers that show it, and a verdict computed from them.

The sentence stands here once, and the chapter's summary shows it with the verdict of the run at hand. A claim
that fails means that the world, a model, the code or the sentence is wrong. A sentence or bound that was
changed after its numbers were seen describes those runs and does not predict; the changelog names them.
"""

import html
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlhf_mini import __version__
from rlhf_mini.chapters import part
from rlhf_mini.devices import describe, thread_count
from rlhf_mini.evaluation.records import Record, read_records
from rlhf_mini.pipeline import STAGES, Pipeline
from rlhf_mini.reader.picture import Picture
from rlhf_mini.reader.style import css_colour

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """One claim: its short name, its sentence, how it is measured, and whether the numbers show it.

    Args:
        name: the row of the table that it belongs to.
        sentence: what must be seen, as the reader reads it.
        measure: from a pipeline (its profile, its seed) to numbers, plain or in flat lists.
        holds: from these numbers to the verdict.
        stages: the pipeline's stages that the claim is about; its record counts the time that they took.
        live: whether a chapter's summary measures the claim anew. An expensive one is judged by its records.
    """

    name: str
    sentence: str
    measure: Callable[[Pipeline], dict[str, Any]]
    holds: Callable[[Any], bool]
    stages: tuple[str, ...] = ()
    live: bool = True


def on_record(chapter: str, name: str, *, seed: int = 0) -> dict[str, Any]:
    """What a claim of a chapter measured on a seed of its records, at the quick profile.

    Raises ValueError if the records do not hold exactly one such row.
    """
    rows = read_records(f"chapter_{chapter}", experiment="claims", method=name, seed=seed, profile="quick")
    if len(rows) != 1:
        raise ValueError(
            f"chapter {chapter} has {len(rows)} records of {name!r} on seed {seed}; expected one"
        )
    return rows[0].metrics


def record_of(
    *, chapter: str, experiment: str, method: str, pipeline: Pipeline, seconds: float, metrics: Numbers
) -> Record:
    """A record of what was measured on a pipeline, with the machine it ran on."""
    plain = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in metrics.items()
    }
    return Record(
        chapter=chapter,
        experiment=experiment,
        method=method,
        seed=pipeline.seed,
        profile=pipeline.profile.name,
        device=describe(pipeline.device),
        threads=thread_count(),
        seconds=seconds,
        version=__version__,
        metrics=plain,
    )


def records_of(chapter: str, pipeline: Pipeline, tables: Mapping[tuple[str, str], Numbers]) -> list[Record]:
    """The rows of a chapter's tables as records: from (experiment, method) to what was measured."""
    return [
        record_of(
            chapter=chapter,
            experiment=experiment,
            method=method,
            pipeline=pipeline,
            seconds=0.0,
            metrics=numbers,
        )
        for (experiment, method), numbers in tables.items()
    ]


def measure(claim: Claim, pipeline: Pipeline, *, chapter: str, experiment: str = "claims") -> Record:
    """Run what a claim needs and make its record; the verdict is the metric `holds`.

    The record's seconds are those of the claim's own stages, when they were built, and of measuring.
    """
    missing = [stage for stage in STAGES if not pipeline.is_built(stage)]
    started = time.perf_counter()
    numbers = claim.measure(pipeline)
    seconds = time.perf_counter() - started
    seconds -= sum(pipeline.seconds(stage) for stage in missing if pipeline.is_built(stage))
    seconds += sum(pipeline.seconds(stage) for stage in claim.stages)
    record = record_of(
        chapter=chapter,
        experiment=experiment,
        method=claim.name,
        pipeline=pipeline,
        seconds=max(0.0, seconds),
        metrics=numbers,
    )
    record.metrics["holds"] = bool(claim.holds(numbers))
    return record


def describe_numbers(record: Record) -> str:
    """The record's plain numbers in one line, to three significant digits; without the verdict."""
    numbers = {
        name: float(value)
        for name, value in record.metrics.items()
        if isinstance(value, int | float) and name != "holds"
    }
    return "  ".join(
        f"{name} {value:.0f}" if abs(value) >= 999.5 else f"{name} {value:.3g}"
        for name, value in numbers.items()
    )


@dataclass(frozen=True)
class Verdict:
    """A claim, what this run measured (None if it was not), and the seeds on record of this profile."""

    claim: Claim
    numbers: Numbers | None
    records: tuple[Record, ...]

    @property
    def holds(self) -> bool:
        """Whether this run's numbers show the claim, or, if it measured none, all of its records do."""
        if self.numbers is not None:
            return bool(self.claim.holds(self.numbers))
        return 0 < self.seeds == self.seeds_held

    @property
    def seeds(self) -> int:
        """How many seeds the records hold."""
        return len({record.seed for record in self.records})

    @property
    def seeds_held(self) -> int:
        """On how many of them the claim held."""
        return sum(bool(record.metrics["holds"]) for record in self.records)


def judge(claims: Sequence[Claim], pipeline: Pipeline, records: Sequence[Record]) -> list[Verdict]:
    """Every live claim measured in this run, and the records of the same profile for all of them."""
    return [
        Verdict(
            claim,
            claim.measure(pipeline) if claim.live else None,
            tuple(r for r in records if r.method == claim.name and r.profile == pipeline.profile.name),
        )
        for claim in claims
    ]


def chapter_summary(chapter: str, pipeline: Pipeline) -> Picture:
    """A chapter's claims, each with this run's verdict and on how many seeds of the records it held.

    Raises:
        AssertionError: naming the claims that do not hold in this run or, if they are not live, on record.
    """
    room = part(chapter, "claims")
    try:
        records = read_records(f"chapter_{chapter}", experiment="claims")
    except FileNotFoundError:
        records = []  # none committed yet
    verdicts = judge(room.CLAIMS, pipeline, records)
    items, lines = [], []
    for verdict in verdicts:
        sign, role = ("✓", "data") if verdict.holds else ("✗", "loss")
        said = [f"here (seed {pipeline.seed})"] if verdict.numbers is not None else []
        said += [f"on record {verdict.seeds_held} of {verdict.seeds} seeds"] if verdict.seeds else []
        seen = f"{sign} {'; '.join(said) or 'not measured'}"
        items.append(
            f'<li style="--rm-role:{css_colour(role)}"><span>{html.escape(verdict.claim.sentence)}</span>'
            f"<b>{seen}</b></li>"
        )
        lines.append(f"- {verdict.claim.sentence} [{seen}]")
    failed = [verdict.claim.name for verdict in verdicts if not verdict.holds]
    if failed:
        raise AssertionError(f"this run does not show: {', '.join(failed)}\n" + "\n".join(lines))
    return Picture(f'<ul class="rm-claims">{"".join(items)}</ul>', "\n".join(lines))
