"""The same task for an independent implementation: PPO of stable-baselines3, from the bridge extra."""

import time

import numpy as np
import torch

from rlhf_mini.chapters.grid_world.gradients import DISCOUNT, EPISODES, best_return, grid_envs
from rlhf_mini.exact import evaluate_policy


def stable_baselines3_ppo(seed: int, *, steps: int = 15_000, learning_rate: float = 0.05) -> dict[str, float]:
    """PPO of stable-baselines3 on the same grid, with the same clip range, epochs, γ and λ as ours.

    Its policy is a linear layer on the one-hot state, which is a table (without hidden layers there is one
    logit for each state and action, plus a bias for each action). It stops at the first multiple of its
    rollout (16 environments by 32 steps) that is at least `steps`.

    Returns the exact `return` of its policy, `best`, and `seconds`. Raises ImportError without the package.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.manual_seed(seed)
    envs = grid_envs()
    mdp = envs[0].unwrapped.model
    started = time.perf_counter()
    model = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda env=env: env for env in envs]),
        policy_kwargs={"net_arch": []},
        learning_rate=learning_rate,
        n_steps=32,
        batch_size=32 * EPISODES // 4,
        n_epochs=4,
        gamma=DISCOUNT,
        gae_lambda=0.95,
        clip_range=0.2,
        seed=seed,
        device="cpu",
    )
    model.learn(total_timesteps=steps)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        observations, _ = model.policy.obs_to_tensor(np.arange(mdp.states))
        logits = model.policy.get_distribution(observations).distribution.logits.double()
    worth = float(mdp.start @ evaluate_policy(mdp, logits.softmax(-1)).state)
    return {"return": worth, "best": best_return(mdp), "seconds": seconds}
