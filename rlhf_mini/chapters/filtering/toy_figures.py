"""Figures of filtering on a toy language. Each takes what `toy` found, one mapping a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from rlhf_mini.chapters.filtering import toy
from rlhf_mini.exact import filtered_optimum, kl_divergence
from rlhf_mini.reader.frames import frames
from rlhf_mini.reader.picture import Picture, beside, new_figure, picture
from rlhf_mini.reader.plots import Curve, Level, finish, in_style, training_curves
from rlhf_mini.reader.style import INK, role_colour

Seeds = Sequence[Mapping[str, Any]]
ROLES = {"tilted": "policy", "filtered": "data", "best of n": "reward"}
KL_AXIS = "distance from the first policy, KL (nats per text)"

SHARES = (1.0, 0.7, 0.5, 0.25, 0.125, 0.06)  # of the probability, kept by a filter


def filter_frames(*, seed: int) -> Picture:
    """The probability of every text of the toy language after filters that keep less and less, under a slider."""
    world = toy.ToyWorld(seed)
    cuts = [toy.threshold_keeping(world.logp, world.rewards, share) for share in SHARES]
    filters = [filtered_optimum(world.logp, world.rewards, threshold=cut) for cut in cuts]
    shares = [float(one.log_partition.exp()) for one in filters]
    top = max(float(one.logp.exp().max()) for one in filters)
    pictures = [
        _texts(world, one.logp, kept=kept, top=top) for one, kept in zip(filters, shares, strict=True)
    ]
    return frames(pictures, [f"{kept:.0%} kept" for kept in shares], label="threshold")


@in_style
def _texts(world: toy.ToyWorld, logp: Tensor, *, kept: float, top: float) -> Picture:
    """Stems over rewards: what each text's probability is now, and a stroke of ink where it was."""
    now, price = logp.exp().tolist(), abs(float(kl_divergence(logp, world.logp)))
    before, rewards = world.logp.exp().tolist(), world.rewards.tolist()
    figure = new_figure(height=2.8)
    axes = figure.axes[0]
    axes.vlines(rewards, 0, now, color=role_colour("policy"), linewidth=2.0)
    axes.scatter(rewards, before, marker="_", s=36, color=INK, linewidth=1.2)
    axes.set_ylim(0, 1.05 * top)
    finish(axes, xlabel="reward of the text", ylabel="probability")
    mean = sum(p * r for p, r in zip(now, rewards, strict=True))
    told = f"mean reward {mean:.2f}; each kept text {1 / kept:.1f} times as likely; KL {price:.2f} nats"
    return picture(
        figure,
        alt=f"The probability of each of {toy.TEXTS} texts over its reward, {kept:.0%} of the probability kept: {told}.",
        caption=f"{told[0].upper()}{told[1:]}. Strokes: before.",
    )


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
