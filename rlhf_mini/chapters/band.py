"""Whether a run is where good runs of other seeds were: a rung of the ladder for chapters with records."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_mini.evaluation.intervals import student_interval
from rlhf_mini.evaluation.records import read_records


def in_the_band(
    here: Mapping[str, Any],
    metrics: Sequence[str],
    *,
    chapter: str,
    experiment: str,
    method: str,
    profile: str,
) -> tuple[bool, str]:
    """Whether every metric of one run lies where one more seed would fall 19 times in 20, and what was seen.

    The band is Student's interval of a single further value, by the seeds on record: wider than that of the
    mean by the square root of n + 1. With fewer than two seeds there is no band, and the rung holds.
    """
    try:
        records = read_records(f"chapter_{chapter}", experiment=experiment, method=method, profile=profile)
    except (ValueError, FileNotFoundError):
        records = []
    if len(records) < 2:
        told = "; ".join(f"{metric} {here[metric]:.2f}" for metric in metrics)
        return True, f"{told}; no seeds of the profile {profile} on record".replace("-", "−")
    held, seen = True, []
    for metric in metrics:
        interval = student_interval([record.metrics[metric] for record in records])
        width = interval.half_width * math.sqrt(len(records) + 1)
        low, high = interval.mean - width, interval.mean + width
        held = held and low <= here[metric] <= high
        seen.append(f"{metric} {here[metric]:.2f} in {low:.2f} to {high:.2f}")
    return held, f"{'; '.join(seen)} ({len(records)} seeds)".replace("-", "−")
