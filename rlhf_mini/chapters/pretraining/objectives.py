"""Three models of about one size, trained on the same sentences in the same order with three objectives.

`causal` and `masked` are one Llama under two masks; `spans` is an encoder–decoder with one layer on each side
instead of two in one stack. All three know the tokenizer's tokens, a mask token and the
sentinels, so that their vocabularies are equal. Steps, batches and optimizer are equal too. What cannot be
equal is how many predictions a step teaches: every token for `causal`, 15% for `masked`, and 15% and the sentinels for `spans`.
"""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from rlhf_mini.chapters.pretraining.setting import (
    HEADS,
    SENTINELS,
    WIDTH,
    generator_for,
    optimizer,
    sentence_batches,
    small_llama,
)
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.masked_lm import masked_batches, masked_lm
from rlhf_mini.methods.pretrain import PretrainConfig, pretrain
from rlhf_mini.methods.span_corruption import new_t5, span_batches, span_corruption
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline

STEPS, BATCH, LEARNING_RATE = 1_100, 32, 5e-3
RATE = 0.15  # of hidden tokens, as in BERT and T5
FEED_FORWARD = 160  # of the encoder–decoder, so that it has about as many weights as the others


def mask_token(pipeline: Pipeline) -> int:
    """The token that stands for a hole; the first after the tokenizer's own."""
    return len(pipeline.tokenizer())


def sentinels(pipeline: Pipeline) -> list[int]:
    """The tokens that stand for spans."""
    first = mask_token(pipeline) + 1
    return [*range(first, first + SENTINELS)]


def _adamw() -> OptimizerConfig:
    return optimizer(steps=STEPS, learning_rate=LEARNING_RATE)


def train_causal(pipeline: Pipeline) -> PreTrainedModel:
    """Next token, from the left."""
    model = small_llama(pipeline, extra_tokens=1 + SENTINELS)
    config = PretrainConfig(steps=STEPS, batch=1, block=2, optimizer=_adamw())
    pretrain(model, sentence_batches(pipeline, batch=BATCH), config=config)
    return model


def train_masked(pipeline: Pipeline) -> PreTrainedModel:
    """Hidden tokens, from both sides."""
    model = small_llama(pipeline, extra_tokens=1 + SENTINELS)
    batches = masked_batches(
        sentence_batches(pipeline, batch=BATCH),
        rate=RATE,
        mask_token=mask_token(pipeline),
        words=len(pipeline.tokenizer()),
        generator=generator_for(pipeline, "masks"),
    )
    masked_lm(model, batches, steps=STEPS, optimizer=_adamw())
    return model


def train_spans(pipeline: Pipeline) -> PreTrainedModel:
    """Hidden spans, from both sides, written out one after the other."""
    tokenizer = pipeline.tokenizer()
    model = new_t5(
        vocab_size=len(tokenizer) + 1 + SENTINELS,
        width=WIDTH,
        layers=1,
        heads=HEADS,
        feed_forward=FEED_FORWARD,
        pad_token=tokenizer.pad_token_id,
        seed=pipeline.seed_for("chapter 02, weights"),
    ).to(pipeline.device)
    batches = span_batches(
        sentence_batches(pipeline, batch=BATCH),
        rate=RATE,
        sentinels=sentinels(pipeline),
        pad_token=tokenizer.pad_token_id,
        generator=generator_for(pipeline, "spans"),
    )
    span_corruption(model, batches, steps=STEPS, optimizer=_adamw())
    return model


OBJECTIVES: MappingProxyType[str, Callable[[Pipeline], PreTrainedModel]] = MappingProxyType(
    {"causal": train_causal, "masked": train_masked, "spans": train_spans}
)


def build(pipeline: Pipeline, folder: Path, *, objective: str) -> None:
    """Train one of the three and save it."""
    OBJECTIVES[objective](pipeline).save_pretrained(folder)


def trained(pipeline: Pipeline, objective: str) -> PreTrainedModel:
    """One of the three models, frozen; trained now unless it is kept."""
    folder = pipeline.kept(build, objective=objective)
    family = AutoModelForSeq2SeqLM if objective == "spans" else AutoModelForCausalLM
    return freeze(family.from_pretrained(folder)).to(pipeline.device)
