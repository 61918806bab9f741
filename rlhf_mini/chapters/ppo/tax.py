"""The alignment tax, and what practising the pretraining text (PPO-ptx) does about it."""

from dataclasses import replace
from typing import Any

from rlhf_mini.chapters.ppo.runs import story_loss, usual, watched_run
from rlhf_mini.methods.pretrain import pack_documents
from rlhf_mini.methods.pretraining_mix import pretraining_mix
from rlhf_mini.methods.rehearsal import RehearsalConfig
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

PRACTISED = 4096  # documents, the first of the pretraining text


def with_pretraining_mix(pipeline: Pipeline, *, weight: float, documents: int) -> dict[str, Any]:
    """A watched run of PPO-ptx with γ = `weight` and so many documents a step; see `runs.outcome`."""
    parts, rng = usual(pipeline), pipeline.rng("documents")
    count = min(pipeline.profile.documents, PRACTISED)
    texts = pack_documents(pipeline.tokenizer(), [stories.draw_document(rng) for _ in range(count)])
    mix = pretraining_mix(
        parts.policy,
        texts,
        config=RehearsalConfig(documents_per_step=documents, document_weight=weight),
        generator=pipeline.generator("pretraining mix"),
    )
    return watched_run(pipeline, replace(parts, auxiliary=mix))


def before(pipeline: Pipeline) -> dict[str, float]:
    """The loss on held-out plain stories of the base and of the SFT model, in nats a document."""
    return {stage: story_loss(pipeline, pipeline.policy(stage)) for stage in ("base", "sft")}
