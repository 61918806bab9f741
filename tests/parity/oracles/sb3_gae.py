"""stable-baselines3's rollout buffer: episodes laid end to end in one environment, the last one cut off."""

import sys

import numpy as np
import torch


def main(questions: str, answers: str) -> None:
    """One buffer for each setting of γ and λ."""
    from gymnasium import spaces
    from stable_baselines3.common.buffers import RolloutBuffer

    q = torch.load(questions, weights_only=True)
    steps, found = len(q["rewards"]), {}
    for index, (discount, gae_lambda) in enumerate(q["settings"].tolist()):
        buffer = RolloutBuffer(
            steps, spaces.Discrete(2), spaces.Discrete(2), gae_lambda=gae_lambda, gamma=discount, n_envs=1
        )
        starts = torch.cat([torch.tensor([True]), q["ends"][:-1]])
        for step in range(steps):
            buffer.add(
                np.zeros((1, 1)),
                np.zeros((1, 1)),
                q["rewards"][step : step + 1].numpy(),
                starts[step : step + 1].numpy(),
                q["values"][step : step + 1],
                torch.zeros(1),
            )
        last = {"last_values": q["last_value"], "dones": q["ends"][-1:].numpy()}
        buffer.compute_returns_and_advantage(**last)
        found[f"advantages_{index}"] = torch.tensor(buffer.advantages[:, 0])
        found[f"returns_{index}"] = torch.tensor(buffer.returns[:, 0])
    torch.save(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
