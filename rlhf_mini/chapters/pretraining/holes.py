"""Infilling: one word is cut out of a sentence. Each of the three models is asked in the way it was trained for.

The holes are words of one token at random places of sentences drawn anew, or a sentence's first word. `causal`
knows what stands before the hole, `masked` and `seq2seq` also what stands behind it. A causal model too can use
what stands behind, at a price: it scores the whole sentence with each of the words that it would put there,
p(word | both sides) ∝ p(word | before) p(after | before, word), and so reads as many sentences as it tries
words.

Every model chooses among the same words: those that are missing somewhere in the sentences asked about. Without
that, the first token of many sentences is the single letter T, which is no word, and a model that reads nothing
would always guess it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf_mini.chapters.pretraining.objectives import OBJECTIVES, mask_token, trained
from rlhf_mini.chapters.pretraining.setting import draw_sentences
from rlhf_mini.data.tokenizer import encode_text
from rlhf_mini.methods.denoising import pack_source_target, target_logits
from rlhf_mini.models import response_logp, token_logits
from rlhf_mini.models.masks import bidirectional_attention_mask, logits_under_mask
from rlhf_mini.pipeline import Pipeline

HOLES, RESCORED, TRIED = 400, 150, 24


@dataclass(frozen=True)
class Hole:
    """A sentence's tokens around a missing one: those before it, itself, those after it."""

    before: list[int]
    word: int
    after: list[int]


def cut_words(tokenizer: PreTrainedTokenizerBase, text: str) -> list[Hole]:
    """Every hole that the text offers: all its words that are one token."""
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
    tokenizer = pipeline.tokenizer()
    return [rng.choice(cut_words(tokenizer, text)) for text in sentences]


@torch.no_grad()
def hole_logits(pipeline: Pipeline, objective: str, holes: list[Hole]) -> Tensor:
    """What a model says of every token in every hole: (holes, V).

    The encoder–decoder reads the sentence with a mask in the hole; its decoder is given the text before.
    """
    model, pad = trained(pipeline, objective), pipeline.tokenizer().pad_token_id
    rows, places = torch.arange(len(holes)), torch.tensor([len(hole.before) for hole in holes])
    before = [hole.before for hole in holes]
    if objective == "causal":
        batch = pack_source_target(before, before, pad_token=pad)
        return token_logits(model, batch.source, batch.source_mask)[rows, places - 1]
    texts = [[*hole.before, mask_token(pipeline), *hole.after] for hole in holes]
    batch = pack_source_target(texts, [start[1:] for start in before], pad_token=pad)
    if objective == "seq2seq":
        return target_logits(model, batch)[rows, places - 1]
    look = bidirectional_attention_mask(batch.source_mask)
    return logits_under_mask(model, batch.source, look)[rows, places]


@torch.no_grad()
def rescored(pipeline: Pipeline, holes: list[Hole], *, among: Tensor) -> Tensor:
    """The causal model's choice for each hole, (holes,): the word with which the whole sentence is likeliest.

    `among` are the words that it tries, (W,), or for each hole its own, (holes, W).
    """
    model, pad = trained(pipeline, "causal"), pipeline.tokenizer().pad_token_id
    choices = []
    for hole, words in zip(holes, among.expand(len(holes), -1), strict=True):
        texts = [[*hole.before, word, *hole.after] for word in words.tolist()]
        batch = pack_source_target(texts, [[pad]] * len(texts), pad_token=pad)
        counted = batch.source_mask.clone()
        counted[:, 0] = False
        logp = response_logp(model, batch.source, batch.source_mask, counted)
        choices.append(words[logp.sum(1).argmax()])
    return torch.stack(choices)


def draw_first_words(pipeline: Pipeline, count: int) -> list[Hole]:
    """`count` sentences without their first word, one token: nothing stands before the hole, all behind it."""
    tokenizer = pipeline.tokenizer()
    holes: list[Hole] = []
    for text, _ in draw_sentences(pipeline, count, purpose="first words"):
        first, *rest = encode_text(tokenizer, text)
        if tokenizer.convert_ids_to_tokens(rest[0])[0] == "Ġ":
            holes.append(Hole([tokenizer.bos_token_id], first, [*rest, tokenizer.eos_token_id]))
    return holes[:count]


def words_asked(holes: list[Hole]) -> Tensor:
    """The words that are missing in any of the holes, each once: (W,)."""
    return torch.tensor(sorted({hole.word for hole in holes}))


def _shares(pipeline: Pipeline, holes: list[Hole]) -> dict[str, float]:
    """Share of holes in which the missing word is the first choice, for each model and way of asking.

    Also the share of the commonest word, which is what a constant guess can reach, and the causal model's share
    on the holes that it was asked to rescore.
    """
    right, words = torch.tensor([hole.word for hole in holes]), words_asked(holes)

    def choices(objective: str) -> Tensor:
        return words[hole_logits(pipeline, objective, holes)[:, words].argmax(1)]

    shares = {objective: float((choices(objective) == right).float().mean()) for objective in OBJECTIVES}
    few = holes[:RESCORED]
    scores = hole_logits(pipeline, "causal", few)[:, words]
    likeliest = words[scores.topk(min(TRIED, len(words))).indices]
    return {
        **shares,
        "causal_before_rescoring": float((choices("causal") == right)[:RESCORED].float().mean()),
        "causal_rescored": float(
            (rescored(pipeline, few, among=likeliest) == right[:RESCORED]).float().mean()
        ),
        "commonest": float(right.bincount().max()) / len(right),
        "words": float(len(words)),
    }


def infilling(pipeline: Pipeline) -> dict[str, float]:
    """Holes at random words, and (names that begin with `first_`) at the first word of a sentence."""
    anywhere = _shares(pipeline, draw_holes(pipeline, HOLES))
    first = _shares(pipeline, draw_first_words(pipeline, HOLES))
    return {**anywhere, **{f"first_{name}": share for name, share in first.items()}}
