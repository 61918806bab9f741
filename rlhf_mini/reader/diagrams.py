"""Data-flow diagrams of methods: one grammar, so that what differs between two methods is what differs in
their drawings.

The grammar. Rows run downwards in time. A box with a folded corner is data, a plain box is a model, a rounded
one is a loss or another computation; colours are the roles'. A padlock marks weights that this stage does not
change. A solid arrow carries a tensor, with its shape beside it; a dotted one copies weights; a thick one in
the loss's colour carries a gradient.
"""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_mini.reader.picture import Picture, check_alt, framed, own_ids
from rlhf_mini.reader.routes import GAP_X, WIDTH, Length, Place, number, route
from rlhf_mini.reader.style import css_colour, role_colour

_GAP_Y, _MARGIN, _LANE = 34, 6, 10
_TITLE, _DETAIL, _LABEL, _LINE = 12, 10.5, 10, 14


@dataclass(frozen=True, kw_only=True)
class Box:
    """One box: `title` in bold, `detail` under it (lines split at newlines), on the grid at (row, column).

    Args:
        kind: "data", "model" or "loss", its shape.
        role: its colour (`style.ROLES`). column may be a half: 0.5 lies between 0 and 1.
        frozen: draws the padlock.
    """

    key: str
    title: str
    kind: str
    role: str
    row: int
    column: Length
    detail: str = ""
    frozen: bool = False

    def __post_init__(self) -> None:
        role_colour(self.role)
        if self.kind not in ("data", "model", "loss"):
            raise ValueError(f"box {self.key!r}: kind must be data, model or loss, got {self.kind!r}")


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """One arrow between two boxes' keys.

    Args:
        kind: "flow" (a tensor), "copy" (weights) or "gradient".
        label: its shape or name.
        label_side: "left" or "right" of a downward arrow; by default the side that the arrow leans to.
    """

    source: str
    target: str
    label: str = ""
    kind: str = "flow"
    label_side: str = ""

    def __post_init__(self) -> None:
        if self.label_side not in ("", "left", "right"):
            raise ValueError(
                f"arrow {self.source} → {self.target}: label_side is left or right, got {self.label_side!r}"
            )
        if self.kind not in ("flow", "copy", "gradient"):
            raise ValueError(
                f"arrow {self.source} → {self.target}: kind must be flow, copy or gradient, got {self.kind!r}"
            )


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A method's drawing: boxes on a grid of `columns` columns, and arrows.

    Raises:
        ValueError: on repeated or unknown keys.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    columns: int = 3

    def __post_init__(self) -> None:
        keys = [box.key for box in self.boxes]
        if len(set(keys)) < len(keys):
            raise ValueError(f"two boxes share a key: {sorted(keys)}")
        places = [(box.row, box.column) for box in self.boxes]
        if len(set(places)) < len(places):
            raise ValueError(f"two boxes share a place: {sorted(places)}")
        for arrow in self.arrows:
            if unknown := {arrow.source, arrow.target} - set(keys):
                raise ValueError(f"an arrow joins {sorted(unknown)}, but the boxes are {sorted(keys)}")


def _upward_sides(flow: Flow) -> set[str]:
    """The sides on which arrows run upwards, each in a lane of its own."""
    at = {box.key: box for box in flow.boxes}
    rising = [arrow for arrow in flow.arrows if at[arrow.source].row > at[arrow.target].row]
    return {"left" if at[arrow.source].column < (flow.columns - 1) / 2 else "right" for arrow in rising}


def _places(flow: Flow) -> tuple[dict[str, Place], float]:
    """Places every box; returns them with the drawing's height. A row is as high as its tallest box."""
    sides = _upward_sides(flow)
    left = _MARGIN + (_LANE if "left" in sides else 0)
    right = _MARGIN + (_LANE if "right" in sides else 0)
    width = (WIDTH - left - right - (flow.columns - 1) * GAP_X) / flow.columns
    heights: dict[int, float] = {}
    for box in flow.boxes:
        heights[box.row] = max(heights.get(box.row, 0), 24 + _LINE * len(box.detail.splitlines()))
    top, tops = float(_MARGIN), {}
    for row in sorted(heights):
        tops[row] = top
        top += heights[row] + _GAP_Y
    places = {
        box.key: Place(left + box.column * (width + GAP_X), tops[box.row], width, heights[box.row])
        for box in flow.boxes
    }
    return places, top - _GAP_Y + _MARGIN


def _text(
    x: Length,
    y: Length,
    words: str,
    *,
    size: Length,
    extra: str = "",
    room: Length = math.inf,
) -> str:
    """A line of text, made smaller where it would not fit in `room`; π_old is set with a subscript."""
    size = min(size, room / (0.56 * max(1, len(words.replace("_", "")))))
    drawn = re.sub(
        r"_(\w+)",
        lambda m: f'<tspan dy="2.5" font-size="78%">{m[1]}</tspan><tspan dy="-2.5">\u200b</tspan>',
        html.escape(words),
    )
    return f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}" {extra}>{drawn}</text>'


