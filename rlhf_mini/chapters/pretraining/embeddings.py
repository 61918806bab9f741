"""SimCSE and DPR, run: embeddings of stories, and what retrieval by them finds.

Two tasks. *Twins*: of 200 stories, which tells the same facts as this one in other words? *Titles*: of 200
stories, which is this title's? Both start from the masked model, and are measured beside it and beside plain
word overlap, which needs no training at all.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedModel

from rlhf_mini.chapters.pretraining.objectives import trained
from rlhf_mini.chapters.pretraining.setting import generator_for, optimizer, training_batches
from rlhf_mini.methods.dense_retrieval import dense_retrieval
from rlhf_mini.methods.pretrain import pack_documents
from rlhf_mini.methods.simcse import simcse
from rlhf_mini.models import copy_of
from rlhf_mini.models.embedding import text_vectors
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

STEPS, BATCH, POOL = 80, 32, 200


def draw_twins(pipeline: Pipeline, count: int) -> tuple[list[str], list[str]]:
    """Two lists of stories; row by row they tell the same facts, in words drawn anew."""
    rng = pipeline.rng("chapter 02, twins")
    facts = [stories.draw_facts(rng) for _ in range(count)]
    return [stories.write_story(f, rng) for f in facts], [stories.write_story(f, rng) for f in facts]


def draw_titled(pipeline: Pipeline, count: int, *, purpose: str) -> tuple[list[str], list[str]]:
    """Titles, and the stories that they stand over."""
    rng = pipeline.rng(f"chapter 02, {purpose}")
    facts = [stories.draw_facts(rng) for _ in range(count)]
    return [stories.title_of(f) for f in facts], [stories.write_story(f, rng) for f in facts]


@torch.no_grad()
def vectors(pipeline: Pipeline, model: PreTrainedModel, texts: list[str]) -> Tensor:
    """One vector a text."""
    packed = pack_documents(pipeline.tokenizer(), texts)
    return text_vectors(model, packed.tokens, packed.mask)


def found(similarity: Tensor) -> float:
    """Share of rows whose own partner, on the diagonal, is the most similar of all."""
    return float((similarity.argmax(1) == torch.arange(len(similarity))).float().mean())


def word_overlap(questions: list[str], passages: list[str]) -> Tensor:
    """Lexical similarity: cosine of word counts, each word weighted by log(N / texts that have it)."""
    counts = [
        [Counter(re.findall(r"[a-z]+", text.lower())) for text in side] for side in (questions, passages)
    ]
    texts_with = Counter(word for text in counts[1] for word in text)
    words = {word: place for place, word in enumerate(texts_with)}
    weight = torch.tensor([math.log(len(passages) / texts_with[word]) for word in words])
    sides = []
    for side in counts:
        table = torch.zeros(len(side), len(words))
        for row, text in enumerate(side):
            for word in text.keys() & words.keys():
                table[row, words[word]] = text[word]
        sides.append(normalize(table * weight, dim=-1))
    return sides[0] @ sides[1].T


def mean_cosine(similarity: Tensor) -> float:
    """Mean similarity of texts that do not belong together."""
    others = ~torch.eye(len(similarity), dtype=torch.bool)
    return float(similarity[others].mean())


def twins(pipeline: Pipeline) -> dict[str, float]:
    """How often the twin is found, before and after SimCSE, and how alike unrelated stories look."""
    first, second = draw_twins(pipeline, POOL)
    model = copy_of(trained(pipeline, "masked"))
    numbers = {"overlap": found(word_overlap(first, second))}
    for name in ("before", "after"):
        if name == "after":
            simcse(
                model,
                training_batches(pipeline, batch=BATCH, documents=STEPS * BATCH, purpose="SimCSE"),
                steps=STEPS,
                optimizer=optimizer(steps=STEPS, learning_rate=1e-3),
                generator=generator_for(pipeline, "SimCSE dropout"),
            )
        a, b = (normalize(vectors(pipeline, model, texts), dim=-1) for texts in (first, second))
        numbers |= {f"found_{name}": found(a @ b.T), f"unrelated_{name}": mean_cosine(a @ b.T)}
    return {**numbers, "chance": 1 / POOL}


def titles(pipeline: Pipeline) -> dict[str, float]:
    """How often a title finds its story: by word overlap, by the masked model's vectors, and after DPR."""
    tokenizer = pipeline.tokenizer()
    questions, passages = draw_titled(pipeline, POOL, purpose="titles to find")
    pairs = [pack_documents(tokenizer, side) for side in draw_titled(pipeline, STEPS * BATCH, purpose="DPR")]

    def batches() -> Iterator[tuple]:
        for rows in torch.arange(STEPS * BATCH).split(BATCH):
            yield pairs[0].rows(rows), pairs[1].rows(rows)

    asking, answering = (copy_of(trained(pipeline, "masked")) for _ in range(2))
    similarity = {}
    for name in ("before", "after"):
        if name == "after":
            adamw = optimizer(steps=STEPS, learning_rate=1e-3)
            dense_retrieval(asking, answering, batches(), steps=STEPS, optimizer=adamw)
        q, p = vectors(pipeline, asking, questions), vectors(pipeline, answering, passages)
        similarity[name] = q @ p.T
    return {
        "overlap": found(word_overlap(questions, passages)),
        "found_before": found(similarity["before"]),
        "found_after": found(similarity["after"]),
        "chance": 1 / POOL,
    }
