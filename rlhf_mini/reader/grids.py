"""The robot's grid as a figure: what every cell is worth, and which way a policy goes from there.

A value is written as a number and shown as a tint: blue above zero and orange below, the stronger the further
from it. The tints lie half transparent on the page, so that the page's own ink is legible on each, on a light
page and on a dark one; and blue and orange differ for every kind of eye.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from rlhf_mini.reader.picture import Picture, check_alt, new_figure, picture
from rlhf_mini.reader.plots import Numbers, finite_array, in_style
from rlhf_mini.reader.style import INK, role_colour
from rlhf_mini.worlds.gridworld import Layout

HIGH, LOW = "policy", "loss"  # the roles that lend their blue and orange
MOST_TINT = 0.5  # the text of a dark page keeps a contrast of 4.5:1 on it; tested
CELL = 0.6  # inches: eight columns are as wide as the book's other figures
SHORTEST = 0.04  # a probability below this draws no arrow
_STEPS = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))  # up, right, down, left; y points down
_NOTE: dict[str, Any] = {"fontsize": 9, "fontweight": "bold"}
_NAMES = {"G": "goal", "P": "pit", "E": "exit"}


@in_style
def grid_picture(
    layout: Layout,
    *,
    alt: str,
    values: Numbers | None = None,
    policy: Numbers | None = None,
    notes: dict[int, str] | None = None,
    scale: float | int | None = None,
    caption: str = "",
) -> Picture:
    """The grid with the worth of its cells and the arrows of a policy.

    Args:
        layout: the map. States are its cells, numbered along the rows from the top left.
        values: (S,), written in each floor cell to one decimal and shown as its tint. Walls and cells that
            end the episode are not tinted.
        policy: (S, A), π(a | s) for up, right, down, left. An arrow's length is its probability, so that ties
            are several short arrows and certainty is one long one.
        notes: cell → a short text in its upper right corner, such as ``"+5"`` where the first move pays 5.
        scale: the value, either side of zero, that has the strongest tint; the largest in `values` if not
            given. Frames that are compared need the same one.

    Raises:
        ValueError: on values or a policy of another shape, numbers that are not finite, a probability below
            0, a note on a cell that is not there, or a scale that is not above 0.
    """
    check_alt(alt)
    height, width = layout.height, layout.width
    marks = layout.marks
    worth = None if values is None else _checked(values, "values", (len(marks),))
    chances = None if policy is None else _checked(policy, "policy", (len(marks), len(_STEPS)))
    if chances is not None and (chances < 0).any():
        raise ValueError(f"policy holds probabilities, got {chances.min():g}")
    if not set(notes or {}) <= set(range(len(marks))):
        raise ValueError(f"notes must lie on cells 0 to {len(marks) - 1}, got {sorted(notes or {})}")
    full = _full_scale(worth, marks, scale)
    figure = new_figure(width=CELL * width, height=CELL * height)
    axes = figure.axes[0]
    axes.set(xlim=(-0.52, width - 0.48), ylim=(height - 0.48, -0.52), aspect="equal")
    axes.axis("off")
    figure.set_layout_engine("constrained", w_pad=0, h_pad=0, wspace=0, hspace=0)
    strokes: list[tuple[float, float]] = []
    for cell, mark in enumerate(marks):
        x, y = float(cell % width), float(cell // width)
        value = None if worth is None or mark not in ".S" else float(worth[cell])
        _draw_cell(axes, x, y, mark, tint=0.0 if value is None else value / full)
        if value is not None:
            _write(axes, x, y + (0.31 if chances is not None else 0), _one_decimal(value))
        if chances is not None and mark in ".S":
            strokes += _arrows(x, y - (0.13 if worth is not None else 0), chances[cell])
        if notes and cell in notes:
            words = notes[cell].replace("-", "−")
            axes.text(x + 0.45, y - 0.46, words, ha="right", va="top", color="black", **_NOTE)
    _draw_lines(axes, width, height)
    if strokes:  # one path for all arrows keeps the svg small
        axes.plot(*zip(*strokes, strict=True), color="black", linewidth=1.4, clip_on=False)
    return picture(figure, alt=alt, caption=caption)


def _one_decimal(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}"  # no minus before a zero


def _draw_lines(axes: Axes, width: int, height: int) -> None:
    """The lines between cells, as one path."""
    xs: list[float] = []
    ys: list[float] = []
    for column in range(width + 1):
        xs, ys = [*xs, column - 0.5, column - 0.5, np.nan], [*ys, -0.5, height - 0.5, np.nan]
    for row in range(height + 1):
        xs, ys = [*xs, -0.5, width - 0.5, np.nan], [*ys, row - 0.5, row - 0.5, np.nan]
    axes.plot(xs, ys, color=INK, linewidth=0.6, alpha=0.6, clip_on=False)


def _checked(numbers: Numbers, name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = finite_array(numbers, name)
    if array.shape != shape:
        raise ValueError(f"{name} of this layout must be {shape}, got {array.shape}")
    return array


def _full_scale(worth: np.ndarray | None, marks: str, scale: float | int | None) -> float:
    """The value that has the strongest tint."""
    if scale is not None and not 0 < scale < float("inf"):
        raise ValueError(f"scale must be a finite number above 0, got {scale}")
    if scale is not None or worth is None:
        return float(scale or 1)
    shown = [abs(value) for value, mark in zip(worth, marks, strict=True) if mark in ".S"]
    return float(max(shown, default=0) or 1)


def _draw_cell(axes: Axes, x: float, y: float, mark: str, *, tint: float) -> None:
    """A cell's ground and, if it is one that ends the episode or starts it, its sign."""
    corner = (x - 0.5, y - 0.5)
    if mark == "#":
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=INK, alpha=0.75, linewidth=0, clip_on=False))
        return
    if tint:
        colour = role_colour(HIGH if tint > 0 else LOW)
        strength = MOST_TINT * min(abs(tint), 1.0)
        axes.add_patch(
            Rectangle(corner, 1, 1, facecolor=colour, alpha=round(strength, 3), linewidth=0, clip_on=False)
        )
    if mark == "P":
        axes.plot(
            [x - 0.2, x + 0.2, np.nan, x - 0.2, x + 0.2], [y - 0.32, y + 0.08, np.nan, y + 0.08, y - 0.32],
            color=role_colour("loss"), linewidth=2.2,
        )  # fmt: skip
    elif mark == "G":
        axes.plot([x], [y - 0.12], "*", color=role_colour("gold"), markersize=15, markeredgewidth=0)
    elif mark == "E":
        axes.add_patch(Rectangle((x - 0.13, y - 0.33), 0.26, 0.42, fill=False, edgecolor=INK, linewidth=1.4))
    if mark == "S":
        inner = Rectangle((x - 0.44, y - 0.44), 0.88, 0.88, fill=False, edgecolor=INK, linewidth=1.6)
        axes.add_patch(inner)
    elif mark in _NAMES:
        _write(axes, x, y + 0.31, _NAMES[mark])


def _write(axes: Axes, x: float, y: float, words: str) -> None:
    axes.text(x, y, words.replace("-", "−"), ha="center", va="center", fontsize=10, color="black")


def _arrows(x: float, y: float, chances: np.ndarray) -> list[tuple[float, float]]:
    """The strokes of one arrow for each action that is taken, as long as its probability.

    They leave from the middle; an arrow that stands alone lies across it.
    """
    drawn = [action for action, chance in enumerate(chances) if chance >= SHORTEST]
    strokes: list[tuple[float, float]] = []
    for action in drawn:
        across, down = _STEPS[action]
        length = 0.13 + 0.11 * min(float(chances[action]), 1.0)
        barb = min(0.08, 0.4 * length)
        tail = -0.8 * length if len(drawn) == 1 else 0.0
        tip = (x + length * across, y + length * down)
        strokes += [(x + tail * across, y + tail * down), tip, (np.nan, np.nan)]
        for side in (1, -1):  # the head's two strokes, turned by 45 degrees
            end = (tip[0] - barb * (across + side * down), tip[1] - barb * (down - side * across))
            strokes += [end, tip, (np.nan, np.nan)]
    return strokes
