"""What the chapter's experiments share: kept reward models, the held-out pairs, and how a model is judged.

Every run reads the pipeline's preferences. Runs differ in what the experiment changes and in nothing else.
"""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.evaluation.calibration import reliability
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.methods.reward_model import (
    PairLoss,
    RewardModelConfig,
    normalise,
    scores,
    train_reward_model,
)
from rlhf_mini.models import freeze, new_llama, new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.parser import split_sentences

LABELS = (
    1000  # what most runs of this chapter learn from, where the stage of the pipeline has eight times as many
)
BINS = 5
TESTED = 500  # held-out pairs that the cheaper comparisons are judged on


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A reward model's leads on held-out pairs, (N,): by how much it prefers the answer that was chosen.

    `leads` are raw, in nats of log-odds; `golds` the gold score of the chosen less the rejected answer.
    """

    leads: Tensor
    golds: Tensor

    @property
    def accuracy(self) -> float:
        """Share of labels predicted; a tie counts one half."""
        return float((self.leads > 0).double().mean() + 0.5 * (self.leads == 0).double().mean())

    @property
    def gold_accuracy(self) -> float:
        """Share of pairs ordered as gold orders them, of those whose gold differs."""
        differs = self.golds != 0
        return float((self.leads[differs].sign() == self.golds[differs].sign()).double().mean())

    @property
    def loss(self) -> float:
        """−log σ(lead), in nats per label."""
        return float(pairwise_loss(self.leads, torch.zeros_like(self.leads)).double().mean())

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of the chance that the model gives its favourite."""
        return self.curve().error

    def curve(self) -> Any:
        """The reliability curve of the chance that the model gives its favourite, from one half up."""
        return reliability(torch.sigmoid(self.leads.abs()), self.leads > 0, bins=BINS, low=0.5)

    def metrics(self) -> dict[str, float]:
        """The four numbers of a held-out judgement."""
        return {
            "accuracy": self.accuracy,
            "gold_accuracy": self.gold_accuracy,
            "loss": self.loss,
            "calibration_error": self.calibration_error,
        }


def judgement(pipeline: Pipeline, reward_model: PreTrainedModel, *, count: int | None = None) -> Judgement:
    """The model's leads on the pipeline's held-out pairs, all of them or the first `count`."""
    rows, pairs = held_out(pipeline, count=count)
    golds = torch.tensor(rows["gold_chosen"]) - torch.tensor(rows["gold_rejected"])
    return Judgement(leads_on(reward_model, pairs), golds)


def leads_on(reward_model: PreTrainedModel, pairs: Pairs) -> Tensor:
    """Raw score of each chosen answer less the rejected one's, (N,)."""
    unit = getattr(reward_model.config, "std", 1.0)
    return unit * (scores(reward_model, pairs.chosen) - scores(reward_model, pairs.rejected))


@lru_cache(maxsize=8)
def held_out(pipeline: Pipeline, *, count: int | None = None) -> tuple[Dataset, Pairs]:
    """The held-out pairs, with their rows."""
    rows = pipeline.preferences("test")
    rows = rows if count is None else rows.select(range(count))
    return rows, pack_pairs(pipeline.tokenizer(), rows)


@lru_cache(maxsize=4)
def labelled(pipeline: Pipeline) -> Dataset:
    """The pairs to train on."""
    return pipeline.preferences("train")


