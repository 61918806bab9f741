"""Infilling: which hero was here? Each of the four models is asked in the way that it was trained for.

A story without a title names its hero in the first sentence, and again later. The first mention is cut out.
What stands before the hole says nothing about the hero but whether its name begins with a vowel; what stands
behind it says all.
"""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf_mini.chapters.pretraining.objectives import OBJECTIVES, mask_token, sentinels, trained
from rlhf_mini.data.tokenizer import encode_text
from rlhf_mini.methods.pretrain import pack_documents
from rlhf_mini.methods.span_corruption import pack_source_target, target_logits
from rlhf_mini.models import response_logp
from rlhf_mini.models.masks import bidirectional_attention_mask, logits_under_mask, prefix_attention_mask
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.lexicon import HEROES

HOLES = 200
RESCORED = 60  # how many of them are also decided by scoring the whole text with every hero in the hole


@dataclass(frozen=True)
class Hole:
    """A story around a missing hero: the text before it, the hero, the text after it."""

    before: str
    hero: str
    after: str

    def filled(self, hero: str) -> str:
        """The whole story with this hero in the hole."""
        return f"{self.before} {hero}{self.after}"


def cut_hero(story: str, hero: str) -> Hole | None:
    """The story with the first mention of its hero cut out; None if there is no second mention.

    >>> cut_hero("One day, a fox ran. The fox slept.", "fox")
    Hole(before='One day, a', hero='fox', after=' ran. The fox slept.')
    """
    places = [match.start() for match in re.finditer(rf"\b{hero}\b", story)]
    if len(places) < 2:
        return None
    return Hole(story[: places[0] - 1], hero, story[places[0] + len(hero) :])


def known_heroes(pipeline: Pipeline) -> list[str]:
    """The heroes whose name is one token."""
    return [hero for hero in HEROES if len(encode_text(pipeline.tokenizer(), f" {hero}")) == 1]


def draw_holes(pipeline: Pipeline, count: int) -> list[Hole]:
    """`count` stories with a missing hero that no training saw."""
    rng, known, holes = pipeline.rng("chapter 02, holes"), set(known_heroes(pipeline)), []
    while len(holes) < count:
        facts = stories.draw_facts(rng)
        hole = cut_hero(stories.write_story(facts, rng), facts.hero) if facts.hero in known else None
        if hole is not None:
            holes.append(hole)
    return holes


@torch.no_grad()
def hero_logits(pipeline: Pipeline, objective: str, holes: list[Hole]) -> Tensor:
    """What a model says of every known hero in every hole: logits (holes, heroes)."""
    tokenizer, model = pipeline.tokenizer(), trained(pipeline, objective)
    begin, pad, end = tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id
    left = [[begin, *encode_text(tokenizer, hole.before)] for hole in holes]
    right = [[*encode_text(tokenizer, hole.after), end] for hole in holes]
    blank = sentinels(pipeline)[0] if objective == "spans" else mask_token(pipeline)
    from_both_sides = objective in ("masked", "spans")
    rows = [[*a, blank, *b] if from_both_sides else a for a, b in zip(left, right, strict=True)]
    place = torch.tensor([len(a) for a in left]) - (0 if from_both_sides else 1)
    if objective == "spans":
        batch = pack_source_target(rows, [[blank]] * len(rows), pad_token=pad)
        logits = target_logits(model, batch)[:, 1]
    else:
        batch = pack_source_target(rows, [[blank]] * len(rows), pad_token=pad)
        look = (bidirectional_attention_mask if from_both_sides else _all_given)(batch.source_mask)
        if objective == "causal":
            look = look.tril()
        logits = logits_under_mask(model, batch.source, look)[torch.arange(len(rows)), place]
    names = [encode_text(tokenizer, f" {hero}")[0] for hero in known_heroes(pipeline)]
    return logits[:, names]


def _all_given(mask: Tensor) -> Tensor:
    return prefix_attention_mask(mask, mask)


@torch.no_grad()
def rescored_logits(pipeline: Pipeline, holes: list[Hole]) -> Tensor:
    """log p of the whole story with every hero in the hole, by the causal model: (holes, heroes)."""
    tokenizer, model = pipeline.tokenizer(), trained(pipeline, "causal")
    rows = []
    for hole in holes:
        packed = pack_documents(tokenizer, [hole.filled(hero) for hero in known_heroes(pipeline)])
        rows.append(response_logp(model, packed.tokens, packed.mask, packed.response).sum(1))
    return torch.stack(rows)


def infilling(pipeline: Pipeline) -> dict[str, float]:
    """Share of holes in which the right hero is the model's first choice among the known ones."""
    holes, names = draw_holes(pipeline, HOLES), known_heroes(pipeline)
    right = torch.tensor([names.index(hole.hero) for hole in holes])
    shares = {
        objective: float((hero_logits(pipeline, objective, holes).argmax(1) == right).float().mean())
        for objective in OBJECTIVES
    }
    rescored = rescored_logits(pipeline, holes[:RESCORED]).argmax(1) == right[:RESCORED]
    return {**shares, "causal_rescored": float(rescored.float().mean()), "chance": 1 / len(names)}
