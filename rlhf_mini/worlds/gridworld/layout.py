"""Maps of the robot's grid, drawn as text."""

from dataclasses import dataclass
from functools import cached_property

FLOOR, WALL, START, GOAL, PIT, EXIT = ".#SGPE"
MARKS = {FLOOR: "floor", WALL: "wall", START: "start", GOAL: "goal", PIT: "pit", EXIT: "exit"}

ACTIONS = ("up", "right", "down", "left")
STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # rows count downwards


@dataclass(frozen=True)
class Layout:
    """A map: rows of marks, the top row first. A cell's number counts along the rows, from the top left.

    ``.`` floor, ``#`` wall, ``S`` the start (one), ``G`` a goal, ``P`` a pit, ``E`` an exit. Goals, pits and
    exits end the episode. Beyond the border there is nowhere to go, as if a wall stood there.

    Attributes:
        rows: strings of one length.

    Raises:
        ValueError: on rows of unequal length, an unknown mark, any number of starts but one, no goal, or a
            goal that cannot be reached.

    Example:
        >>> layout = parse_layout('''
        ...     .G
        ...     S#
        ... ''')
        >>> layout.start, layout.cells(GOAL)
        (2, (1,))
    """

    rows: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the map mark by mark."""
        if not self.rows or not self.rows[0]:
            raise ValueError("A layout needs at least one row of marks; received an empty map.")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.rows[0]):
                raise ValueError(
                    f"Rows of a layout must be of one length; row 0 has {len(self.rows[0])} marks, "
                    f"row {number} has {len(row)}: {row!r}."
                )
            for column, mark in enumerate(row):
                if mark not in MARKS:
                    known = ", ".join(f"{known!r} {name}" for known, name in MARKS.items())
                    raise ValueError(f"Unknown mark {mark!r} in row {number}, column {column}; use {known}.")
        if len(self.cells(START)) != 1:
            raise ValueError(f"A layout has one start 'S'; received {len(self.cells(START))} in\n{self}")
        if not self.cells(GOAL):
            raise ValueError(f"A layout has a goal 'G'; received none in\n{self}")
        if not self._reaches_a_goal():
            raise ValueError(f"There is no way from 'S' to 'G' in\n{self}")

    def __str__(self) -> str:
        return "\n".join(self.rows)

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0])

    @property
    def size(self) -> int:
        """Number of cells, walls included."""
        return self.height * self.width

    @cached_property
    def marks(self) -> str:
        """The mark of every cell, in the order of their numbers."""
        return "".join(self.rows)

    @cached_property
    def start(self) -> int:
        """The start's number."""
        return self.marks.index(START)

    def cells(self, mark: str) -> tuple[int, ...]:
        """The numbers of the cells with this mark."""
        return tuple(cell for cell, other in enumerate(self.marks) if other == mark)

    def ends(self, cell: int) -> bool:
        """Whether entering this cell ends the episode."""
        return self.marks[cell] in (GOAL, PIT, EXIT)

    def position(self, cell: int) -> tuple[int, int]:
        """Row and column of a cell; row 0 is at the top."""
        return divmod(cell, self.width)

    def neighbour(self, cell: int, action: int) -> int:
        """The cell that a move leads to: the next one, or the same if a wall, the border or the shut door
        of the start is in the way.
        """
        row, column = self.position(cell)
        row, column = row + STEPS[action][0], column + STEPS[action][1]
        if not (0 <= row < self.height and 0 <= column < self.width):
            return cell
        there = row * self.width + column
        return cell if self.marks[there] in (WALL, START) else there

    def _reaches_a_goal(self) -> bool:
        reached, open_cells = {self.start}, [self.start]
        while open_cells:
            cell = open_cells.pop()
            if self.marks[cell] == GOAL:
                return True
            around = {self.neighbour(cell, action) for action in range(4)} if not self.ends(cell) else set()
            open_cells += around - reached
            reached |= around
        return False


def parse_layout(text: str) -> Layout:
    """Read a map from text, one row a line; blank lines and the spaces around a row do not count.

    Raises:
        ValueError: as ``Layout``.
    """
    return Layout(tuple(line.strip() for line in text.splitlines() if line.strip()))


# The robot starts at the bottom left; the goal is at the top right. The first move chooses: right, a corridor
# to an exit; or up, into a room whose shortest way leads along pits.
TWO_DOORS = parse_layout("""
    ...PPPPG
    ........
    .#......
    .#......
    .#######
    S......E
""")

# The same room without the other door: what is left to choose is the way along the pits or the way round.
ROOM = parse_layout("""
    ...PPPPG
    ........
    .#......
    .#......
    S#######
""")
