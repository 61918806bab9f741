"""The people behind the labels: how far they agree, their biases as labels show them, and whom to trust."""

import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.reward_models.runs import (
    LABELS,
    fit_pairs,
    held_out,
    judgement,
    labelled,
    leads_on,
    load,
    sentences_of,
)
from rlhf_mini.estimators.reliability import annotator_scales
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories import PANEL, Annotator

CARELESS = tuple(Annotator(name=name, temperature=12.0) for name in ("Eve", "Finn", "Gus", "Hal"))
CROWD = (*PANEL, *CARELESS)
CROWD_LABELS = 2 * LABELS


def logistic_fit(features: Tensor, outcomes: Tensor, *, steps: int = 30) -> Tensor:
    """Maximum likelihood of ``P(outcome) = σ(w · features)`` by Newton's method: features (N, F) → w (F,)."""
    features, outcomes = features.double(), outcomes.double()
    weights = torch.zeros(features.shape[1], dtype=torch.float64)
    for _ in range(steps):
        chance = torch.sigmoid(features @ weights)
        slope = features.T @ (outcomes - chance)
        bend = features.T @ (features * (chance * (1 - chance))[:, None])
        weights = weights + torch.linalg.solve(bend + 1e-9 * torch.eye(len(weights)).double(), slope)
    return weights


def judged_by(judge: Annotator, rows: list[dict[str, str]], rng: random.Random) -> list[bool]:
    """Whether the judge prefers the first of each row's two answers."""
    return [judge.compare(row["prompt"], row["first"], row["second"], rng)[0] for row in rows]


def shown(pipeline: Pipeline) -> list[dict[str, str]]:
    """The held-out pairs, shown in an order that says nothing."""
    rng, rows = pipeline.rng("chapter 04 shown"), []
    for row in held_out(pipeline)[0]:
        first, second = rng.sample((row["chosen"], row["rejected"]), 2)
        rows.append({"prompt": row["prompt"], "first": first, "second": second})
    return rows


def biases(pipeline: Pipeline) -> dict[str, float]:
    """Each judge's temperature, length bias and position bias, as a logistic fit to the judge's own choices finds.

    Every judge sees every held-out pair. Choices are explained by the differences in gold and in sentences and
    by a constant, so that this needs gold; a researcher's own labels would take its place.
    """
    rows = shown(pipeline)
    golds, lengths = (
        torch.tensor([measure(row, "first") - measure(row, "second") for row in rows])
        for measure in (_gold, _length)
    )
    features = torch.stack([golds, lengths, torch.ones(len(rows))], 1)
    numbers: dict[str, float] = {"agreement": stories.agreement(rows)}
    for judge in PANEL:
        choices = judged_by(judge, rows, random.Random(f"{pipeline.seed} {judge.name}"))
        slope, length, position = logistic_fit(features, torch.tensor(choices)).tolist()
        numbers |= {
            f"temperature_{judge.name}": 1 / slope,
            f"length_{judge.name}": length / slope,
            f"position_{judge.name}": position / slope,
        }
    return numbers


def swapped(pipeline: Pipeline) -> dict[str, float]:
    """How often each judge prefers what is shown first, over all pairs in both orders: one half without a bias."""
    rows = shown(pipeline)
    turned = [{**row, "first": row["second"], "second": row["first"]} for row in rows]
    numbers = {}
    for judge in PANEL:
        rng = random.Random(f"{pipeline.seed} swapped {judge.name}")
        firsts = judged_by(judge, rows, rng) + judged_by(judge, turned, rng)
        numbers[f"first_{judge.name}"] = sum(firsts) / len(firsts)
    return numbers


def _gold(row: dict[str, str], side: str) -> float:
    return stories.gold(row["prompt"], row[side]).total


def _length(row: dict[str, str], side: str) -> float:
    return float(sentences_of([row[side]])[0])


# ------------------------------------------------------------------------------------ uneven annotators


@lru_cache(maxsize=2)
def crowd_labels(pipeline: Pipeline) -> tuple[Pairs, Tensor]:
    """Pairs judged anew by a crowd of which half does not look, and who judged each, (N,)."""
    rng, tokenizer = pipeline.rng("chapter 04 crowd"), pipeline.tokenizer()
    rows = labelled(pipeline).select(range(CROWD_LABELS))
    judged, who = [], []
    for row in rows:
        number = rng.randrange(len(CROWD))
        won, _ = CROWD[number].compare(row["prompt"], row["chosen"], row["rejected"], rng)
        sides = ("chosen", "rejected") if won else ("rejected", "chosen")
        judged.append({"prompt": row["prompt"], "chosen": row[sides[0]], "rejected": row[sides[1]]})
        who.append(number)
    return pack_pairs(tokenizer, Dataset.from_list(judged)), torch.tensor(who)


def crowd_model(pipeline: Pipeline, folder: Path, *, way: str) -> None:
    """A kept run on the crowd's labels: `all` alike, `weighted` or `filtered` by the annotators' scales."""
    pairs, who = crowd_labels(pipeline)
    if way != "all":
        scales = torch.tensor(pipeline.measured(scales_of_crowd)["scales"])
        if way == "weighted":
            weight = scales.clamp(min=0)[who]
            pairs = Pairs(pairs.chosen, pairs.rejected, weight=weight / weight.mean())
        else:
            pairs = pairs.rows((scales > scales.mean())[who].nonzero().flatten())
    fit_pairs(pipeline, pairs).save_pretrained(folder)


def scales_of_crowd(pipeline: Pipeline) -> dict[str, Any]:
    """How closely each annotator follows a model that learned from the others' half of the labels too.

    The labels are cut in two; a model trained on one half judges the annotators on the other, and the other
    way round.
    """
    pairs, who = crowd_labels(pipeline)
    halves = torch.arange(len(pairs)) % 2 == 0
    leads = torch.zeros(len(pairs))
    for half in (halves, ~halves):
        model = fit_pairs(pipeline, pairs.rows(half.nonzero().flatten()))
        leads[~half] = leads_on(model, pairs.rows((~half).nonzero().flatten()))
    return {"scales": annotator_scales(leads, who, count=len(CROWD)).tolist()}


def crowd(pipeline: Pipeline, *, way: str) -> dict[str, float]:
    """The kept run judged on the held-out pairs, whose labels are the panel's."""
    return judgement(pipeline, load(pipeline.kept(crowd_model, way=way))).metrics()
