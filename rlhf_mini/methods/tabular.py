"""Learning by walking: Monte Carlo and TD(0) predict what a policy is worth, with a table for memory.

Control, which improves the policy as it walks, is in ``tabular_control``. All work on any gymnasium
environment whose states and actions are numbers. Compared with the book (Sutton and Barto, *Reinforcement
Learning*): a table begins at 0, steps may shrink with the number of visits, and an episode that a time limit
cuts off has not ended: where the book's pseudo-code knows terminal states only, a state in which an episode
    was cut off keeps the value that the table gives it.

All return tables as float64 tensors and a list with one entry an episode: its undiscounted ``return``, its
``steps``, whether it ``terminated`` (1) or was truncated (0) and, where there is exploration, its
``epsilon``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

Log = list[dict[str, float]]
# Called after each episode with its number, from 1, and the table as it is now (a copy).
TableHook = Callable[[int, Tensor], None]
# One move: state, action, reward, the state that followed, whether the episode terminated there.
Step = tuple[int, int, float, int, bool]


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """`episodes` episodes at discount `discount`.

    The n-th update of an entry moves it by `step_size / n**step_size_decay` of the error. A decay of 0 keeps
    the step constant; 1, with a step size of 1, makes the entry the mean of its targets; between ½ (excluded)
    and 1 the table converges (Robbins and Monro).
    """

    episodes: int
    discount: float
    step_size: float
    step_size_decay: float = 0.0

    def __post_init__(self) -> None:
        expectations = {
            "episodes": ("at least 1", self.episodes >= 1),
            "discount": ("in [0, 1]", 0 <= self.discount <= 1),
            "step_size": ("in (0, 1]", 0 < self.step_size <= 1),
            "step_size_decay": ("in [0, 1]", 0 <= self.step_size_decay <= 1),
        }
        _check(self, expectations)


@dataclass(frozen=True, kw_only=True)
class ControlConfig(PredictionConfig):
    """As `PredictionConfig`, and exploration: a random action with probability ε, else a best one.

    ε goes in equal steps from `epsilon` in the first episode to `epsilon_final` in the last; it stays
    `epsilon` if `epsilon_final` is None.
    """

    epsilon: float
    epsilon_final: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        last = self.epsilon if self.epsilon_final is None else self.epsilon_final
        _check(
            self,
            {
                "epsilon": ("in [0, 1]", 0 <= self.epsilon <= 1),
                "epsilon_final": ("in [0, 1] or None", 0 <= last <= 1),
            },
        )

    def epsilon_at(self, episode: int) -> float:
        """ε of an episode; the first is 1.

        >>> config = ControlConfig(episodes=3, discount=1.0, step_size=0.5, epsilon=1.0, epsilon_final=0.0)
        >>> [config.epsilon_at(episode) for episode in (1, 2, 3)]
        [1.0, 0.5, 0.0]
        """
        if self.epsilon_final is None or self.episodes == 1:
            return self.epsilon
        part = (episode - 1) / (self.episodes - 1)
        return self.epsilon + part * (self.epsilon_final - self.epsilon)


def _check(config: object, expectations: dict[str, tuple[str, bool]]) -> None:
    for field, (expected, holds) in expectations.items():
        if not holds:
            raise ValueError(
                f"{type(config).__name__}: {field} must be {expected}, got {getattr(config, field)}"
            )


def table_shape(env: gymnasium.Env) -> tuple[int, int]:
    """Number of states and of actions; raises ValueError unless both spaces are `Discrete` and begin at 0."""
    found = (env.observation_space, env.action_space)
    if not all(isinstance(space, spaces.Discrete) and space.start == 0 for space in found):
        raise ValueError(f"a table needs Discrete spaces that begin at 0, got {found[0]} and {found[1]}")
    return int(env.observation_space.n), int(env.action_space.n)


def epsilon_greedy(action_values: Tensor, *, epsilon: float) -> Tensor:
    """The policy (S, A): a random action with probability ε, else a best one; best ones that tie share.

    >>> epsilon_greedy(torch.tensor([[1.0, 0.0]]), epsilon=0.5).tolist()
    [[0.75, 0.25]]
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon must be in [0, 1], got {epsilon}")
    best = (action_values == action_values.amax(1, keepdim=True)).double()
    return (1 - epsilon) * best / best.sum(1, keepdim=True) + epsilon / action_values.shape[1]


class StepSizes:
    """How far each entry of a table moves: `step_size / n**step_size_decay` at its n-th update."""

    def __init__(self, config: PredictionConfig, shape: tuple[int, ...]) -> None:
        """Nothing has been updated yet."""
        self.config = config
        self.updates = np.zeros(shape, dtype=np.int64)

    def next(self, entry: int | tuple[int, int]) -> float:
        """Count one more update of this entry and return its step size."""
        self.updates[entry] += 1
        return self.config.step_size / float(self.updates[entry]) ** self.config.step_size_decay


