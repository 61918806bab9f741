"""A plot of many runs against one: a dot for each seed, a row for each run."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter

from rlhf_mini.reader.picture import Picture, check_alt, new_figure, picture
from rlhf_mini.reader.plots import finite_array, in_style
from rlhf_mini.reader.style import INK, role_colour

LINEAR = 0.5  # up to here differences are drawn on a linear scale, beyond it on a logarithmic one
TICKS = (-8.0, -4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)


@in_style
def seed_dots(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    luck: Sequence[float],
    xlabel: str,
    alt: str,
    caption: str = "",
) -> Picture:
    """Differences from a run, one row a run and one dot a seed, with their mean as a stroke.

    Rows whose mean lies more than `LINEAR` / 2 below the band of luck have the colour of losses.

    Args:
        groups: heading → name → the differences, drawn from the top in the given order.
        luck: differences that mean nothing; the band between the smallest and the largest is shaded.

    Raises:
        ValueError: without rows or luck, or with a row that holds no finite number.
    """
    check_alt(alt)
    lines = [line for group, rows in groups.items() for line in [(group, None), *rows.items()]]
    if not any(groups.values()):
        raise ValueError("nothing to draw: groups is empty")
    band = finite_array(luck, "luck")
    figure = new_figure(height=0.8 + 0.235 * len(lines))
    axes = figure.axes[0]
    axes.axvspan(band.min(), band.max(), color=INK, alpha=0.22, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    for place, (name, differences) in enumerate(lines):
        if differences is None:
            continue
        values = finite_array(differences, name)
        colour = role_colour("policy" if values.mean() > band.min() - LINEAR / 2 else "loss")
        axes.plot(values, np.full(len(values), place), "o", color=colour, markersize=4.5, alpha=0.6)
        axes.plot([values.mean()] * 2, [place - 0.33, place + 0.33], color=colour, linewidth=2.2)
    axes.set_xscale("symlog", linthresh=LINEAR)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if low <= tick <= high]))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+g}".replace("-", "−") if x else "0"))
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    axes.tick_params(axis="y", length=0, labelsize=9.5)
    for label, (_, differences) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if differences is None else "normal")
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel(xlabel)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return picture(figure, alt=alt, caption=caption)
