"""The chapter's runs, a name each, in the order of its tables: which start, which reward, which method.

All draw as many answers. What is tried before a number below is settled, is tried on seed 0 and judged by problems that
no table is made of, `rehearsal=True`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from rlhf_mini.chapters.verifiable import runs, training
from rlhf_mini.chapters.verifiable.choices import IN_REWARD, METHODS, NO_BOUND, PREFERENCE
from rlhf_mini.chapters.verifiable.starts import EITHER, READER, SPARSE, start_of
from rlhf_mini.pipeline import Pipeline

OURS = "GRPO"  # on-policy, from the start that is right half of the time, paid for right answers
REUSED = {"epochs": 2, "minibatch": 32}  # eight steps on every draw
TWICE_REUSED = {"epochs": 4, "minibatch": 32}  # sixteen
KL_WEIGHT = 0.3
LATE = "from answers alone, 160 iterations"

# The names in `choices.REWARDS` of the two rewards of each of `GAPS`: with the gap, and closed.
GAP_REWARDS = {
    "steps unchecked": ("answer right", "all right"),
    "listing": ("answer mentioned", "answer right"),
    "padding": ("steps counted", "steps right"),
}


@dataclass(frozen=True)
class Run:
    """One row: its group and name, and what it changes of `training.USUAL`; of a start, which one it is."""

    group: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    untrained: bool = False

    def measured(self, pipeline: Pipeline, *, rehearsal: bool = False) -> dict[str, Any]:
        """What is said of the run's policy; trained once, judged once on either problems, and kept."""
        other = {"rehearsal": True} if rehearsal else {}
        told = runs.start_outcome if self.untrained else runs.outcome
        return pipeline.measured(told, **self.settings, **other)

    def curves(self, pipeline: Pipeline, *, rehearsal: bool = False) -> dict[str, Any]:
        """What more tries are worth to it; measured once, and kept."""
        other = {"rehearsal": True} if rehearsal else {}
        told = runs.curves_of_start if self.untrained else runs.curves_of
        return pipeline.measured(told, **self.settings, **other)

    def policy(self, pipeline: Pipeline) -> PreTrainedModel:
        """The model that the row is about, frozen."""
        if self.untrained:
            return start_of(pipeline, self.settings["start"])
        return training.policy_of(pipeline, **self.settings)

    def log(self, pipeline: Pipeline) -> list[dict[str, float]]:
        """What its training logged, an entry an iteration; of a run that trains."""
        return training.log_of(pipeline, **self.settings)


def start_name(start: str) -> str:
    """What the row of a start is called."""
    return f"start: {start}"


def _start(group: str, start: str) -> Run:
    return Run(group, start_name(start), {"start": start}, untrained=True)


def from_name(start: str) -> str:
    """What the usual run from another start is called."""
    return f"from {start}"


def reused_name(method: str) -> str:
    """What the run of a method with several steps on every draw is called."""
    return f"{method}, reused"


def twice_reused_name(name: str) -> str:
    """What a run with sixteen steps on every draw is called, by the name of the one with eight."""
    return f"{name}, twice"


def group_size_name(samples: int) -> str:
    """What the run with so many answers to a prompt is called."""
    return OURS if samples == 8 else f"G = {samples}"


def gap_name(gap: str, side: str) -> str:
    """What the run on one side of a gap, "open" or "closed", is called; with the steps unchecked it is ours."""
    return OURS if (gap, side) == ("steps unchecked", "open") else f"{gap}: {side}"


def _method(name: str) -> dict[str, Any]:
    return {} if name == OURS else {"method": name}


SIZES = (2, 4, 8, 16, 32)
GRADUAL = ("a seventh of the reading", "half the reading", READER)
THINKING = ("answers alone", SPARSE)
STAGE_ONE = {"start": EITHER}
HELD = "both from the first, KL paid"
PRICED = {"kl_weight": 0.05, "changes": {"kl": IN_REWARD}}
MIXED = {"answer right": 1.0, PREFERENCE: 0.25}

