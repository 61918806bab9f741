"""Plots of many methods at once: a mark for each in a plane, or in a list with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from rlhf_mini.evaluation.intervals import Interval, Number
from rlhf_mini.reader.naming import name_marks
from rlhf_mini.reader.picture import Picture, check_alt, new_figure, picture
from rlhf_mini.reader.plots import in_style
from rlhf_mini.reader.style import INK, role_colour

# A shape beside each colour, so that groups are told apart in grey print and by every kind of eye.
SHAPES = {
    "reference": "o",
    "policy": "s",
    "data": "^",
    "reward": "D",
    "gold": "v",
    "value": "P",
    "loss": "X",
}


@dataclass(frozen=True)
class Mark:
    """A method in a plane: its group's role (see `style.ROLES`), where it lies, and whether its name is
    written beside it.
    """

    role: str
    x: float
    y: Interval
    named: bool = False

    def __post_init__(self) -> None:
        role_colour(self.role)


@in_style
def marked_plane(
    marks: Mapping[str, Mark],
    groups: Mapping[str, str],
    *,
    xlabel: str,
    ylabel: str,
    alt: str,
    log_x: bool = False,
    caption: str = "",
) -> Picture:
    """A mark for each method with its interval upright, and the groups' shapes under the plot.

    Args:
        marks: name → Mark, whose bar may leave the picture; those that are `named` have their name beside
            them, moved apart where two would touch.
        groups: group → role.
        log_x: a logarithmic x axis; marks at 0 or below then have no place and raise ValueError.

    Raises:
        ValueError: on no marks, or a mark whose role belongs to no group.
    """
    check_alt(alt)
    if not marks:
        raise ValueError("nothing to draw: marks is empty")
    if foreign := {mark.role for mark in marks.values()} - {*groups.values()}:
        raise ValueError(f"marks of the roles {sorted(foreign)} belong to no group of {dict(groups)}")
    figure = new_figure(height=4.2)
    axes = figure.axes[0]
    if log_x:
        if low := [name for name, mark in marks.items() if mark.x <= 0]:
            raise ValueError(f"a logarithmic axis needs numbers above 0; not so {low}")
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    for mark in marks.values():
        colour = role_colour(mark.role)
        axes.plot([mark.x] * 2, [mark.y.low, mark.y.high], color=colour, linewidth=1.1, alpha=0.55)
        axes.plot(mark.x, mark.y.mean, SHAPES[mark.role], color=colour, markersize=6, alpha=0.9)
    means = [mark.y.mean for mark in marks.values()]
    margin = 0.12 * (max(means) - min(means)) or 1.0
    axes.set_ylim(min(means) - margin, max(means) + margin)  # a long bar is cut, and not the marks squeezed
    _legend(groups, axes)
    named = {name: mark for name, mark in marks.items() if mark.named}
    name_marks(
        axes,
        {name: (float(mark.x), mark.y.mean) for name, mark in named.items()},
        {name: role_colour(mark.role) for name, mark in named.items()},
        others=[(float(mark.x), mark.y.mean) for mark in marks.values() if not mark.named],
    )
    axes.set_xlabel(xlabel)
    axes.set_title(ylabel, fontsize=10.5, pad=8)
    if not log_x:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return picture(figure, alt=alt, caption=caption)


def _legend(groups: Mapping[str, str], axes: Axes) -> None:
    """Each group's shape and colour, under the plot."""
    for group, role in groups.items():
        axes.plot([], [], SHAPES[role], color=role_colour(role), label=group, markersize=6)
    figure = axes.get_figure(root=True)
    if groups and figure is not None:
        figure.legend(loc="outside lower center", ncols=3, fontsize=9, handletextpad=0.2, columnspacing=1.0)


@in_style
def interval_dots(
    rows: Mapping[str, tuple[str, Interval]],
    *,
    xlabel: str,
    alt: str,
    zero: float = 0.0,
    caption: str = "",
    groups: Mapping[str, str] | None = None,
) -> Picture:
    """A list of methods, a mark and its interval each, from the top in the given order; a line stands at
    `zero`.

    Args:
        rows: name → (role, Interval).
        groups: group → role, for a legend under the plot; without it there is none.

    Raises:
        ValueError: on no rows.
    """
    check_alt(alt)
    if not rows:
        raise ValueError("nothing to draw: rows is empty")
    figure = new_figure(height=0.9 + 0.2 * len(rows))
    axes = figure.axes[0]
    axes.axvline(zero, color=INK, linewidth=0.8)
    for place, (role, interval) in enumerate(rows.values()):
        colour = role_colour(role)
        axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=1.4)
        axes.plot(interval.mean, place, SHAPES[role], color=colour, markersize=5.5)
    _list_names(axes, list(rows))
    axes.set_xlabel(xlabel)
    _legend(groups or {}, axes)
    return picture(figure, alt=alt, caption=caption)


@in_style
def spread_dots(
    rows: Mapping[str, tuple[str, Number, Sequence[Number]]],
    *,
    xlabel: str,
    alt: str,
    groups: Mapping[str, str],
    caption: str = "",
) -> Picture:
    """A list of methods: a full mark for its own value, hollow ones for others, and a line through all.

    Args:
        rows: name → (role, its own value, the other values), from the top in this order.
        groups: group → role, for the legend under the plot.

    Raises:
        ValueError: on no rows.
    """
    check_alt(alt)
    if not rows:
        raise ValueError("nothing to draw: rows is empty")
    figure = new_figure(height=0.9 + 0.2 * len(rows))
    axes = figure.axes[0]
    for place, (role, own, others) in enumerate(rows.values()):
        colour, values = role_colour(role), [own, *others]
        axes.plot([min(values), max(values)], [place, place], color=colour, linewidth=1.1, alpha=0.55)
        for other in others:
            axes.plot(other, place, SHAPES[role], color=colour, markersize=5.5, markerfacecolor="white")
        axes.plot(own, place, SHAPES[role], color=colour, markersize=6.5)
    _list_names(axes, list(rows))
    axes.set_xlabel(xlabel)
    _legend(groups, axes)
    return picture(figure, alt=alt, caption=caption)


def _list_names(axes: Axes, names: Sequence[str]) -> None:
    """A row for each name, from the top, and round numbers below."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def frontier(points: Mapping[str, tuple[float, float]]) -> Sequence[str]:
    """The names that no other beats: nobody has as little x or less, and as much y or more, and one of them
    strictly.

    >>> frontier({"cheap": (1.0, 2.0), "best": (3.0, 5.0), "worse": (3.5, 4.0)})
    ['cheap', 'best']
    """
    return [
        name
        for name, (x, y) in points.items()
        if not any(
            other_x <= x and other_y >= y and (other_x < x or other_y > y)
            for other_x, other_y in points.values()
        )
    ]
