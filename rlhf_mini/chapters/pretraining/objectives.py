"""Three models of about one size, trained on the same sentences in the same order with three objectives.

`causal` and `masked` are one Llama under two masks; `seq2seq` is an encoder–decoder with one layer on each
side instead of two in one stack. All three know the tokenizer's tokens and a mask token, so that their vocabularies are equal. Steps, batches and optimizer are equal too. What cannot be
equal is how many predictions a step teaches: every token for `causal` and `seq2seq`, 15% for `masked`.
"""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from rlhf_mini.chapters.pretraining.setting import (
    HEADS,
    WIDTH,
    generator_for,
    optimizer,
    sentence_batches,
    small_llama,
)
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.denoising import denoise, new_t5, noisy_batches
from rlhf_mini.methods.masked_lm import masked_batches, masked_lm
from rlhf_mini.methods.pretrain import PretrainConfig, pretrain
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline

STEPS, BATCH, LEARNING_RATE = 1_100, 32, 5e-3
MASKED_RATE, NOISE_RATE = 0.15, 0.3  # of the tokens: as in BERT, and as in BART
FEED_FORWARD = 160  # of the encoder–decoder, so that it has about as many weights as the others


def mask_token(pipeline: Pipeline) -> int:
    """The token that stands for a hole; the first after the tokenizer's own."""
    return len(pipeline.tokenizer())


def _adamw() -> OptimizerConfig:
    return optimizer(steps=STEPS, learning_rate=LEARNING_RATE)


def train_causal(pipeline: Pipeline) -> PreTrainedModel:
    """Next token, from the left."""
    model = small_llama(pipeline, extra_tokens=1)
    config = PretrainConfig(steps=STEPS, batch=1, block=2, optimizer=_adamw())
    pretrain(model, sentence_batches(pipeline, batch=BATCH), config=config)
    return model


def train_masked(pipeline: Pipeline) -> PreTrainedModel:
    """Hidden tokens, from both sides."""
    model = small_llama(pipeline, extra_tokens=1)
    batches = masked_batches(
        sentence_batches(pipeline, batch=BATCH),
        rate=MASKED_RATE,
        mask_token=mask_token(pipeline),
        words=len(pipeline.tokenizer()),
        generator=generator_for(pipeline, "masks"),
    )
    masked_lm(model, batches, steps=STEPS, optimizer=_adamw())
    return model


def train_seq2seq(pipeline: Pipeline) -> PreTrainedModel:
    """The whole text again, from a text with holes."""
    tokenizer = pipeline.tokenizer()
    model = new_t5(
        vocab_size=len(tokenizer) + 1,
        width=WIDTH,
        layers=1,
        heads=HEADS,
        feed_forward=FEED_FORWARD,
        pad_token=tokenizer.pad_token_id,
        seed=pipeline.seed_for("chapter 02, weights"),
    ).to(pipeline.device)
    batches = noisy_batches(
        sentence_batches(pipeline, batch=BATCH),
        rate=NOISE_RATE,
        mask_token=mask_token(pipeline),
        pad_token=tokenizer.pad_token_id,
        generator=generator_for(pipeline, "noise"),
    )
    denoise(model, batches, steps=STEPS, optimizer=_adamw())
    return model


OBJECTIVES: MappingProxyType[str, Callable[[Pipeline], PreTrainedModel]] = MappingProxyType(
    {"causal": train_causal, "masked": train_masked, "seq2seq": train_seq2seq}
)


def build(pipeline: Pipeline, folder: Path, *, objective: str) -> None:
    """Train one of the three and save it."""
    OBJECTIVES[objective](pipeline).save_pretrained(folder)


def trained(pipeline: Pipeline, objective: str) -> PreTrainedModel:
    """One of the three models, frozen; trained now unless it is kept."""
    folder = pipeline.kept(build, objective=objective)
    family = AutoModelForSeq2SeqLM if objective == "seq2seq" else AutoModelForCausalLM
    return freeze(family.from_pretrained(folder)).to(pipeline.device)
