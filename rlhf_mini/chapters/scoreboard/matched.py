"""Methods compared where they cost the same: at one distance from the SFT model, and after the same seconds.

A method is known where it was run: at its own setting, at other values of its dial, and at smaller budgets. Between two of
these points it is interpolated, and beyond them nothing is claimed: what is not known is None. Each seed is interpolated by
itself, and a mean over seeds is taken only of seeds that are known.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from rlhf_mini.chapters.scoreboard.board import ANCHOR, Board, Point
from rlhf_mini.evaluation.intervals import Interval, student_interval


def at_kl(points: Sequence[Point], kl: float, *, start: float) -> float | None:
    """Gold at this KL, in nats, linear in √KL between the nearest points on either side.

    - `start`: the gold of the SFT model, which every method has at KL 0. It is a point only beside others: from a single
      point nothing is interpolated, because nothing was run between.

    Raises ValueError for a KL that is not above 0.
    """
    if not 0 < kl < math.inf:
        raise ValueError(f"kl must be above 0 and finite, got {kl}")
    known = [(math.sqrt(max(0.0, point.kl)), point.gold) for point in points if point.kl is not None]
    if len(known) < 2:
        return None
    return _between(sorted([(0.0, start), *known]), math.sqrt(kl))


def after_seconds(points: Sequence[Point], seconds: float) -> float | None:
    """Gold after so many of the processor's seconds in all: linear between two runs, and of the longest run ever after.

    Before the shortest run it is None. Raises ValueError for seconds that are not above 0.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be above 0 and finite, got {seconds}")
    known = sorted((point.seconds, point.gold) for point in points if point.seconds is not None)
    if not known or seconds < known[0][0]:
        return None
    return known[-1][1] if seconds >= known[-1][0] else _between(known, seconds)


def _between(known: Sequence[tuple[float, float]], x: float) -> float | None:
    """The broken line through points sorted by x; None outside them. Of several points at one x it takes their mean."""
    exact = [y for place, y in known if place == x]
    if exact:
        return sum(exact) / len(exact)
    for (left, low), (right, high) in pairwise(known):
        if left < x < right:
            return low + (high - low) * (x - left) / (right - left)
    return None


def matched_kl(board: Board, name: str, kl: float) -> Interval | None:
    """Gold of a method at this KL over seeds; None where no seed is known. Of one seed it is a point."""
    start = {record.seed: float(record.metrics["gold"]) for record in board.records(ANCHOR)}
    return _over_seeds(
        board, name, lambda seed, points: at_kl(points, kl, start=start[seed]) if seed in start else None
    )


def matched_seconds(board: Board, name: str, seconds: float) -> Interval | None:
    """Gold of a method after so many seconds in all, over seeds; only its own setting and its budgets count, not its dial's."""

    def found(seed: int, points: Sequence[Point]) -> float | None:
        dials = {row for row, records in board.dials.items() if records[0].metrics["method"] == name}
        return after_seconds([point for point in points if point.label not in dials], seconds)

    return _over_seeds(board, name, found)


def _over_seeds(
    board: Board, name: str, find: Callable[[int, Sequence[Point]], float | None]
) -> Interval | None:
    values = [find(seed, board.points(name, seed)) for seed in board.seeds(name)]
    known = [value for value in values if value is not None]
    if len(known) > 1:
        return student_interval(known)
    return Interval(mean=known[0], low=known[0], high=known[0], confidence=0.95, count=1) if known else None
