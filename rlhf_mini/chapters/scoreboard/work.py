"""What a run costs, counted: answers drawn, answers read, answers learned from, and labels.

Seconds by the clock say more about what else the machine did than about a method: one and the same PPO took between 126 and
1,374 of them. Counts are exact, the same on every machine, and become seconds by prices that are measured on one
(`measuring.prices`). An answer is one of the stories' usual length; reading is one pass of one model over it, learning one
pass forward and back of one model with its share of an optimizer's step. `counts` says how much of it each method does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from rlhf_mini.evaluation.intervals import Number


@dataclass(frozen=True, kw_only=True)
class Work:
    """Answers drawn, read and learned from; comparisons labelled by annotators and by a model that judges."""

    drawn: Number = 0
    read: Number = 0
    learned: Number = 0
    labels: Number = 0
    judge_labels: Number = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            **{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        )

    def times(self, factor: Number) -> "Work":
        """So many of it."""
        return Work(**{each.name: factor * getattr(self, each.name) for each in fields(self)})

    def seconds(self, prices: Mapping[str, float]) -> float:
        """The processor's seconds at these prices: `drawn`, `read`, `learned`."""
        return sum(float(prices[name] * getattr(self, name)) for name in ("drawn", "read", "learned"))
