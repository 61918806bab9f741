"""REINFORCE and actor–critics on episodes of a small world.

Papers: Williams 1992 (REINFORCE); Sutton and Barto, *Reinforcement Learning*, §§13.3–13.5; Schulman et al.
2015, arXiv 1506.02438 (GAE). All go up the same gradient,

    ∇J = E[Σ_t Ψ_t ∇ log π(a_t|s_t)],

and differ in what they take for Ψ:

| function | Ψ_t | needs |
|---|---|---|
| `reinforce` | γ^t G_t | whole episodes |
| `reinforce_with_baseline` | γ^t (G_t − V(s_t)) | whole episodes, a value for every state |
| `actor_critic` | r_t + γ V(s_{t+1}) − V(s_t) | one step and the value of what follows |
| `gae_actor_critic` | Σ_l (γλ)^l δ_{t+l} | anything between the two |

Each takes `play`, a function that returns fresh episodes of the policy as it is at that moment, makes one
step on them and forgets them.

Simplifications: one optimizer (AdamW) for policy and values; the actor–critics learn after whole episodes,
not after every step, and leave out the factor γ^t, as almost all code does (with γ < 1 theirs is then not the
gradient of any objective: Nota and Thomas 2020, arXiv 1906.07073). An episode cut off by a time limit is
continued by V(s_T); `reinforce`, which has no values, drops what would have followed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from rlhf_mini.estimators import discounted_returns, entropy, gae
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import policy_gradient_loss, value_loss
from rlhf_mini.methods.episodes import Episodes, Play, action_logp, with_bootstrap
from rlhf_mini.tensors import masked_mean, masked_sum

Estimate = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # rewards, values, mask -> Ψ, targets


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig:
    """`iterations` of playing and one step each.

    - `discount`: γ, the world's, from 0 to 1.
    - `gae_lambda`: λ; read by `gae_actor_critic` only.
    - `value_weight`: of the value loss beside the policy's.
    """

    iterations: int
    optimizer: OptimizerConfig
    discount: float
    gae_lambda: float = 0.95
    value_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")
        if not (0 <= self.discount <= 1 and 0 <= self.gae_lambda <= 1):
            raise ValueError(
                f"discount and gae_lambda must lie in [0, 1], got {self.discount}, {self.gae_lambda}"
            )
        if not self.value_weight > 0:
            raise ValueError(f"value_weight must be above 0, got {self.value_weight}")


def discount_weights(mask: Tensor, *, discount: float) -> Tensor:
    """γ^t at the t-th step of every row, counted from 0; (B, T), 0 off the mask.

    >>> discount_weights(torch.tensor([[True, True, True, False]]), discount=0.5)
    tensor([[1.0000, 0.5000, 0.2500, 0.0000]])
    """
    return discount ** (mask.cumsum(1) - 1).clamp(min=0) * mask


def per_episode(losses: Tensor, mask: Tensor) -> Tensor:
    """Summed over each episode's steps, averaged over the episodes: what the gradient of J asks for."""
    return masked_sum(losses, mask, dim=1).mean()


def reinforce(
    policy: nn.Module, play: Play, *, config: PolicyGradientConfig, hooks: Sequence[Hook] = ()
) -> list[dict[str, float]]:
    """Williams' REINFORCE: every action is made likelier by the return that followed it.

    Trains `policy` in place; returns `fit`'s history with `episode_metrics`.
    """

    def loss_fn(episodes: Episodes) -> tuple[Tensor, dict[str, Tensor]]:
        returns = discounted_returns(episodes.rewards, episodes.mask, discount=config.discount)
        weights = discount_weights(episodes.mask, discount=config.discount) * returns
        logp = action_logp(policy, episodes.states, episodes.actions)
        metrics = episode_metrics(policy, episodes, discount=config.discount)
        return per_episode(policy_gradient_loss(logp, weights), episodes.mask), metrics

    return fit(
        policy,
        _played(play, config.iterations),
        loss_fn,
        optimizer=config.optimizer,
        steps=config.iterations,
        hooks=hooks,
        description="REINFORCE",
    )


def reinforce_with_baseline(
    policy: nn.Module,
    values: nn.Module,
    play: Play,
    *,
    config: PolicyGradientConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """REINFORCE with the learned value of the state as the baseline: it learns from the surprise only.

    Trains `policy` and `values` in place; returns `fit`'s history with `episode_metrics`.
    """

    def return_less_value(rewards: Tensor, now: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        advantages, returns = gae(rewards, now, mask, discount=config.discount, gae_lambda=1.0)
        return discount_weights(mask, discount=config.discount) * advantages, returns

    return learn_with_values(policy, values, play, return_less_value, config=config, hooks=hooks)


def actor_critic(
    policy: nn.Module,
    values: nn.Module,
    play: Play,
    *,
    config: PolicyGradientConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """The actor learns from one step's temporal-difference error, the critic from the same.

    Trains `policy` and `values` in place; returns `fit`'s history with `episode_metrics`.
    """
    one_step = partial(gae, discount=config.discount, gae_lambda=0.0)
    return learn_with_values(policy, values, play, one_step, config=config, hooks=hooks)


def gae_actor_critic(
    policy: nn.Module,
    values: nn.Module,
    play: Play,
    *,
    config: PolicyGradientConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """An actor–critic whose advantages look as far ahead as λ says.

    Trains `policy` and `values` in place; returns `fit`'s history with `episode_metrics`.
    """
    far_sighted = partial(gae, discount=config.discount, gae_lambda=config.gae_lambda)
    return learn_with_values(policy, values, play, far_sighted, config=config, hooks=hooks)


def episode_metrics(policy: nn.Module, episodes: Episodes, *, discount: float) -> dict[str, Tensor]:
    """The mean return and length of the episodes, the share cut off, and the policy's entropy (nats)."""
    returns = discounted_returns(episodes.rewards, episodes.mask, discount=discount)
    with torch.no_grad():
        undecided = entropy(policy(episodes.states))
    return {
        "return": returns[:, 0].mean(),
        "length": episodes.mask.sum(1).double().mean(),
        "cut_off": (~episodes.terminated).double().mean(),
        "entropy": masked_mean(undecided, episodes.mask),
    }


def learn_with_values(
    policy: nn.Module,
    values: nn.Module,
    play: Play,
    estimate: Estimate,
    *,
    config: PolicyGradientConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """The loop that the three methods with values share: a step on each batch of episodes.

    `estimate` turns rewards, values and mask into the weights Ψ and the targets of the values, (B, T) each.
    Trains `policy` and `values` in place; returns `fit`'s history with `episode_metrics`.
    """

    def loss_fn(episodes: Episodes) -> tuple[Tensor, dict[str, Tensor]]:
        logp, now = action_logp(policy, episodes.states, episodes.actions), values(episodes.states)
        rewards = with_bootstrap(episodes, values, discount=config.discount)
        weights, targets = estimate(rewards, now.detach(), episodes.mask)
        policy_part = per_episode(policy_gradient_loss(logp, weights), episodes.mask)
        value_part = per_episode(value_loss(now, targets), episodes.mask)
        metrics = episode_metrics(policy, episodes, discount=config.discount)
        return policy_part + config.value_weight * value_part, {**metrics, "value_loss": value_part}

    return fit(
        nn.ModuleDict({"policy": policy, "value": values}),
        _played(play, config.iterations),
        loss_fn,
        optimizer=config.optimizer,
        steps=config.iterations,
        hooks=hooks,
        description="policy gradient",
    )


def _played(play: Play, iterations: int) -> Iterator[Episodes]:
    for _ in range(iterations):
        yield play()
