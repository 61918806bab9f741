"""One model, asked through several templates: what happens when use differs from training."""

from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerBase

from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.tokenizer import encode_prompt, encode_text
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

Encode = Callable[[PreTrainedTokenizerBase, str], list[int]]


def as_trained(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """What the model was trained with."""
    return encode_prompt(tokenizer, prompt)


def without_begin(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The begin token is missing."""
    return encode_prompt(tokenizer, prompt)[1:]


def two_begins(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The template writes a begin token and the tokenizer adds its own: a common accident."""
    return [tokenizer.bos_token_id, *encode_prompt(tokenizer, prompt)]


def without_assistant(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """No generation prompt: the user's turn is still open."""
    return encode_prompt(tokenizer, prompt)[:-1]


def plain_text(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """No template at all, as one would ask the base model."""
    return [tokenizer.bos_token_id, *encode_text(tokenizer, prompt)]


def spelled_out(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The control tokens as letters: the same characters on the screen, other tokens in the model."""
    return encode_text(tokenizer, f"<|begin|><|user|>{prompt}<|assistant|>")


def trailing_space(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """A space after the marker, as a template with one space too many would put there."""
    return [*encode_prompt(tokenizer, prompt), *encode_text(tokenizer, " ")]


WAYS: dict[str, Encode] = {
    "as trained": as_trained,
    "two begin tokens": two_begins,
    "no begin token": without_begin,
    "a space too many": trailing_space,
    "no assistant marker": without_assistant,
    "markers as letters": spelled_out,
    "plain text": plain_text,
}


def asked_through(pipeline: Pipeline, *, way: str) -> dict[str, float]:
    """Gold, share of answers that end by themselves, and share that are empty, for the pipeline's SFT model."""
    tokenizer = pipeline.tokenizer()
    requests = runs.requests(pipeline, count=2 * pipeline.profile.test_prompts)
    drawn = draw(
        pipeline.policy("sft"),
        tokenizer,
        [WAYS[way](tokenizer, request.text) for request in requests],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=torch.Generator().manual_seed(pipeline.seed),
    )
    texts = response_texts(tokenizer, drawn)
    ended = (drawn.tokens.eq(tokenizer.eos_token_id) & drawn.response).any(1)
    judged = [stories.gold(request, text) for request, text in zip(requests, texts, strict=True)]
    return {
        "gold": sum(one.total for one in judged) / len(judged),
        "followed": sum(one.followed for one in judged) / len(judged),
        "ended": float(ended.float().mean()),
        "empty": sum(not text.strip() for text in texts) / len(texts),
    }
