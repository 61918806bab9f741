"""How good the estimates behind a policy gradient are: bias and variance, measured against exact values."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf_mini.chapters.grid_world.gradients import DISCOUNT, grid_envs, tables
from rlhf_mini.estimators import discounted_returns, gae
from rlhf_mini.exact import FiniteMDP, evaluate_policy, exact_policy_gradient
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import policy_gradient_loss
from rlhf_mini.methods.episodes import Episodes, TabularPolicy, TabularValues, collect
from rlhf_mini.methods.policy_gradient import PolicyGradientConfig, discount_weights, gae_actor_critic
from rlhf_mini.tensors import zero_off_mask

NO_LIMIT = 10_000  # steps; no episode of these policies came near it, so that nothing is cut off
LAMBDAS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 1.0)


@dataclass(frozen=True)
class HalfTrained:
    """A policy and a critic as they were in the middle of training, and the grid they were trained on."""

    mdp: FiniteMDP
    policy: TabularPolicy
    values: TabularValues


def half_trained(seed: int, *, iterations: int = 15) -> HalfTrained:
    """An actor–critic stopped early: the policy still explores, the critic is still wrong."""
    envs = grid_envs()
    policy, values = tables(envs)
    generator = torch.Generator().manual_seed(seed)
    config = PolicyGradientConfig(
        iterations=iterations, optimizer=OptimizerConfig(learning_rate=0.1), discount=DISCOUNT
    )
    gae_actor_critic(policy, values, lambda: collect(envs, policy, generator=generator), config=config)
    return HalfTrained(envs[0].unwrapped.model, policy, values)


def gradients_of_episodes(policy: TabularPolicy, episodes: Episodes, weights: Tensor) -> Tensor:
    """The gradient that each episode alone estimates: (B, S, A), uphill.

    The gradient of −`policy_gradient_loss`, summed over the episode's steps, taken for every row at once.
    """
    logits = policy.logits.detach().expand(len(episodes), -1, -1).clone().requires_grad_()
    rows = torch.arange(len(episodes))[:, None]
    logp = logits.log_softmax(-1)[rows, episodes.states, episodes.actions]
    losses = zero_off_mask(policy_gradient_loss(logp, weights), episodes.mask)
    return -torch.autograd.grad(losses.sum(), logits)[0]


def baseline_variance(
    seed: int, *, episodes: int = 2_000, iterations: int = 15
) -> dict[str, dict[str, float]]:
    """Bias and variance of one episode's policy gradient, by baseline, at a half-trained policy.

    Baselines: none; the mean return from the start, measured on other episodes; the exact value of each state.
    For each: `variance`, the summed variance of all entries; `bias`, the distance of the mean of all estimates
    from the exact gradient, `standard_error`, how large that distance must be expected by chance alone, and
    `gradient`, the exact gradient's length.
    """
    trained = half_trained(seed, iterations=iterations)
    envs = grid_envs(count=episodes, step_limit=NO_LIMIT)
    generator = torch.Generator().manual_seed(1_000 + seed)
    pilot = collect(envs, trained.policy, generator=generator)
    mean_return = discounted_returns(pilot.rewards, pilot.mask, discount=DISCOUNT)[:, 0].mean()
    played = collect(envs, trained.policy, generator=generator)
    exact = evaluate_policy(trained.mdp, trained.policy.probabilities()).state
    returns = discounted_returns(played.rewards, played.mask, discount=DISCOUNT)
    weights = discount_weights(played.mask, discount=DISCOUNT)
    baselines = {"none": 0.0, "mean return": mean_return, "exact value": exact[played.states]}
    truth = exact_policy_gradient(trained.mdp, trained.policy.logits)
    rows = {}
    for name, baseline in baselines.items():
        gradients = gradients_of_episodes(trained.policy, played, weights * (returns - baseline))
        variance = float(gradients.var(0).sum())
        rows[name] = {
            "variance": variance,
            "bias": float((gradients.mean(0) - truth).norm()),
            "standard_error": (variance / episodes) ** 0.5,
            "gradient": float(truth.norm()),
        }
    return rows


def gae_trade_off(seed: int, *, episodes: int = 2_000, iterations: int = 15) -> dict[float, dict[str, float]]:
    """Squared bias, variance and mean squared error of Â against the exact A = Q − V, for every λ.

    The critic is the half-trained one. Errors are grouped by state and action: the mean of a group is its bias,
    the spread in it its variance, and groups count by how often they were met. The sampling error that a
    group's squared mean holds is taken out, so that an unbiased estimate measures 0 on average and may come out
    below. `mse` is the sum of the two.
    """
    trained = half_trained(seed, iterations=iterations)
    envs = grid_envs(count=episodes, step_limit=NO_LIMIT)
    played = collect(envs, trained.policy, generator=torch.Generator().manual_seed(2_000 + seed))
    exact = evaluate_policy(trained.mdp, trained.policy.probabilities())
    advantage = (exact.action - exact.state[:, None])[played.states, played.actions]
    with torch.no_grad():
        values = trained.values(played.states)
    group = (played.states * trained.mdp.actions + played.actions)[played.mask]
    rows = {}
    for gae_lambda in LAMBDAS:
        estimate, _ = gae(played.rewards, values, played.mask, discount=DISCOUNT, gae_lambda=gae_lambda)
        squared_bias, variance = _by_group((estimate - advantage)[played.mask], group)
        rows[gae_lambda] = {
            "squared_bias": squared_bias,
            "variance": variance,
            "mse": squared_bias + variance,
        }
    return rows


def _by_group(errors: Tensor, group: Tensor) -> tuple[float, float]:
    """Squared bias and variance within groups, averaged over all errors; groups of one are left out."""
    zeros = errors.new_zeros(int(group.max()) + 1)
    count = zeros.index_add(0, group, torch.ones_like(errors))
    mean = zeros.index_add(0, group, errors) / count.clamp(min=1)
    spread = zeros.index_add(0, group, (errors - mean[group]).square())
    met = count > 1
    variance = spread[met] / (count[met] - 1)
    squared_bias = mean[met].square() - variance / count[met]
    share = count[met] / count[met].sum()
    return float((share * squared_bias).sum()), float((share * variance).sum())
