"""What the chapter's experiments share: crews of writers, fine-tuning runs that are kept, and how they are judged.

All runs start at the pipeline's base model, take `UPDATES` steps with the profile's settings, and are judged on
the same held-out requests with the same random numbers, so that two runs differ in what the experiment changes
and in nothing else.
"""

import dataclasses
import json
import math
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.evaluation.policy import Judged, judge_policy
from rlhf_mini.loop import Hook
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.pretrain import pack_documents
from rlhf_mini.methods.sft import SFTConfig, response_loss, sft
from rlhf_mini.models import copy_of, freeze, response_logp
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.tensors import masked_sum
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.demonstrators import CAREFUL, HASTY, RAMBLING

UPDATES = 128
CREWS = {
    "careful": ((CAREFUL, 1.0),),
    "mixed": stories.CREW,
    "careless": ((HASTY, 0.5), (RAMBLING, 0.5)),
}
MOMENTS = (1, 4, 8, 16, 32, 64, 96, 128)  # updates at which a watched run is looked at, after the start

Row = dict[str, str]


def demonstration_rows(pipeline: Pipeline, *, crew: str, count: int) -> list[Row]:
    """The first `count` demonstrations of a crew; every crew answers the same prompts."""
    return stories.demonstrations(count, seed=pipeline.seed_for("chapter 03"), crew=CREWS[crew])


def encode(pipeline: Pipeline, rows: Sequence[Row]) -> Sequences:
    """Demonstrations as token sequences, in the chat's form."""
    return pack_texts(
        pipeline.tokenizer(), [row["prompt"] for row in rows], [row["completion"] for row in rows]
    )


def settings(pipeline: Pipeline, count: int, *, updates: int = UPDATES) -> SFTConfig:
    """The profile's settings with as many epochs as make `updates` updates on `count` demonstrations."""
    config = pipeline.profile.sft
    epochs, rest = divmod(updates * config.batch, count)
    if rest or not epochs:
        raise ValueError(f"{updates} updates on batches of {config.batch} are no whole epochs of {count}")
    return dataclasses.replace(config, epochs=epochs)


def fine_tuned(
    pipeline: Pipeline,
    folder: Path,
    *,
    crew: str,
    batches: int,
    updates: int = UPDATES,
    watched: bool = False,
) -> None:
    """A kept run: the base model fine-tuned on `batches` batches of a crew's demonstrations, over and over."""
    count = batches * pipeline.profile.sft.batch
    train_and_save(
        pipeline,
        folder,
        demonstration_rows(pipeline, crew=crew, count=count),
        updates=updates,
        watched=watched,
    )


def train_and_save(
    pipeline: Pipeline, folder: Path, rows: Sequence[Row], *, updates: int = UPDATES, watched: bool = False
) -> None:
    """Fine-tune a copy of the base model on these rows; save the model and its history."""
    model = copy_of(pipeline.policy("base"))
    history = sft(
        model,
        encode(pipeline, rows),
        config=settings(pipeline, len(rows), updates=updates),
        generator=pipeline.generator("chapter 03 sft"),
        hooks=[watch(pipeline, model)] if watched else [],
    )
    save(model, history, folder)


def save(model: PreTrainedModel, history: list[dict[str, Any]], folder: Path) -> None:
    """Model and history into a folder, as the pipeline's stages have them."""
    model.save_pretrained(folder)
    (folder / "history.json").write_text(json.dumps(history))


def load(folder: Path) -> PreTrainedModel:
    """The model of a kept run, frozen."""
    return freeze(AutoModelForCausalLM.from_pretrained(folder))


def history_of(folder: Path) -> list[dict[str, Any]]:
    """What a kept run logged, one entry a step."""
    return json.loads((folder / "history.json").read_text())


def run_on(pipeline: Pipeline, *, crew: str, batches: int = 64) -> Path:
    """The folder of a crew's standard run; those on the most demonstrations are watched."""
    return pipeline.kept(fine_tuned, crew=crew, batches=batches, watched=batches == 64 and crew != "careless")


def watched_entries(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries at which a watched run was looked at, each with its `step`."""
    return [{"step": step, **entry} for step, entry in enumerate(history, start=1) if "gold" in entry]


# --------------------------------------------------------------------------------------------- judging


@lru_cache(maxsize=4)
def requests(pipeline: Pipeline, *, count: int) -> list[stories.Request]:
    """Held-out requests: their pairs of hero and object stand in no training text and no demonstration."""
    seed = pipeline.seed_for("chapter 03 held-out requests")
    return stories.draw_requests(count, seed=seed, held_out=True)


def judged(pipeline: Pipeline, model: PreTrainedModel, *, count: int | None = None) -> Judged:
    """One answer to each held-out request (twice the profile's test prompts), always from the same randomness."""
    asked = requests(pipeline, count=count or 2 * pipeline.profile.test_prompts)
    return judge_policy(
        model,
        pipeline.tokenizer(),
        asked,
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=torch.Generator().manual_seed(pipeline.seed),
    )


@lru_cache(maxsize=4)
def held_out_documents(pipeline: Pipeline) -> Sequences:
    """Plain stories that pretraining did not see."""
    rng = pipeline.rng("chapter 03 documents")
    return pack_documents(pipeline.tokenizer(), [stories.draw_document(rng) for _ in range(256)])


@lru_cache(maxsize=4)
def good_and_bad(pipeline: Pipeline) -> tuple[Sequences, Sequences]:
    """To the same held-out requests, a careful answer (gold 3.5 and above) and a careless one (below 2)."""
    rng = pipeline.rng("chapter 03 good and bad")
    good, bad = [], []
    for request in requests(pipeline, count=pipeline.profile.test_prompts):
        good.append(_written(request, "careful", rng, low=3.5, high=math.inf))
        bad.append(_written(request, "careless", rng, low=-math.inf, high=2.0))
    return encode(pipeline, good), encode(pipeline, bad)


def _written(request: stories.Request, crew: str, rng: random.Random, *, low: float, high: float) -> Row:
    """A crew's answer whose gold is in [low, high)."""
    while True:
        text = stories.demonstrate(request, rng.choice(CREWS[crew])[0], rng)
        if low <= stories.gold(request, text).total < high:
            return {"prompt": request.text, "completion": text}


@torch.no_grad()
def mean_sequence_logp(model: PreTrainedModel, sequences: Sequences) -> float:
    """log p of a whole answer given its prompt, in nats per answer, on average."""
    logp = response_logp(model, sequences.tokens, sequences.mask, sequences.response)
    return -float(masked_sum(next_token_loss(logp), sequences.response)) / len(sequences)


def look(pipeline: Pipeline, model: PreTrainedModel) -> dict[str, Any]:
    """What a watched run is asked: gold, what it still knows, how likely good and bad answers are to it."""
    good, bad = good_and_bad(pipeline)
    answers = judged(pipeline, model, count=pipeline.profile.test_prompts)
    return {
        "gold": answers.metrics()["gold"],
        "document_nats": response_loss(model, held_out_documents(pipeline)),
        "logp_good": mean_sequence_logp(model, good),
        "logp_bad": mean_sequence_logp(model, bad),
        "answers": answers.answers[:8],
        "golds": [gold.total for gold in answers.golds[:8]],
    }


def watch(pipeline: Pipeline, model: PreTrainedModel) -> Hook:
    """A hook that looks at the model at `MOMENTS`."""

    def hook(step: int, entry: dict[str, Any]) -> None:
        if step in MOMENTS:
            entry |= look(pipeline, model)

    return hook
