"""*Bug or bad idea?*: the ladder that a reader climbs when training does not improve.

From the exact to the real: the exact test, one prompt overfitted, a problem with a known optimum, the band of
curves that good seeds give, the real run. The first rung that does not hold says where to look; an idea is to
be doubted only when every rung below the last holds.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlhf_mini.reader.picture import Picture
from rlhf_mini.reader.style import css_colour


@dataclass(frozen=True)
class Rung:
    """One rung: its name, what must hold on it, and a check that returns whether it does and what it saw."""

    name: str
    must_hold: str
    check: Callable[[], tuple[bool, str]]


@dataclass(frozen=True)
class Climb(Picture):
    """The ladder as climbed: `reached` rungs held, of `height`."""

    reached: int
    height: int

    @property
    def holds(self) -> bool:
        """Whether every rung held."""
        return self.reached == self.height


def ladder(rungs: Sequence[Rung], *, caption: str = "") -> Climb:
    """Climbs rung by rung and stops at the first that does not hold; shows what was measured on each.

    Raises:
        ValueError: on no rungs.
    """
    if not rungs:
        raise ValueError("a ladder needs at least one rung")
    items, lines, reached, fallen = [], [], 0, False
    for number, rung in enumerate(rungs, start=1):
        held, seen = (False, "not climbed") if fallen else rung.check()
        sign, role = ("·", "reference") if fallen else ("✓", "data") if held else ("✗", "loss")
        reached += bool(held)
        fallen = fallen or not held
        items.append(
            f'<li style="--rm-role:{css_colour(role)}"><b>{sign} {html.escape(rung.name)}</b>'
            f"<span>{html.escape(rung.must_hold)}</span><span>{html.escape(seen)}</span></li>"
        )
        lines.append(f"{number}. {sign} {rung.name}: {rung.must_hold} ({seen})")
    under = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    body = f'<figure><ol class="rm-ladder">{"".join(items)}</ol>{under}</figure>'
    return Climb(body, "\n".join([*lines, *([caption] if caption else [])]), reached, len(rungs))
