"""The chapter's runs, a name each, in the order of its tables: which method, with which numbers.

All draw as many answers, and all start from the SFT model. What is tried before a number below is settled, is tried on
seed 0 and judged by requests that no table is made of, `rehearsal=True`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from rlhf_mini.chapters.filtering import runs
from rlhf_mini.pipeline import Pipeline

RATE, DECAY = 5e-4, 0.5
THRESHOLDS = (0.75, 0.85, 0.95)
GROWS = 3
OURS, BY_PROMPT = "ReST", "ReST, by prompt"


@dataclass(frozen=True)
class Run:
    """One row: its group and name, and the settings that `runs.outcome` takes."""

    group: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    def measured(self, pipeline: Pipeline, *, rehearsal: bool = False) -> dict[str, float]:
        """What is said of the run's policy; trained once, judged once on either requests, and kept."""
        measure: Callable[..., dict[str, float]] = (
            runs.stage_outcome if "stage" in self.settings else runs.outcome
        )
        other = {"rehearsal": True} if rehearsal else {}
        return pipeline.measured(measure, **other, **self.settings)

    def policy(self, pipeline: Pipeline) -> PreTrainedModel:
        """The run's policy, frozen; trained once, and kept."""
        stage = self.settings.get("stage")
        return pipeline.policy(stage) if stage else runs.policy_of(pipeline, **self.settings)

    def seen(self, pipeline: Pipeline) -> list[dict[str, float]]:
        """What its log and a look said after each round; of a run that looked."""
        log = runs.log_of(pipeline, **self.settings)
        return [{**entry, **look} for entry, look in zip(log["rounds"], log["seen"], strict=True)]


def _rest(group: str, name: str, **changes: Any) -> Run:
    settings = {
        "method": "ReST",
        "grows": GROWS,
        "thresholds": list(THRESHOLDS),
        "rate": RATE,
        "decay": DECAY,
        "looked": True,
    }
    return Run(group, name, {**settings, **changes})


def _other(group: str, name: str, method: str, **numbers: Any) -> Run:
    return Run(group, name, {"method": method, **numbers})


STAGES = (Run("", "SFT", {"stage": "sft"}), Run("", "PPO", {"stage": "ppo"}))
REST = (
    _rest("", OURS),
    _rest("Grows", "two Grows", grows=2, looked=False),
    _rest("Grows", "one Grow", grows=1, looked=False),
    _rest("Improves", "the highest threshold alone", thresholds=list(THRESHOLDS[-1:]), looked=False),
    _rest("Improves", "the lowest threshold alone", thresholds=list(THRESHOLDS[:1]), looked=False),
    _rest("Improves", "no decay", decay=1.0, looked=False),
    _rest("Improves", "stops itself", stops=True, looked=False),
)
PROMPTS = (_rest("prompts", BY_PROMPT, thresholds=[0.5, 0.6, 0.7], by_prompt=True, looked=False),)
ONCE = (
    _rest("once", "filtered once", grows=1, thresholds=[0.75], epochs=3, decay=1.0, looked=False),
    _other("once", "best of 4, once", "RAFT", iterations=1, samples=4, rate=5e-4, epochs=2),
    _other("once", "all answers", "weighted", kl_weight=None, largest=1.0, rate=5e-4),
    _other("once", "weighted by advantage", "weighted", kl_weight=0.5, largest=20.0, rate=5e-4),
    _other("once", "RRHF, weight 1", "RRHF", ranking_weight=1.0, rate=5e-4),
    _other("once", "RRHF, weight 100", "RRHF", ranking_weight=100.0, per_token=True, rate=1e-4),
    _other("once", "SLiC", "SLiC", margin=1.0, target_weight=0.5, rate=1e-3),
)
ROUNDS = (
    _other("rounds", "RAFT", "RAFT", iterations=10, samples=4, rate=2e-4, looked=True),
    _other("rounds", "RAFT, too fast", "RAFT", iterations=10, samples=4, rate=5e-4, looked=True),
)
CONTROLS = (_rest("control", "learning rate × 1.001", rate=1.001 * RATE, looked=False),)
ALL = (*STAGES, *REST, *PROMPTS, *ROUNDS, *ONCE, *CONTROLS)
LOOKED = (OURS, "RAFT", "RAFT, too fast")  # whose rounds are shown


def run(name: str) -> Run:
    """The run of this name.

    Raises:
        ValueError: on an unknown name.
    """
    for one in ALL:
        if one.name == name:
            return one
    raise ValueError(f"no run is called {name!r}; there are {[one.name for one in ALL]}")
