"""Infilling: one word is cut out of a sentence. Each of the three models is asked in the way it was trained for.

The holes are words of one token at random places of sentences drawn anew. `causal` knows
what stands before the hole, `masked` and `spans` also what stands behind it. A causal model too can use
what stands behind, at a price: it scores the whole sentence with each of the words that it would put there,
p(word | both sides) ∝ p(word | before) p(after | before, word), and so reads as many sentences as it tries
words.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf_mini.chapters.pretraining.objectives import OBJECTIVES, mask_token, sentinels, trained
from rlhf_mini.chapters.pretraining.setting import draw_sentences
from rlhf_mini.data.tokenizer import encode_text
from rlhf_mini.methods.span_corruption import pack_source_target, target_logits
from rlhf_mini.models import response_logp, token_logits
from rlhf_mini.models.masks import (
    bidirectional_attention_mask,
    logits_under_mask,
)
from rlhf_mini.pipeline import Pipeline

HOLES, RESCORED, TRIED = 600, 200, 24


@dataclass(frozen=True)
class Hole:
    """A sentence's tokens around a missing one: those before it, itself, those after it."""

    before: list[int]
    word: int
    after: list[int]


def cut_words(pipeline: Pipeline, text: str) -> list[Hole]:
    """Every hole that the text offers: all its words that are one token."""
    tokenizer = pipeline.tokenizer()
    tokens = encode_text(tokenizer, text)
    spelled = [*tokenizer.convert_ids_to_tokens(tokens), "."]  # Ġ begins a word; a letter goes on with one
    holes = []
    for place, token in enumerate(tokens):
        word, following = spelled[place], spelled[place + 1]
        if word[0] == "Ġ" and word[1:].isalpha() and (following[0] == "Ġ" or not following[0].isalpha()):
            before = [tokenizer.bos_token_id, *tokens[:place]]
            holes.append(Hole(before, token, [*tokens[place + 1 :], tokenizer.eos_token_id]))
    return holes


def draw_holes(pipeline: Pipeline, count: int) -> list[Hole]:
    """One hole in each of `count` sentences, any of its words with equal chance."""
    rng = pipeline.rng("chapter 02, places of holes")
    sentences = [text for text, _ in draw_sentences(pipeline, count, purpose="holes")][:count]
    return [rng.choice(cut_words(pipeline, text)) for text in sentences]


@torch.no_grad()
def hole_logits(pipeline: Pipeline, objective: str, holes: list[Hole]) -> Tensor:
    """What a model says of every token in every hole: (holes, V)."""
    model, pad = trained(pipeline, objective), pipeline.tokenizer().pad_token_id
    rows, places = torch.arange(len(holes)), torch.tensor([len(hole.before) for hole in holes])
    if objective == "causal":
        batch = pack_source_target([hole.before for hole in holes], [[pad]] * len(holes), pad_token=pad)
        return token_logits(model, batch.source, batch.source_mask)[rows, places - 1]
    blank = mask_token(pipeline) if objective == "masked" else sentinels(pipeline)[0]
    texts = [[*hole.before, blank, *hole.after] for hole in holes]
    batch = pack_source_target(texts, [[blank]] * len(holes), pad_token=pad)
    if objective == "spans":
        return target_logits(model, batch)[:, 1]
    look = bidirectional_attention_mask(batch.source_mask)
    return logits_under_mask(model, batch.source, look)[rows, places]


@torch.no_grad()
def rescored(pipeline: Pipeline, holes: list[Hole], *, tried: int) -> Tensor:
    """The causal model's choice for each hole, (holes,), among the `tried` words it finds likeliest there.

    Its choice is the word with which the whole sentence is likeliest.
    """
    model, pad = trained(pipeline, "causal"), pipeline.tokenizer().pad_token_id
    candidates = hole_logits(pipeline, "causal", holes).topk(tried).indices
    choices = []
    for hole, words in zip(holes, candidates, strict=True):
        texts = [[*hole.before, word, *hole.after] for word in words.tolist()]
        batch = pack_source_target(texts, [[pad]] * tried, pad_token=pad)
        counted = batch.source_mask.clone()
        counted[:, 0] = False
        logp = response_logp(model, batch.source, batch.source_mask, counted)
        choices.append(words[logp.sum(1).argmax()])
    return torch.stack(choices)


def infilling(pipeline: Pipeline) -> dict[str, float]:
    """Share of holes in which the missing word is the first choice, for each model and way of asking."""
    holes = draw_holes(pipeline, HOLES)
    right = torch.tensor([hole.word for hole in holes])
    shares = {
        objective: float((hole_logits(pipeline, objective, holes).argmax(1) == right).float().mean())
        for objective in OBJECTIVES
    }
    choices = rescored(pipeline, holes[:RESCORED], tried=TRIED)
    return {**shares, "causal_rescored": float((choices == right[:RESCORED]).float().mean())}
