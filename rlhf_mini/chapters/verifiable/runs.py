"""Kept policies and what is said of them."""

from typing import Any

from rlhf_mini.chapters.verifiable import looks, training
from rlhf_mini.chapters.verifiable.starts import start_of
from rlhf_mini.pipeline import Pipeline


def outcome(pipeline: Pipeline, *, rehearsal: bool = False, **settings: Any) -> dict[str, Any]:
    """What is said of the policy of a kept training, and of its log."""
    policy = training.policy_of(pipeline, **settings)
    return {
        **looks.look(pipeline, policy, rehearsal=rehearsal),
        **looks.log_summary(training.log_of(pipeline, **settings)),
    }


def start_outcome(pipeline: Pipeline, *, start: str, rehearsal: bool = False) -> dict[str, Any]:
    """What is said of a start."""
    return looks.look(pipeline, start_of(pipeline, start), rehearsal=rehearsal)


def curves_of(pipeline: Pipeline, *, rehearsal: bool = False, **settings: Any) -> dict[str, Any]:
    """What more tries are worth to the policy of a kept training."""
    return looks.curves(pipeline, training.policy_of(pipeline, **settings), rehearsal=rehearsal)


def curves_of_start(pipeline: Pipeline, *, start: str, rehearsal: bool = False) -> dict[str, Any]:
    """What more tries are worth to a start."""
    return looks.curves(pipeline, start_of(pipeline, start), rehearsal=rehearsal)
