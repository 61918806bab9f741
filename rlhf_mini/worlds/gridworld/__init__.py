"""The robot in the grid: a world small enough to solve, and registered with gymnasium when it is imported.

The robot starts at the bottom left; the goal, worth 20, is at the top right. Its first move chooses: right,
which pays 5 at once and leads along a corridor to an exit that pays nothing; or up, which costs 1 and leads
into a room from which the goal can be reached. In the room the shortest way runs along pits, which cost 20; a
way two moves longer keeps away from them. Every other move costs 0.5, and with probability ``slip``
the robot moves at a right angle to where it meant to go.

    >>> import gymnasium
    >>> env = gymnasium.make("rlhf_mini/RobotGrid-v0", slip=0.1, render_mode="ansi")
    >>> state, info = env.reset(seed=0)
    >>> print(env.render().splitlines()[-1])
    R......E

One set of tables, ``env.unwrapped.model``, is both what the environment samples from and what
``rlhf_mini.exact`` solves. Cells, and so states, are numbered along the rows from the top left; actions are
up, right, down, left.
"""

import gymnasium

from rlhf_mini.worlds.gridworld.environment import RobotGrid
from rlhf_mini.worlds.gridworld.layout import (
    ACTIONS,
    EXIT,
    FLOOR,
    GOAL,
    PIT,
    ROOM,
    START,
    TWO_DOORS,
    WALL,
    Layout,
    parse_layout,
)
from rlhf_mini.worlds.gridworld.model import DOWN, LEFT, RIGHT, UP, Prizes, grid_mdp, move_reward
from rlhf_mini.worlds.gridworld.render import draw_grid

ROBOT_GRID = "rlhf_mini/RobotGrid-v0"
STEP_LIMIT = 200

if ROBOT_GRID not in gymnasium.registry:
    gymnasium.register(
        id=ROBOT_GRID,
        entry_point="rlhf_mini.worlds.gridworld.environment:RobotGrid",
        max_episode_steps=STEP_LIMIT,
        kwargs={"slip": 0.0, "step_cost": 0.5, "discount": 0.99},
    )

__all__ = [
    "ACTIONS",
    "DOWN",
    "EXIT",
    "FLOOR",
    "GOAL",
    "LEFT",
    "PIT",
    "RIGHT",
    "ROBOT_GRID",
    "ROOM",
    "START",
    "STEP_LIMIT",
    "TWO_DOORS",
    "UP",
    "WALL",
    "Layout",
    "Prizes",
    "RobotGrid",
    "draw_grid",
    "grid_mdp",
    "move_reward",
    "parse_layout",
]
