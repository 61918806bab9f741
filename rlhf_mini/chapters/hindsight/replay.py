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
from rlhf_mini.methods.tabular import TableHook
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
LOOKS = (25, 50, 100, 200, 400, 600)  # after so many walks it is asked what the robot knows


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


def learned(
    *, relabels: int, seed: int, goals: Sequence[int] | None = None, hooks: Sequence[TableHook] = ()
) -> tuple[Tensor, list[float]]:
    """Q (goal, state, action) after all walks, and for each walk whether it reached the goal that it was told.

    `goals` are asked for, one drawn for each walk: all that can be reached if None. `hooks` see each walk.
    """
    env = gymnasium.make(ROBOT_GRID, layout=WAREHOUSE, max_episode_steps=LIMIT)
    config = HindsightConfig(
        episodes=EPISODES, discount=DISCOUNT, step_size=1.0, epsilon=0.3, relabels=relabels
    )
    q, log = hindsight_q_learning(
        env,
        goals or goals_asked(),
        config=config,
        generator=np.random.default_rng(seed),
        hooks=hooks,
    )
    return q, [entry["reached"] for entry in log]


def knows_a_shortest_way(q: Tensor, goal: int) -> bool:
    """Whether the greedy robot goes from its start to the goal in as few steps as can be, by worth that it has learned.

    Where no move is worth anything the robot knows nothing, though going up might be right.
    """
    cell = WAREHOUSE.start
    for _ in range(distances(WAREHOUSE, goal)[cell]):
        if cell == goal or q[goal, cell].max() <= 0:
            return False
        cell = WAREHOUSE.neighbour(cell, int(q[goal, cell].argmax()))
    return cell == goal


def known_goals(q: Tensor) -> float:
    """The share of the cells to which the robot knows a shortest way."""
    return sum(knows_a_shortest_way(q, goal) for goal in goals_asked()) / len(goals_asked())


def known_cells(pipeline: Pipeline) -> dict[str, list[list[float]]]:
    """By number of relabels, 0 and 4, and by `LOOKS`: for each cell, in what share of `RUNS` a shortest way is known."""
    found: dict[str, list[list[float]]] = {}
    for relabels in (RELABELS[0], RELABELS[-1]):
        shares = np.zeros((len(LOOKS), WAREHOUSE.size))

        def look(episode: int, q: Tensor, shares: np.ndarray = shares) -> None:
            if episode in LOOKS:
                for goal in goals_asked():
                    known = knows_a_shortest_way(q, goal)
                    shares[LOOKS.index(episode), goal] += known / RUNS

        for run in range(RUNS):
            learned(relabels=relabels, seed=RUNS * pipeline.seed + run, hooks=[look])
        found[str(relabels)] = shares.tolist()
    return found


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
