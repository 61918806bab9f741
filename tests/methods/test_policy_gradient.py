"""REINFORCE and actor–critics: held against the exact policy gradient of the grid."""

import math
from functools import partial

import gymnasium
import pytest
import torch

import rlhf_mini.methods.policy_gradient as module
from rlhf_mini.estimators import discounted_returns, gae
from rlhf_mini.exact import evaluate_policy, exact_policy_gradient
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import policy_gradient_loss
from rlhf_mini.methods.episodes import Episodes, TabularPolicy, TabularValues, action_logp, collect
from rlhf_mini.methods.policy_gradient import (
    PolicyGradientConfig,
    actor_critic,
    discount_weights,
    episode_metrics,
    gae_actor_critic,
    per_episode,
    reinforce,
    reinforce_with_baseline,
)
from rlhf_mini.worlds.gridworld import ROBOT_GRID
from tests.methods.small_worlds import chains

F64, DISCOUNT = torch.float64, 0.8
MAP = "..G\n.P.\nS..\n"


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def grid():
    """3,000 episodes of a random policy on a small map, none cut off, and the exact values."""
    make = partial(gymnasium.make, ROBOT_GRID, layout=MAP, slip=0.2, discount=DISCOUNT)
    envs = [make(max_episode_steps=5_000, disable_env_checker=True) for _ in range(100)]
    policy = TabularPolicy(states=9, actions=4)
    policy.logits.data.copy_(0.3 * torch.randn(9, 4, generator=drawn(3), dtype=F64))
    generator = drawn()
    parts = [collect(envs, policy, generator=generator) for _ in range(30)]
    assert all(part.terminated.all() for part in parts)
    mdp = envs[0].unwrapped.model
    return mdp, policy, parts, evaluate_policy(mdp, policy.probabilities()).state


def gradients(policy, parts, weights_of) -> torch.Tensor:
    """−∇ of the shipped loss, for each group of 100 episodes: (30, S, A)."""
    found = []
    for part in parts:
        logp = action_logp(policy, part.states, part.actions)
        loss = per_episode(policy_gradient_loss(logp, weights_of(part)), part.mask)
        found.append(-torch.autograd.grad(loss, policy.logits)[0])
    return torch.stack(found)


def worst_z(estimates: torch.Tensor, truth: torch.Tensor) -> float:
    """The largest distance of a mean from the truth, in its own standard errors."""
    met = estimates.abs().sum(0) > 0
    error = estimates.std(0) / len(estimates) ** 0.5
    return float(((estimates.mean(0) - truth)[met] / error[met]).abs().max())


def returns_of(part, baseline=0.0):
    returns = discounted_returns(part.rewards, part.mask, discount=DISCOUNT)
    return discount_weights(part.mask, discount=DISCOUNT) * (returns - baseline)


def test_reinforce_estimates_the_exact_gradient(grid):
    """A false alarm has a chance below 3e-3 for a random seed, and none for this one.

    Three tests of 28 entries, and Student's t with 29 degrees of freedom exceeds 5 with a chance of 2.5e-5.
    """
    mdp, policy, parts, exact = grid
    truth = exact_policy_gradient(mdp, policy.logits)
    assert truth.abs().max() > 0.3
    for weights_of in (
        returns_of,
        lambda part: returns_of(part, 3.0),
        lambda p: returns_of(p, exact[p.states]),
    ):
        assert worst_z(gradients(policy, parts, weights_of), truth) < 5
    # The test can tell: neither the other sign nor returns without γ^t would pass.
    assert worst_z(gradients(policy, parts, lambda part: -returns_of(part)), truth) > 10
    plain = partial(discounted_returns, discount=DISCOUNT)
    assert worst_z(gradients(policy, parts, lambda p: plain(p.rewards, p.mask)), truth) > 7


def test_a_baseline_lowers_the_variance_and_moves_the_mean_no_more_than_chance(grid):
    _, policy, parts, exact = grid
    without = gradients(policy, parts, returns_of)
    with_values = gradients(policy, parts, lambda part: returns_of(part, exact[part.states]))
    assert with_values.var(0).sum() < 0.8 * without.var(0).sum()
    # The difference has mean 0 (E_a ∇ log π = 0); the same bound as above on the paired differences.
    assert worst_z(with_values - without, torch.zeros(9, 4, dtype=F64)) < 5


