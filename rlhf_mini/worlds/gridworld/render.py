"""The grid in colour, as an array of pixels. Needs numpy and nothing else."""

import numpy as np

from rlhf_mini.worlds.gridworld.layout import EXIT, FLOOR, GOAL, PIT, START, WALL, Layout
from rlhf_mini.worlds.gridworld.model import RIGHT, UP, Prizes

CELL = 48  # pixels
COLOURS = {
    FLOOR: (243, 241, 234),
    START: (220, 228, 235),
    WALL: (70, 74, 82),
    GOAL: (233, 190, 70),
    PIT: (40, 36, 44),
    EXIT: (190, 205, 196),
}
LINE, ROBOT, EYE, RED, WRITING = (205, 201, 190), (0, 103, 176), (255, 255, 255), (213, 94, 0), (40, 44, 52)

# Digits and signs, three pixels wide and five high, as rows of bits.
GLYPHS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757",
    "7": "71122", "8": "75757", "9": "75717", "+": "02720", "-": "00700", ".": "00002",
}  # fmt: skip


def _write(pixels: np.ndarray, text: str, *, bottom: int, right: int, size: int = 2) -> None:
    """Writes a number with its lower right corner here."""
    columns = [
        [[int(bits) >> (2 - x) & 1 for x in range(3)] + [0] for bits in GLYPHS[character]]
        for character in text
    ]
    image = np.kron(np.concatenate(columns, axis=1)[:, :-1], np.ones((size, size))).astype(bool)
    height, width = image.shape
    pixels[bottom - height : bottom, right - width : right][image] = WRITING


def _disc(*, row: float, column: float, radius: float) -> np.ndarray:
    """A mask (CELL, CELL), true within a circle; all in parts of a cell."""
    grid = (np.arange(CELL) + 0.5) / CELL
    return (grid[:, None] - row) ** 2 + (grid[None, :] - column) ** 2 <= radius**2


def _decorate(cell: np.ndarray, mark: str) -> None:
    """A sign for each kind of cell, so that colour is not the only one."""
    grid = (np.arange(CELL) + 0.5) / CELL - 0.5
    down, across = grid[:, None], grid[None, :]
    if mark == GOAL:
        cell[np.abs(down) + np.abs(across) < 0.28] = EYE
    elif mark == PIT:
        crossed = np.minimum(np.abs(down - across), np.abs(down + across)) < 0.06
        cell[crossed & (np.maximum(np.abs(down), np.abs(across)) < 0.25)] = RED
    elif mark == EXIT:
        frame = np.maximum(np.abs(down), np.abs(across) * 1.5)
        cell[(frame < 0.36) & (frame > 0.28)] = WRITING
    elif mark == WALL:
        cell[(np.add.outer(np.arange(CELL), np.arange(CELL)) // 6 % 2) == 0] = (84, 88, 97)


def _write_doors(pixels: np.ndarray, layout: Layout, prizes: Prizes) -> None:
    """What the first move pays, in the cells beside the start."""
    for action, amount in ((RIGHT, prizes.first_right), (UP, prizes.first_up)):
        there = layout.neighbour(layout.start, action)
        if there != layout.start and not layout.ends(there):
            row, column = layout.position(there)
            _write(pixels, f"{amount:+g}", bottom=(row + 1) * CELL - 4, right=(column + 1) * CELL - 4)


def draw_grid(layout: Layout, *, robot: int | None = None, prizes: Prizes | None = None) -> np.ndarray:
    """The map as pixels.

    Args:
        layout: the map.
        robot: the cell on which the robot stands; none is drawn if not given.
        prizes: if given, what the first move pays is written beside the start.

    Returns:
        ``(48 · height, 48 · width, 3)`` uint8.
    """
    pixels = np.empty((layout.height * CELL, layout.width * CELL, 3), dtype=np.uint8)
    for number, mark in enumerate(layout.marks):
        row, column = layout.position(number)
        cell = pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        cell[:] = COLOURS[mark]
        _decorate(cell, mark)
        cell[0], cell[:, 0] = LINE, LINE
        if number == robot:
            cell[_disc(row=0.45, column=0.5, radius=0.32)] = ROBOT
            for side in (0.38, 0.62):
                cell[_disc(row=0.38, column=side, radius=0.07)] = EYE
    if prizes is not None:
        _write_doors(pixels, layout, prizes)
    return pixels
