"""ChatGLM-RLHF: a reward model on pairs balanced by length, and PPO paid over the reference's own answer."""

import json
from functools import partial
from pathlib import Path

from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.length_balance import length_balanced
from rlhf_mini.estimators import gae
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.losses.score_prior import squared_score_penalty
from rlhf_mini.methods.ppo import Auxiliary, ppo, value_model_for
from rlhf_mini.methods.pretraining_mix import pretraining_mix
from rlhf_mini.methods.reference_baseline import over_reference, reference_scores
from rlhf_mini.methods.rehearsal import RehearsalConfig
from rlhf_mini.methods.reward_model import normalise, scores, train_reward_model
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs, prompts_for_ppo
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories

STEPS = ("ppo",)
BUCKETS, SCORE_WEIGHT = 8, 0.01  # of the length balance, and of the squared scores


def balanced_reward_model(pipeline: Pipeline, folder: Path, *, buckets: int, score_weight: float) -> None:
    """Kept: a reward model on the pipeline's pairs, balanced by length, its scores held near zero."""
    pairs = length_balanced(
        pack_pairs(pipeline.tokenizer(), pipeline.preferences("train")),
        buckets=buckets,
        generator=pipeline.generator("ChatGLM length balance"),
    )

    def loss(chosen: Tensor, rejected: Tensor) -> Tensor:
        penalty = squared_score_penalty(chosen) + squared_score_penalty(rejected)
        return pairwise_loss(chosen, rejected) + score_weight * penalty

    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    generator = pipeline.generator("ChatGLM reward model")
    history = train_reward_model(
        model, pairs, config=pipeline.profile.reward_model, generator=generator, loss=loss
    )
    normalise(model, pairs.rejected)
    model.save_pretrained(folder)
    (folder / "history.json").write_text(json.dumps(history))


def demonstration_mix(pipeline: Pipeline, policy: PreTrainedModel, *, weight: float) -> Auxiliary:
    """PPO's second loss: `weight` times the mean next-token loss on the answers of some demonstrations."""
    seed = pipeline.seed_for("demonstrations")  # those that the stage `sft` learned from
    rows = stories.demonstrations(pipeline.profile.demonstrations, seed=seed)
    packed = pack_texts(pipeline.tokenizer(), [r["prompt"] for r in rows], [r["completion"] for r in rows])
    config = RehearsalConfig(documents_per_step=pipeline.profile.sft.batch, document_weight=weight)
    generator = pipeline.generator("ChatGLM demonstrations")
    return pretraining_mix(policy, packed, config=config, generator=generator)


def train(
    pipeline: Pipeline, folder: Path, *, baseline: bool = True, demonstration_weight: float = 0.1
) -> None:
    """PPO with the stage's settings, but that nothing is whitened; saves `ppo`, and its log."""
    config, reference = pipeline.profile.ppo, pipeline.policy("sft")
    kept = pipeline.kept(balanced_reward_model, buckets=BUCKETS, score_weight=SCORE_WEIGHT)
    reward_model = AutoModelForSequenceClassification.from_pretrained(kept).to(pipeline.device)
    freeze(reward_model)
    policy, tokenizer = copy_of(reference), pipeline.tokenizer()
    prompts, add_gold = prompts_for_ppo(pipeline)

    def score(sequences: Sequences) -> Tensor:
        return scores(reward_model, sequences)

    paid: Score = score
    if baseline:
        generator = pipeline.generator("ChatGLM reference answers")
        length = config.max_new_tokens
        paid = over_reference(
            score,
            reference_scores(
                reference, score, tokenizer, prompts, max_new_tokens=length, generator=generator
            ),
        )
    auxiliary = None
    if demonstration_weight:
        auxiliary = demonstration_mix(pipeline, policy, weight=demonstration_weight)
    log = ppo(
        policy,
        value_model_for(reward_model).requires_grad_(True),
        reference,
        paid,
        tokenizer,
        prompts,
        config=config,
        generator=pipeline.generator("ppo"),
        on_rollout=add_gold,
        estimate=partial(gae, discount=1.0, gae_lambda=config.gae_lambda),
        auxiliary=auxiliary,
    )
    policy.save_pretrained(folder / "ppo")
    (folder / "log.json").write_text(json.dumps(log))


RECIPE = Recipe(
    name="chatglm",
    title="ChatGLM-RLHF",
    year=2024,
    report="Hou et al. 2024, ChatGLM-RLHF: Practices of Aligning Large Language Models with Human Feedback",
    address="https://arxiv.org/abs/2404.00934",
    data="People compare two answers of the SFT model; pairs are balanced by length (a secondary source)",
    reward="Pairwise loss with an L2 penalty on scores, less the reference's score (a secondary source)",
    optimiser="PPO, and DPO as another way, with which it is compared (a secondary source)",
    anchor="KL to the SFT policy, and a next-token loss on SFT data beside PPO's (a secondary source)",
    rounds="One; no iteration is described (a secondary source)",
    reported=(
        "On average 15% more wins against ChatGLM-SFT in Chinese alignment tasks (abstract)",
        "AlignBench, 32B: 6.37 for SFT and 6.75 for PPO (reported by a secondary source)",
    ),
    left_out=(
        "The weights of KL, of the L2 penalty and of the SFT term; the SFT data of that term",
        "The buckets of the length balance, and whether pairs are dropped or repeated",
        "How the reference's answer is decoded; K and the threshold of the filter of prompts",
        "The settings of DPO and of the reward model. All this was not found in what could be read",
    ),
    set_right=(
        "“Fusion gradient descent” is fused gradient descent: an engineering term, no algorithm",
        "An ensemble of three to five reward models is ascribed to it; no text that could be read has one",
        "The baseline is no better reward: for one prompt it is a constant and changes no optimum",
    ),
    train=train,
    steps=STEPS,
    departures=(
        "The filter of prompts by the variance of their rewards is left out: its numbers were not found",
        "A bucket's surplus pairs are dropped, and buckets hold equally many: the paper's way is unknown",
        "The reference's answer is drawn at PPO's temperature: how the paper decodes it is unknown",
        "The weights of both added losses are ours: the paper's were not found",
        "PPO has the profile's learning rate and iterations, as in the rest of the book",
    ),
    settings={"baseline": True, "demonstration_weight": 0.1},
    variants={
        "without the baseline": {"baseline": False},
        "without the demonstrations": {"demonstration_weight": 0.0},
    },
)
