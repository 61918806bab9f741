"""Where the recipes come from and by which way they go: gold against KL after each step, drawn from records."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from rlhf_mini.chapters.published.figures import GROUPS, group_of, landing, outcome
from rlhf_mini.chapters.record_figures import recorded_in
from rlhf_mini.evaluation.records import Record
from rlhf_mini.reader import Picture, frames, new_figure, picture
from rlhf_mini.reader.marks import SHAPES
from rlhf_mini.reader.plots import in_style
from rlhf_mini.reader.style import INK, role_colour
from rlhf_mini.recipes.registry import RECIPES

Way = list[tuple[str, float, float]]  # of each step: its name, KL to the SFT model in nats, gold
KL_TICKS = (0, 1, 4, 9, 16, 25, 36, 49, 64)


def sft_gold_of(seeds: Sequence[int]) -> float:
    """The SFT model's mean gold over these seeds, on the same requests: from the records of the scoreboard.

    Raises ValueError if a seed is not on record there.
    """
    golds = {
        record.seed: float(record.metrics["gold"])
        for record in recorded_in("14", "methods")
        if record.method == "SFT"
    }
    if missing := [seed for seed in seeds if seed not in golds]:
        raise ValueError(f"the scoreboard has no record of the SFT model on seeds {missing}")
    return sum(golds[seed] for seed in seeds) / len(seeds)


def seeds_of(records: Sequence[Record]) -> list[int]:
    """The seeds on which every recipe on stories that is on record has its last step.

    Raises ValueError if there is none.
    """
    found = [
        {record.seed for record in outcome(records, recipe)}
        for recipe in RECIPES.values()
        if recipe.world == "stories"
    ]
    if not (seeds := set.intersection(*(one for one in found if one))):
        raise ValueError("no seed is on record for every recipe on stories")
    return sorted(seeds)


def landing_beside_sft(records: Sequence[Record]) -> Picture:
    """`figures.landing` with the SFT model's gold on the same seeds as a line."""
    return landing(records, sft_gold=sft_gold_of(seeds_of(records)))


def ways(records: Sequence[Record]) -> dict[str, Way]:
    """Of each recipe on stories its steps in order, means over the seeds that have all of them: title → way."""
    found = {}
    for recipe in RECIPES.values():
        by_step = {step: outcome(records, recipe, step=step) for step in recipe.steps}
        seeds = set.intersection(*({one.seed for one in rows} for rows in by_step.values()))
        if recipe.world == "stories" and seeds:
            found[recipe.title] = [
                (step, _mean(rows, seeds, "kl_k3"), _mean(rows, seeds, "gold"))
                for step, rows in by_step.items()
            ]
    return found


def _mean(rows: Sequence[Record], seeds: set[int], metric: str) -> float:
    return float(np.mean([float(row.metrics[metric]) for row in rows if row.seed in seeds]))


def step_paths(records: Sequence[Record]) -> Picture:
    """One recipe a frame: its way from the SFT model through its steps, before the ends of all others.

    Raises ValueError if fewer than two recipes are on record.
    """
    found, start = ways(records), sft_gold_of(seeds_of(records))
    return frames([_one_way(title, found, start) for title in found], [*found], label="recipe")


@in_style
def _one_way(title: str, found: Mapping[str, Way], start: float) -> Picture:
    figure = new_figure(height=3.9)
    (axes,) = figure.axes
    ends = [way[-1] for way in found.values()]
    farthest = max(kl for way in found.values() for _, kl, _ in way)
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    axes.set_xlim(-0.02, 1.15 * farthest)
    axes.set_xticks([tick for tick in KL_TICKS if tick <= 1.15 * farthest])
    golds = [gold for way in found.values() for _, _, gold in way]
    axes.set_ylim(min(*golds, start) - 0.2, max(golds) + 0.25)
    axes.scatter([kl for _, kl, _ in ends], [gold for _, _, gold in ends], s=14, color=INK, alpha=0.25)
    axes.plot(0, start, "o", color=INK, markersize=5, clip_on=False)
    axes.annotate("SFT", (0, start), xytext=(6, -11), textcoords="offset points", fontsize=9)
    _draw(axes, title, found[title], start)
    axes.set_xlabel("KL to the SFT model (nats, k3; the axis is its square root)")
    axes.set_title(f"gold, {title}", fontsize=10.5, pad=8)
    told = "; ".join(f"{step}: gold {gold:.2f} at {kl:.1f} nats" for step, kl, gold in found[title])
    return picture(
        figure,
        alt=f"The way of {title} from the SFT model's gold of {start:.2f}: {told}.".replace("-", "−"),
        caption="Grey: where the other recipes end. A policy that did not begin with the SFT model has a first step "
        "at some distance all the same.",
    )


def _draw(axes: Axes, title: str, way: Way, start: float) -> None:
    recipe = next(one for one in RECIPES.values() if one.title == title)
    role = GROUPS[group_of(recipe)][0]
    kls, golds = [0.0, *(kl for _, kl, _ in way)], [start, *(gold for _, _, gold in way)]
    axes.plot(kls, golds, color=role_colour(role), linewidth=1.4, alpha=0.8)
    axes.plot(kls[1:], golds[1:], SHAPES[role], color=role_colour(role), markersize=6.5)
    for place, (_, kl, gold) in enumerate(way, start=1):
        axes.annotate(str(place), (kl, gold), xytext=(5, 5), textcoords="offset points", fontsize=9)
