"""A small scaling law: the held-out loss against the size of the model, and against the size of the data.

The floor of the loss is what an endlessly large model would reach with the same data and steps. It lies at or
above the entropy of the grammar, which is known. The law is fitted with the entropy as its floor, and once more with
a floor of its own, to see how little four sizes say about it.
"""

from dataclasses import replace
from typing import Any

from rlhf_mini.chapters.pretraining.runs import Run
from rlhf_mini.evaluation.power_law import fit_floor, fit_power_law, straight_line_misfit
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

WIDTHS = (8, 16, 32, 64)
SIZES = (50, 400, 3_840)


def run_of(width: int) -> Run:
    """A run at this width, with a rate in inverse proportion to the width, and a longer warm-up than `Run`'s.

    One rate for all would favour the width that it was found for. Twice this rate trains further, but on the
    edge of stability: on one seed of two the width of 32 then ended above the width of 16.
    """
    return Run(width=width, learning_rate=0.32 / width, warmup_steps=40)


def model_scaling(pipeline: Pipeline) -> dict[str, Any]:
    """Loss in nats per token at each width, all trained on as many tokens, and the fitted law."""
    results = [run_of(width).measured(pipeline) for width in WIDTHS]
    parameters, losses = [float(r["parameters"]) for r in results], [r["held_out"][-1] for r in results]
    floor = stories.entropy() / results[0]["tokens_per_document"]
    known, fitted = fit_power_law(parameters, losses, floor=floor), fit_floor(parameters, losses)
    return {
        "parameters": parameters,
        "losses": losses,
        "entropy": floor,
        "exponent": known.exponent,
        "scale": known.scale,
        "r_squared": known.r_squared,
        "misfit": known.misfit(parameters, losses),
        "misfit_of_a_line": straight_line_misfit(parameters, losses),
        "fitted_floor": fitted.floor,
        "fitted_exponent": fitted.exponent,
    }


def data_scaling(pipeline: Pipeline) -> dict[str, Any]:
    """Loss against the number of different documents, the steps being equal: last, and best on the way.

    With few documents each is seen many times, and the last held-out loss is above the best.
    """
    run = run_of(WIDTHS[-1])
    results = [replace(run, documents=size).measured(pipeline) for size in SIZES]
    floor = stories.entropy() / results[0]["tokens_per_document"]
    best, last = [min(r["held_out"]) for r in results], [r["held_out"][-1] for r in results]
    law = fit_power_law([float(size) for size in SIZES], best, floor=floor)
    return {
        "documents": [float(size) for size in SIZES],
        "best": best,
        "last": last,
        "training": [sum(r["loss"][-20:]) / 20 for r in results],
        "entropy": floor,
        "exponent": law.exponent,
        "r_squared": law.r_squared,
    }
