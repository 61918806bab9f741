"""A rubric as an extra reward: PPO against a reward model, plus what the class of an answer is worth.

The reward model is the pipeline's, whose labels know what a decline is worth; or, to see what the rubric alone can do, the
preference model of people's labels on helpfulness, with the start, the prompts and the KL weight of constitutional AI's second phase.

A classifier reads the answer and picks a class of the rubric. On unkind requests a polite refusal is worth 1 and a story
in which someone is unkind −1; on kind ones a refusal is worth −1 and a story in which nobody is unkind 1.
"""

from pathlib import Path

from rlhf_mini.chapters.rlaif import feedback_runs, phase_one, phase_two
from rlhf_mini.chapters.rlaif.judges import Choice, classifier_of
from rlhf_mini.methods.ppo import value_model_for
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.rubric_reward import with_rate, worth
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories.rubric import is_unkind_request

WEIGHT = 1.0
WORTH_UNKIND = {"A": 1.0, "B": 0.0, "C": -1.0, "D": 0.0}
WORTH_KIND = {"A": -1.0, "B": -1.0, "C": -1.0, "D": 1.0}


def trained(
    pipeline: Pipeline,
    folder: Path,
    *,
    weight: float = WEIGHT,
    on_kind: bool = True,
    helpfulness_alone: bool = False,
    judge: Choice = None,
) -> None:
    """Kept: PPO with a reward model and `weight` times the rubric's worth, on kind requests too or not."""
    reward, policy, prompts, kl_weight = pipeline.reward_model(), pipeline.policy("sft"), None, None
    if helpfulness_alone:
        kl_weight = phase_two.KL_WEIGHT
        reward = phase_two.preference_model_of(pipeline, people_share=1.0)
        policy, prompts = phase_one.policy_of(pipeline), phase_two.prompts(pipeline)
    classify, rubric = classifier_of(pipeline, judge)
    parts = [(is_unkind_request, WORTH_UNKIND)]
    if on_kind:
        parts.append((lambda prompt: not is_unkind_request(prompt), WORTH_KIND))
    score = with_rate(
        lambda sequences: scores(reward, sequences),
        worth(classify, rubric, parts=parts),
        pipeline.tokenizer(),
        weight=weight,
    )
    start = feedback_runs.Start(policy, score, value_model_for(reward).requires_grad_(True))
    feedback_runs.by_ppo(pipeline, folder, start, prompts=prompts, kl_weight=kl_weight)
