"""Names beside the marks of a crowded plane: each where it touches no other name and no mark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from matplotlib.axes import Axes

LETTER, LINE = 0.0145, 0.048  # of 9 points in axes of 5 by 3.4 inches: a letter's width, a line's height
GAP, MARK = 0.018, 0.014  # from a mark to its name, and half of a mark
SHIFTS = (0.0, 0.045, -0.045, 0.09, -0.09, 0.14, -0.14, 0.19, -0.19, 0.25, -0.25)

Point = tuple[float, float]


@dataclass(frozen=True)
class Name:
    """Where a name stands, in fractions of the axes: its near end at (x, y), left of its mark or not."""

    text: str
    x: float
    y: float
    left: bool

    @property
    def box(self) -> tuple[float, float, float, float]:
        """What it covers: from x to x, from y to y."""
        width = LETTER * len(self.text)
        start = self.x - width if self.left else self.x
        return start, start + width, self.y - LINE / 2, self.y + LINE / 2


def name_marks(
    axes: Axes, marks: Mapping[str, Point], colours: Mapping[str, str], *, others: Sequence[Point] = ()
) -> None:
    """Write each name near its mark, with a thin line to those that stand off.

    Args:
        marks: name → (x, y) in the axes' data.
        colours: name → the colour of its words.
        others: marks without a name, which no name may touch.
    """
    axes.autoscale_view()  # or the limits are not yet those of the marks
    to_axes = axes.transData + axes.transAxes.inverted()

    def place(point: Point) -> Point:
        x, y = to_axes.transform(point)
        return float(x), float(y)

    points = {text: place(point) for text, point in marks.items()}
    for text, name in place_names(points, others=[place(point) for point in others]).items():
        x, y = points[text]
        if name.y != y:
            ends = [x, name.x], [y, name.y]
            axes.plot(*ends, color=colours[text], linewidth=0.6, alpha=0.7, transform=axes.transAxes)
        words = axes.annotate(
            text, (name.x, name.y), xycoords="axes fraction", ha="right" if name.left else "left",
            va="center", fontsize=9, color=colours[text],
        )  # fmt: skip
        words.set_in_layout(False)


def place_names(points: Mapping[str, Point], *, others: Sequence[Point] = ()) -> dict[str, Name]:
    """A place for each name near its point, given in fractions of the axes; the highest point chooses first.

    The nearest place in which the name lies in the axes and touches neither a name that has its place nor any
    mark, nor one of `others`; beside its mark if there is no such place.

    >>> places = place_names({"low": (0.2, 0.5), "high": (0.2, 0.51)})
    >>> (places["high"].left, places["low"].left)  # the one at the right, the other at the left
    (False, True)
    """
    found: dict[str, Name] = {}
    for text, point in sorted(points.items(), key=lambda item: -item[1][1]):
        tried = [_at(text, point, shift, left) for shift, left in product(SHIFTS, (False, True))]
        free = (name for name in tried if _is_free(name, [*found.values()], [*points.values(), *others]))
        found[text] = next(free, tried[point[0] > 0.6])
    return {text: found[text] for text in points}


def _at(text: str, point: Point, shift: float, left: bool) -> Name:
    x, y = point
    return Name(text, x - GAP if left else x + GAP, y + shift, left)


def _is_free(name: Name, others: list[Name], points: list[Point]) -> bool:
    low, high, foot, head = name.box
    if low < 0 or high > 1 or foot < 0 or head > 1:
        return False
    boxes = [other.box for other in others]
    boxes += [(x - MARK, x + MARK, y - MARK, y + MARK) for x, y in points]
    return not any(low < b and a < high and foot < d and c < head for a, b, c, d in boxes)
