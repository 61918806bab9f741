"""Slot classification: what do the frozen hidden states of each model know about a sentence as a whole?

A linear classifier reads the sentence's role in its story (opening, problem, ending …) from one vector: at
the first token after the begin token (often the first word), at the last one, or the mean over all; of the
encoder–decoder it is the encoder's. Nothing in the models is trained further. Most first words ("The", "A")
open sentences of many roles.
"""

import torch
from torch import Tensor, nn

from rlhf_mini.chapters.pretraining.objectives import OBJECTIVES, trained
from rlhf_mini.chapters.pretraining.setting import draw_sentences
from rlhf_mini.methods.pretrain import pack_documents
from rlhf_mini.models.masks import (
    bidirectional_attention_mask,
    causal_attention_mask,
    hidden_under_mask,
)
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.tensors import last_true_index
from rlhf_mini.worlds.stories.plots import ROLE_ORDER

PROBED, TESTED = 1_500, 500
READOUTS = ("first", "mean", "last")


def draw_labelled(pipeline: Pipeline, count: int) -> tuple[list[str], Tensor]:
    """Sentences, and the number of each one's role in `ROLE_ORDER`."""
    drawn = draw_sentences(pipeline, count, purpose="slots")[:count]
    return [text for text, _ in drawn], torch.tensor([ROLE_ORDER.index(role) for _, role in drawn])


@torch.no_grad()
def vectors(pipeline: Pipeline, objective: str, texts: list[str]) -> dict[str, Tensor]:
    """One vector a sentence, (N, D), for each readout."""
    model, packed = trained(pipeline, objective), pack_documents(pipeline.tokenizer(), texts)
    read: dict[str, list[Tensor]] = {name: [] for name in READOUTS}
    for rows in torch.arange(len(packed)).split(125):
        part = packed.rows(rows)
        if objective == "seq2seq":
            hidden = model.encoder(input_ids=part.tokens, attention_mask=part.mask.long()).last_hidden_state
        else:
            look = {
                "causal": causal_attention_mask(part.mask),
                "masked": bidirectional_attention_mask(part.mask),
            }[objective]
            hidden = hidden_under_mask(model, part.tokens, look)
        read["first"].append(hidden[:, 1])
        read["mean"].append((hidden * part.mask[..., None]).sum(1) / part.mask.sum(1, keepdim=True))
        read["last"].append(hidden[torch.arange(len(part)), last_true_index(part.mask)])
    return {name: torch.cat(parts) for name, parts in read.items()}


def probe(features: Tensor, labels: Tensor, *, trained_on: int, classes: int) -> float:
    """Accuracy of logistic regression on all rows after the first `trained_on`, which it was fitted to."""
    features = (features - features[:trained_on].mean(0)) / (features[:trained_on].std(0) + 1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        readout = nn.Linear(features.shape[1], classes)
    optimizer = torch.optim.LBFGS(readout.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(readout(features[:trained_on]), labels[:trained_on])
        loss = loss + 1e-3 * readout.weight.square().sum()
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    with torch.no_grad():
        right = readout(features[trained_on:]).argmax(1) == labels[trained_on:]
    return float(right.float().mean())


def classification(pipeline: Pipeline) -> dict[str, float]:
    """Held-out accuracy for each model and readout, and that of always naming the commonest role."""
    texts, labels = draw_labelled(pipeline, PROBED + TESTED)
    numbers = {
        f"{objective}_{readout}": probe(features, labels, trained_on=PROBED, classes=len(ROLE_ORDER))
        for objective in OBJECTIVES
        for readout, features in vectors(pipeline, objective, texts).items()
    }
    commonest = float(labels[PROBED:].bincount().max()) / TESTED
    return {**numbers, "commonest": commonest}
