"""Continuation: the first three words of a sentence are given; what does each of the three models write next?

Each is asked in the way that suits it best. The causal model writes token by token. The masked
model cannot know how long the text is to be, and so is told: it gets as many masks as the original has
tokens, and fills them from left to right, reading its own words and the masks that are left. The
encoder–decoder reads the beginning with one mask behind it, and writes on from the beginning.
"""

from collections.abc import Callable, Sequence
from types import MappingProxyType

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.chapters.pretraining.objectives import OBJECTIVES, mask_token, trained
from rlhf_mini.chapters.pretraining.setting import draw_sentences, generator_for
from rlhf_mini.data.tokenizer import decode_response, encode_text
from rlhf_mini.methods.denoising import pack_source_target, target_logits
from rlhf_mini.models import sample
from rlhf_mini.models.masks import bidirectional_attention_mask, logits_under_mask
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories.parser import read_sentence

SENTENCES, GIVEN, NEW_TOKENS = 200, 3, 40

Rows = list[list[int]]


def draw_beginnings(pipeline: Pipeline, count: int) -> list[tuple[str, str]]:
    """(the first three words, the rest) of sentences drawn anew."""
    result: list[tuple[str, str]] = []
    for sentence, _ in draw_sentences(pipeline, count, purpose="beginnings"):
        words = sentence.split(" ")
        if len(words) > GIVEN + 2 and '"' not in sentence:
            beginning = " ".join(words[:GIVEN])
            result.append((beginning, sentence[len(beginning) :]))
    return result[:count]


def continue_causal(pipeline: Pipeline, rows: Rows, lengths: Sequence[int]) -> Rows:
    """Token by token, on the library's sampler."""
    tokenizer = pipeline.tokenizer()
    samples = sample(
        trained(pipeline, "causal"),
        rows,
        max_new_tokens=NEW_TOKENS,
        stop_tokens=[tokenizer.eos_token_id],
        pad_token=tokenizer.pad_token_id,
        generator=generator_for(pipeline, "continuation"),
    )
    return [tokens[drawn].tolist() for tokens, drawn in zip(samples.tokens, samples.response, strict=True)]


def continue_masked(pipeline: Pipeline, rows: Rows, lengths: Sequence[int]) -> Rows:
    """From left to right through as many masks as the original has tokens."""
    model, generator = trained(pipeline, "masked"), generator_for(pipeline, "continuation")
    hole = mask_token(pipeline)
    written: Rows = [[] for _ in rows]
    for step in range(max(lengths)):
        going = [i for i, length in enumerate(lengths) if step < length]
        texts = [rows[i] + written[i] + [hole] * (lengths[i] - step) for i in going]
        batch = pack_source_target(texts, [[hole]] * len(going), pad_token=0)
        look = bidirectional_attention_mask(batch.source_mask)
        place = torch.tensor([len(rows[i]) + step for i in going])
        drawn = _draw(model, batch.source, look, place, generator)
        for i, token in zip(going, drawn.tolist(), strict=True):
            written[i].append(token)
    return written


@torch.no_grad()
def continue_seq2seq(pipeline: Pipeline, rows: Rows, lengths: Sequence[int]) -> Rows:
    """Token by token; the encoder has read the beginning with a mask behind it."""
    model, generator = trained(pipeline, "seq2seq"), generator_for(pipeline, "continuation")
    end = pipeline.tokenizer().eos_token_id
    sources = [[*row, mask_token(pipeline)] for row in rows]
    written: Rows = [[] for _ in rows]
    for _ in range(NEW_TOKENS):
        going = [i for i, own in enumerate(written) if end not in own]
        if not going:
            break
        targets = [[*rows[i][1:], *written[i]] for i in going]
        batch = pack_source_target([sources[i] for i in going], targets, pad_token=0)
        last = batch.target_mask.sum(1) - 1
        logits = target_logits(model, batch)[torch.arange(len(going)), last]
        drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
        for i, token in zip(going, drawn.tolist(), strict=True):
            written[i].append(token)
    return written


@torch.no_grad()
def _draw(
    model: PreTrainedModel, tokens: Tensor, look: Tensor, place: Tensor, generator: torch.Generator
) -> Tensor:
    """One token a row from the model's distribution at `place`."""
    logits = logits_under_mask(model, tokens, look)[torch.arange(len(tokens)), place]
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)


WRITERS: MappingProxyType[str, Callable[[Pipeline, Rows, Sequence[int]], Rows]] = MappingProxyType(
    {
        "causal": continue_causal,
        "masked": continue_masked,
        "seq2seq": continue_seq2seq,
    }
)


def continuations(pipeline: Pipeline, objective: str, beginnings: Sequence[tuple[str, str]]) -> list[str]:
    """What one model writes after each beginning."""
    tokenizer = pipeline.tokenizer()
    rows = [[tokenizer.bos_token_id, *encode_text(tokenizer, beginning)] for beginning, _ in beginnings]
    lengths = [len(encode_text(tokenizer, rest)) + 1 for _, rest in beginnings]
    return [decode_response(tokenizer, written) for written in WRITERS[objective](pipeline, rows, lengths)]


def grammatical(beginnings: Sequence[tuple[str, str]], written: Sequence[str]) -> float:
    """Share of the whole sentences that the grammar can write."""
    sentences = [start + rest for (start, _), rest in zip(beginnings, written, strict=True)]
    return sum(read_sentence(sentence).role is not None for sentence in sentences) / len(sentences)


def continuation(pipeline: Pipeline) -> dict[str, float]:
    """Share of grammatical sentences for each of the three models, and of the originals."""
    beginnings = draw_beginnings(pipeline, SENTENCES)
    numbers = {
        objective: grammatical(beginnings, continuations(pipeline, objective, beginnings))
        for objective in OBJECTIVES
    }
    return {**numbers, "grammar": grammatical(beginnings, [rest for _, rest in beginnings])}
