"""Turns figures into outputs: inline svg with alt text, the same bytes on every run, at home on any page."""

import hashlib
import html
import io
import re
from dataclasses import dataclass

import matplotlib
from IPython.display import display
from matplotlib.figure import Figure

from rlhf_mini.reader.style import INK, MATPLOTLIB, MIDDLE, STYLESHEET, css_colour

_PIXELS_PER_POINT = 96 / 72  # as CSS has it


@dataclass(frozen=True)
class Picture:
    """An output of the book: a fragment of HTML and the text that stands for it where it cannot be seen.

    As the last expression of a cell it displays itself. `text` is what a console, a screen reader or a search
    finds.
    """

    body: str
    text: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.text}

    def html(self) -> str:
        """The fragment with the stylesheet it needs: right on its own, on a light page or a dark one."""
        return f'<style>{STYLESHEET}</style><div class="rm">{self.body}</div>'


def check_alt(alt: str) -> str:
    """Returns the alt text stripped; raises ValueError if it says too little to stand in for a figure."""
    if not isinstance(alt, str) or len(alt.split()) < 4:
        raise ValueError(
            f"alt must say in a sentence what the figure shows, for readers who do not see it; got {alt!r}"
        )
    return " ".join(alt.split())


def own_ids(svg: str) -> str:
    """Keeps the ids that something refers to, made unique to this svg, and drops the rest.

    A page holds many figures in one space of ids: two clip paths of one name would cut each other's curves.
    """
    salt = hashlib.sha256(svg.encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{salt}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)([^)"]+)', lambda m: f"{m[1]}{salt}-{m[2]}", svg)


def themed_svg(figure: Figure, *, alt: str | None) -> str:
    """Renders a matplotlib figure as inline svg: role colours as variables, ink and black as the page's text
    colour.

    Same figure and matplotlib version, same bytes: no date, no random ids. alt=None marks the svg as part of
    a larger picture that carries the alt text.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(dict(MATPLOTLIB)):
        figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Out go the date, comments, and a stylesheet for `*` that would reach the whole page (now on the root).
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    for role, tone in MIDDLE.items():
        svg = svg.replace(tone, css_colour(role))
    svg = svg.replace(INK, "currentColor").replace("#000000", "currentColor")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "sans-serif", svg)
    label = 'aria-hidden="true"' if alt is None else f'role="img" aria-label="{html.escape(alt)}"'
    width, height = (inches * 72 for inches in figure.get_size_inches())  # an svg of matplotlib counts points
    root = (
        f'<svg {label} viewBox="0 0 {width:g} {height:g}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" fill="currentColor" stroke-linejoin="round" '
        f'stroke-linecap="butt" style="max-width:{width * _PIXELS_PER_POINT:.0f}px">'
    )
    svg = re.sub(r"<svg\b.*?>", lambda _: root, svg, count=1, flags=re.DOTALL)
    return own_ids(re.sub(r"\s*\n\s*", "\n", svg).strip())


def picture(*figures: Figure, alt: str, caption: str = "") -> Picture:
    """Makes a Picture of one matplotlib figure, or of several that stand side by side and wrap on a phone.

    Args:
        alt: a sentence that says what is seen, required.
        caption: shown under the figure.

    Raises:
        ValueError: on no figure or an alt text of fewer than four words.
    """
    if not figures:
        raise ValueError("picture needs at least one figure")
    alt = check_alt(alt)
    if len(figures) == 1:
        return framed(themed_svg(figures[0], alt=alt), alt=alt, caption=caption)
    panels = "".join(f"<div>{themed_svg(figure, alt=None)}</div>" for figure in figures)
    whole = f'<div class="rm-panels" role="img" aria-label="{html.escape(alt)}">{panels}</div>'
    return framed(whole, alt=alt, caption=caption)


def framed(body: str, *, alt: str, caption: str = "") -> Picture:
    """Wraps ready HTML that carries its own label (an svg, a table) as a Picture with an optional caption."""
    under = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return Picture(f"<figure>{body}{under}</figure>", f"[figure] {alt}" + (f"\n{caption}" if caption else ""))


def beside(*pictures: Picture) -> Picture:
    """Stands pictures side by side where there is room, one under the other on a phone."""
    if not pictures:
        raise ValueError("beside needs at least one picture")
    inner = "".join(f"<div>{one.body}</div>" for one in pictures)
    return Picture(f'<div class="rm-panels">{inner}</div>', "\n".join(one.text for one in pictures))


def show(*figures: Figure, alt: str, caption: str = "") -> None:
    """Displays matplotlib figures of one's own with the book's style and alt text: `picture`, displayed at
    once.
    """
    display(picture(*figures, alt=alt, caption=caption))


def new_figure(*, width: float = 5.0, height: float = 3.3, panels: int = 1) -> Figure:
    """A figure in the book's style with its panels stacked, outside pyplot (so that nothing displays twice).

    Args:
        width, height: inches at 96 pixels; 5 inches stay legible on a phone's 340 pixels. Stack panels rather
            than widen.
    """
    with matplotlib.rc_context(dict(MATPLOTLIB)):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.subplots(panels)
    return figure
