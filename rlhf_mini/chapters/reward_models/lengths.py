"""Length bias: in the labels, in the models that learn from them, and less of it."""

from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor

from rlhf_mini.chapters.reward_models.people import logistic_fit
from rlhf_mini.chapters.reward_models.runs import (
    Judgement,
    fit_pairs,
    held_out,
    judgement,
    labelled,
    load,
    sentences_of,
    trained,
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
    """A kept run on those pairs alone whose answers have equally many sentences."""
    rows = labelled(pipeline)
    _, sentences = differences(rows)
    equal = rows.select((sentences == 0).nonzero().flatten().tolist())
    fit_pairs(pipeline, pack_pairs(pipeline.tokenizer(), equal)).save_pretrained(folder)


def matched_count(pipeline: Pipeline) -> int:
    """How many training pairs have answers of equally many sentences, in whole batches."""
    _, sentences = differences(labelled(pipeline))
    batch = pipeline.profile.reward_model.batch
    return int((sentences == 0).sum()) // batch * batch


def priced(pipeline: Pipeline, *, way: str) -> dict[str, float]:
    """A sentence's price to one model, and the model's judgement of the held-out pairs.

    `stage`: the pipeline's reward model; `any`: as many pairs as are matched, drawn from all; `matched`: the
    matched pairs alone; `corrected`: the pipeline's model less the price that its own scores put on a
    sentence where two answers of one prompt are compared, gold left out of the account.
    """
    rows, _ = held_out(pipeline)
    golds, sentences = differences(rows)
    if way == "any":
        model = load(pipeline.kept(trained, labels=matched_count(pipeline)))
    else:
        model = load(pipeline.kept(matched)) if way == "matched" else pipeline.reward_model()
    found = judgement(pipeline, model)
    if way == "corrected":
        slope = float((found.leads * sentences).sum() / sentences.square().sum())
        found = Judgement(found.leads - slope * sentences, golds)
    return {"price": price_of_a_sentence(found.leads, golds, sentences), **found.metrics()}
