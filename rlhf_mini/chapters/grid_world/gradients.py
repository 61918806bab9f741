"""Policy-gradient methods on the robot's grid: learning curves, judged exactly.

Nothing here is judged by sampled returns. The grid's tables are known, so that a policy's worth is solved for
(`evaluate_policy`), before every rollout, and written beside the number of steps taken in the world by then.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import gymnasium
import torch

from rlhf_mini.exact import FiniteMDP, evaluate_policy, policy_iteration
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.episodes import Episodes, Play, TabularPolicy, TabularValues, collect
from rlhf_mini.methods.grid_ppo import GridPPOConfig, grid_ppo
from rlhf_mini.methods.policy_gradient import (
    PolicyGradientConfig,
    actor_critic,
    gae_actor_critic,
    reinforce,
    reinforce_with_baseline,
)
from rlhf_mini.worlds.gridworld import ROBOT_GRID, Layout, Prizes, parse_layout

SLIP, DISCOUNT, EPISODES, STEP_LIMIT = 0.1, 0.99, 16, 100

# The two doors on a map so small that training takes seconds. Right pays 5 at once and leads to an exit that
# pays nothing; up leads past the pit to the goal.
SMALL_DOORS = parse_layout("""
    ..PG
    ....
    .###
    S..E
""")


# The same without the bait: both doors cost a step.
NO_BAIT = Prizes(first_right=-1.0)


def grid_envs(
    layout: Layout = SMALL_DOORS,
    *,
    count: int = EPISODES,
    step_limit: int = STEP_LIMIT,
    prizes: Prizes | None = None,
) -> list[gymnasium.Env]:
    """That many copies of the robot's grid, each cut off after `step_limit` steps."""
    make = partial(gymnasium.make, ROBOT_GRID, layout=layout, slip=SLIP, discount=DISCOUNT, prizes=prizes)
    return [make(max_episode_steps=step_limit, disable_env_checker=True) for _ in range(count)]


def tables(envs: list[gymnasium.Env]) -> tuple[TabularPolicy, TabularValues]:
    """An untrained policy and untrained values for these environments."""
    states, actions = int(envs[0].observation_space.n), int(envs[0].action_space.n)
    return TabularPolicy(states=states, actions=actions), TabularValues(states=states)


def exact_return(mdp: FiniteMDP, policy: TabularPolicy) -> float:
    """J(π), the expected discounted return from the start: a sum, not a sample."""
    return float(mdp.start @ evaluate_policy(mdp, policy.probabilities()).state)


def best_return(mdp: FiniteMDP) -> float:
    """J of the best policy."""
    return float(mdp.start @ policy_iteration(mdp).values[-1])


@dataclass
class Diary:
    """Plays episodes for a method, and notes the policy's exact return before each batch of them.

    `steps` and `returns` are the learning curve: steps taken in the world so far, and J(π) then.
    `seconds` is when each was noted, the time that noting takes left out.
    """

    envs: list[gymnasium.Env]
    policy: TabularPolicy
    generator: torch.Generator
    steps: list[int] = field(default_factory=lambda: [0])
    returns: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    _lost: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if not self.envs:
            raise ValueError("a diary needs environments to play in, received none")

    @property
    def mdp(self) -> FiniteMDP:
        """The tables that the environments sample from."""
        return self.envs[0].unwrapped.model

    def __call__(self) -> Episodes:
        """Note, then play."""
        self.note()
        episodes = collect(self.envs, self.policy, generator=self.generator)
        self.steps.append(self.steps[-1] + episodes.steps)
        return episodes

    def note(self) -> None:
        """Write down the exact return of the policy as it is."""
        now = time.perf_counter()
        self.seconds.append(now - self._started - self._lost)
        self.returns.append(exact_return(self.mdp, self.policy))
        self._lost += time.perf_counter() - now

    def at(self, steps: int) -> tuple[float, float]:
        """The exact return, and the seconds until then, at the first note that so many steps came before.

        Raises ValueError if so many steps were never taken.
        """
        for taken, worth, seconds in zip(self.steps, self.returns, self.seconds, strict=True):
            if taken >= steps:
                return worth, seconds
        raise ValueError(f"only {self.steps[-1]} steps were taken, fewer than {steps}")


Learner = Callable[[TabularPolicy, TabularValues, Play, int, torch.Generator], object]
OPTIMIZER = OptimizerConfig(learning_rate=0.1)


def _gradient(method: Callable[..., object]) -> Learner:
    def learn(
        policy: TabularPolicy, values: TabularValues, play: Play, iterations: int, generator: torch.Generator
    ) -> object:
        config = PolicyGradientConfig(iterations=iterations, optimizer=OPTIMIZER, discount=DISCOUNT)
        return method(policy, values, play, config=config)

    return learn


def _reinforce(
    policy: TabularPolicy, values: TabularValues, play: Play, iterations: int, generator: torch.Generator
) -> object:
    config = PolicyGradientConfig(iterations=iterations, optimizer=OPTIMIZER, discount=DISCOUNT)
    return reinforce(policy, play, config=config)


def _ppo(
    policy: TabularPolicy, values: TabularValues, play: Play, iterations: int, generator: torch.Generator
) -> object:
    optimizer = OptimizerConfig(learning_rate=0.05)
    config = GridPPOConfig(
        iterations=iterations, epochs=4, minibatches=4, optimizer=optimizer, discount=DISCOUNT
    )
    return grid_ppo(policy, values, play, config=config, generator=generator)


LEARNERS: dict[str, Learner] = {
    "REINFORCE": _reinforce,
    "REINFORCE, baseline": _gradient(reinforce_with_baseline),
    "actor–critic": _gradient(actor_critic),
    "actor–critic, GAE": _gradient(gae_actor_critic),
    "PPO": _ppo,
}


def learn(
    method: str, *, seed: int, steps: int, layout: Layout = SMALL_DOORS
) -> tuple[Diary, TabularPolicy, TabularValues]:
    """Train one of `LEARNERS` for at least `steps` steps in the world; the diary holds its learning curve."""
    envs = grid_envs(layout)
    policy, values = tables(envs)
    generator = torch.Generator().manual_seed(seed)
    diary = Diary(envs, policy, generator)
    # An episode has at least as many steps as the way to the nearest end: enough for the budget.
    iterations = -(-steps // (len(envs) * shortest_episode(diary.mdp)))
    LEARNERS[method](policy, values, diary, iterations, generator)
    diary.note()
    return diary, policy, values


def shortest_episode(mdp: FiniteMDP) -> int:
    """The least number of steps from the start to an end."""
    reached, moves = mdp.start > 0, (mdp.transitions > 0).any(1)
    for steps in range(mdp.states):
        if (reached & mdp.terminal).any():
            return steps
        reached = moves[reached].any(0)
    raise ValueError("no end can be reached from the start")


def scoreboard(seed: int, *, steps: int = 15_000) -> dict[str, dict[str, float]]:
    """Every method after the same number of steps in the world: its policy's exact return, and seconds.

    `stable_baselines3_ppo` gives the reference's row.
    """
    rows = {}
    for method in LEARNERS:
        diary, _, _ = learn(method, seed=seed, steps=steps)
        worth, seconds = diary.at(steps)
        rows[method] = {"return": worth, "best": best_return(diary.mdp), "seconds": seconds}
    return rows
