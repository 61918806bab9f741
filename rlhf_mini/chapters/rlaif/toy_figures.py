"""Figures of the toy language's faults and labels. Each takes what `toy` or `toy_labels` found, one mapping a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlhf_mini.chapters.rlaif.toy_labels import COUNTS
from rlhf_mini.methods.judge import Verdicts
from rlhf_mini.reader.frames import frames
from rlhf_mini.reader.picture import Picture, beside
from rlhf_mini.reader.plots import Curve, learning_curves, training_curves

Seeds = Sequence[Mapping[str, Any]]
FAVOURS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)  # logits
BIAS_AXIS = "favour of the first place (logits)"
LABEL_KINDS = {
    "soft": ("soft", "policy"),
    "likelier": ("likelier side", "value"),
    "drawn": ("drawn", "loss"),
    "people": ("one person's", "data"),
}


def place_figure(seeds: Seeds) -> Picture:
    """What a favourite place does to verdicts, and to a label that should be 0.88; of each seed the results of `by_bias`."""
    found = seeds[0]
    verdicts = [
        Curve(name, role, found["bias"], [one[key] for one in seeds])
        for name, role, key in (("one order", "loss", "wrong one"), ("both orders", "policy", "wrong both"))
    ]
    labels = [
        Curve(name, role, found["bias"], found[key])
        for name, role, key in (("mean logit", "policy", "label logits"), ("mean of p", "loss", "label both"))
    ]
    last = sum(one["wrong one"][-1] for one in seeds) / len(seeds)
    return beside(
        training_curves(
            verdicts,
            xlabel=BIAS_AXIS,
            ylabel="share of wrong verdicts",
            alt=f"Wrong verdicts against the bias: in one order they rise to {last:.0%} at {found['bias'][-1]:g} logits, "
            "in the mean of both orders there are none.",
        ),
        training_curves(
            labels,
            xlabel=BIAS_AXIS,
            ylabel="label of a pair whose rewards differ by 2",
            alt=f"The label of a pair that should be {found['label logits'][0]:.2f}: the mean logit keeps it, the mean of "
            f"the probabilities falls to {found['label both'][-1]:.2f} at {found['bias'][-1]:g} logits.",
        ),
    )


def order_frames() -> Picture:
    """The labels of a judge that favours the first place, over the lead that it should see, under a slider."""
    lead = torch.linspace(-5, 5, 81)
    pictures = []
    for favour in FAVOURS:
        verdicts = Verdicts((lead + favour).sigmoid(), (-lead + favour).sigmoid())
        told = {
            "as given": ("loss", verdicts.as_given),
            "exchanged": ("data", 1 - verdicts.swapped),
            "mean of p": ("policy", verdicts.preference),
            "mean logit": (
                "reference",
                (verdicts.as_given.logit() - verdicts.swapped.logit()).div(2).sigmoid(),
            ),
        }
        pictures.append(
            training_curves(
                [Curve(name, role, lead.tolist(), label.tolist()) for name, (role, label) in told.items()],
                xlabel="lead of the first answer (logits)",
                ylabel="label",
                alt=f"Labels over the lead with a favour of {favour:g} logits for the first place. As given the label is ½ at a lead of "
                f"{0 - favour:g}, with the answers exchanged at {favour:g}; both means are ½ at a lead of 0, and that of the "
                "probabilities is flatter there the larger the favour.".replace("-", "−"),
            )
        )
    return frames(pictures, [f"{favour:g} logits" for favour in FAVOURS], label="favour of the first place")


def few_figure(seeds: Seeds, *, counts: Sequence[int] = COUNTS) -> Picture:
    """How far from π* the optimum of a learned reward is, against the number of labels, by their kind; from `few`."""
    curves = [
        Curve(name, role, counts, [[one[f"distance {kind} {count}"] for count in counts] for one in seeds])
        for kind, (name, role) in LABEL_KINDS.items()
    ]
    ends = ", ".join(f"{curve.label} {float(curve.ys[:, -1].mean()):.3f}" for curve in curves)
    return learning_curves(
        curves,
        xlabel="labelled pairs (log scale)",
        ylabel="distance from the optimum (nats per text)",
        alt=f"KL from the optimum against the number of labels. With {counts[-1]:,} of them: {ends}.",
    )
