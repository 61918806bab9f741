"""What is said of a trained policy that is sampled colder than it was trained at: nothing is trained for it."""

from typing import Any

from transformers import AutoModelForCausalLM

from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.chapters.ppo.runs import cooled
from rlhf_mini.chapters.scoreboard.measuring import told_of
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline


def of_cooled(pipeline: Pipeline, *, address: str, temperature: float) -> dict[str, Any]:
    """`measuring.told_of` the policy at this address of the cache, sampled at this temperature.

    KL is that of the colder distribution to the SFT model at temperature 1. The answers are drawn with the same random numbers
    as at temperature 1.
    """
    policy = freeze(AutoModelForCausalLM.from_pretrained(pipeline.store.root / address)).to(pipeline.device)
    told = told_of(judged_on_requests(pipeline, cooled(policy, temperature=temperature)))
    return {**told, "parameters": float(policy.num_parameters())}
