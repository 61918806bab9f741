"""Plots of single numbers and of distributions: bars with intervals, histograms of scores."""

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlhf_mini.evaluation.intervals import Interval
from rlhf_mini.reader.picture import Picture, check_alt, new_figure, picture
from rlhf_mini.reader.plots import DASHES, Numbers, finish, finite_array, in_style, put_beside
from rlhf_mini.reader.style import INK, role_colour


@in_style
def interval_bars(
    bars: Mapping[str, tuple[str, Interval]], *, xlabel: str, alt: str, caption: str = ""
) -> Picture:
    """Horizontal bars from zero, one a method, each with its interval and its value written out.

    Args:
        bars: name → (role, Interval), drawn from the top in the given order.
    """
    check_alt(alt)
    if not bars:
        raise ValueError("nothing to draw: bars is empty")
    figure = new_figure(height=0.9 + 0.42 * len(bars))
    axes = figure.axes[0]
    for row, (role, interval) in enumerate(bars.values()):
        colour = role_colour(role)
        axes.barh(row, interval.mean, height=0.62, color=colour, alpha=0.3, linewidth=0)
        axes.plot([interval.mean] * 2, [row - 0.31, row + 0.31], color=colour, linewidth=2.5)
        axes.plot([interval.low, interval.high], [row, row], color=colour, linewidth=1.6)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(bars)), list(bars))
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    for row, (role, interval) in enumerate(bars.values()):
        value = f"{interval.mean:.2f}".replace("-", "−")
        put_beside(axes, value, row, role=role, data=True)
    axes.set_xlabel(xlabel)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return picture(figure, alt=alt, caption=caption)


@in_style
def score_histogram(
    scores: Mapping[str, tuple[str, Numbers]], *, xlabel: str, alt: str, bins: int = 24, caption: str = ""
) -> Picture:
    """Outlines of the distributions of scores over common bins, as shares, each named beside its peak.

    Args:
        scores: name → (role, values (N,)). Shares, not counts, so that sets of different size compare.
    """
    check_alt(alt)
    if not scores:
        raise ValueError("nothing to draw: scores is empty")
    arrays = {name: finite_array(values, name).ravel() for name, (_, values) in scores.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), bins=bins)
    figure = new_figure(height=3.0)
    axes = figure.axes[0]
    peaks = []
    for name, (role, _) in scores.items():
        share = np.histogram(arrays[name], bins=edges)[0] / len(arrays[name])
        axes.stairs(share, edges, color=role_colour(role), fill=True, alpha=0.16, linewidth=0)
        axes.stairs(share, edges, color=role_colour(role), linewidth=1.8, linestyle=DASHES.get(role, "-"))
        peaks.append(
            (name, role, float(edges[share.argmax() : share.argmax() + 2].mean()), float(share.max()))
        )
    axes.set_ylim(0, max(peak[3] for peak in peaks) * 1.25)
    width = edges[-1] - edges[0]
    taken: list[tuple[float, float]] = []
    for name, role, x, height in sorted(peaks, key=lambda peak: -peak[3]):
        while any(
            abs(x - other) < 0.25 * width and abs(height - level) < 0.08 * axes.get_ylim()[1]
            for other, level in taken
        ):
            height -= 0.08 * axes.get_ylim()[1]
        taken.append((x, height))
        axes.annotate(
            name, (x, height), xytext=(0, 5), textcoords="offset points", ha="center", va="bottom",
            color=role_colour(role), fontweight="bold", fontsize=10,
        )  # fmt: skip
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    finish(axes, xlabel=xlabel, ylabel="share of samples")
    return picture(figure, alt=alt, caption=caption)
