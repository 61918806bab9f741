"""The chapter's curves over seeds: copying, sampling, scaling, and the loss that is too good."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_mini.evaluation.power_law import PowerLaw
from rlhf_mini.reader import Curve, Level, Picture, beside, learning_curves, training_curves

Numbers = Mapping[str, Any]


def over_seeds(here: Numbers, recorded: Sequence[Numbers], along: str) -> list[Numbers]:
    """The recorded runs that were measured at the same places as this one; this one if there are none."""
    return [run for run in recorded if len(run[along]) == len(here[along])] or [here]


def copying_curves(here: Numbers, recorded: Sequence[Numbers]) -> Picture:
    """The probability of the right hero over training, with a title and without, a thin line a seed."""
    runs = over_seeds(here, recorded, "steps")
    return training_curves(
        [
            Curve("with title", "policy", here["steps"], [run["copied"] for run in runs]),
            Curve("without", "reference", here["steps"], [run["control"] for run in runs]),
        ],
        xlabel="step",
        ylabel="probability of the right hero",
        alt="With a title the probability of the right hero stays near zero for a long first part of the training and then rises to nearly one within a few hundred steps, on every seed; without a title it never rises.",
    )


def late_training_curves(here: Numbers, recorded: Sequence[Numbers], entropy: float) -> Picture:
    """The held-out loss of whole documents from a sixth of the training on, a thin line a seed."""
    runs = over_seeds(here, recorded, "steps")
    start = len(here["steps"]) // 6
    return training_curves(
        [
            Curve(
                "held-out\nloss",
                "policy",
                here["steps"][start:],
                [run["nats_per_document"][start:] for run in runs],
            )
        ],
        levels=[Level("entropy of\nthe grammar", entropy)],
        xlabel="step",
        ylabel="loss (nats per document)",
        alt="After the first steps the held-out loss of a document goes on falling, at changing speed and differently on each seed, and ends a little above the grammar's entropy.",
    )


def sampling_curves(drawn: Numbers, heats: Mapping[str, float]) -> Picture:
    """Coherence and variety against temperature; `heats` maps the names of settings to temperatures."""
    return training_curves(
        [
            Curve("coherence", "gold", [*heats.values()], [drawn[f"coherence · {name}"] for name in heats]),
            Curve(
                "distinct\npairs",
                "data",
                [*heats.values()],
                [drawn[f"distinct_2 · {name}"] for name in heats],
            ),
        ],
        levels=[Level("distinct pairs\nof the grammar", drawn["distinct_2 · grammar"])],
        xlabel="temperature",
        ylabel="share",
        alt="As the temperature rises from 0.5 to 2, coherence falls from near one to near zero, while the share of distinct pairs of words rises and passes the grammar's own at temperature 1.",
    )


def scaling_curves(sizes: Numbers, data: Numbers, law: PowerLaw) -> Picture:
    """Loss against parameters with the fitted law, and against the number of different documents."""
    entropy = [Level("entropy", sizes["entropy"])]
    left = learning_curves(
        [
            Curve("measured", "policy", sizes["parameters"], sizes["losses"]),
            Curve("power law", "value", sizes["parameters"], [law(n) for n in sizes["parameters"]]),
        ],
        levels=entropy,
        xlabel="parameters without embedding (log scale)",
        ylabel="held-out loss (nats per token)",
        alt="The held-out loss falls with the number of parameters along the fitted power law, towards the entropy.",
    )
    right = learning_curves(
        [
            Curve("held out,\nat the end", "loss", data["documents"], data["last"]),
            Curve("held out,\nbest", "policy", data["documents"], data["best"]),
            Curve("training", "data", data["documents"], data["training"]),
        ],
        levels=entropy,
        xlabel="different documents (log scale)",
        ylabel="loss (nats per token)",
        alt="With few documents the training loss is near zero and the held-out loss far above; with many both meet.",
    )
    return beside(left, right)


def hunted_curves(here: Numbers, recorded: Sequence[Numbers]) -> Picture:
    """Training losses of the colleague's function and of the library's, a thin line a seed."""
    runs = over_seeds(here, recorded, "wrong")
    steps = range(1, len(here["wrong"]) + 1)
    return training_curves(
        [
            Curve("the library", "policy", steps, [run["right"] for run in runs]),
            Curve("the colleague", "loss", steps, [run["wrong"] for run in runs]),
        ],
        levels=[Level("entropy of\nthe grammar", here["entropy"])],
        xlabel="step",
        ylabel="training loss (nats per token)",
        alt="The colleague's loss falls steeply, crosses the grammar's entropy before step 40 and ends near zero; the library's is still above 2.4 nats per token after 120 steps.",
    )