def test_the_exact_values_make_gae_unbiased_at_every_lambda(grid):
    mdp, policy, parts, exact = grid
    truth = exact_policy_gradient(mdp, policy.logits)
    for gae_lambda in (0.0, 0.5, 1.0):

        def weights(part, gae_lambda=gae_lambda):
            values = exact[part.states]
            found, _ = gae(part.rewards, values, part.mask, discount=DISCOUNT, gae_lambda=gae_lambda)
            return discount_weights(part.mask, discount=DISCOUNT) * found

        assert worst_z(gradients(policy, parts, weights), truth) < 5


def test_gae_at_one_and_zero_are_the_two_ends():
    """λ = 1 is the return less the value; λ = 0 is one step's error."""
    rewards, values = torch.randn(2, 4, 6, generator=drawn(), dtype=F64)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [5]])
    far, _ = gae(rewards, values, mask, discount=0.9, gae_lambda=1.0)
    returns = discounted_returns(rewards, mask, discount=0.9)
    torch.testing.assert_close(far[mask], (returns - values)[mask])
    near, targets = gae(rewards, values, mask, discount=0.9, gae_lambda=0.0)
    after = torch.nn.functional.pad(torch.where(mask, values, 0.0)[:, 1:], (0, 1))
    torch.testing.assert_close(near[mask], (rewards + 0.9 * after - values)[mask])
    torch.testing.assert_close(targets[mask], (near + values)[mask])


def test_discount_weights_by_hand():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert discount_weights(mask, discount=0.5).tolist() == [[1, 0.5, 0.25], [1, 0, 0]]
    assert discount_weights(mask, discount=0.0).tolist() == [[1, 0, 0], [1, 0, 0]]
    late = torch.tensor([[False, True, True]])
    assert discount_weights(late, discount=0.0).tolist() == [[0, 1, 0]]


def config(**changes) -> PolicyGradientConfig:
    settings = {"iterations": 60, "optimizer": OptimizerConfig(learning_rate=0.1), "discount": 0.9}
    return PolicyGradientConfig(**{**settings, **changes})


@pytest.mark.parametrize("method", [reinforce_with_baseline, actor_critic, gae_actor_critic, reinforce])
def test_each_method_learns_to_walk_the_chain_and_what_it_is_worth(method):
    """Moving on pays 1: three moves are worth 1 + 0.9 + 0.81 = 2.71; a uniform policy gets less."""
    envs, generator = chains(16, limit=12), drawn()
    policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
    learned = () if method is reinforce else (values,)
    play = partial(collect, envs, policy, generator=generator)
    history = method(policy, *learned, play, config=config())
    assert (policy.probabilities()[:3, 1] > 0.9).all()
    assert history[-1]["return"] > 2.5 > 2.3 > history[0]["return"]
    if learned:
        assert abs(float(values.table.detach()[2]) - 1) < 0.3


def test_a_critic_sees_beyond_the_time_limit():
    """Cut off after one step of three, V(0) = 2.71 can only be found through V(s_T)."""
    envs, generator = chains(32, limit=1), drawn()
    for env in envs:  # every cell is a start, so that every value is learned
        env.reset = partial(restart_anywhere, env)
    policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
    policy.logits.data[:, 1] = 20.0  # always on
    play = partial(collect, envs, policy, generator=generator)
    actor_critic(policy, values, play, config=config(iterations=200))
    torch.testing.assert_close(
        values.table.detach()[:3], torch.tensor([2.71, 1.9, 1.0], dtype=F64), rtol=0, atol=0.15
    )


def restart_anywhere(env, *, seed=None, options=None):
    state, info = type(env).reset(env, seed=seed)
    state = seed % 3
    env.unwrapped.state = state
    return state, info


