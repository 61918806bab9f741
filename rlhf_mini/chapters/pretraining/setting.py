"""What the chapter's experiments share: their texts, their small models, their optimizer."""

import math
from collections.abc import Iterator

import torch
from transformers import LlamaForCausalLM

from rlhf_mini.batch import Sequences
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.pretrain import document_batches, pack_documents
from rlhf_mini.models import new_llama
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.grammar import write_sentences

WIDTH, LAYERS, HEADS, BATCH = 64, 2, 4, 16
DOCUMENTS, STORIES = 8_000, 3_000


def optimizer(*, steps: int, learning_rate: float = 1e-2) -> OptimizerConfig:
    """AdamW as for the base model: a short warm-up, then a linear decay."""
    return OptimizerConfig(
        learning_rate=learning_rate, warmup_steps=min(50, math.ceil(steps / 10)), final_fraction=0.05
    )


def draw_documents(pipeline: Pipeline, count: int, *, purpose: str) -> list[str]:
    """`count` documents of the world; another purpose, other documents."""
    rng = pipeline.rng(f"chapter 02, {purpose}")
    return [stories.draw_document(rng) for _ in range(count)]


def training_batches(
    pipeline: Pipeline, *, batch: int = BATCH, documents: int = DOCUMENTS, purpose: str = "training"
) -> Iterator[Sequences]:
    """Endless batches of whole documents, the same for every model that asks with the same words."""
    packed = pack_documents(pipeline.tokenizer(), draw_documents(pipeline, documents, purpose=purpose))
    return document_batches(packed, batch=batch, generator=pipeline.generator(f"chapter 02, {purpose} order"))


def draw_sentences(pipeline: Pipeline, stories_: int, *, purpose: str) -> list[tuple[str, str]]:
    """All sentences of so many stories, each with its role in its story."""
    rng, result = pipeline.rng(f"chapter 02, {purpose}"), []
    for _ in range(stories_):
        facts = stories.draw_facts(rng)
        result += [*zip(write_sentences(facts, rng), facts.shape, strict=True)]
    return result


def sentence_batches(pipeline: Pipeline, *, batch: int) -> Iterator[Sequences]:
    """Endless batches of single sentences, the same for every model."""
    sentences = [text for text, _ in draw_sentences(pipeline, STORIES, purpose="sentences")]
    packed = pack_documents(pipeline.tokenizer(), sentences)
    return document_batches(packed, batch=batch, generator=pipeline.generator("chapter 02, sentence order"))


def small_llama(pipeline: Pipeline, *, width: int = WIDTH, extra_tokens: int = 0) -> LlamaForCausalLM:
    """A new Llama of the chapter's size on the pipeline's device; `extra_tokens` follow the tokenizer's."""
    tokenizer = pipeline.tokenizer()
    return new_llama(
        vocab_size=len(tokenizer) + extra_tokens,
        width=width,
        layers=LAYERS,
        heads=min(HEADS, width // 8),
        context=pipeline.profile.context,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=pipeline.seed_for("chapter 02, weights"),
    ).to(pipeline.device)


def generator_for(pipeline: Pipeline, purpose: str) -> torch.Generator:
    """Random numbers of the chapter's own for one purpose."""
    return pipeline.generator(f"chapter 02, {purpose}")
