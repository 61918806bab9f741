"""The people behind the labels: how far they agree, their biases as labels show them, and whom to trust."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.reward_models.runs import (
    TESTED,
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
CROWD_LABELS = 4000


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


def biases(pipeline: Pipeline) -> dict[str, float]:
    """Each judge's temperature, length bias and position bias, as a logistic fit to the judge's own labels finds.

    Which answer was preferred, the one shown first or the other, is explained by the differences in gold and
    in sentences and by a constant. This needs gold; elsewhere a researcher's own labels take its place.
    """
    rows = labelled(pipeline)
    first = torch.tensor(rows["first_won"])
    sign = torch.where(first, 1.0, -1.0)  # from chosen less rejected to first less second
    golds = sign * (torch.tensor(rows["gold_chosen"]) - torch.tensor(rows["gold_rejected"]))
    sentences = sign * (sentences_of(rows["chosen"]) - sentences_of(rows["rejected"]))
    features = torch.stack([golds, sentences, torch.ones(len(rows))], 1)
    numbers: dict[str, float] = {}
    for judge in PANEL:
        own = torch.tensor([name == judge.name for name in rows["annotator"]])
        slope, length, position = logistic_fit(features[own], first[own]).tolist()
        numbers |= {
            f"temperature_{judge.name}": 1 / slope,
            f"length_{judge.name}": length / slope,
            f"position_{judge.name}": position / slope,
            f"first_{judge.name}": float(first[own].double().mean()),
            f"labels_{judge.name}": float(own.sum()),
        }
    return numbers


def agreements(pipeline: Pipeline) -> dict[str, float]:
    """How often two different judges of the panel agree on a held-out pair, by rating of its label and in all.

    Exact: from the judges' chances, with the answers in the order in which they were shown.
    """
    rows, _ = held_out(pipeline)
    numbers = {"all": stories.agreement(_shown(rows))}
    for rating in stories.RATINGS:
        own = rows.filter(lambda row, rating=rating: row["rating"] == rating)
        numbers[rating] = stories.agreement(_shown(own))
    return numbers


def _shown(rows: Dataset) -> list[dict[str, str]]:
    shown = []
    for row in rows:
        sides = ("chosen", "rejected") if row["first_won"] else ("rejected", "chosen")
        shown.append({"prompt": row["prompt"], "first": row[sides[0]], "second": row[sides[1]]})
    return shown


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
    return judgement(pipeline, load(pipeline.kept(crowd_model, way=way)), count=TESTED).metrics()
