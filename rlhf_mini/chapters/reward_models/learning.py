"""What a reward model's accuracy depends on: labels, size, where it starts, how often it sees a label."""

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlhf_mini.chapters.reward_models.runs import (
    LABELS,
    ceilings,
    held_out,
    judgement,
    labelled,
    load,
    member,
    trained,
)
from rlhf_mini.methods.reward_model import normalise, train_reward_model
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories

SIZES = (LABELS // 4, LABELS // 2, LABELS, 2 * LABELS)  # and all of the pipeline's
STARTS = ("sft", "base", "scratch")
COMPARED = 2 * LABELS  # labels of the runs that start in different places
PASSES = 4


def whole(pipeline: Pipeline) -> dict[str, Any]:
    """The pipeline's reward model on the held-out pairs, in all and by rating, beside the ceilings."""
    rows, _ = held_out(pipeline)
    found = judgement(pipeline, pipeline.reward_model())
    numbers: dict[str, Any] = found.metrics()
    for rating in stories.RATINGS:
        own = [index for index, name in enumerate(rows["rating"]) if name == rating]
        numbers[f"accuracy {rating}"] = float((found.leads[own] > 0).double().mean())
        numbers[f"pairs {rating}"] = len(own)
    curve = found.curve()
    numbers |= {f"ceiling_{name}": value for name, value in ceilings(pipeline).items()}
    return numbers | {"stated": list(curve.stated), "happened": list(curve.happened)}


def on_labels(pipeline: Pipeline, *, labels: int, start: str = "sft", epochs: int = 1) -> dict[str, Any]:
    """A run on the first labels, on the held-out pairs, with its reliability curve."""
    if (labels, start, epochs) == (LABELS, "sft", 1):
        model = member(pipeline, 0)
    else:
        model = load(pipeline.kept(trained, labels=labels, start=start, epochs=epochs))
    found = judgement(pipeline, model)
    curve = found.curve()
    return {
        **found.metrics(),
        "overconfidence": curve.overconfidence,
        "stated": list(curve.stated),
        "happened": list(curve.happened),
    }


@lru_cache(maxsize=2)
def small_pipeline(pipeline: Pipeline) -> Pipeline:
    """The same pipeline with the profile's small model."""
    profile = dataclasses.replace(pipeline.profile, **pipeline.profile.small_model)
    return Pipeline(profile, seed=pipeline.seed, cache=pipeline.store.root)


def small_run(pipeline: Pipeline, folder: Path, *, labels: int) -> None:
    """A kept run of the small model: pretrained as the large one was, on the large one's tokens and labels."""
    pairs = pack_pairs(pipeline.tokenizer(), labelled(pipeline).select(range(labels)))
    model = new_reward_model(small_pipeline(pipeline).policy("base"), seed=pipeline.seed).requires_grad_(True)
    train_reward_model(
        model,
        pairs,
        config=pipeline.profile.reward_model,
        generator=pipeline.generator("chapter 04 order 0"),
    )
    normalise(model, pairs.rejected)
    model.save_pretrained(folder)


def small(pipeline: Pipeline, *, labels: int = COMPARED) -> dict[str, float]:
    """The small model's run on the held-out pairs."""
    return judgement(pipeline, load(pipeline.kept(small_run, labels=labels))).metrics()
