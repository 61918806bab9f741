"""The chapter's judges and runs, a name each, in the order of its tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from rlhf_mini.chapters.rlaif import judge_quality, outcomes
from rlhf_mini.chapters.rlaif.judges import SIZES
from rlhf_mini.chapters.rlaif.self_rewarded import ROUNDS
from rlhf_mini.pipeline import Pipeline

SFT, RLHF = "SFT", "RLHF"
DISTILLED, DIRECT = "RLAIF, distilled", "RLAIF, direct"
HELPER, FIRST, SECOND = "helpful only", "CAI, first phase", "CAI, both phases"
OURS = "12,000 lessons"  # the chapter's own judge
THINKS, SILENT = "with thoughts", "without thoughts"
WORTH_ONE, WORTH_FOUR = "helpfulness, rubric worth 1", "helpfulness, rubric worth 4"
FEWER = {"3,000 lessons": 3000, "6,000 lessons": 6000}
SHARES = (0.0, 0.5, 1.0)  # of people's labels in the preference model


@dataclass(frozen=True)
class Run:
    """One policy: its group and name, and the settings that `outcomes.policy_of` takes."""

    group: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    def measured(self, pipeline: Pipeline, *, rehearsal: bool = False) -> dict[str, Any]:
        """What is said of the policy; trained and judged once, and kept."""
        looked = {"rehearsal": True} if rehearsal else {}
        return pipeline.measured(outcomes.outcome, **self.settings, **looked)

    def policy(self, pipeline: Pipeline) -> PreTrainedModel:
        """The policy, frozen; trained once, and kept."""
        return outcomes.policy_of(pipeline, **self.settings)


@dataclass(frozen=True)
class Taught:
    """One judge: its group and name, what measures it, and its settings."""

    group: str
    name: str
    measure: Callable[..., dict[str, Any]] = field(default_factory=lambda: judge_quality.quality)
    settings: dict[str, Any] = field(default_factory=dict)

    def measured(self, pipeline: Pipeline, *, rehearsal: bool = False) -> dict[str, Any]:
        """What is said of the judge; taught and judged once, and kept."""
        looked = {"rehearsal": True} if rehearsal else {}
        return pipeline.measured(self.measure, **self.settings, **looked)


def _run(group: str, name: str, kind: str, **settings: Any) -> Run:
    return Run(group, name, {"kind": kind, **settings})


def mix_name(share: float) -> str:
    """The name of the run of both phases whose preference model has this share of people's labels."""
    return SECOND if share == 0.5 else f"CAI, {share:.0%} people's labels"


JUDGES = (
    *(Taught("size", name, settings={"judge": {"size": name}}) for name in SIZES),
    *(Taught("lessons", name, settings={"judge": {"examples": count}}) for name, count in FEWER.items()),
    Taught("", OURS),
    Taught("thoughts", SILENT, settings={"judge": {"skill": "choosing by the constitution"}}),
    Taught("thoughts", THINKS, settings={"thoughts": True}),
)
RATERS = (Taught("", "rates", judge_quality.rating_quality),)
FEEDBACK = (
    _run("", SFT, "stage", stage="sft"),
    _run("", RLHF, "stage", stage="ppo"),
    _run("", DISTILLED, "distilled"),
    _run("labels", "one order", "distilled", both_orders=False),
    _run("judge", "a less taught judge", "distilled", judge={"examples": FEWER["6,000 lessons"]}),
    _run("", DIRECT, "direct"),
)
CONSTITUTIONAL = (
    _run("", HELPER, "helper"),
    _run("control", "no revision", "first phase", revisions=0),
    _run("revisions", "one revision", "first phase", revisions=1),
    _run("", FIRST, "first phase"),
    _run("control", "revisions alone", "first phase", with_kind=False),
    *(_run("people's labels", mix_name(share), "second phase", people_share=share) for share in SHARES),
    _run("thoughts", "CAI, thoughts", "second phase", thoughts=True),
    _run("thoughts", "CAI, thoughts, clamped", "second phase", thoughts=True, clamp=True),
)
RUBRICS = (
    _run("rubric", WORTH_ONE, "rubric", helpfulness_alone=True),
    _run("rubric", WORTH_FOUR, "rubric", helpfulness_alone=True, weight=4.0),
)
SELF_REWARDING = (
    _run("by itself", "answers and rates", "self-rewarding", judge="itself", after=0),
    *(
        _run(group, f"{name} {number}", "self-rewarding", judge=judge, after=number)
        for group, name, judge in (
            ("by itself", "round", "itself"),
            ("by the start", "control, round", "the start"),
        )
        for number in range(1, ROUNDS + 1)
    ),
)
SYNTHESIS = (
    _run("", "taught by people", "taught by people"),
    _run("self-synthesis", "writer of dialogues", "writer"),
    _run("self-synthesis", "its dialogues", "student", last_filter="none"),
    _run("self-synthesis", "whole stories", "student", last_filter="ended"),
    _run("self-synthesis", "rated best", "student", last_filter="rated"),
)
ALL = (*FEEDBACK, *CONSTITUTIONAL, *RUBRICS, *SELF_REWARDING, *SYNTHESIS)
EXPERIMENTS: Mapping[str, tuple[Run, ...]] = {
    "feedback": FEEDBACK,
    "constitution": CONSTITUTIONAL,
    "rubric": RUBRICS,
    "self-rewarding": SELF_REWARDING,
    "self-synthesis": SYNTHESIS,
}
# Who meets whom: the paper's comparisons, and direct against distilled.
MATCHES = (
    (DISTILLED, SFT),
    (DIRECT, SFT),
    (RLHF, SFT),
    (DISTILLED, RLHF),
    (DIRECT, RLHF),
    (DIRECT, DISTILLED),
)


def run(name: str) -> Run:
    """The policy of this name. Raises ValueError on an unknown name."""
    return _named(name, ALL)


def judge(name: str) -> Taught:
    """The judge of this name. Raises ValueError on an unknown name."""
    return _named(name, (*JUDGES, *RATERS))


def _named(name: str, among: tuple[Any, ...]) -> Any:
    for one in among:
        if one.name == name:
            return one
    raise ValueError(f"nothing is called {name!r}; there are {[one.name for one in among]}")
