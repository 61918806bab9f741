"""The chapter's bug hunt: which tokens of a batch are learned from."""

from typing import Any

import torch
from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.methods.sft import sft
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt
from rlhf_mini.worlds import stories

LOOKS = (4, 8, 16, 32, 64)


def learned_wrong(tokens: Tensor, prompt_lengths: Tensor, *, end_token: int) -> Tensor:
    """Which tokens count in the loss: (B, T) token numbers and (B,) prompt lengths -> (B, T) bool.

    The tokenizer has no pad token, so rows are filled up with the end token.
    """
    column = torch.arange(tokens.shape[1])
    answer = column >= prompt_lengths[:, None]
    padding = tokens == end_token
    return answer & ~padding


def learned_right(tokens: Tensor, prompt_lengths: Tensor, *, end_token: int) -> Tensor:
    """Which tokens count in the loss: (B, T) token numbers and (B,) prompt lengths -> (B, T) bool.

    The tokenizer has no pad token, so rows are filled up with the end token.
    """
    column = torch.arange(tokens.shape[1])
    answer = column >= prompt_lengths[:, None]
    ends = (tokens == end_token) & answer
    padding = ends.cumsum(1) - ends.long() > 0  # an end token stood before
    return answer & ~padding


WAYS = {"wrong": learned_wrong, "right": learned_right}


def symptoms(pipeline: Pipeline, *, way: str, batches: int = 16) -> dict[str, Any]:
    """Loss, gold, and the share of answers that stop by themselves, along a short run on careful writers."""
    tokenizer = pipeline.tokenizer()
    count = batches * pipeline.profile.sft.batch
    rows = runs.encode(pipeline, runs.demonstration_rows(pipeline, crew="careful", count=count))
    filled = torch.where(rows.mask, rows.tokens, tokenizer.eos_token_id)
    prompt_lengths = (rows.mask & ~rows.response).sum(1)
    counted = WAYS[way](filled, prompt_lengths, end_token=tokenizer.eos_token_id)
    model = copy_of(pipeline.policy("base"))
    seen: dict[str, list[float]] = {"step": [], "stopped": [], "gold": [], "loss": []}
    requests = runs.requests(pipeline, count=pipeline.profile.test_prompts)[:128]

    def look(step: int, entry: dict[str, float]) -> None:
        if step not in LOOKS:
            return
        drawn = draw(
            model,
            tokenizer,
            [encode_prompt(tokenizer, request.text) for request in requests],
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=torch.Generator().manual_seed(pipeline.seed),
        )
        texts = response_texts(tokenizer, drawn)
        stopped = (drawn.tokens.eq(tokenizer.eos_token_id) & drawn.response).any(1)
        golds = stories.gold_scores([request.text for request in requests], texts)
        seen["step"].append(step)
        seen["stopped"].append(float(stopped.float().mean()))
        seen["gold"].append(sum(golds) / len(golds))
        seen["loss"].append(entry["loss"])

    config = runs.settings(pipeline, count, updates=LOOKS[-1])
    sft(
        model,
        Sequences(rows.tokens, rows.mask, counted),
        config=config,
        generator=pipeline.generator("chapter 03 bug"),
        hooks=[look],
    )
    return seen


BUG_HUNT = BugHunt(
    title="The loss is fine, but the model no longer stops",
    wrong=learned_wrong,
    right=learned_right,
    explanation=(
        "Rows are filled up with the end token, and the mask leaves out every end token, the real one at the "
        "end of each answer included. Nothing then teaches the model to stop. What it knew of stopping from "
        "pretraining fades within a few updates, because all other tokens are still learned; the loss does not "
        "show it, for the tokens that would are not counted. The cure is to count up to the first end token, "
        "or better, to give padding a token of its own."
    ),
    source="trl issue 976, where a model never generates its end token; the same in transformers issue 23530",
    link="https://github.com/huggingface/trl/issues/976",
)
