"""What a reward model's accuracy depends on: labels, where it starts, how often it sees a label."""

from typing import Any

from rlhf_mini.chapters.reward_models.runs import (
    LABELS,
    ceilings,
    held_out,
    judgement,
    load,
    member,
    trained,
)
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

SIZES = (LABELS // 4, LABELS // 2, LABELS)  # and all of the pipeline's
STARTS = ("sft", "scratch")
COMPARED = LABELS  # labels of the runs that start in different places
PASSES, FEW = 4, LABELS // 4  # how often the run that overfits sees how many labels


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
