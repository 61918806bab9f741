"""Kept policies and what is said of them."""

import json
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.filtering import looks, training
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline


def policy_of(pipeline: Pipeline, **run: Any) -> PreTrainedModel:
    """The policy of a kept run, frozen."""
    folder = pipeline.kept(training.trained, **run)
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)


def log_of(pipeline: Pipeline, **run: Any) -> dict[str, list[dict[str, float]]]:
    """What a kept run logged: `rounds`, and `seen` after each of them if it looked."""
    return json.loads((pipeline.kept(training.trained, **run) / "log.json").read_text())


def outcome(pipeline: Pipeline, *, rehearsal: bool = False, **run: Any) -> dict[str, float]:
    """What is said of the policy of a kept run."""
    return looks.look(pipeline, policy_of(pipeline, **run), rehearsal=rehearsal, times=looks.JUDGED)


def stage_outcome(
    pipeline: Pipeline, *, stage: str, rehearsal: bool = False, times: int = looks.JUDGED
) -> dict[str, float]:
    """What is said of a policy of the pipeline: `sft`, `ppo`; with `times` 1 on the requests of a look after a round."""
    return looks.look(pipeline, pipeline.policy(stage), rehearsal=rehearsal, times=times)
