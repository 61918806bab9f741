"""Starling-7B: seven answers a prompt ranked by a judge, then APA (alpha) or PPO with its fixes (beta).

The answers come from several authors, most of them not the policy, and are ranked once. A Plackett–Luce
reward model learns from the rankings. The two releases are two ways from the same start: alpha by
advantage-induced policy alignment, beta by PPO with a shifted reward, a critic that learns before the policy
moves, and all parameters in training.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.chapters.reward_scaling.plan import size_of
from rlhf_mini.chapters.reward_scaling.sizes import sized
from rlhf_mini.losses import all_pairs_loss, plackett_luce_loss
from rlhf_mini.methods.apa import APAConfig, apa
from rlhf_mini.methods.critic_pretraining import pretrain_critic
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.methods.reward_model import normalise, scores, train_on_rankings
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.methods.shaped_scores import with_constant
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo
from rlhf_mini.recipes.ranked_answers import PAIRS_A_PROMPT, K, ranked_answers
from rlhf_mini.recipes.recipe import Recipe

OTHER_FAMILY = 2  # the reward model's start has the policy's width over this, and a pretraining of its own
LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Plackett–Luce": plackett_luce_loss,
    "pairs": all_pairs_loss,
}


def judge(pipeline: Pipeline, folder: Path, *, loss: str) -> None:
    """Kept: a reward model on the rankings, from a start of another family than the policy's."""
    source, learned = sized(pipeline, size_of(pipeline.profile, OTHER_FAMILY)), ranked_answers(pipeline)
    model = new_reward_model(source.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    config = pipeline.profile.reward_model
    config = dataclasses.replace(config, batch=max(1, config.batch // PAIRS_A_PROMPT))
    generator = pipeline.generator("Starling reward model")
    train_on_rankings(model, learned, config=config, generator=generator, loss=LOSSES[loss])
    worst = torch.arange(K - 1, len(learned.answers), K)
    normalise(model, learned.answers.rows(worst))
    model.save_pretrained(folder)


def judge_of(pipeline: Pipeline, *, loss: str) -> PreTrainedModel:
    """The kept reward model, frozen."""
    place = pipeline.kept(judge, loss=loss)
    return freeze(AutoModelForSequenceClassification.from_pretrained(place)).to(pipeline.device)


def alpha(pipeline: Pipeline, folder: Path, *, loss: str, apa_weight: float) -> None:
    """Kept: the policy of APA from the stage `sft`, with the profile's budget of PPO, and its log."""
    usual, reward_model = pipeline.profile.ppo, judge_of(pipeline, loss=loss)
    policy, (prompts, add_gold) = copy_of(pipeline.policy("sft")), prompts_for_ppo(pipeline)
    names = ("iterations", "episodes", "minibatch", "epochs", "max_new_tokens", "optimizer", "value_weight")
    log = apa(
        policy,
        value_model_for(reward_model).requires_grad_(True),
        pipeline.policy("sft"),
        lambda sequences: scores(reward_model, sequences),
        pipeline.tokenizer(),
        prompts,
        config=APAConfig(**{name: getattr(usual, name) for name in names}, kl_weight=apa_weight),
        generator=pipeline.generator("Starling alpha"),
        on_rollout=add_gold,
    )
    policy.save_pretrained(folder)
    (folder / "log.json").write_text(json.dumps(log))


def top_layer_only(policy: PreTrainedModel) -> PreTrainedModel:
    """The same Llama, of which only the last layer and what follows it train: what the paper advises against.

    The output projection is the embedding and stays as it is.
    """
    policy.requires_grad_(False)
    for part in (policy.model.layers[-1], policy.model.norm):
        part.requires_grad_(True)
    return policy


def beta(
    pipeline: Pipeline, score: Score, critic: PreTrainedModel, *, critic_iterations: int, top_layer: bool
) -> tuple[PreTrainedModel, dict[str, list[dict[str, float]]]]:
    """The policy of PPO from the stage `sft` after its critic has learned by itself, and both logs."""
    config = dataclasses.replace(pipeline.profile.ppo, gae_lambda=0.95)  # at λ = 1 a shift could do nothing
    start, words, (prompts, add_gold) = (
        pipeline.policy("sft"),
        pipeline.tokenizer(),
        prompts_for_ppo(pipeline),
    )
    told: dict[str, list[dict[str, float]]] = {"critic": []}
    if critic_iterations:
        told["critic"] = pretrain_critic(
            critic,
            start,
            start,
            score,
            words,
            prompts,
            config=dataclasses.replace(config, iterations=critic_iterations, kl_weight=0.0),
            generator=pipeline.generator("Starling critic"),
        )
    policy = copy_of(start)
    told["ppo"] = ppo(
        top_layer_only(policy) if top_layer else policy,
        critic,
        start,
        score,
        words,
        prompts,
        config=config,
        generator=pipeline.generator("Starling beta"),
        on_rollout=add_gold,
    )
    return policy, told


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    loss: str,
    apa_weight: float,
    shift: float,
    critic_iterations: int,
    top_layer: bool = False,
) -> None:
    """Saves the policies `alpha` and `beta`, and `alpha.json` and `beta.json`, their logs.

    - `loss`: a key of `LOSSES`; `apa_weight`: λ of `apa_loss`.
    - `shift`: added to every score in beta; `critic_iterations`: of critic pretraining, 0 for none;
      `top_layer`: whether only the policy's last layer trains.
    """
    first = pipeline.kept(alpha, loss=loss, apa_weight=apa_weight)
    AutoModelForCausalLM.from_pretrained(first).save_pretrained(folder / "alpha")
    shutil.copy(first / "log.json", folder / "alpha.json")
    reward_model = judge_of(pipeline, loss=loss)
    score = with_constant(lambda sequences: scores(reward_model, sequences), constant=shift)
    critic = value_model_for(reward_model).requires_grad_(True)
    policy, told = beta(pipeline, score, critic, critic_iterations=critic_iterations, top_layer=top_layer)
    policy.save_pretrained(folder / "beta")
    (folder / "beta.json").write_text(json.dumps(told))


RECIPE = Recipe(
    name="starling",
    title="Starling-7B",
    year=2024,
    report="Zhu et al., Starling-7B, COLM 2024; blog and model cards, 2023; APA in arXiv 2306.02231",
    address="https://openreview.net/forum?id=GqDntYTTbk",
    data="Nectar: 182,954 prompts with 7 answers each, of other models, ranked by GPT-4",
    reward="Plackett–Luce on rankings of 7, from Llama-2-7B-chat: not the policy's family",
    optimiser="Alpha: APA; beta: PPO",
    anchor="Alpha: the initial policy inside the loss; beta: a KL weight that is not stated",
    rounds="One for each release; answers, rankings and reward model are not renewed",
    reported=(
        "Alpha against OpenChat 3.5, MT-Bench: 8.09, was 7.81 (model card)",
        "Alpha against OpenChat 3.5, MMLU: 63.9, was 64.3 (model card)",
        "Beta, MT-Bench: 8.12 (model card)",
    ),
    left_out=(
        "The settings of APA and of PPO",
        "The size of the reward's shift and the length of critic pretraining",
        "By what the released checkpoint of alpha was selected",
    ),
    set_right=(
        '"Starling was trained with PPO", or "with APA": alpha is APA, beta is PPO',
        '"The first four layers were trained": the top ones, and a review reports the advice to train all',
        '"APA weighs by exp(A/λ)": that is AWR; APA regresses the log-probability on A/λ',
        '"Pairwise comparisons by GPT-4": one ranking of seven, with the pairs compared inside the answer',
        '"It only gained": MMLU fell by 0.4',
    ),
    train=train,
    steps=("alpha", "beta"),
    departures=(
        "The judge is chapter 10's, a small model that was taught to judge; it is asked pair by pair",
        "The answers are of the base and the SFT model at several temperatures, and of two demonstrators",
        "The reward model's start has half the policy's width and a pretraining of its own",
        "Both releases start from one SFT model and use one reward model; beta had newer ones",
        "PPO's fixes are known to us from a review of the paper, without their amounts: ours are our own",
        "The critic learns the shifted reward before PPO begins, so that little is left for the shift to do",
        "λ of APA is that of the authors' code, 0.1; the profile's learning rate and budget of PPO",
    ),
    settings={"loss": "Plackett–Luce", "apa_weight": 0.1, "shift": 1.0, "critic_iterations": 5},
    variants={
        "pairs instead of rankings": {"loss": "pairs"},
        "PPO without the fixes": {"shift": 0.0, "critic_iterations": 0, "top_layer": True},
    },
)
