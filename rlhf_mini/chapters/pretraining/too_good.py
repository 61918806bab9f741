"""A loss that is too good: what a colleague wrote, what it does to training, what the model then writes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.pretraining.setting import (
    draw_documents,
    generator_for,
    optimizer,
    small_llama,
    training_batches,
)
from rlhf_mini.data.tokenizer import decode_response
from rlhf_mini.loop import fit
from rlhf_mini.methods.pretrain import document_loss
from rlhf_mini.models import sample, token_logits
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.tensors import masked_mean, token_logp
from rlhf_mini.worlds import stories

STEPS, WIDTH, HELD_OUT = 120, 32, 100


def colleagues_loss(model: PreTrainedModel, batch: Sequences) -> Tensor:
    """Mean −log p of the tokens that count."""
    logits = token_logits(model, batch.tokens, batch.mask)
    logp_all = logits.log_softmax(dim=-1)
    logp = logp_all.gather(-1, batch.tokens[..., None]).squeeze(-1)
    return -masked_mean(logp, batch.response)


def repaired_loss(model: PreTrainedModel, batch: Sequences) -> Tensor:
    """Mean −log p of the tokens that count, each predicted from those before it."""
    logits = token_logits(model, batch.tokens, batch.mask)
    logp = token_logp(logits, batch.tokens)
    return -masked_mean(logp, batch.response)


def train_with(
    pipeline: Pipeline, loss: Callable[[PreTrainedModel, Sequences], Tensor]
) -> tuple[PreTrainedModel, list[float]]:
    """A small model trained on a loss, and the loss of every step."""
    model = small_llama(pipeline, width=WIDTH)
    history = fit(
        model,
        training_batches(pipeline, documents=2_400, purpose="bug hunt"),
        lambda batch: (loss(model, batch.to(model.device)), {}),
        optimizer=optimizer(steps=STEPS),
        steps=STEPS,
    )
    return model, [entry["loss"] for entry in history]


def symptoms(pipeline: Pipeline) -> dict[str, Any]:
    """Training and true held-out losses of both, in nats a token, and what each model writes."""
    tokenizer = pipeline.tokenizer()
    held_out = draw_documents(pipeline, HELD_OUT, purpose="bug hunt, held out")
    tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1 for text in held_out)
    result: dict[str, Any] = {
        "entropy": stories.entropy() * HELD_OUT / tokens,
        "log_vocabulary": math.log(len(tokenizer)),
    }
    for name, loss in (("wrong", colleagues_loss), ("right", repaired_loss)):
        model, losses = train_with(pipeline, loss)
        result[name] = losses
        result[f"held_out_{name}"] = document_loss(model, tokenizer, held_out) * HELD_OUT / tokens
        result[f"written_{name}"] = _one_text(pipeline, model)
    return result


@torch.no_grad()
def _one_text(pipeline: Pipeline, model: PreTrainedModel) -> str:
    tokenizer = pipeline.tokenizer()
    prompt = [tokenizer.bos_token_id, *tokenizer("Once upon a time", add_special_tokens=False)["input_ids"]]
    samples = sample(
        model,
        [prompt],
        max_new_tokens=24,
        stop_tokens=[tokenizer.eos_token_id],
        pad_token=tokenizer.pad_token_id,
        generator=generator_for(pipeline, "bug hunt"),
    )
    return decode_response(tokenizer, samples.tokens[0][samples.response[0]].tolist())
