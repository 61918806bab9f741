"""The chapter's runs, a name each, in the order of its tables: sums and stories, and which script and terms.

Sizes and learning rates were chosen on seeds 0 to 2, on sums, and on seed 0, on stories, by problems and requests that no
table is made of. The numbers of the terms are the released program's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlhf_mini.chapters.hindsight import arithmetic, story_measures, sum_runs
from rlhf_mini.pipeline import Pipeline

OURS, FILTERED = "relabelled", "filtered"
MORE_STEPS = "filtered, more epochs"  # to see how much of a lead is the number of steps
EVERY_STEP = "filtered, every step"  # the filter that keeps no answer that is right by accident
CONTRAST = {"contrast_weight": 1.0}  # as in the released program, and so the next two
ENTROPY = {"entropy_weight": 0.001}
SMOOTHED = {"label_smoothing": 0.2}
PUBLISHED = {**CONTRAST, **ENTROPY, **SMOOTHED}


@dataclass(frozen=True)
class Run:
    """One row: its group and name, what measures it, and with which settings."""

    group: str
    name: str
    measure: Callable[..., dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """What is said of the run; trained and judged once, and kept."""
        return pipeline.measured(self.measure, **self.settings)


def _sum(group: str, name: str, **settings: Any) -> Run:
    return Run(group, name, sum_runs.relabelled, settings)


def _story(group: str, name: str, **settings: Any) -> Run:
    return Run(group, name, story_measures.outcome, settings)


_OFTEN: dict[str, Any] = {"start": arithmetic.OFTEN}
_HALF = {**_OFTEN, "rounds": sum_runs.ROUNDS // 2}  # of the rounds: success comes sooner
SUMS = (
    Run("start", "start", sum_runs.untrained),
    _sum("", FILTERED, script="right only"),
    _sum("control", MORE_STEPS, script="right only", epochs=3 * sum_runs.EPOCHS),
    _sum("control", EVERY_STEP, script="right throughout"),
    _sum("control", "no relabelling", script="no script"),
    _sum("verdict", "relabelled verdict", script="verdict"),
    _sum("problem", OURS, script="problem"),
    _sum("steps", "relabelled steps", script="right steps"),
    Run("", "PPO", sum_runs.by_ppo, {"kl_weight": 0.01}),
    _sum("terms", "with contrast", script="problem", terms=CONTRAST),
    _sum("terms", "with entropy", script="problem", terms=ENTROPY),
    _sum("terms", "with ε = 0.2", script="problem", terms=SMOOTHED),
)
OFTEN_SUMS = (
    Run("start", "start", sum_runs.untrained, _OFTEN),
    _sum("", FILTERED, script="right only", **_HALF),
    _sum("control", EVERY_STEP, script="right throughout", **_HALF),
    _sum("problem", OURS, script="problem", **_HALF),
    _sum("verdict", "relabelled verdict", script="verdict", **_HALF),
    _sum("terms", "verdict with contrast", script="verdict", terms=CONTRAST, **_HALF),
    _sum("terms", "verdict, as published", script="verdict", terms=PUBLISHED, **_HALF),
    Run("", "PPO", sum_runs.by_ppo, {"kl_weight": 0.01, **_HALF}),
)
STORIES = (
    Run("", "SFT", story_measures.stage_outcome, {"stage": "sft"}),
    Run("", "PPO", story_measures.stage_outcome, {"stage": "ppo"}),
    _story("request", FILTERED, script="request, as asked only"),
    _story("control", MORE_STEPS, script="request, as asked only", epochs=3),
    _story("request", OURS, script="request"),
    _story("control", "relabelled, more epochs", script="request", epochs=2),
    _story("control", "no relabelling", script="no script"),
    _story("terms", "with contrast", script="request", terms=CONTRAST),
    _story("terms", "with a four-way contrast", script="request", contrast="four-way", terms=CONTRAST),
    _story("terms", "with entropy", script="request", terms=ENTROPY),
    _story("terms", "with ε = 0.2", script="request", terms=SMOOTHED),
    _story("verdict", "relabelled verdict", script="verdict"),
    Run("verdict", "asked for a poor one", story_measures.asked_for_poor, {"script": "verdict"}),
    Run("script as reward", "PPO, script", story_measures.ppo_outcome, {"kl_weight": 0.05}),
)
EXPERIMENTS: Mapping[str, tuple[Run, ...]] = {
    "sums": SUMS,
    "sums, often right": OFTEN_SUMS,
    "stories": STORIES,
}


def run(name: str, *, among: tuple[Run, ...] = STORIES) -> Run:
    """The run of this name.

    Raises:
        ValueError: on an unknown name.
    """
    for one in among:
        if one.name == name:
            return one
    raise ValueError(f"no run is called {name!r}; there are {[one.name for one in among]}")
