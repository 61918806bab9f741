"""What several rooms share: the held-out requests that every policy is judged on, and the judge."""

from transformers import PreTrainedModel

from rlhf_mini.evaluation.policy import Judged, judge_policy
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories


def held_out_requests(pipeline: Pipeline) -> list[stories.Request]:
    """The held-out requests that every policy is judged on."""
    seed = pipeline.seed_for("held-out requests")
    return stories.draw_requests(pipeline.profile.test_prompts, seed=seed, held_out=True)


def judged_on_requests(pipeline: Pipeline, policy: PreTrainedModel) -> Judged:
    """A policy's answers to the held-out requests: gold, the proxy's opinion, and KL to the SFT model.

    Every policy is asked with the same random numbers.
    """
    reward_model = pipeline.reward_model()
    return judge_policy(
        policy,
        pipeline.tokenizer(),
        held_out_requests(pipeline),
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("judge"),
        reference=pipeline.policy("sft"),
        score=lambda sequences: scores(reward_model, sequences),
    )