METHOD_RUNS = (
    _start("methods", READER),
    *(Run("methods", name, _method(name)) for name in METHODS),
    *(Run("methods, reused", reused_name(name), {**_method(name), **REUSED}) for name in METHODS),
)
KL_RUNS = tuple(
    Run("KL", f"KL {place}", {"kl_weight": KL_WEIGHT, "changes": {"kl": kl}, **REUSED})
    for place, kl in (
        ("k1 in the loss", "k1"),
        ("k2 in the loss", "k2"),
        ("k3 in the loss", "k3"),
        (IN_REWARD, IN_REWARD),
    )
)
NEVER = "clip never"
CLIP_RUNS = (
    *(
        Run("clip", f"clip {name}", {"changes": {"clip": list(clip)}, **REUSED})
        for name, clip in (
            ("0.2 and 0.28", (0.2, 0.28)),
            ("0.2 and 1", (0.2, 1.0)),
            ("0.05 and 0.05", (0.05, 0.05)),
            ("never", (1.0, NO_BOUND)),
        )
    ),
    Run("clip", twice_reused_name(reused_name(OURS)), TWICE_REUSED),
    Run("clip", twice_reused_name(NEVER), {"changes": {"clip": [1.0, NO_BOUND]}, **TWICE_REUSED}),
)
AVERAGE_RUNS = tuple(
    Run("average", f"average over {average}", {"start": SPARSE, "changes": {"average": average}})
    for average in ("all tokens", "one length")
)
START_RUNS = (
    *(_start("start", start) for start in GRADUAL[:-1]),
    *(Run("start", from_name(start), {"start": start}) for start in GRADUAL[:-1]),
)
THINKING_RUNS = (
    *(_start("steps", start) for start in THINKING),
    *(Run("steps", from_name(start), {"start": start}) for start in THINKING),
    Run("steps", LATE, {"start": "answers alone", "iterations": 160}),
)
FORMAT_RUNS = (
    Run("format", "with a format reward", {"start": SPARSE, "reward": {"answer right": 1.0, "in form": 0.2}}),
    Run("format", "a format reward alone", {"start": SPARSE, "reward": {"in form": 1.0}}),
)
LONGER = {"listing": {"iterations": 100}}  # what takes longer to be found
GAP_RUNS = tuple(
    Run("gaps", gap_name(gap, side), {"reward": {reward: 1.0}, **LONGER.get(gap, {})})
    for gap, rewards in GAP_REWARDS.items()
    for side, reward in zip(("open", "closed"), rewards, strict=True)
    if gap_name(gap, side) != OURS
)
STAGE_RUNS = (
    _start("stages", EITHER),
    Run("stages", "first stage", STAGE_ONE),
    Run("stages", "then preference alone", {"start": STAGE_ONE, "reward": {PREFERENCE: 1.0}}),
    Run("stages", "then both", {"start": STAGE_ONE, "reward": MIXED}),
    Run("stages", "both from the first", {"start": EITHER, "reward": MIXED, "iterations": 80}),
    Run("stages", HELD, {"start": EITHER, "reward": MIXED, "iterations": 80, **PRICED}),
)
SIZE_RUNS = (
    *(Run("group size", group_size_name(size), {"samples": size}) for size in SIZES if size != 8),
    Run("redraws", "redrawn", {"redraws": 3}),
)
ALL = (
    *METHOD_RUNS, *KL_RUNS, *CLIP_RUNS, *AVERAGE_RUNS, *START_RUNS, *THINKING_RUNS, *FORMAT_RUNS, *GAP_RUNS,
    *STAGE_RUNS, *SIZE_RUNS,
)  # fmt: skip
# Whose tries are counted, with what its curves are called and their role; the start first.
TRIED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    READER: {
        start_name(READER): ("start", "reference"),
        OURS: ("GRPO", "policy"),
        reused_name(OURS): ("GRPO,\nreused", "data"),
    },
    SPARSE: {start_name(SPARSE): ("start", "reference"), from_name(SPARSE): ("GRPO", "policy")},
}
CURVES = tuple(name for names in TRIED.values() for name in names)


def run(name: str) -> Run:
    """The run of this name. Raises ValueError on an unknown name."""
    for one in ALL:
        if one.name == name:
            return one
    raise ValueError(f"no run is called {name!r}; there are {[one.name for one in ALL]}")
