"""How good the estimates behind a policy gradient are: bias and variance, measured against exact values."""

from dataclasses import dataclass, fields

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


def play_many(trained: HalfTrained, episodes: int, *, seed: int) -> Episodes:
    """At least so many whole episodes of a trained policy, none cut off, as one batch."""
    envs, generator = grid_envs(count=50, step_limit=NO_LIMIT), torch.Generator().manual_seed(seed)
    parts = [collect(envs, trained.policy, generator=generator) for _ in range(-(-episodes // len(envs)))]
    longest = max(part.mask.shape[1] for part in parts)

    def joined(name: str) -> Tensor:
        tensors = [getattr(part, name) for part in parts]
        if tensors[0].ndim == 2:
            tensors = [torch.nn.functional.pad(tensor, (0, longest - tensor.shape[1])) for tensor in tensors]
        return torch.cat(tensors)

    return Episodes(**{field.name: joined(field.name) for field in fields(Episodes)})


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

    Baselines: none; the mean return from the start, measured on other episodes; the exact value of each
    state. For each: `variance`, the summed variance of all entries; `bias`, the distance of the mean of all
    estimates from the exact gradient, `standard_error`, how large that distance must be expected by chance
    alone, and `gradient`, the exact gradient's length.
    """
    trained = half_trained(seed, iterations=iterations)
    pilot = play_many(trained, episodes, seed=1_000 + seed)
    mean_return = discounted_returns(pilot.rewards, pilot.mask, discount=DISCOUNT)[:, 0].mean()
    played = play_many(trained, episodes, seed=2_000 + seed)
    exact = evaluate_policy(trained.mdp, trained.policy.probabilities()).state
    returns = discounted_returns(played.rewards, played.mask, discount=DISCOUNT)
    weights = discount_weights(played.mask, discount=DISCOUNT)
    baselines: dict[str, Tensor] = {
        "none": torch.zeros(()),
        "mean return": mean_return,
        "exact value": exact[played.states],
    }
    truth = exact_policy_gradient(trained.mdp, trained.policy.logits)
    rows = {}
    for name, baseline in baselines.items():
        gradients = gradients_of_episodes(trained.policy, played, weights * (returns - baseline))
        variance = float(gradients.var(0).sum())
        rows[name] = {
            "variance": variance,
            "bias": float((gradients.mean(0) - truth).norm()),
            "standard_error": (variance / len(played)) ** 0.5,
            "gradient": float(truth.norm()),
        }
    return rows


def gae_trade_off(seed: int, *, episodes: int = 2_000, iterations: int = 15) -> dict[float, dict[str, float]]:
    """Squared bias, variance and mean squared error of Â against the exact A = Q − V, for every λ.

    The critic is the half-trained one. Errors Â − A are grouped by state and action. The mean of a group is
    its bias. The part of it that all actions of a state share is a baseline, which cannot turn the gradient;
    it is reported apart, as `squared_offset`. `squared_bias` is the rest, which prefers wrong actions.
    `variance` is the spread within groups, and `mse` is bias and variance without the offset. Groups count by
    how often they were met. What sampling error adds to a squared mean is taken out, so that an unbiased
    estimate measures 0 on average and may come out below.

    `gradient_…` say what becomes of it: squared bias and variance of one episode's policy gradient.
    """
    trained = half_trained(seed, iterations=iterations)
    played = play_many(trained, episodes, seed=3_000 + seed)
    exact = evaluate_policy(trained.mdp, trained.policy.probabilities())
    advantage = (exact.action - exact.state[:, None])[played.states, played.actions]
    with torch.no_grad():
        values = trained.values(played.states)
    weights = discount_weights(played.mask, discount=DISCOUNT)
    truth = exact_policy_gradient(trained.mdp, trained.policy.logits)
    rows = {}
    for gae_lambda in LAMBDAS:
        estimate, _ = gae(played.rewards, values, played.mask, discount=DISCOUNT, gae_lambda=gae_lambda)
        squared_bias, squared_offset, variance = bias_and_variance(
            (estimate - advantage)[played.mask], played.states[played.mask], played.actions[played.mask]
        )
        gradients = gradients_of_episodes(trained.policy, played, weights * estimate)
        gradient_variance = float(gradients.var(0).sum())
        distance = float((gradients.mean(0) - truth).square().sum())
        rows[gae_lambda] = {
            "squared_bias": squared_bias,
            "squared_offset": squared_offset,
            "variance": variance,
            "mse": squared_bias + variance,
            "gradient_squared_bias": distance - gradient_variance / len(played),
            "gradient_variance": gradient_variance,
        }
    return rows


def bias_and_variance(errors: Tensor, states: Tensor, actions: Tensor) -> tuple[float, float, float]:
    """Squared bias, squared offset and variance of errors (N,), as `gae_trade_off` defines them.

    Pairs of state and action that were met once are left out.
    """
    shape = (int(states.max()) + 1, int(actions.max()) + 1)
    zeros = errors.new_zeros(shape)

    def added(numbers: Tensor) -> Tensor:
        return zeros.index_put((states, actions), numbers, accumulate=True)

    count = added(torch.ones_like(errors))
    mean = added(errors) / count.clamp(min=1)
    spread = added((errors - mean[states, actions]).square())
    count = torch.where(count > 1, count, 0.0)
    variance = spread / (count - 1).clamp(min=1) * (count > 0)
    of_mean = variance / count.clamp(min=1)  # sampling variance of each group's mean
    share = count / count.sum(1, keepdim=True).clamp(min=1)  # of each action within its state
    offset = (share * mean).sum(1, keepdim=True)
    of_offset = (share.square() * of_mean).sum(1, keepdim=True)
    squared_bias = (mean - offset).square() - (of_mean * (1 - 2 * share) + of_offset)
    squared_offset = offset.square() - of_offset
    weight = count / count.sum()
    bias, shared, spread_in = ((weight * part).sum() for part in (squared_bias, squared_offset, variance))
    return float(bias), float(shared), float(spread_in)
