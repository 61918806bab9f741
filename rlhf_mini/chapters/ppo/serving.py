"""A policy asked at another temperature than the one at which it was trained."""

from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.chapters.ppo.runs import cooled
from rlhf_mini.pipeline import Pipeline


def served(pipeline: Pipeline, *, stage: str, temperature: float) -> dict[str, float]:
    """The judge's numbers for a stage's policy, at this temperature."""
    return judged_on_requests(pipeline, cooled(pipeline.policy(stage), temperature=temperature)).metrics()
