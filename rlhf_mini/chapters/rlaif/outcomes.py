"""What is said of a policy: gold and KL on held-out requests, what it declines, and which of two policies wins.

Every policy is asked the same requests with the same random numbers. KL is to the SFT model, whatever a run started from.
Harmlessness is seen on red-team requests, plain and wrapped; evasiveness on kind requests that are declined.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.rlaif import (
    feedback_runs,
    phase_one,
    phase_two,
    rubric_runs,
    self_rewarded,
    synthesis,
)
from rlhf_mini.evaluation.intervals import bootstrap_interval
from rlhf_mini.evaluation.policy import Judged, judge_policy
from rlhf_mini.evaluation.win_rate import win_rate
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.red_team import draw_red_team

JUDGED = 2  # times the profile's number of held-out requests
TIE = 1e-9  # gold that differs by no more is the same, added up in another order
# What trains the policy of a run, by the name of its kind; it is kept in the folder itself.
KINDS: Mapping[str, Callable[..., None]] = {
    "distilled": feedback_runs.distilled,
    "direct": feedback_runs.direct,
    "first phase": phase_one.fine_tuned,
    "second phase": phase_two.trained,
    "rubric": rubric_runs.trained,
    "writer": synthesis.writer,
    "student": synthesis.student,
    "taught by people": synthesis.taught_by_people,
}


def policy_of(pipeline: Pipeline, *, kind: str, **run: Any) -> PreTrainedModel:
    """The policy of a run, frozen. `kind`: one of `KINDS`, or "stage", "helper", or "self-rewarding".

    Raises ValueError for another kind.
    """
    others: Mapping[str, Callable[..., PreTrainedModel]] = {
        "stage": lambda pipeline, *, stage: pipeline.policy(stage),
        "helper": phase_one.helper,
        "self-rewarding": self_rewarded.policy_of,
    }
    if kind in others:
        return others[kind](pipeline, **run)
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose one of {', '.join([*KINDS, *others])}")
    folder = pipeline.kept(KINDS[kind], **run)
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)


# ----------------------------------------------------------------------------------------------- one policy


@dataclass(frozen=True)
class Asked:
    """The held-out requests that policies are judged on: as readers ask, and red-team ones, plain and wrapped."""

    general: list[stories.Request]
    red_team: list[stories.Request]
    wrapped: list[stories.Request]


def requests(pipeline: Pipeline, *, rehearsal: bool = False) -> Asked:
    """The requests of the tables; for `rehearsal` as many others, none of them the same, to choose settings."""
    count, seed = pipeline.profile.test_prompts, pipeline.seed_for("chapter 10 requests")

    def half(drawn: list[stories.Request]) -> list[stories.Request]:
        return drawn[len(drawn) // 2 :] if rehearsal else drawn[: len(drawn) // 2]

    return Asked(
        general=half(stories.draw_requests(2 * JUDGED * count, seed=seed, held_out=True)),
        red_team=half(draw_red_team(2 * count, seed=seed, held_out=True)),
        wrapped=half(draw_red_team(2 * count, seed=seed, held_out=True, wrapped=True)),
    )


def judged(pipeline: Pipeline, policy: PreTrainedModel, asked: list[stories.Request]) -> Judged:
    """One answer (temperature 1) to each request, with gold, what RLHF's reward model thinks, and KL to the SFT model."""
    reward_model = pipeline.reward_model()
    return judge_policy(
        policy,
        pipeline.tokenizer(),
        asked,
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 10 judge"),
        reference=pipeline.policy("sft"),
        score=lambda sequences: scores(reward_model, sequences),
    )


def declines(verdict: Judged) -> dict[str, float]:
    """Shares of unkind requests that are politely declined or told with an unkind deed, and of kind ones declined at all.

    Of no such requests the share is 0.
    """
    rows = zip(verdict.requests, verdict.answers, strict=True)
    read = [(request.unkind is not None, stories.read_story(text)) for request, text in rows]
    return {
        "unkind_declined": _share([one.polite for asked, one in read if asked]),
        "unkind_told": _share([one.unkind for asked, one in read if asked]),
        "kind_declined": _share([one.declined for asked, one in read if not asked]),
    }


def _share(found: list[bool]) -> float:
    return sum(found) / max(1, len(found))


def said_of(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False) -> dict[str, Any]:
    """The judge's numbers and `declines`; the declines of red-team requests, as `red_team_…` and `wrapped_…`; and `golds`
    and `safe_golds`, a number a request, of all and of the kind ones, to compare policies by.
    """
    asked = requests(pipeline, rehearsal=rehearsal)
    verdict = judged(pipeline, policy, asked.general)
    told: dict[str, Any] = {**verdict.metrics(), **declines(verdict)}
    for name, attacks in (("red_team", asked.red_team), ("wrapped", asked.wrapped)):
        answered = declines(judged(pipeline, policy, attacks))
        told |= {f"{name}_declined": answered["unkind_declined"], f"{name}_told": answered["unkind_told"]}
    told["golds"] = [one.total for one in verdict.golds]
    told["safe_golds"] = [
        one.total
        for request, one in zip(verdict.requests, verdict.golds, strict=True)
        if request.unkind is None
    ]
    return told


def outcome(pipeline: Pipeline, *, rehearsal: bool = False, **run: Any) -> dict[str, Any]:
    """`said_of` the policy of a run."""
    return said_of(pipeline, policy_of(pipeline, **run), rehearsal=rehearsal)


# ---------------------------------------------------------------------------------------------- two policies


def head_to_head(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """How often the first policy's answer has more gold than the second's to the same request, ties counting half.

    `ours`, `theirs`: what `said_of` told. `win_rate`, with Wilson's interval from `low` to `high`, and `ties`, a share.
    And by how much gold the first is ahead on average, `lead`, with the bootstrap interval of the differences request by
    request, from `lead_low` to `lead_high`. Intervals are over requests: of other seeds they know nothing.
    """
    found = win_rate(ours["golds"], theirs["golds"], tie_margin=TIE)
    lead = bootstrap_interval(
        [one - other for one, other in zip(ours["golds"], theirs["golds"], strict=True)]
    )
    return {
        "win_rate": found.rate.mean,
        "low": found.rate.low,
        "high": found.rate.high,
        "ties": found.ties / len(ours["golds"]),
        "lead": lead.mean,
        "lead_low": lead.low,
        "lead_high": lead.high,
    }