def starts(
    env: gymnasium.Env, config: PredictionConfig, generator: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Reset the environment for each episode; yields its number, from 1, and first state. Seeds it once."""
    seed = int(generator.integers(2**31))
    for episode in range(1, config.episodes + 1):
        state, _ = env.reset(seed=seed if episode == 1 else None)
        yield episode, int(state)


def log_entry(walk: Sequence[Step]) -> dict[str, float]:
    """What the log says about an episode."""
    rewards = sum(reward for _, _, reward, _, _ in walk)
    return {"return": float(rewards), "steps": float(len(walk)), "terminated": float(walk[-1][-1])}


def call_hooks(hooks: Sequence[TableHook], episode: int, table: np.ndarray) -> None:
    """Show the table, as a copy, to every hook."""
    for hook in hooks:
        hook(episode, torch.from_numpy(table.copy()))


# ---- prediction: what states are worth under a given policy


def _cumulative(env: gymnasium.Env, policy: Tensor) -> np.ndarray:
    """The policy's cumulative probabilities (S, A); raises ValueError if it does not fit."""
    shape = table_shape(env)
    rows_add_up = bool((policy >= 0).all()) and bool(((policy.sum(-1) - 1).abs() < 1e-6).all())
    if tuple(policy.shape) != shape or not rows_add_up:
        raise ValueError(
            f"a policy for this environment is {shape}, each row a distribution; "
            f"got {tuple(policy.shape)}, rows adding up to {policy.sum(-1).min():g} at least"
        )
    return policy.double().cumsum(1).numpy()


def _walk(
    env: gymnasium.Env, state: int, cumulative: np.ndarray, generator: np.random.Generator
) -> Iterator[Step]:
    """Follow the policy from a state to the end of the episode, or to where it is cut off."""
    done = False
    while not done:
        drawn = cumulative[state].searchsorted(generator.random(), side="right")
        action = min(int(drawn), cumulative.shape[1] - 1)  # the sum may end in 0.9999…
        after, reward, terminated, truncated, _ = env.step(action)
        yield state, action, float(reward), int(after), terminated
        state, done = int(after), terminated or truncated


def monte_carlo_prediction(
    env: gymnasium.Env,
    policy: Tensor,
    *,
    config: PredictionConfig,
    generator: np.random.Generator,
    hooks: Sequence[TableHook] = (),
) -> tuple[Tensor, Log]:
    """First-visit Monte Carlo: move V(s) towards the return that followed the first visit of s in an episode.

    ``V(s) ← V(s) + α (G_t − V(s))``, ``G_t = r_t + γ G_{t+1}``; behind a terminal state G is 0, and behind a
    state where the episode was cut off it is V of that state.

    Args:
        policy: (S, A), π(a | s).
        generator: draws the actions, and the seed of the environment.

    Returns:
        V (S,) and the log. Raises ValueError for a policy that does not fit the environment.

    Paper: Sutton and Barto, section 5.1.
    """
    cumulative = _cumulative(env, policy)
    values = np.zeros(len(cumulative))
    sizes = StepSizes(config, values.shape)
    log: Log = []
    for episode, first in starts(env, config, generator):
        walk = list(_walk(env, first, cumulative, generator))
        *_, last, terminated = walk[-1]
        to_come = 0.0 if terminated else values[last]
        targets: dict[int, float] = {}
        for state, _, reward, _, _ in reversed(walk):
            to_come = reward + config.discount * to_come
            targets[state] = to_come  # an earlier visit overwrites a later one
        for state, target in targets.items():
            values[state] += sizes.next(state) * (target - values[state])
        log.append(log_entry(walk))
        call_hooks(hooks, episode, values)
    return torch.from_numpy(values), log


def td_prediction(
    env: gymnasium.Env,
    policy: Tensor,
    *,
    config: PredictionConfig,
    generator: np.random.Generator,
    hooks: Sequence[TableHook] = (),
) -> tuple[Tensor, Log]:
    """TD(0): after every step, move V(s) towards the reward and the value of the state that followed.

    ``V(s) ← V(s) + α (r + γ V(s') − V(s))``; ``V(s') = 0`` if s' is terminal, not if it is merely the last.

    Args:
        policy: (S, A), π(a | s).
        generator: draws the actions, and the seed of the environment.

    Returns:
        V (S,) and the log. Raises ValueError for a policy that does not fit the environment.

    Paper: Sutton and Barto, section 6.1.
    """
    cumulative = _cumulative(env, policy)
    values = np.zeros(len(cumulative))
    sizes = StepSizes(config, values.shape)
    log: Log = []
    for episode, first in starts(env, config, generator):
        walk: list[Step] = []
        for step in _walk(env, first, cumulative, generator):
            state, _, reward, after, terminated = step
            target = reward + (0.0 if terminated else config.discount * values[after])
            values[state] += sizes.next(state) * (target - values[state])
            walk.append(step)
        log.append(log_entry(walk))
        call_hooks(hooks, episode, values)
    return torch.from_numpy(values), log
