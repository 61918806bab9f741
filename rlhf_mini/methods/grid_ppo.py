"""Proximal policy optimisation on episodes of a small world.

Paper: Schulman et al. 2017, arXiv 1707.06347. One iteration: play; store the log-probabilities; estimate
advantages by GAE and whiten them; take `epochs` passes over the same episodes in minibatches, each step held
near the policy that played by clipping the ratio; forget the episodes. `methods/ppo.py` does the same with a
language model: same estimators, same losses, same order.

Simplifications: a minibatch is made of whole episodes, not of single steps; advantages are whitened once per
iteration, as for language models; no entropy bonus unless asked for; no early stop by KL.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn

from rlhf_mini.estimators import entropy, gae, kl_k3, whiten
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import clip_fraction, ppo_policy_loss, ppo_value_loss
from rlhf_mini.methods.episodes import Episodes, Play, action_logp, with_bootstrap
from rlhf_mini.tensors import masked_mean

PolicyLoss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logp, logp_old, advantages -> (B, T)


@dataclass(frozen=True, kw_only=True)
class GridPPOConfig:
    """Settings of PPO on a small world.

    - `iterations`, `epochs`, `minibatches`: each batch of episodes is used `epochs` times, in that many
      parts.
    - `discount`: γ, the world's; `gae_lambda`: λ.
    - `clip_range`: ε of the ratio; `value_clip_range`: of the values, in units of the reward.
    - `entropy_weight`: what a nat of entropy is worth; above 0 it keeps the policy exploring.
    """

    iterations: int
    epochs: int
    minibatches: int
    optimizer: OptimizerConfig
    discount: float
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    value_clip_range: float = 0.5
    value_weight: float = 0.5
    entropy_weight: float = 0.0

    def __post_init__(self) -> None:
        if min(self.iterations, self.epochs, self.minibatches) < 1:
            raise ValueError(f"iterations, epochs and minibatches must be at least 1, got {self}")
        if not (0 <= self.discount <= 1 and 0 <= self.gae_lambda <= 1):
            raise ValueError(
                f"discount and gae_lambda must lie in [0, 1], got {self.discount}, {self.gae_lambda}"
            )
        if not (self.value_weight > 0 and self.entropy_weight >= 0):
            raise ValueError(
                "value_weight must be above 0 and entropy_weight not below, "
                f"got {self.value_weight}, {self.entropy_weight}"
            )

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.iterations * self.epochs * self.minibatches


@dataclass(frozen=True)
class Experience:
    """Episodes and what was worked out about each step of them before any training: (B, T) each."""

    episodes: Episodes
    values_old: Tensor
    advantages: Tensor
    returns: Tensor

    def rows(self, rows: Tensor) -> "Experience":
        """The part about the episodes with these numbers."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return Experience(
            **{name: part.rows(rows) if name == "episodes" else part[rows] for name, part in parts.items()}
        )


@torch.no_grad()
def appraise(episodes: Episodes, values: nn.Module, *, config: GridPPOConfig) -> Experience:
    """Advantages (whitened) and value targets of fresh episodes, by GAE."""
    rewards = with_bootstrap(episodes, values, discount=config.discount)
    values_old = values(episodes.states)
    advantages, returns = gae(
        rewards, values_old, episodes.mask, discount=config.discount, gae_lambda=config.gae_lambda
    )
    return Experience(episodes, values_old, whiten(advantages, episodes.mask, shift_mean=True), returns)


def grid_ppo_loss(
    policy: nn.Module,
    values: nn.Module,
    batch: Experience,
    *,
    config: GridPPOConfig,
    policy_loss: PolicyLoss,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The policy loss, plus the clipped value loss, less the entropy, each a mean over the batch's steps.

    The metrics are `kl`, k3 of KL(π_old ‖ π) in nats per step; `clip_fraction`; `ratio_deviation`, mean
    |ρ − 1|; `entropy`; and the two losses.
    """
    episodes, mask = batch.episodes, batch.episodes.mask
    logp, now = action_logp(policy, episodes.states, episodes.actions), values(episodes.states)
    policy_part = masked_mean(policy_loss(logp, episodes.logp_old, batch.advantages), mask)
    value_losses = ppo_value_loss(now, batch.values_old, batch.returns, clip_range=config.value_clip_range)
    value_part = masked_mean(value_losses, mask)
    undecided = masked_mean(entropy(policy(episodes.states)), mask)
    loss = policy_part + config.value_weight * value_part - config.entropy_weight * undecided
    with torch.no_grad():
        silenced = clip_fraction(logp, episodes.logp_old, batch.advantages, clip_range=config.clip_range)
        metrics = {
            "policy_loss": policy_part,
            "value_loss": value_part,
            "entropy": undecided,
            "kl": masked_mean(kl_k3(episodes.logp_old, logp), mask),
            "clip_fraction": masked_mean(silenced, mask),
            "ratio_deviation": masked_mean((logp - episodes.logp_old).exp().sub(1).abs(), mask),
        }
    return loss, metrics


def grid_ppo(
    policy: nn.Module,
    values: nn.Module,
    play: Play,
    *,
    config: GridPPOConfig,
    generator: torch.Generator,
    policy_loss: PolicyLoss | None = None,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `policy` and `values` in place; returns `fit`'s history, one entry for each optimizer step.

    - `play`: returns fresh episodes of the policy as it is at that moment.
    - `generator`: shuffles the episodes into minibatches.
    - `policy_loss`: PPO's clipped loss with the configuration's `clip_range`, if not given. With
      `losses.ratio_policy_loss` in its place nothing is clipped.

    Raises ValueError for fewer episodes than minibatches.
    """
    policy_loss = policy_loss or partial(ppo_policy_loss, clip_range=config.clip_range)

    def minibatches() -> Iterator[Experience]:
        for _ in range(config.iterations):
            experience = appraise(play(), values, config=config)
            count = len(experience.episodes)
            if count < config.minibatches:
                raise ValueError(f"{count} episodes cannot be cut into {config.minibatches} minibatches")
            for _ in range(config.epochs):
                order = torch.randperm(count, generator=generator)
                for rows in order.tensor_split(config.minibatches):
                    yield experience.rows(rows)

    def loss_fn(batch: Experience) -> tuple[Tensor, dict[str, Tensor]]:
        return grid_ppo_loss(policy, values, batch, config=config, policy_loss=policy_loss)

    return fit(
        nn.ModuleDict({"policy": policy, "value": values}),
        minibatches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=config.steps,
        hooks=hooks,
        description="PPO",
    )
