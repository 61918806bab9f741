"""The chapter's runs, a name each, in the order of its tables: sums and stories, and which script and terms.

Learning rates and the numbers of the terms were chosen on seed 0, by requests and problems that no table is made of.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rlhf_mini.chapters.hindsight import story_measures, sum_runs
from rlhf_mini.pipeline import Pipeline

OURS, FILTERED = "HIR", "filtered"
MORE_STEPS = "filtered, more epochs"  # about as many steps as HIR, which has more rows, makes
TERMS = {"contrast_weight": 1.0, "entropy_weight": 0.001, "label_smoothing": 0.0}
PUBLISHED_SMOOTHING = 0.2


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


def _terms(**changed: float) -> dict[str, float]:
    return {**TERMS, **changed}


def _sum(group: str, name: str, **settings: Any) -> Run:
    return Run(group, name, sum_runs.relabelled, settings)


def _story(group: str, name: str, **settings: Any) -> Run:
    return Run(group, name, story_measures.outcome, settings)


SUMS = (
    Run("", "start", sum_runs.untrained),
    _sum("", FILTERED, relabel="only right"),
    _sum("", OURS, relabel="whole", terms=TERMS),
    _sum("control", "no relabelling", relabel="as asked"),
    _sum("control", MORE_STEPS, relabel="only right", epochs=5),
    Run("", "PPO", sum_runs.by_ppo, {"kl_weight": 0.01}),
    _sum("without", "no contrast", relabel="whole", terms=_terms(contrast_weight=0.0)),
    _sum("without", "no entropy", relabel="whole", terms=_terms(entropy_weight=0.0)),
    _sum("smoothing", "ε = 0.02", relabel="whole", terms=_terms(label_smoothing=0.02)),
    _sum("smoothing", "ε = 0.2", relabel="whole", terms=_terms(label_smoothing=PUBLISHED_SMOOTHING)),
    _sum("parts", "HIR with steps", relabel="parts", terms=TERMS),
)
STORIES = (
    Run("", "SFT", story_measures.stage_outcome, {"stage": "sft"}),
    Run("", "PPO", story_measures.stage_outcome, {"stage": "ppo"}),
    _story("request", FILTERED, script="request, as asked only"),
    _story("control", MORE_STEPS, script="request, as asked only", epochs=3),
    _story("request", OURS, script="request", terms=TERMS),
    _story("request", "no contrast", script="request", terms=_terms(contrast_weight=0.0)),
    _story("request", "four-way contrast", script="request", contrast="four-way", terms=TERMS),
    _story("request", "no entropy", script="request", terms=_terms(entropy_weight=0.0)),
    _story("request", "ε = 0.2", script="request", terms=_terms(label_smoothing=PUBLISHED_SMOOTHING)),
    _story("request", "no relabelling", script="no script"),
    _story("verdict", "HIR by verdict", script="verdict", terms=TERMS),
    Run(
        "verdict",
        "asked for a poor one",
        story_measures.asked_for_poor,
        {"script": "verdict", "terms": TERMS},
    ),
    Run("script as reward", "PPO, script", story_measures.ppo_outcome, {"kl_weight": 0.05}),
)


def run(name: str, *, among: tuple[Run, ...] = STORIES) -> Run:
    """The run of this name.

    Raises:
        ValueError: on an unknown name.
    """
    for one in among:
        if one.name == name:
            return one
    raise ValueError(f"no run is called {name!r}; there are {[one.name for one in among]}")
