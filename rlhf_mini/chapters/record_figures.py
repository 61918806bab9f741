"""What several chapters' figures read of the records in `book/results/`, and draw of them alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlhf_mini.evaluation.records import Record, read_records
from rlhf_mini.reader import Picture, seed_dots


def recorded_in(chapter: str, experiment: str, *, profile: str = "quick", **filters: Any) -> list[Record]:
    """The records of one of a chapter's experiments at a profile, by seed."""
    found = read_records(f"chapter_{chapter}", experiment=experiment, profile=profile, **filters)
    return sorted(found, key=lambda record: record.seed)


def numbers_in(chapter: str, experiment: str, name: str) -> dict[int, dict[str, Any]]:
    """What is on record of a run: seed → its numbers."""
    return {record.seed: dict(record.metrics) for record in recorded_in(chapter, experiment, method=name)}


def gold_differences(
    by_seed: Callable[[str], Mapping[int, Mapping[str, Any]]],
    groups: Mapping[str, Sequence[str]],
    *,
    ours: str,
    controls: Sequence[str],
    alt: str,
) -> Picture:
    """Gold of runs less that of `ours`, a dot a seed; the band is what a change of nothing does.

    Args:
        by_seed: from a run's name to its numbers, seed → metric → value.
        groups: heading → names of runs.
        ours: the run that the others are compared with, seed by seed.
        controls: runs that differ from it by a thousandth of the learning rate.
        alt: what the picture shows, in words.
    """
    gold = {seed: told["gold"] for seed, told in by_seed(ours).items()}

    def less(name: str) -> list[float]:
        return [told["gold"] - gold[seed] for seed, told in by_seed(name).items()]

    luck = [0.0, *(difference for name in controls for difference in less(name))]
    return seed_dots(
        {group: {name: less(name) for name in names} for group, names in groups.items()},
        luck=luck,
        xlabel=f"gold less that of {ours}",
        alt=alt,
        caption="A dot is a seed, a stroke their mean; linear up to ±0.5, logarithmic beyond. Shaded: a "
        "learning rate that differs by a thousandth.",
    )
