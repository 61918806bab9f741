"""The grid as a finite Markov decision process: the tables that the environment samples from."""

from dataclasses import dataclass

import torch

from rlhf_mini.exact import FiniteMDP
from rlhf_mini.worlds.gridworld.layout import ACTIONS, EXIT, GOAL, PIT, START, WALL, Layout

UP, RIGHT, DOWN, LEFT = range(4)


@dataclass(frozen=True, kw_only=True)
class Prizes:
    """What a move pays, where it does not simply cost a step.

    Attributes:
        goal, pit, exit: for entering such a cell.
        first_right, first_up: for leaving the start to the right or upwards. The door falls shut behind the
            robot, so that one of them is paid once an episode.
    """

    goal: float = 20.0
    pit: float = -20.0
    exit: float = 0.0
    first_right: float = 5.0
    first_up: float = -1.0


def move_reward(layout: Layout, cell: int, there: int, *, step_cost: float, prizes: Prizes) -> float:
    """What one move pays. One number applies: the prize of an end, else of a door, else minus the step cost.

    A move into a wall leads nowhere and costs a step.
    """
    ends = {GOAL: prizes.goal, PIT: prizes.pit, EXIT: prizes.exit}
    if layout.marks[there] in ends:
        return ends[layout.marks[there]]
    if layout.marks[cell] == START:
        doors = {
            layout.neighbour(cell, RIGHT): prizes.first_right,
            layout.neighbour(cell, UP): prizes.first_up,
        }
        doors.pop(cell, None)  # where a wall stands there is no door
        return doors.get(there, -step_cost)
    return -step_cost


def grid_mdp(
    layout: Layout,
    *,
    slip: float = 0.0,
    step_cost: float = 0.5,
    discount: float = 0.99,
    prizes: Prizes | None = None,
) -> FiniteMDP:
    """The grid's tables. States are cells, in the order of their numbers; actions are up, right, down, left.

    The robot moves as intended with probability ``1 − slip`` and at a right angle to it with ``slip / 2`` to
    either side. Walls keep a row in the tables, so that a table has one row for each cell; they are never
    entered, and stand there as terminal.

    Args:
        layout: the map.
        slip: probability from 0 to 1.
        step_cost: what an ordinary move costs, in units of the reward.
        discount: γ, from 0 to 1.
        prizes: what other moves pay; the defaults of ``Prizes`` if not given.

    Returns:
        The process; it starts on the start.

    Raises:
        ValueError: if slip or discount lies outside [0, 1], or a reward is not finite.

    Example:
        >>> from rlhf_mini.worlds.gridworld import TWO_DOORS
        >>> mdp = grid_mdp(TWO_DOORS, slip=0.2)
        >>> mdp.transitions[TWO_DOORS.start, UP, [TWO_DOORS.start, 32, 41]].tolist()  # bump left, up, right
        [0.1, 0.8, 0.1]
    """
    if not 0 <= slip <= 1:
        raise ValueError(f"slip must lie between 0 and 1; received {slip}.")
    prizes = prizes or Prizes()
    transitions = torch.zeros(layout.size, len(ACTIONS), layout.size, dtype=torch.float64)
    rewards = torch.zeros_like(transitions)
    terminal = torch.tensor([layout.ends(cell) or layout.marks[cell] == WALL for cell in range(layout.size)])
    for cell in range(layout.size):
        for action in range(len(ACTIONS)):
            if terminal[cell]:
                transitions[cell, action, cell] = 1.0
                continue
            for turn, chance in ((0, 1 - slip), (1, slip / 2), (-1, slip / 2)):
                there = layout.neighbour(cell, (action + turn) % len(ACTIONS))
                transitions[cell, action, there] += chance
                rewards[cell, action, there] = move_reward(
                    layout, cell, there, step_cost=step_cost, prizes=prizes
                )
    start = torch.zeros(layout.size, dtype=torch.float64)
    start[layout.start] = 1.0
    return FiniteMDP(
        transitions=transitions, rewards=rewards, terminal=terminal, start=start, discount=discount
    )
