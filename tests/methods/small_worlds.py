"""Worlds so small that everything about them can be worked out on paper."""

import gymnasium
from gymnasium import spaces


class Chain(gymnasium.Env):
    """States 0, 1, 2, and 3, the end. Action 1 moves on and pays 1, action 0 stays and pays 0."""

    def __init__(self, length: int = 3):
        self.length = length
        self.observation_space, self.action_space = spaces.Discrete(length + 1), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = 0
        return 0, {}

    def step(self, action):
        self.state += int(action)
        return self.state, float(action), self.state == self.length, False, {}


def chains(count: int, *, limit: int, length: int = 3) -> list[gymnasium.Env]:
    return [gymnasium.wrappers.TimeLimit(Chain(length), max_episode_steps=limit) for _ in range(count)]
