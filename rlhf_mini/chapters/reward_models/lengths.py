"""Length bias: in the labels, in the models that learn from them, and less of it."""

from functools import lru_cache
from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor

from rlhf_mini.chapters.reward_models.people import logistic_fit
from rlhf_mini.chapters.reward_models.runs import (
    LABELS,
    Judgement,
    fit_pairs,
    held_out,
    judgement,
    labelled,
    load,
    member,
    sentences_of,
)
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds.stories import PANEL

PANEL_BIAS = sum(judge.length_bias for judge in PANEL) / len(PANEL)  # of gold, per sentence


def differences(rows: Dataset) -> tuple[Tensor, Tensor]:
    """Of the chosen less the rejected answer: gold, and sentences; (N,) each."""
    golds = torch.tensor(rows["gold_chosen"]) - torch.tensor(rows["gold_rejected"])
    return golds, sentences_of(rows["chosen"]) - sentences_of(rows["rejected"])


def price_of_a_sentence(leads: Tensor, golds: Tensor, sentences: Tensor) -> float:
    """What one more sentence is worth to a model, in units of gold.

    Leads are explained by the differences in gold and in sentences (least squares through the origin, for
    leads are odd); the ratio of the two weights is the price.
    """
    features = torch.stack([golds, sentences], 1).double()
    gold, sentence = torch.linalg.lstsq(features, leads.double()[:, None]).solution.flatten().tolist()
    return sentence / gold


def in_the_labels(pipeline: Pipeline) -> dict[str, float]:
    """A sentence's price in the training labels, by a logistic fit; and how often the longer answer was chosen."""
    golds, sentences = differences(labelled(pipeline))
    features = torch.stack([golds, sentences], 1)
    sign = torch.where(torch.arange(len(golds)) % 2 == 0, 1.0, -1.0)  # half of the pairs turned round
    gold, sentence = logistic_fit(sign[:, None] * features, sign > 0).tolist()
    unequal = sentences != 0
    return {
        "price": sentence / gold,
        "longer_chosen": float((sentences[unequal] > 0).double().mean()),
        "longer_better": float((golds * sentences > 0)[unequal & (golds != 0)].double().mean()),
        "price_of_the_panel": PANEL_BIAS,
    }


def matched(pipeline: Pipeline, folder: Path) -> None:
    """A kept run on pairs whose answers have equally many sentences, as many as `LABELS`."""
    rows = labelled(pipeline)
    _, sentences = differences(rows)
    equal = rows.select((sentences == 0).nonzero().flatten()[:LABELS].tolist())
    fit_pairs(pipeline, pack_pairs(pipeline.tokenizer(), equal)).save_pretrained(folder)


@lru_cache(maxsize=4)
def judged(pipeline: Pipeline, way: str) -> Judgement:
    """One of three models on the held-out pairs: the pipeline's, or of `LABELS` pairs, matched or not."""
    if way == "stage":
        return judgement(pipeline, pipeline.reward_model())
    return judgement(pipeline, load(pipeline.kept(matched)) if way == "matched" else member(pipeline, 0))


def priced(pipeline: Pipeline, *, way: str) -> dict[str, float]:
    """A sentence's price to one model, and the model's judgement of the held-out pairs.

    `stage`: the pipeline's reward model; `any`: the first `LABELS` pairs; `matched`: as many whose answers are
    equally long; `corrected`: the pipeline's model less what its own leads rise with a sentence (least squares
    on sentences alone, gold left out of the account).
    """
    rows, _ = held_out(pipeline)
    golds, sentences = differences(rows)
    found = judged(pipeline, "stage" if way == "corrected" else way)
    if way == "corrected":
        slope = float((found.leads * sentences).sum() / sentences.square().sum())
        found = Judgement(found.leads - slope * sentences, golds)
    return {"price": price_of_a_sentence(found.leads, golds, sentences), **found.metrics()}
