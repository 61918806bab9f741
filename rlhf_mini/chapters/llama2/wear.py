"""What is left for a reward model to tell apart, version after version of a campaign.

Each version was trained towards the answers that the reward models like, so that what they dislike grows rare in it.
Of the differences that remain they see less: how much less is measured here.
"""

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.llama2 import rounds, sides
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

REQUESTS = 500


def versions_of(pipeline: Pipeline) -> list[PreTrainedModel]:
    """The fine-tuned policy and what each round on the best of all rounds made of it."""
    folder = pipeline.kept(rounds.campaign, choose="best", memory="all")
    later = [
        AutoModelForCausalLM.from_pretrained(folder / f"v{number}") for number in range(1, rounds.ROUNDS + 1)
    ]
    return [freeze(policy) for policy in [pipeline.policy("sft"), *later]]


def orderings(pipeline: Pipeline) -> dict[str, list[float]]:
    """How the last helpfulness model orders two answers to a held-out kind request, for each version's answers.

    One value a version, the fine-tuned policy first: `ordered`, the share of pairs that it orders as gold does,
    pairs of equal gold left out; `gold`, the answers' mean; `apart`, the mean distance in gold of the pairs that
    count; `lead`, the mean distance of all pairs in the model's score.
    """
    folder = pipeline.kept(rounds.campaign, choose="best", memory="all")
    judge = sides.load(folder / "helpfulness")
    drawn = stories.draw_requests(REQUESTS, seed=pipeline.seed_for("chapter 06 wear"), held_out=True)
    prompts = [request.text for request in drawn if request.unkind is None]
    found: dict[str, list[float]] = {"ordered": [], "gold": [], "apart": [], "lead": []}
    for policy in versions_of(pipeline):
        generator = pipeline.generator("chapter 06 wear")
        gold, score = [], []
        for _ in range(2):
            length = pipeline.profile.max_new_tokens
            answers = answer(
                policy, pipeline.tokenizer(), prompts, max_new_tokens=length, generator=generator
            )
            gold.append(torch.tensor(stories.gold_scores(prompts, answers), dtype=torch.float64))
            score.append(scores(judge, pack_texts(pipeline.tokenizer(), prompts, answers)))
        share, apart = ordered(gold[0] - gold[1], score[0] - score[1])
        found["ordered"].append(share)
        found["apart"].append(apart)
        found["gold"].append(float(torch.cat(gold).mean()))
        found["lead"].append(float((score[0] - score[1]).abs().mean()))
    return found


def ordered(difference: Tensor, lead: Tensor) -> tuple[float, float]:
    """Of pairs with these differences in gold (N,), the share whose `lead` (N,) has the same sign, and their mean size.

    Pairs of equal gold are left out; if there are no others, one half and 0.
    """
    differ = difference != 0
    if not differ.any():
        return 0.5, 0.0
    right = (lead[differ] > 0) == (difference[differ] > 0)
    return float(right.double().mean()), float(difference[differ].abs().mean())
