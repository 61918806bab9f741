"""Figures of filtering on a toy language. Each takes what `toy` found, one mapping a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_mini.reader.picture import Picture, beside
from rlhf_mini.reader.plots import Curve, Level, training_curves

Seeds = Sequence[Mapping[str, Any]]
ROLES = {"tilted": "policy", "filtered": "data", "best of n": "reward"}
KL_AXIS = "distance from the first policy, KL (nats per text)"


def frontier_figure(seeds: Seeds) -> Picture:
    """Reward and entropy against KL: of the tilt, of the filter and of best-of-n, from `toy.frontier`."""
    pictures = []
    for key, words in (("reward", "mean reward"), ("entropy", "entropy (nats per text)")):
        curves = [
            Curve(name.replace(" of ", "\nof "), role, _rows(seeds, name, "kl"), _rows(seeds, name, key))
            for name, role in ROLES.items()
        ]
        told = "; ".join(
            f"{name}, from {curve.ys[:, 0].mean():.2f} to {curve.ys[:, -1].mean():.2f}"
            for name, curve in zip(ROLES, curves, strict=True)
        )
        alt = f"The {words} against the distance travelled, of a toy policy that is {told}."
        pictures.append(training_curves(curves, xlabel=KL_AXIS, ylabel=words, alt=alt))
    return beside(*pictures)


def _rows(seeds: Seeds, name: str, key: str) -> list[list[float]]:
    return [found[name][key] for found in seeds]


def rounds_figure(seeds: Seeds) -> Picture:
    """Reward and entropy by round, of ReST that keeps the better half and of RAFT that keeps the better of two."""
    steps = list(range(len(seeds[0]["ReST"]["reward"])))
    pictures = []
    for key, words in (("reward", "mean reward"), ("entropy", "entropy (nats per text)")):
        curves = [
            Curve(name, role, steps, _rows(seeds, name, key))
            for name, role in (("ReST", "data"), ("RAFT", "reward"))
        ]
        ends = ", ".join(f"{curve.label} at {curve.ys[:, -1].mean():.2f}" for curve in curves)
        alt = f"The {words} over {steps[-1]} rounds without an error of sampling. It ends with {ends}."
        pictures.append(training_curves(curves, xlabel="round", ylabel=words, alt=alt))
    return beside(*pictures)


def drift_figure(seeds: Seeds) -> Picture:
    """The chance that two draws differ, by round, as a table is fitted to samples of itself; from `toy.drift`."""
    steps = list(range(len(seeds[0]["promised"])))
    curves = [
        Curve("kept\nat random", "reference", steps, [found["differ random"] for found in seeds]),
        Curve("the best\nkept", "data", steps, [found["differ best"] for found in seeds]),
    ]
    promised = sum(found["promised"][-1] for found in seeds) / len(seeds)
    return training_curves(
        curves,
        levels=[Level("promised", promised)],
        xlabel="round",
        ylabel="chance that two draws differ",
        alt=f"The chance that two draws differ over {steps[-1]} rounds: kept at random it ends at "
        f"{curves[0].ys[:, -1].mean():.2f}, where the law promises {promised:.2f}; with the best kept at "
        f"{curves[1].ys[:, -1].mean():.2f}.",
        caption="Dotted: what each round of k kept texts should leave, a share of 1 − 1/k of what there was.",
    )
