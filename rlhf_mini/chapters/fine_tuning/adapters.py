"""Full fine-tuning against LoRA, on the same demonstrations and for the same number of updates."""

import dataclasses
from pathlib import Path

from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.methods.sft import response_loss, sft
from rlhf_mini.models import copy_of
from rlhf_mini.models.lora import add_lora, merge_lora, trainable_parameters
from rlhf_mini.pipeline import Pipeline

FASTER = 5.0  # LoRA's learning rate, as a multiple of full fine-tuning's


def adapted(pipeline: Pipeline, folder: Path, *, rank: int) -> None:
    """A kept run on the mixed crew in which only low-rank changes learn; saved merged, as a plain model."""
    count = 64 * pipeline.profile.sft.batch
    model = copy_of(pipeline.policy("base"))
    add_lora(model, rank=rank, alpha=2 * rank, generator=pipeline.generator("chapter 03 lora"))
    config = runs.settings(pipeline, count)
    faster = dataclasses.replace(config.optimizer, learning_rate=FASTER * config.optimizer.learning_rate)
    history = sft(
        model,
        runs.encode(pipeline, runs.demonstration_rows(pipeline, crew="mixed", count=count)),
        config=dataclasses.replace(config, optimizer=faster),
        generator=pipeline.generator("chapter 03 sft"),
    )
    history[-1]["trainable"] = trainable_parameters(model)
    merge_lora(model)
    runs.save(model, history, folder)


def full_or_lora(pipeline: Pipeline, *, rank: int) -> dict[str, float]:
    """Gold, answer loss, loss on plain stories and numbers trained; rank 0 is full fine-tuning."""
    folder = runs.run_on(pipeline, crew="mixed") if rank == 0 else pipeline.kept(adapted, rank=rank)
    model, history = runs.load(folder), runs.history_of(folder)
    good, _ = runs.good_and_bad(pipeline)
    seconds = sorted(entry["seconds"] for entry in history)
    return {
        "gold": runs.judged(pipeline, model).metrics()["gold"],
        "answer_nats": response_loss(model, good),
        "document_nats": response_loss(model, runs.held_out_documents(pipeline)),
        "trainable": history[-1].get("trainable", model.num_parameters()),
        "seconds_per_update": seconds[len(seconds) // 2],
    }
