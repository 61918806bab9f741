"""Learning what to do by walking: SARSA, expected SARSA and Q-learning, with a table for memory.

The three differ in one line, what the next state is held to be worth. As in ``tabular``, tables begin at 0
and a state in which an episode was cut off keeps its value, while a terminal one is worth 0.

Each returns Q (S, A) float64 and a log with one entry an episode: ``return`` (undiscounted, with
exploration), ``steps``, ``terminated`` and ``epsilon``. Raises ValueError unless the environment's spaces are
``Discrete``.
"""

from collections.abc import Callable, Sequence

import gymnasium
import numpy as np
import torch
from torch import Tensor

from rlhf_mini.methods.tabular import (
    ControlConfig,
    Log,
    Step,
    StepSizes,
    TableHook,
    call_hooks,
    log_entry,
    starts,
    table_shape,
)


def choose(row: np.ndarray, epsilon: float, generator: np.random.Generator) -> int:
    """An action: any with probability ε, else a best one, drawn among those that tie."""
    if generator.random() < epsilon:
        return int(generator.integers(len(row)))
    best = np.flatnonzero(row == row.max())
    return int(best[0] if len(best) == 1 else generator.choice(best))


def sarsa(
    env: gymnasium.Env,
    *,
    config: ControlConfig,
    generator: np.random.Generator,
    hooks: Sequence[TableHook] = (),
) -> tuple[Tensor, Log]:
    """SARSA: the next state is worth what the action is worth that will be taken there, explored or not.

    ``Q(s, a) ← Q(s, a) + α (r + γ Q(s', a') − Q(s, a))``, a' drawn from the ε-greedy policy. So it learns the
    value of the policy that explores, and keeps away from where exploration is dangerous.

    Args:
        generator: draws the actions, and the seed of the environment.

    Paper: Sutton and Barto, section 6.4.
    """
    q = np.zeros(table_shape(env))
    sizes = StepSizes(config, q.shape)
    log: Log = []
    for episode, state in starts(env, config, generator):
        epsilon, walk, done = config.epsilon_at(episode), list[Step](), False
        action = choose(q[state], epsilon, generator)
        while not done:
            after, reward, terminated, truncated, _ = env.step(action)
            next_action = choose(q[after], epsilon, generator)
            target = reward + (0.0 if terminated else config.discount * q[after, next_action])
            q[state, action] += sizes.next((state, action)) * (target - q[state, action])
            walk.append((state, action, float(reward), int(after), terminated))
            state, action, done = int(after), next_action, terminated or truncated
        log.append({**log_entry(walk), "epsilon": epsilon})
        call_hooks(hooks, episode, q)
    return torch.from_numpy(q), log


def q_learning(
    env: gymnasium.Env,
    *,
    config: ControlConfig,
    generator: np.random.Generator,
    hooks: Sequence[TableHook] = (),
) -> tuple[Tensor, Log]:
    """Q-learning: the next state is worth what its best action is worth, whatever will be taken.

    ``Q(s, a) ← Q(s, a) + α (r + γ max_b Q(s', b) − Q(s, a))``. So it learns the value of the best policy
    while it follows another one, and does not mind what exploration costs on the way.

    Args:
        generator: draws the actions, and the seed of the environment.

    Paper: Watkins 1989; Sutton and Barto, section 6.5.
    """

    def best(row: np.ndarray, epsilon: float) -> float:
        return float(row.max())

    return _learn(env, best, config=config, generator=generator, hooks=hooks)


def expected_sarsa(
    env: gymnasium.Env,
    *,
    config: ControlConfig,
    generator: np.random.Generator,
    hooks: Sequence[TableHook] = (),
) -> tuple[Tensor, Log]:
    """Expected SARSA: the next state is worth the mean of its actions under the ε-greedy policy.

    ``Q(s, a) ← Q(s, a) + α (r + γ Σ_b π(b | s') Q(s', b) − Q(s, a))``. It learns what SARSA learns, without
    the noise of the one action that SARSA draws.

    Args:
        generator: draws the actions, and the seed of the environment.

    Paper: van Seijen et al. 2009; Sutton and Barto, section 6.6.
    """

    def mean(row: np.ndarray, epsilon: float) -> float:  # best actions that tie are worth the same
        return float((1 - epsilon) * row.max() + epsilon * row.mean())

    return _learn(env, mean, config=config, generator=generator, hooks=hooks)


def _learn(
    env: gymnasium.Env,
    worth: Callable[[np.ndarray, float], float],
    *,
    config: ControlConfig,
    generator: np.random.Generator,
    hooks: Sequence[TableHook],
) -> tuple[Tensor, Log]:
    """The walk of Q-learning and expected SARSA; `worth` of a row of Q and ε is the state's worth."""
    q = np.zeros(table_shape(env))
    sizes = StepSizes(config, q.shape)
    log: Log = []
    for episode, state in starts(env, config, generator):
        epsilon, walk, done = config.epsilon_at(episode), list[Step](), False
        while not done:
            action = choose(q[state], epsilon, generator)
            after, reward, terminated, truncated, _ = env.step(action)
            target = reward + (0.0 if terminated else config.discount * worth(q[after], epsilon))
            q[state, action] += sizes.next((state, action)) * (target - q[state, action])
            walk.append((state, action, float(reward), int(after), terminated))
            state, done = int(after), terminated or truncated
        log.append({**log_entry(walk), "epsilon": epsilon})
        call_hooks(hooks, episode, q)
    return torch.from_numpy(q), log
