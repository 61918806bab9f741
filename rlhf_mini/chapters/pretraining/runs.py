"""Many short trainings, each kept by its settings, so that experiments that share a run share its result."""

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.pretraining.setting import draw_documents, generator_for
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.pretrain import (
    PretrainConfig,
    document_batches,
    document_loss,
    pack_documents,
    pretrain,
)
from rlhf_mini.models import new_llama
from rlhf_mini.pipeline import Pipeline

HELD_OUT = 150
LAYERS, CONTEXT = 2, 512


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings of one short training.

    The held-out loss is measured `looks` times, evenly spread, the last time at the end.
    """

    width: int = 64
    steps: int = 240
    batch: int = 16
    documents: int = 3_840
    learning_rate: float = 1e-2
    warmup_steps: int = 20
    final_fraction: float = 0.05
    clip_norm: float = 1.0
    looks: int = 5

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """What the run gave; trained now unless it is kept."""
        return pipeline.measured(train, **asdict(self))


@lru_cache(maxsize=4)
def _packed(pipeline: Pipeline, documents: int) -> Sequences:
    return pack_documents(pipeline.tokenizer(), draw_documents(pipeline, documents, purpose="runs"))


def train(pipeline: Pipeline, **settings: Any) -> dict[str, Any]:
    """Train a new model and measure it on held-out documents.

    Gives its parameters without the embedding, the training loss of each step in nats per token, the steps
    of the looks with the held-out loss in nats per token at each, and how many tokens a document has.
    """
    run = Run(**settings)
    tokenizer = pipeline.tokenizer()
    model = new_llama(
        vocab_size=len(tokenizer),
        width=run.width,
        layers=LAYERS,
        heads=max(1, min(4, run.width // 8)),
        context=CONTEXT,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=pipeline.seed_for("chapter 02, weights"),
    ).to(pipeline.device)
    held_out = draw_documents(pipeline, HELD_OUT, purpose="held-out documents")
    tokens = float(pack_documents(tokenizer, held_out).response.sum()) / HELD_OUT
    looks: dict[int, float] = {}

    def look(step: int, entry: dict[str, float]) -> None:
        if step % math.ceil(run.steps / run.looks) == 0 or step == run.steps:
            looks[step] = document_loss(model, tokenizer, held_out)

    history = pretrain(
        model,
        document_batches(
            _packed(pipeline, run.documents),
            batch=run.batch,
            generator=generator_for(pipeline, "runs"),
        ),
        config=PretrainConfig(steps=run.steps, batch=run.batch, block=2, optimizer=_optimizer(run)),
        hooks=[look],
    )
    return {
        "parameters": sum(p.numel() for p in model.model.layers.parameters()),
        "loss": [entry["loss"] for entry in history],
        "looks": list(looks),
        "held_out": [value / tokens for value in looks.values()],
        "tokens_per_document": tokens,
    }


def _optimizer(run: Run) -> OptimizerConfig:
    return OptimizerConfig(
        learning_rate=run.learning_rate,
        warmup_steps=run.warmup_steps,
        final_fraction=run.final_fraction,
        clip_norm=run.clip_norm,
    )
