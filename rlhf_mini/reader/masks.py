"""Attention masks as pictures: a row for each position that looks, a column for each that is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.patches import Rectangle

from rlhf_mini.reader.picture import Picture, check_alt, new_figure, picture
from rlhf_mini.reader.plots import in_style
from rlhf_mini.reader.style import INK, role_colour


@dataclass(frozen=True, eq=False)
class MaskPanel:
    """One mask: its title, `look` (rows, columns) bool, and the words that stand at its rows and columns.

    Args:
        role: the colour of what is seen.

    Raises:
        ValueError: if the words do not fit the mask's shape, or the mask is not boolean.
    """

    title: str
    look: torch.Tensor
    rows: Sequence[str]
    columns: Sequence[str]
    role: str = "policy"

    def __post_init__(self) -> None:
        role_colour(self.role)
        if self.look.dtype != torch.bool or self.look.shape != (len(self.rows), len(self.columns)):
            raise ValueError(
                f"panel {self.title!r}: look must be bool of shape ({len(self.rows)}, {len(self.columns)}), "
                f"got {self.look.dtype} {tuple(self.look.shape)}"
            )


@in_style
def mask_panels(panels: Sequence[MaskPanel], *, alt: str, caption: str = "") -> Picture:
    """Masks side by side, wrapping on a phone; a filled cell means that the row's word sees the column's.

    Raises:
        ValueError: on no panels or an alt text that says too little.
    """
    check_alt(alt)
    if not panels:
        raise ValueError("nothing to draw: panels is empty")
    return picture(*(_panel(panel) for panel in panels), alt=alt, caption=caption)


def _panel(panel: MaskPanel):  # type: ignore[no-untyped-def]  # matplotlib's types are Any here
    figure = new_figure(width=3.2, height=3.2 * (len(panel.rows) + 2.2) / (len(panel.columns) + 2.2))
    axes = figure.axes[0]
    for row in range(len(panel.rows)):
        for column in range(len(panel.columns)):
            seen = bool(panel.look[row, column])
            axes.add_patch(
                Rectangle(
                    (column + 0.06, row + 0.06),
                    0.88,
                    0.88,
                    facecolor=role_colour(panel.role) if seen else "none",
                    edgecolor=role_colour(panel.role) if seen else INK,
                    alpha=0.75 if seen else 0.3,
                    linewidth=0.8,
                )
            )
    axes.set(xlim=(0, len(panel.columns)), ylim=(len(panel.rows), 0), aspect="equal")
    axes.set_xticks([i + 0.5 for i in range(len(panel.columns))], panel.columns, rotation=60)
    axes.set_yticks([i + 0.5 for i in range(len(panel.rows))], panel.rows)
    axes.tick_params(length=0, labelsize=9.5, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(panel.title, fontsize=10.5, fontweight="bold", pad=8)
    return figure