def _padlock(x: Length, y: Length) -> str:
    """A small closed padlock whose body's top left corner is (x, y)."""
    return (
        '<g fill="currentColor" stroke="var(--rm-page,transparent)" stroke-width="3" paint-order="stroke">'
        "<title>frozen</title>"
        f'<rect x="{number(x)}" y="{number(y)}" width="10" height="8" rx="1.3"/>'
        f'<path d="M{number(x + 2.2)} {number(y)}v-2a2.8 2.8 0 0 1 5.6 0v2" fill="none" '
        'stroke="currentColor" stroke-width="1.6"/></g>'
    )


def _outline(box: Box, place: Place) -> str:
    w, h = place.width, place.height
    x, y, width, height = (number(value) for value in (place.x, place.y, w, h))
    if box.kind == "data":
        fold = 9
        return f'<path d="M{x} {y}h{number(w - fold)}l{fold} {fold}v{number(h - fold)}h-{width}z"/>' + (
            f'<path d="M{number(place.x + w - fold)} {y}v{fold}h{fold}" fill="none"/>'
        )
    radius = h / 2 if box.kind == "loss" and h < 34 else 14 if box.kind == "loss" else 3
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{number(radius)}"/>'


def _draw_box(box: Box, place: Place) -> str:
    colour = css_colour(box.role)
    dash = ' stroke-dasharray="4 2.5"' if box.frozen else ""
    lines = box.detail.splitlines()
    middle, room = place.centre[0], place.width - 8
    first = place.y + (place.height - _LINE * (len(lines) + 1)) / 2 + 11
    parts = [
        f'<g style="fill:{colour};stroke:{colour}" fill-opacity=".13" stroke-width="1.6"{dash}>',
        f"{_outline(box, place)}</g>",
        _text(middle, first, box.title, size=_TITLE, extra='font-weight="600"', room=room),
        *(
            _text(middle, first + _LINE * (i + 1), line, size=_DETAIL, room=room)
            for i, line in enumerate(lines)
        ),
    ]
    if box.frozen:
        parts.append(_padlock(place.x + place.width - 7, place.y - 2))
    return "".join(parts)


def _draw_arrow(arrow: Arrow, places: dict[str, Place]) -> str:
    way = route(places[arrow.source], places[arrow.target], label_side=arrow.label_side)
    look = {
        "flow": "stroke:currentColor;stroke-width:1.3",
        "copy": "stroke:currentColor;stroke-width:1.6;stroke-dasharray:1.5 3;stroke-linecap:round",
        "gradient": f"stroke:{css_colour('loss')};stroke-width:2.4",
    }[arrow.kind]
    drawn = f'<path d="{way.path}" fill="none" style="{look}" marker-end="url(#{arrow.kind})"/>'
    if arrow.label:
        halo = 'style="paint-order:stroke;stroke:var(--rm-page,transparent);stroke-width:4px"'
        drawn += _text(way.x, way.y, arrow.label, size=_LABEL, extra=f'text-anchor="{way.anchor}" {halo}')
    return drawn


def _heads(kinds: Sequence[str]) -> str:
    """One arrowhead for each kind of arrow in use."""
    colours = {"flow": "currentColor", "copy": "currentColor", "gradient": css_colour("loss")}
    return "".join(
        f'<marker id="{kind}" viewBox="0 0 8 8" refX="3" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 .5 7.5 4 0 7.5z" style="fill:{colours[kind]}"/></marker>'
        for kind in kinds
    )


def flow_diagram(flow: Flow, *, alt: str, caption: str = "") -> Picture:
    """Draws a method's data flow as inline svg that follows the page's theme and stays legible at 340 pixels.

    Args:
        alt: a sentence that says what flows where, required. Same flow, same bytes.
    """
    alt = check_alt(alt)
    places, height = _places(flow)
    kinds = sorted({arrow.kind for arrow in flow.arrows})
    body = "".join(_draw_arrow(arrow, places) for arrow in flow.arrows)
    body += "".join(_draw_box(box, places[box.key]) for box in flow.boxes)
    svg = (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {WIDTH} {number(height)}" '
        'xmlns="http://www.w3.org/2000/svg" fill="currentColor" text-anchor="middle" '
        f'font-family="sans-serif" style="max-width:{WIDTH * 1.35:.0f}px">'
        f"<defs>{_heads(kinds)}</defs>{body}</svg>"
    )
    return framed(own_ids(svg), alt=alt, caption=caption)
