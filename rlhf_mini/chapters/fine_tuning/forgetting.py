"""What fine-tuning forgets of the pretraining text, and what rehearsing some of that text does."""

from pathlib import Path
from typing import Any

from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.methods.pretrain import pack_documents
from rlhf_mini.methods.rehearsal import RehearsalConfig, sft_with_rehearsal
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories


def rehearsed(pipeline: Pipeline, folder: Path, *, documents: int) -> None:
    """A kept and watched run on the mixed crew that also predicts `documents` plain stories a step."""
    count = 64 * pipeline.profile.sft.batch
    rng = pipeline.rng("documents")  # the pretraining text itself, from its start
    plain = [stories.draw_document(rng) for _ in range(min(pipeline.profile.documents, 4096))]
    model = copy_of(pipeline.policy("base"))
    history = sft_with_rehearsal(
        model,
        runs.encode(pipeline, runs.demonstration_rows(pipeline, crew="mixed", count=count)),
        pack_documents(pipeline.tokenizer(), plain),
        config=runs.settings(pipeline, count),
        rehearsal=RehearsalConfig(documents_per_step=documents, document_weight=0.5),
        generator=pipeline.generator("chapter 03 sft"),
        hooks=[runs.watch(pipeline, model)],
    )
    runs.save(model, history, folder)


def trajectories(pipeline: Pipeline, *, documents: int) -> dict[str, Any]:
    """Gold and the loss on plain text along three runs: mixed, mixed with rehearsal, careful."""
    start = runs.look(pipeline, pipeline.policy("base"))
    folders = {
        "mixed": runs.run_on(pipeline, crew="mixed"),
        "rehearsed": pipeline.kept(rehearsed, documents=documents),
        "careful": runs.run_on(pipeline, crew="careful"),
    }
    result: dict[str, Any] = {"step": [0, *runs.MOMENTS]}
    for name, folder in folders.items():
        seen = [start, *runs.watched_entries(runs.history_of(folder))]
        for key in ("gold", "document_nats", "logp_good", "logp_bad", "answers", "golds"):
            result[f"{key}_{name}"] = [entry[key] for entry in seen]
        result[f"seconds_{name}"] = _training_seconds(folder)
    return result


def _training_seconds(folder: Path) -> float:
    """The median step's seconds, times the steps: what training took, looking apart."""
    seconds = sorted(entry["seconds"] for entry in runs.history_of(folder))
    return seconds[len(seconds) // 2] * len(seconds)
