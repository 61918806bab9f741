"""RLAIF: PPO with a reward that comes from the judge, through a reward model on its labels or straight from its ratings.

The pipeline's stages `reward_model` and `ppo` are RLHF on the same pairs: everything but the labels is as there, the
settings and the random numbers too. A reward model's scores have mean 0 and standard deviation 1, on the answers that
its labels like less; ratings are brought to that scale on the SFT model's answers, so that a nat of KL costs as much.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.chapters.rlaif.judges import Choice, rate_of
from rlhf_mini.chapters.rlaif.labels import labels_of
from rlhf_mini.chapters.rlaif.pairs import annotated_pairs
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.judge import as_score
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.methods.reward_model import normalise, scores
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.methods.soft_labels import Labelled, pack_soft_pairs, train_on_soft_labels
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo

RATED = 512  # answers of the SFT model that give ratings their scale


@dataclass(frozen=True, eq=False)
class Start:
    """What a run of PPO begins with: the policy, which stays the reference, the reward, and the value model."""

    policy: PreTrainedModel
    score: Score
    value_model: PreTrainedModel


def train_on_labels(
    pipeline: Pipeline,
    backbone: PreTrainedModel,
    labels: Sequence[Labelled],
    *,
    purpose: str = "reward_model",
) -> PreTrainedModel:
    """A reward model that learns soft labels with the pipeline's settings, normalised."""
    model = new_reward_model(backbone, seed=pipeline.seed).requires_grad_(True)
    train_on_soft_labels(
        model,
        pack_soft_pairs(pipeline.tokenizer(), labels),
        config=pipeline.profile.reward_model,
        generator=pipeline.generator(purpose),
    )
    less = [one.second if one.preference >= 0.5 else one.first for one in labels]
    normalise(model, pack_texts(pipeline.tokenizer(), [one.prompt for one in labels], less))
    return model


def reward_model(pipeline: Pipeline, folder: Path, *, judge: Choice = None, **reading: bool) -> None:
    """Kept: a reward model on a judge's labels of the annotated pairs; `reading`: see `labels.Reading`."""
    labels = labels_of(pipeline, judge=judge, **reading)
    train_on_labels(pipeline, pipeline.policy("sft"), labels).save_pretrained(folder)


def read_reward_model(pipeline: Pipeline, folder: Path) -> PreTrainedModel:
    """A kept reward model, frozen."""
    return freeze(AutoModelForSequenceClassification.from_pretrained(folder)).to(pipeline.device)


def reward_model_of(pipeline: Pipeline, *, judge: Choice = None, **reading: bool) -> PreTrainedModel:
    """The kept model of `reward_model`, frozen."""
    return read_reward_model(pipeline, pipeline.kept(reward_model, judge=judge, **reading))


def start_with(policy: PreTrainedModel, reward: PreTrainedModel) -> Start:
    """A start whose reward is a reward model, from which the value model is copied."""
    return Start(
        policy,
        lambda sequences: scores(reward, sequences),
        value_model_for(reward).requires_grad_(True),
    )


def by_ppo(
    pipeline: Pipeline,
    folder: Path,
    start: Start,
    *,
    prompts: Sequence[Sequence[int]] | None = None,
    kl_weight: float | None = None,
) -> None:
    """Saves a policy of PPO and its log, with the pipeline's settings and random numbers.

    `prompts`: encoded, the pipeline's if None; with these the log has gold, which nothing learns from.
    `kl_weight`: the pipeline's if None.
    """
    config = pipeline.profile.ppo
    asked, add_gold = prompts_for_ppo(pipeline) if prompts is None else (prompts, _add_nothing)
    policy = copy_of(start.policy)
    log = ppo(
        policy,
        start.value_model,
        start.policy,
        start.score,
        pipeline.tokenizer(),
        asked,
        config=config if kl_weight is None else replace(config, kl_weight=kl_weight),
        generator=pipeline.generator("ppo"),
        on_rollout=add_gold,
    )
    policy.save_pretrained(folder)
    (folder / "log.json").write_text(json.dumps(log))


def _add_nothing(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
    """Prompts that are not the pipeline's own come without gold."""


def distilled(
    pipeline: Pipeline, folder: Path, *, judge: Choice = None, kl_weight: float | None = None, **reading: bool
) -> None:
    """Kept: distilled RLAIF, PPO against a reward model on the judge's labels."""
    reward = reward_model_of(pipeline, judge=judge, **reading)
    by_ppo(pipeline, folder, start_with(pipeline.policy("sft"), reward), kl_weight=kl_weight)


@torch.no_grad()
def standardised(score: Score, reference: Sequences) -> Score:
    """The score with mean 0 and standard deviation 1 on reference sequences.

    Raises ValueError if the reference's scores do not differ: there is no scale to bring to 1.
    """
    told = score(reference)
    mean, std = float(told.mean()), float(told.std())
    if not std > 0:
        raise ValueError(f"the scores of {len(told)} reference sequences do not differ; they are {mean:.3g}")
    return lambda sequences: (score(sequences) - mean) / std


def direct(pipeline: Pipeline, folder: Path, *, judge: Choice = None, kl_weight: float | None = None) -> None:
    """Kept: direct RLAIF, PPO with the judge's expected rating as the reward.

    No reward model is trained, and so the value model starts from the SFT model, with a head that knows nothing.
    """
    words, policy = pipeline.tokenizer(), pipeline.policy("sft")
    rows = annotated_pairs(pipeline)[:RATED]
    shown = pack_texts(words, [row["prompt"] for row in rows], [row["first"] for row in rows])
    rated = standardised(as_score(rate_of(pipeline, judge), words), shown)
    value_model = value_model_for(new_reward_model(policy, seed=pipeline.seed)).requires_grad_(True)
    by_ppo(pipeline, folder, Start(policy, rated, value_model), kl_weight=kl_weight)
