"""What several bug hunts tell alike: where each training ended, and two of them on their way."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_mini.reader import Curve, Picture, training_curves


def ends_of(runs: Mapping[str, Mapping[str, Any]], measures: Sequence[str]) -> dict[str, float]:
    """Where every training ended, in flat names: `loss wrong`, `moved right` and so on.

    `runs`: way of training → symptom → a number, or a list of numbers, one a look, of which the last counts.

    >>> ends_of({"wrong": {"loss": [0.7, 0.6], "moved": 1.5}}, ("loss", "moved"))
    {'loss wrong': 0.6, 'moved wrong': 1.5}
    """
    return {f"{name} {way}": _last(run[name]) for way, run in runs.items() for name in measures}


def _last(found: Any) -> float:
    return found[-1] if isinstance(found, list) else found


def two_trainings(
    wrong: Sequence[Mapping[str, Any]],
    right: Sequence[Mapping[str, Any]],
    panels: Mapping[str, tuple[str, str]],
    *,
    names: tuple[str, str],
    training: str,
    xlabel: str = "step",
) -> list[Picture]:
    """The training with the bug beside the one without, a picture a symptom and a thin line a seed.

    Args:
        wrong: the symptoms with the bug, one mapping a seed; x is their `step`, else the number of the look.
        right: the same without it.
        panels: symptom → what it is, and the label of its axis.
        names: what the two trainings are called in the figure.
        training: how long, and of what: "320 steps of DPO".
        xlabel: the label of the other axis.
    """
    pictures = []
    for key, (what, label) in panels.items():
        x = wrong[0].get("step") or [*range(1, len(wrong[0][key]) + 1)]
        curves = [
            Curve(name, role, x, [run[key] for run in runs])
            for name, role, runs in zip(names, ("loss", "policy"), (wrong, right), strict=True)
        ]
        ends = [sum(float(y[-1]) for y in curve.ys) / len(curve.ys) for curve in curves]
        alt = (
            f"The {what} over {training} on a toy language, seeds: {len(wrong)}. With the bug it ends at "
            f"{ends[0]:.2f} on average, without it at {ends[1]:.2f}."
        )
        pictures.append(training_curves(curves, xlabel=xlabel, ylabel=label, alt=alt))
    return pictures
