"""What PPO does to its proxy with and without a penalty, judged by gold: the pipeline's own two runs."""

from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.chapters.ppo.runs import fluency
from rlhf_mini.pipeline import Pipeline

STAGES = ("sft", "ppo", "ppo_without_kl")


def with_and_without(pipeline: Pipeline) -> dict[str, float]:
    """Gold, proxy, KL, diversity and fluency of the SFT model and of the two policies, by stage."""
    numbers: dict[str, float] = {}
    for stage in STAGES:
        judged = judged_on_requests(pipeline, pipeline.policy(stage))
        told = judged.metrics() | fluency(pipeline, judged)
        for name in ("gold", "proxy", "kl_k1", "distinct_2", "pairwise_overlap", "coherence", "sft_nats"):
            numbers[f"{name} {stage}"] = told[name]
    return numbers
