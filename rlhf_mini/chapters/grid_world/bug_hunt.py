"""The bug hunt of chapter 01: two actor–critics that should be the same, and are not."""

from functools import partial

import torch
from torch import Tensor

from rlhf_mini.chapters.grid_world.gradients import (
    DISCOUNT,
    NO_BAIT,
    OPTIMIZER,
    Diary,
    grid_envs,
    tables,
)
from rlhf_mini.estimators import gae
from rlhf_mini.methods.policy_gradient import Estimate, PolicyGradientConfig, learn_with_values
from rlhf_mini.reader import BugHunt

GAE_LAMBDA = 0.95


def flat_gae(
    rewards: Tensor, values: Tensor, ends: Tensor, *, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation over episodes that lie one behind another in a buffer.

    - `rewards`, `values`: (N,), of every step taken.
    - `ends`: (N,), true on the last step of an episode.

    Returns the advantages and the value targets, (N,) each.
    """
    advantages, following, carried = torch.zeros_like(rewards), torch.tensor(0.0), torch.tensor(0.0)
    goes_on = torch.tensor(False)
    for step in reversed(range(len(rewards))):
        delta = rewards[step] + discount * following * goes_on - values[step]
        carried = delta + discount * gae_lambda * carried * goes_on
        advantages[step], following, goes_on = carried, values[step], ~ends[step]
    return advantages, advantages + values


def flat_gae_mended(
    rewards: Tensor, values: Tensor, ends: Tensor, *, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """`flat_gae` as it should be."""
    advantages, following, carried = torch.zeros_like(rewards), torch.tensor(0.0), torch.tensor(0.0)
    for step in reversed(range(len(rewards))):
        goes_on = ~ends[step]
        delta = rewards[step] + discount * following * goes_on - values[step]
        carried = delta + discount * gae_lambda * carried * goes_on
        advantages[step], following = carried, values[step]
    return advantages, advantages + values


def through_a_buffer(rewards: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """`flat_gae` on padded episodes (B, T): they are laid end to end, and what is found is put back."""
    after = torch.nn.functional.pad(mask[:, 1:], (0, 1))
    ends = mask & ~after
    found = flat_gae(rewards[mask], values[mask], ends[mask], discount=DISCOUNT, gae_lambda=GAE_LAMBDA)
    advantages, targets = (torch.zeros_like(rewards).masked_scatter(mask, flat) for flat in found)
    return advantages, targets


ESTIMATES: dict[str, Estimate] = {
    "rows": partial(gae, discount=DISCOUNT, gae_lambda=GAE_LAMBDA),
    "buffer": through_a_buffer,
}


def learning_curves(seed: int, *, iterations: int = 150) -> dict[str, dict[str, list[float]]]:
    """Both actor–critics from the same seed, on the grid whose doors pay nothing.

    For each: steps taken, the exact return of the policy then, and V(start), the critic's own opinion of it.
    """
    config = PolicyGradientConfig(iterations=iterations, optimizer=OPTIMIZER, discount=DISCOUNT)
    return {name: _learn(estimate, config=config, seed=seed) for name, estimate in ESTIMATES.items()}


def _learn(estimate: Estimate, *, config: PolicyGradientConfig, seed: int) -> dict[str, list[float]]:
    envs = grid_envs(prizes=NO_BAIT)
    policy, values = tables(envs)
    diary = Diary(envs, policy, torch.Generator().manual_seed(seed))
    start, opinions = int(diary.mdp.start.argmax()), list[float]()

    def ask_the_critic(step: int, entry: dict[str, float]) -> None:
        opinions.append(float(values.table.detach()[start]))

    learn_with_values(policy, values, diary, estimate, config=config, hooks=[ask_the_critic])
    return {
        "steps": [float(steps) for steps in diary.steps[:-1]],
        "returns": diary.returns,
        "value_of_start": opinions,
    }


BUG_HUNT = BugHunt(
    title="The actor–critic that believes it is lost",
    wrong=flat_gae,
    right=flat_gae_mended,
    explanation=(
        "`goes_on` says whether anything follows the step. It is read one step late: the flag that is used at a step belongs to the "
        "step after it. So the last step of an episode bootstraps from the first step of the next episode, and the step before "
        "it is treated as the last: the prize is credited to the last move only, and reaches earlier ones by detours. Every end now "
        "also carries the value of a new start, which is negative: ending looks bad, so the robot puts it off, the start looks worse "
        "still, and so on, until the detours have carried enough of the prize back."
    ),
    source="stable-baselines3, issue 105 (2020): the flag of an episode's end paired with the wrong step",
    link="https://github.com/DLR-RM/stable-baselines3/issues/105",
)
