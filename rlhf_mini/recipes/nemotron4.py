"""Nemotron-4 340B: a reward learned from ratings, DPO, then three rounds of RPO, each on a new reference."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor
from transformers import AutoModelForSequenceClassification

from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.dpo import Compared, kept_reference, train_on_pairs
from rlhf_mini.methods.iterated_rpo import RPOConfig, iterated_rpo
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes.direct_settings import direct_settings
from rlhf_mini.recipes.nemotron4_data import best_chosen, labelled_pairs, rated_reward_model
from rlhf_mini.recipes.recipe import Recipe

ROUNDS = 3
STEPS = ("dpo", *(f"rpo {number}" for number in range(1, ROUNDS + 1)))
DPO_SHARE, RPO_SHARE = 0.4, 0.75  # of the pairs, by the chosen answer's score: RPO's filter is milder


def dpo_with_sft(pair: Compared, *, kl_weight: float, sft_weight: float) -> Tensor:
    """DPO, and the chosen answer's −log π per token; ``(B,)``."""
    return dpo_loss(*pair.log_ratios, kl_weight=kl_weight) - sft_weight * pair.mean_logps[0]


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    kl_weight: float = 1.0,
    reward_scale: float = 1.0,
    sft_weights: Sequence[float] = (0.1, 0.01),
    renewed: bool = True,
    scored: bool = True,
) -> None:
    """DPO, then three rounds on the same pairs; saves the policy after each, and the logs.

    - `sft_weights`: of the SFT term beside DPO and in the rounds.
    - `renewed`: whether each round starts a new reference; else it is DPO's policy throughout.
    - `scored`: whether the rounds fit the scores (RPO); else they are DPO again.
    """
    generator, config = pipeline.generator("Nemotron-4"), direct_settings(pipeline)
    kept = pipeline.kept(rated_reward_model)
    reward_model = AutoModelForSequenceClassification.from_pretrained(kept).to(pipeline.device)
    pairs = labelled_pairs(pipeline, freeze(reward_model))
    few, many = (best_chosen(pairs, share=share) for share in (DPO_SHARE, RPO_SHARE))
    start = pipeline.policy("sft")
    policy = copy_of(start)
    objective = partial(dpo_with_sft, kl_weight=kl_weight, sft_weight=sft_weights[0])
    reference = kept_reference(start, few.pairs)
    log = [train_on_pairs(policy, few.pairs, reference, objective, config=config, generator=generator)]
    policy.save_pretrained(folder / "dpo")
    log += iterated_rpo(
        policy,
        many,
        config=RPOConfig(
            rounds=ROUNDS,
            training=config,
            kl_weight=kl_weight,
            reward_scale=reward_scale,
            sft_weight=sft_weights[1],
        ),
        generator=generator,
        fixed_reference=None if renewed else freeze(copy_of(policy)),
        objective=None if scored else partial(dpo_with_sft, kl_weight=kl_weight, sft_weight=sft_weights[1]),
        on_round=lambda number: policy.save_pretrained(folder / f"rpo {number}"),
    )
    (folder / "log.json").write_text(json.dumps(log))


RECIPE = Recipe(
    name="nemotron4",
    title="Nemotron-4 340B",
    year=2024,
    report="Adler et al. 2024, Nemotron-4 340B Technical Report",
    address="https://arxiv.org/abs/2406.11704",
    data="Over 98% of SFT and preference data synthetic; about 20K human examples (abstract, model card)",
    reward="A linear head for five attributes, each rated 0 to 4 (model card); a regression",
    optimiser="DPO with an SFT term, then three times RPO, fitted to reward leads (a secondary source)",
    anchor="β and the SFT term; in RPO the reference is the round's own start (a secondary source)",
    rounds="1 × DPO + 3 × RPO, each from the last (a secondary source); the reward model stays",
    reported=(
        "MT-Bench: 7.99 after SFT, 7.90 after DPO, 8.21, 8.31 and 8.22 after the rounds "
        "(Table 6, reported by a secondary source)",
        "IFEval, prompt-strict: 61.4, 61.7, 78.2, 79.9 and 79.9 (Table 6, reported by a secondary source)",
    ),
    left_out=(
        "The values chosen within the printed ranges of rates and KL weights",
        "Batch and epochs of RPO, the thresholds of its filter, the unit of the SFT term",
        "How the reward model was trained, and the weights of the five attributes in its sum",
        "Whether the pairs are drawn anew between the rounds of RPO",
    ),
    set_right=(
        "RPO does not do without a reward model: it needs a score for each answer",
        "RPO is reward-aware preference optimisation here; two other methods have the same three letters",
        "As a cross-entropy the loss has the same gradient, but its least value is an entropy and not 0",
        "The table is no comparison of DPO with RPO: their pairs differ, in number too",
    ),
    train=train,
    steps=STEPS,
    departures=(
        "One rating an answer, from 1 to 7, where the report has five attributes from 0 to 4",
        "All pairs are of the SFT model's answers: there are no intermediate models to draw from",
        "β is 1, which chapter 7 found for DPO in this world",
        "The SFT terms weigh a mean over tokens, by 0.1 and 0.01",
        "Both filters are shares of one set of pairs, DPO's the stricter, by the chosen answer's score",
    ),
    settings={
        "kl_weight": 1.0,
        "reward_scale": 1.0,
        "sft_weights": [0.1, 0.01],
        "renewed": True,
        "scored": True,
    },
    variants={"one reference": {"renewed": False}, "DPO in every round": {"scored": False}},
)