@pytest.mark.parametrize("method", [reinforce_with_baseline, actor_critic, gae_actor_critic, reinforce])
def test_hooks_see_every_step(method):
    envs, seen = chains(2, limit=3), []
    policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
    learned = () if method is reinforce else (values,)
    play = partial(collect, envs, policy, generator=drawn())
    history = method(policy, *learned, play, config=config(iterations=3), hooks=[lambda *it: seen.append(it)])
    assert seen == [(1, history[0]), (2, history[1]), (3, history[2])]


@pytest.mark.parametrize(
    ("method", "gae_lambda", "discounted"),
    [(reinforce_with_baseline, 1.0, True), (actor_critic, 0.0, False), (gae_actor_critic, 0.7, False)],
)
def test_each_method_weighs_by_its_own_advantage(method, gae_lambda, discounted, monkeypatch):
    """What each hands to the loop that they share, on random numbers."""
    handed = []

    def catching(policy, values, play, estimate, **more):
        handed.append(estimate)
        return []

    monkeypatch.setattr(module, "learn_with_values", catching)
    policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
    method(policy, values, partial(collect, [], policy), config=config(gae_lambda=0.7))
    rewards, values = torch.randn(2, 2, 5, generator=drawn(), dtype=F64)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    weights, targets = handed[0](rewards, values, mask)
    expected, returns = gae(rewards, values, mask, discount=0.9, gae_lambda=gae_lambda)
    steps = 0.9 ** torch.arange(5, dtype=F64) if discounted else torch.ones(5, dtype=F64)
    torch.testing.assert_close(weights, steps * expected)
    torch.testing.assert_close(targets, returns)


def test_what_episodes_say_by_hand():
    """Two steps, then one, both to a true end; returns 1 + 0.5 · 2 = 2 and 4, mean 3."""
    policy = TabularPolicy(states=2, actions=2)
    policy.logits.data[1] = torch.tensor([0.75, 0.25], dtype=F64).log()
    episodes = Episodes(
        states=torch.tensor([[0, 1, 0], [0, 0, 0]]),
        actions=torch.zeros(2, 3, dtype=torch.int64),
        rewards=torch.tensor([[1.0, 2.0, 0.0], [4.0, 0.0, 0.0]], dtype=F64),
        mask=torch.tensor([[True, True, False], [True, False, False]]),
        logp_old=torch.zeros(2, 3, dtype=F64),
        final_states=torch.tensor([1, 1]),
        terminated=torch.tensor([True, True]),
    )
    metrics = episode_metrics(policy, episodes, discount=0.5)
    quarter = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(metrics["return"]) == 3.0
    assert float(metrics["length"]) == 1.5
    assert float(metrics["cut_off"]) == 0.0
    assert float(metrics["entropy"]) == pytest.approx((math.log(2) + quarter + math.log(2)) / 3)


def test_the_advantage_carries_no_gradient_to_the_values(monkeypatch):
    """`estimate` gets constants: an actor that could move the critic would make its own work look better."""
    seen = []

    def spying(rewards, values, mask):
        seen.append(values.requires_grad)
        return gae(rewards, values, mask, discount=0.9, gae_lambda=1.0)

    policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
    play = partial(collect, chains(2, limit=3), policy, generator=drawn())
    module.learn_with_values(policy, values, play, spying, config=config(iterations=1))
    assert seen == [False]


def test_the_ends_of_every_range_are_allowed():
    for discount in (0.0, 1.0):
        for gae_lambda in (0.0, 1.0):
            allowed = config(iterations=1, discount=discount, gae_lambda=gae_lambda)
            assert (allowed.discount, allowed.gae_lambda, allowed.value_weight) == (discount, gae_lambda, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"discount": 1.5}, r"discount and gae_lambda must lie in \[0, 1\], got 1.5"),
        ({"discount": -0.5}, r"must lie in \[0, 1\], got -0.5"),
        ({"gae_lambda": 1.5}, "got 0.9, 1.5"),
        ({"gae_lambda": -0.1}, "got 0.9, -0.1"),
        ({"value_weight": 0.0}, "value_weight must be above 0, got 0.0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)
