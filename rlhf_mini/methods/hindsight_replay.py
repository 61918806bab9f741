"""Hindsight experience replay in the grid: a walk that missed its goal is a way to where it ended.

Paper: Andrychowicz et al. 2017, arXiv 1707.01495, with a table in the place of a network. What is learned is
``Q(g, s, a)``, the worth of a move *for reaching g*: a step into g pays 1 and ends the walk, every other step
pays nothing. A robot that never comes to its goal is never paid, and learns nothing; told afterwards that it
should have gone where it went, it learns from every walk. Hindsight instruction relabelling is this idea with
instructions as goals.

Simplifications: no replay buffer, each walk is learned from once, backwards; goals are cells, drawn for each
episode; what the environment pays is not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from torch import Tensor

from rlhf_mini.methods.tabular import (
    ControlConfig,
    Log,
    Step,
    TableHook,
    call_hooks,
    starts,
    table_shape,
)
from rlhf_mini.methods.tabular_control import choose


@dataclass(frozen=True, kw_only=True)
class HindsightConfig(ControlConfig):
    """As `ControlConfig` (its step size constant), and `relabels`: how many goals each walk is seen with
    afterwards.

    They are drawn among the states that the walk came to, its last one first; 0 is learning without
    hindsight.
    """

    relabels: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.relabels < 0 or self.step_size_decay != 0:
            raise ValueError(
                f"relabels must be at least 0 and step_size_decay 0, got {self.relabels} and "
                f"{self.step_size_decay}"
            )


def hindsight_q_learning(
    env: gymnasium.Env,
    goals: Sequence[int],
    *,
    config: HindsightConfig,
    generator: np.random.Generator,
    hooks: Sequence[TableHook] = (),
) -> tuple[Tensor, Log]:
    """Goal-conditioned Q-learning: Q (S, S, A), the goal first, and a log with one entry an episode.

    ``Q(g, s, a) ← Q(g, s, a) + α (1[s' = g] + γ 1[s' ≠ g, s' goes on] max_b Q(g, s', b) − Q(g, s, a))``, for
    the goal that was asked and for goals that were reached. So the table learns ``γ^{d − 1}``, d being the
    number of steps to the goal, if nothing slips.

    An entry holds `reached` (1 if the walk came to its goal, where it ends), `steps` and `epsilon`.

    Args:
        goals: cells that are asked for, one drawn for each episode.
        generator: draws goals, actions, relabels, and the seed of the environment.

    Raises ValueError unless the environment's spaces are `Discrete` and the goals are states of it.
    """
    states, actions = table_shape(env)
    if not goals or min(goals) < 0 or max(goals) >= states:
        raise ValueError(f"goals must be states from 0 to {states - 1}, at least one; got {list(goals)}")
    q = np.zeros((states, states, actions))
    log: Log = []
    for episode, state in starts(env, config, generator):
        goal, epsilon = int(generator.choice(goals)), config.epsilon_at(episode)
        walk = _walk_to(env, state, q[goal], goal, epsilon, generator)
        for seen in (goal, *_reached(walk, config.relabels, generator)):
            _learn(q[seen], walk, seen, config)
        reached = float(walk[-1][3] == goal)
        log.append({"reached": reached, "steps": float(len(walk)), "epsilon": epsilon})
        call_hooks(hooks, episode, q)
    return torch.from_numpy(q), log


def _walk_to(
    env: gymnasium.Env, state: int, q: np.ndarray, goal: int, epsilon: float, generator: np.random.Generator
) -> list[Step]:
    """One walk, ε-greedy for the goal, which ends it; so does what ends the environment's episode."""
    walk: list[Step] = []
    done = False
    while not done:
        action = choose(q[state], epsilon, generator)
        after, _, terminated, truncated, _ = env.step(action)
        walk.append((state, action, float(after == goal), int(after), bool(terminated)))
        state, done = int(after), after == goal or terminated or truncated
    return walk


def _reached(walk: Sequence[Step], relabels: int, generator: np.random.Generator) -> list[int]:
    """Goals that the walk did fulfil: its last state, then others that it came to, each once."""
    came_to = [after for *_, after, _ in walk]
    others = sorted(set(came_to) - {came_to[-1]})
    drawn = generator.permutation(len(others))[: max(relabels - 1, 0)]
    return [came_to[-1], *(others[index] for index in drawn)][:relabels]


def _learn(q: np.ndarray, walk: Sequence[Step], goal: int, config: HindsightConfig) -> None:
    """Q-learning over a walk as if `goal` had been its goal all along; the heart of the method."""
    for state, action, _, after, terminated in reversed(walk):
        if state == goal:
            continue  # the walk would have ended before this step
        goes_on = after != goal and not terminated
        target = float(after == goal) + (config.discount * q[after].max() if goes_on else 0.0)
        q[state, action] += config.step_size * (target - q[state, action])
