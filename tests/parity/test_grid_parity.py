"""Advantages of grid episodes, and PPO on the grid, against stable-baselines3 (see ``conftest.py``).

pip install --no-deps --target .parity/stable-baselines3-2.9 stable-baselines3==2.9.2
"""

import gymnasium
import pytest
import torch

from rlhf_mini.chapters.grid_world.gradients import learn
from rlhf_mini.chapters.grid_world.reference import stable_baselines3_ppo
from rlhf_mini.estimators import gae
from rlhf_mini.methods.episodes import TabularPolicy, TabularValues, collect, with_bootstrap
from rlhf_mini.worlds.gridworld import ROBOT_GRID

pytestmark = [pytest.mark.bridge, pytest.mark.slow]


def test_gae_of_the_same_rollout(ask):
    # Whole episodes end to end in their buffer. What a time limit cut off is bootstrapped in the reward, as
    # their collector does. The last episode is cut by the end of the buffer and bootstrapped by them, so that
    # their way with a cut is compared too.
    envs = [gymnasium.make(ROBOT_GRID, slip=0.2, max_episode_steps=40) for _ in range(12)]
    policy, values = TabularPolicy(states=48, actions=4), TabularValues(states=48)
    generator = torch.Generator().manual_seed(1)
    values.table.data.copy_(torch.randn(48, generator=generator, dtype=torch.float64))
    episodes = collect(envs, policy, generator=generator)
    order = torch.cat([episodes.terminated.nonzero().flatten(), (~episodes.terminated).nonzero().flatten()])
    episodes = episodes.rows(order)  # the last one was cut off
    assert bool(episodes.terminated[0])
    assert not bool(episodes.terminated[-1])

    settings = torch.tensor([[0.99, 0.95], [1.0, 1.0], [0.9, 0.0]])
    last_step = episodes.mask & ~torch.nn.functional.pad(episodes.mask[:, 1:], (0, 1))
    ends = last_step[episodes.mask]
    ends[-1] = False
    with torch.no_grad():
        values_at, beyond = values(episodes.states), values(episodes.final_states)
    for discount, gae_lambda in settings.tolist():
        ours_rewards = with_bootstrap(episodes, values, discount=discount)
        advantages, returns = gae(
            ours_rewards, values_at, episodes.mask, discount=discount, gae_lambda=gae_lambda
        )
        theirs_rewards = ours_rewards.clone()
        theirs_rewards[-1] = episodes.rewards[-1]
        theirs = ask(
            "sb3_gae",
            "stable-baselines3",
            "2.9",
            rewards=theirs_rewards[episodes.mask].float(),
            values=values_at[episodes.mask].float(),
            ends=ends,
            last_value=beyond[-1:].float(),
            settings=torch.tensor([[discount, gae_lambda]]),
        )
        # Their buffer holds float32.
        for ours, name in ((advantages, "advantages_0"), (returns, "returns_0")):
            torch.testing.assert_close(ours[episodes.mask].float(), theirs[name], rtol=1e-5, atol=1e-4)


def test_both_reach_the_best_return_on_the_grid():
    """Judged exactly. The bait at the first door is worth 4.2 at best, the way to the goal 10.7."""
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    theirs = stable_baselines3_ppo(0)
    diary, _, _ = learn("PPO", seed=0, steps=15_000)
    ours, _ = diary.at(15_000)
    assert theirs["return"] > theirs["best"] - 0.6
    assert ours > theirs["best"] - 0.6
