"""Where the arrows of a diagram run: geometry only, in svg units."""

from dataclasses import dataclass

# Drawn for the 340 pixels that a phone leaves, at nearly one to one.
WIDTH, GAP_X = 384, 44
Length = float | int
_TIP = 5  # how far before its target an arrow's line ends, to leave room for the head


@dataclass(frozen=True)
class Place:
    """Where a box lies."""

    x: Length
    y: Length
    width: Length
    height: Length

    @property
    def centre(self) -> tuple[Length, Length]:
        """The box's middle."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Route:
    """An arrow's path, and where its label stands: `anchor` is svg's, start, middle or end."""

    path: str
    x: Length
    y: Length
    anchor: str


def number(value: Length) -> str:
    """A coordinate to a tenth of a unit, without trailing zeros.

    >>> number(2.04), number(2.5)
    ('2', '2.5')
    """
    return f"{value:.1f}".rstrip("0").rstrip(".")


def route(source: Place, target: Place, *, label_side: str) -> Route:
    """The way from one box to another: straight across, an S-curve downwards, round the side upwards."""
    (sx, sy), (tx, ty) = source.centre, target.centre
    if abs(sy - ty) < 1 and abs(sx - tx) - source.width < GAP_X * 1.5:
        return _across(source, target)
    return _downwards(source, target, label_side=label_side) if ty > sy else _upwards(source, target)


def _across(source: Place, target: Place) -> Route:
    """Between neighbours in a row; the label stands above the middle."""
    (sx, y), (tx, _) = source.centre, target.centre
    way = 1 if tx > sx else -1
    start, end = sx + way * source.width / 2, tx - way * (target.width / 2 + _TIP)
    return Route(
        f"M{number(start)} {number(y)}H{number(end)}", (start + end + way * _TIP) / 2, y - 5, "middle"
    )


def _downwards(source: Place, target: Place, *, label_side: str) -> Route:
    """From foot to head, both ends leaning towards the other box."""
    sx, tx = source.centre[0], target.centre[0]
    lean = max(-0.3, min(0.3, (tx - sx) / (3 * source.width))) * source.width
    x, y = sx + lean, source.y + source.height
    across, rise = tx - lean - x, target.y - _TIP - y
    bend = f"{number(rise / 2)} {number(across)} {number(rise / 2)} {number(across)} {number(rise)}"
    leans = "left" if tx < sx else "right"
    side = label_side or leans
    # On the side it leans to, the label stands above the curve; on the other, below it.
    drop = 3 if abs(tx - sx) < 1 else -4 if side == leans else 10
    beside = 7 if side == "right" else -7
    anchor = "start" if side == "right" else "end"
    return Route(f"M{number(x)} {number(y)}c0 {bend}", x + across / 2 + beside, y + rise / 2 + drop, anchor)


def _upwards(source: Place, target: Place) -> Route:
    """Out to a lane at the drawing's edge, up, and back in."""
    (sx, sy), (tx, ty) = source.centre, target.centre
    right = sx > (WIDTH - source.width) / 2
    way, edge = (1, WIDTH - 3) if right else (-1, 3)
    start, end = sx + way * source.width / 2, tx + way * (target.width / 2 + _TIP)
    corners = f"q{way * 7} 0 {way * 7} -7V{number(ty + 7)}q0 -7 {-way * 7} -7H{number(end)}"
    path = f"M{number(start)} {number(sy)}H{number(edge - way * 7)}{corners}"
    return Route(path, edge - way * 6, (sy + ty) / 2, "end" if right else "start")