def config_for(
    pipeline: Pipeline, count: int, *, epochs: int = 1, batch: int | None = None
) -> RewardModelConfig:
    """The profile's settings for `count` examples, with a warm-up of at most a fifth of the updates."""
    config = pipeline.profile.reward_model
    batch = batch or config.batch
    warmup = min(config.optimizer.warmup_steps, epochs * (count // batch) // 5)
    optimizer = dataclasses.replace(config.optimizer, warmup_steps=warmup)
    return dataclasses.replace(config, epochs=epochs, batch=batch, optimizer=optimizer)


def start_from(pipeline: Pipeline, start: str, *, seed: int) -> PreTrainedModel:
    """An untrained reward model on a copy of a stage's backbone, or `scratch`: on a backbone never trained."""
    if start != "scratch":
        return new_reward_model(pipeline.policy(start), seed=seed).requires_grad_(True)
    profile, tokenizer = pipeline.profile, pipeline.tokenizer()
    fresh = new_llama(
        vocab_size=len(tokenizer),
        width=profile.width,
        layers=profile.layers,
        heads=profile.heads,
        context=profile.context,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=seed,
    )
    return new_reward_model(fresh.to(pipeline.device), seed=seed).requires_grad_(True)


def fit_pairs(
    pipeline: Pipeline,
    pairs: Pairs,
    *,
    start: str = "sft",
    member: int = 0,
    epochs: int = 1,
    loss: PairLoss = pairwise_loss,
) -> PreTrainedModel:
    """A reward model trained on pairs and normalised; `member` draws its head and the order of the pairs."""
    model = start_from(pipeline, start, seed=pipeline.seed_for(f"chapter 04 head {member}"))
    train_reward_model(
        model,
        pairs,
        config=config_for(pipeline, len(pairs), epochs=epochs),
        generator=pipeline.generator(f"chapter 04 order {member}"),
        loss=loss,
    )
    normalise(model, pairs.rejected)
    return freeze(model)


def trained(
    pipeline: Pipeline, folder: Path, *, labels: int, start: str = "sft", member: int = 0, epochs: int = 1
) -> None:
    """A kept run on the first `labels` pairs."""
    pairs = pack_pairs(pipeline.tokenizer(), labelled(pipeline).select(range(labels)))
    fit_pairs(pipeline, pairs, start=start, member=member, epochs=epochs).save_pretrained(folder)


def load(folder: Path) -> PreTrainedModel:
    """The reward model of a kept run, frozen."""
    return freeze(AutoModelForSequenceClassification.from_pretrained(folder))


def member(pipeline: Pipeline, number: int, *, labels: int = LABELS) -> PreTrainedModel:
    """One of several reward models from the same labels: another head, another order of the pairs."""
    return load(pipeline.kept(trained, labels=labels, member=number))


def sentences_of(texts: Sequence[str]) -> Tensor:
    """How many sentences each text has."""
    return torch.tensor([float(len(split_sentences(text))) for text in texts])


def panel_chances(rows: Dataset) -> Tensor:
    """For each pair, the chance that a judge of the panel prefers the answer that was chosen."""
    triples = zip(rows["prompt"], rows["chosen"], rows["rejected"], strict=True)
    return torch.tensor([stories.panel_preference(*triple) for triple in triples])


def ceilings(pipeline: Pipeline) -> dict[str, float]:
    """What no reward model can pass on the held-out pairs, because it is not told who judged.

    - `accuracy`: mean of max(p, 1 − p), p being the chance that the panel prefers one answer;
    - `loss`: mean entropy of that choice, in nats;
    - `gold_accuracy`: how often the panel's favourite is also the better by gold.
    """
    rows, _ = held_out(pipeline)
    chances = panel_chances(rows).double()
    entropy = -(chances * chances.log() + (1 - chances) * (1 - chances).log())
    favourite = Judgement(
        chances.logit().float(), torch.tensor(rows["gold_chosen"]) - torch.tensor(rows["gold_rejected"])
    )
    return {
        "accuracy": float(torch.maximum(chances, 1 - chances).mean()),
        "loss": float(entropy.mean()),
        "gold_accuracy": favourite.gold_accuracy,
        "calibration_error": favourite.calibration_error,
    }


def pack(pipeline: Pipeline, prompts: Sequence[str], answers: Sequence[str]) -> Sequences:
    """Prompts with answers as token sequences."""
    return pack_texts(pipeline.tokenizer(), prompts, answers)
