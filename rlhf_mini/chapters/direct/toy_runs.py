"""The toy language's longer experiments as a pipeline keeps them: its seed draws the language."""

from typing import Any

from rlhf_mini.chapters.direct import toy, toy_data, toy_noise
from rlhf_mini.pipeline import Pipeline


def exact_dpo(pipeline: Pipeline, *, kl_weight: float) -> dict[str, Any]:
    """`toy.exact_dpo`: DPO on exact preferences."""
    return toy.exact_dpo(seed=pipeline.seed, kl_weight=kl_weight)


def two_steps(pipeline: Pipeline, *, kl_weight: float) -> dict[str, Any]:
    """`toy.two_steps`: DPO beside a reward model and its exact optimum."""
    return toy.two_steps(seed=pipeline.seed, kl_weight=kl_weight)


def finite(pipeline: Pipeline) -> dict[str, Any]:
    """`toy_data.finite`: few labels."""
    return toy_data.finite(seed=pipeline.seed)


def off_policy(pipeline: Pipeline) -> dict[str, Any]:
    """`toy_data.off_policy`: texts that are never compared."""
    return toy_data.off_policy(seed=pipeline.seed)


def sources(pipeline: Pipeline) -> dict[str, Any]:
    """`toy_data.sources`: as many labels, on other writers' texts."""
    return toy_data.sources(seed=pipeline.seed)


def deterministic(pipeline: Pipeline) -> dict[str, Any]:
    """`toy_data.deterministic`: labels that never err."""
    return toy_data.deterministic(seed=pipeline.seed)


def turned(pipeline: Pipeline) -> dict[str, float]:
    """`toy_noise.turned`: a share of the labels turned round."""
    return toy_noise.turned(seed=pipeline.seed)
