"""The chapter's bug hunt: a loss that looks right and falls, and a model that answers worse than it should."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.loop import fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.models import copy_of, token_logits
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt
from rlhf_mini.tensors import masked_mean, token_logp
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.parser import read_sentence, split_sentences

LOOKS = (4, 8, 16, 32, 64)


def batch_loss_wrong(logits: Tensor, tokens: Tensor, response: Tensor) -> Tensor:
    """The mean loss over the answers' tokens: logits (B, T, V), tokens (B, T), response (B, T) bool."""
    losses = next_token_loss(token_logp(logits, tokens))[:, 1:]  # nothing predicts the first token
    counted = response[:, :-1]
    return masked_mean(losses, counted)


def batch_loss_right(logits: Tensor, tokens: Tensor, response: Tensor) -> Tensor:
    """The mean loss over the answers' tokens: logits (B, T, V), tokens (B, T), response (B, T) bool."""
    losses = next_token_loss(token_logp(logits, tokens))[:, 1:]  # nothing predicts the first token
    counted = response[:, 1:]
    return masked_mean(losses, counted)


def batch_loss_without_end(logits: Tensor, tokens: Tensor, response: Tensor) -> Tensor:
    """The right mean, but for the last token of every answer, which does not count."""
    last = response & (response.cumsum(1) == response.sum(1, keepdim=True))
    return batch_loss_right(logits, tokens, response & ~last)


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "wrong": batch_loss_wrong,
    "right": batch_loss_right,
    "without end": batch_loss_without_end,
}


def symptoms(pipeline: Pipeline, *, way: str, batches: int = 16) -> dict[str, Any]:
    """Loss, gold, and the share of answers that open as a story does and that stop, along a short run.

    64 updates on careful writers, looked at `LOOKS`.
    """
    tokenizer, batch_loss = pipeline.tokenizer(), WAYS[way]
    count = batches * pipeline.profile.sft.batch
    rows = runs.encode(pipeline, runs.demonstration_rows(pipeline, crew="careful", count=count))
    config = runs.settings(pipeline, count, updates=LOOKS[-1])
    generator = pipeline.generator("chapter 03 bug")
    model = copy_of(pipeline.policy("base"))

    def source() -> Iterator[Sequences]:
        for index in shuffled_batches(
            rows.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        ):
            yield rows.rows(index).to(model.device)

    def loss_fn(batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        logits = token_logits(model, batch.tokens, batch.mask).float()
        return batch_loss(logits, batch.tokens, batch.response), {}

    def look(step: int, entry: dict[str, Any]) -> None:
        if step in LOOKS:
            entry |= {"step": step, **_seen(pipeline, model, tokenizer.eos_token_id)}

    history = fit(
        model, source(), loss_fn, optimizer=config.optimizer, steps=LOOKS[-1], hooks=[look], description=way
    )
    looked = [entry for entry in history if "gold" in entry]
    return {name: [entry[name] for entry in looked] for name in ("step", "loss", "gold", "opened", "stopped")}


def _seen(pipeline: Pipeline, model: Any, end_token: int) -> dict[str, float]:
    requests = runs.requests(pipeline, count=pipeline.profile.test_prompts)[:128]
    drawn = draw(
        model,
        pipeline.tokenizer(),
        [encode_prompt(pipeline.tokenizer(), request.text) for request in requests],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=torch.Generator().manual_seed(pipeline.seed),
    )
    texts = response_texts(pipeline.tokenizer(), drawn)
    golds = stories.gold_scores([request.text for request in requests], texts)
    stopped = (drawn.tokens.eq(end_token) & drawn.response).any(1)
    return {
        "gold": sum(golds) / len(golds),
        "opened": sum(opens(text) for text in texts) / len(texts),
        "stopped": float(stopped.float().mean()),
    }


def opens(text: str) -> bool:
    """Whether the text begins as a story or a decline does.

    >>> opens("Far away, near the lake, lived a lonely fox."), opens("re was a fox.")
    (True, False)
    """
    first = split_sentences(text)[:1]
    return bool(first) and (
        read_sentence(first[0]).role in ("opening", "start") or stories.read_story(text).declined
    )


BUG_HUNT = BugHunt(
    title="The loss is even a little lower than usual, and the answers begin in the wrong place",
    wrong=batch_loss_wrong,
    right=batch_loss_right,
    explanation=(
        "The losses are aligned with the tokens: column t speaks about token t. Cutting off column 0 keeps that "
        "order, and so the mask must lose its column 0, too. Cutting off its last column instead shifts the mask "
        "by one: the first token of every answer is never learned, and where a row goes on, the padding behind "
        "its end token is. The first token is the least predictable of an answer, and padding the most "
        "predictable, so that the loss looks better. The model is left without a beginning."
    ),
    source="OpenRLHF issue 973, where SFT lost the first token of every answer; verl mended the same in pull request 3287",
    link="https://github.com/OpenRLHF/OpenRLHF/issues/973",
)
