"""Hindsight in the grid of chapter 01: any cell may be asked for, and only coming there pays.

The table has rows of its own for every goal. So what is learned of one goal says nothing of another, and hindsight helps
where many goals are asked for: every walk teaches the rows of the cells that it came to, whichever was asked.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from rlhf_mini.methods.hindsight_replay import HindsightConfig, hindsight_q_learning
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.gridworld import ROBOT_GRID, Layout, parse_layout

WAREHOUSE = parse_layout("""
    ........G
    .#.##.#.#
    .#..#....
    ...#..#.#
    .#.##.#..
    .#....#.#
    S..#.....
""")
GOAL = WAREHOUSE.cells("G")[0]  # the farthest from the start
LIMIT, EPISODES, DISCOUNT = 30, 600, 0.9
RELABELS = (0, 1, 4)
RUNS, BLOCK = 3, 50  # walks are cheap: this many runs for each seed of the pipeline; walks in a block


@cache
def distances(layout: Layout, goal: int) -> dict[int, int]:
    """Steps to the goal from every cell that can come to it, the goal itself included; found by breadth first."""
    found, frontier = {goal: 0}, [goal]
    while frontier:
        there = frontier.pop(0)
        for cell in range(layout.size):
            leads_there = there in {layout.neighbour(cell, action) for action in range(4)}
            if cell not in found and layout.marks[cell] != "#" and not layout.ends(cell) and leads_there:
                found[cell] = found[there] + 1
                frontier.append(cell)
    return found


def goals_asked() -> tuple[int, ...]:
    """Every cell that the robot can come to."""
    steps = {cell: distances(WAREHOUSE, cell).get(WAREHOUSE.start) for cell in range(WAREHOUSE.size)}
    return tuple(cell for cell, away in steps.items() if away)


def learned(*, relabels: int, seed: int, goals: Sequence[int] | None = None) -> tuple[Tensor, list[float]]:
    """Q (goal, state, action) after all walks, and for each walk whether it reached the goal that it was told.

    `goals` are asked for, one drawn for each walk: all that can be reached if None.
    """
    env = gymnasium.make(ROBOT_GRID, layout=WAREHOUSE, max_episode_steps=LIMIT)
    config = HindsightConfig(
        episodes=EPISODES, discount=DISCOUNT, step_size=1.0, epsilon=0.3, relabels=relabels
    )
    q, log = hindsight_q_learning(
        env, goals or goals_asked(), config=config, generator=np.random.default_rng(seed)
    )
    return q, [entry["reached"] for entry in log]


def known_goals(q: Tensor) -> float:
    """The share of the cells to which the greedy robot goes from its start, and by a shortest way."""
    right = 0
    for goal in goals_asked():
        cell, steps = WAREHOUSE.start, distances(WAREHOUSE, goal)[WAREHOUSE.start]
        for _ in range(steps):
            cell = WAREHOUSE.neighbour(cell, int(q[goal, cell].argmax())) if cell != goal else cell
        right += cell == goal
    return right / len(goals_asked())


def curves(pipeline: Pipeline) -> dict[str, Any]:
    """By number of relabels: the share of walks that came to the goal that was asked, and what is known at the end.

    - `reached {k}`: by blocks of `BLOCK` walks, means over `RUNS` runs.
    - `known {k}`: `known_goals` at the end, the mean over runs.
    - `one goal {k}`: the share of walks that came to the farthest goal where that is the only one ever asked for.
    """
    found: dict[str, Any] = {}
    for relabels in RELABELS:
        seeds = [RUNS * pipeline.seed + run for run in range(RUNS)]
        runs = [learned(relabels=relabels, seed=seed) for seed in seeds]
        blocks = torch.tensor([reached for _, reached in runs]).view(RUNS, -1, BLOCK)
        found[f"reached {relabels}"] = blocks.mean((0, 2)).tolist()
        found[f"known {relabels}"] = sum(known_goals(q) for q, _ in runs) / RUNS
        alone = [learned(relabels=relabels, seed=seed, goals=[GOAL])[1] for seed in seeds]
        found[f"one goal {relabels}"] = float(torch.tensor(alone).mean())
    return found
