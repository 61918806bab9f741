"""PPO on the grid: the first minibatch, what clipping holds back, and where it ends up."""

import math
from functools import partial

import gymnasium
import pytest
import torch

from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import policy_gradient_loss, ppo_policy_loss, ratio_policy_loss
from rlhf_mini.methods.episodes import TabularPolicy, TabularValues, action_logp, collect
from rlhf_mini.methods.grid_ppo import GridPPOConfig, appraise, grid_ppo, grid_ppo_loss
from rlhf_mini.tensors import masked_mean
from rlhf_mini.worlds.gridworld import ROBOT_GRID
from tests.methods.small_worlds import chains

F64 = torch.float64


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config(**changes) -> GridPPOConfig:
    settings = {"iterations": 2, "epochs": 3, "minibatches": 2, "discount": 0.99}
    return GridPPOConfig(**{"optimizer": OptimizerConfig(learning_rate=0.1), **settings, **changes})


@pytest.fixture(scope="module")
def started():
    envs = [gymnasium.make(ROBOT_GRID, slip=0.1, max_episode_steps=40) for _ in range(8)]
    policy, values = TabularPolicy(states=48, actions=4), TabularValues(states=48)
    policy.logits.data.copy_(torch.randn(48, 4, generator=drawn(1), dtype=F64))
    values.table.data.copy_(torch.randn(48, generator=drawn(2), dtype=F64))
    return policy, values, collect(envs, policy, generator=drawn())


def test_on_the_first_minibatch_the_gradient_is_the_plain_policy_gradient(started):
    policy, values, episodes = started
    batch = appraise(episodes, values, config=config())
    logp = action_logp(policy, episodes.states, episodes.actions)
    plain = masked_mean(policy_gradient_loss(logp, batch.advantages), episodes.mask)
    (expected,) = torch.autograd.grad(plain, policy.logits)
    assert expected.abs().max() > 1e-3
    for loss in (partial(ppo_policy_loss, clip_range=0.2), ratio_policy_loss):
        total, metrics = grid_ppo_loss(policy, values, batch, config=config(), policy_loss=loss)
        assert metrics["ratio_deviation"] == 0
        assert metrics["clip_fraction"] == 0
        assert metrics["kl"] == 0
        (gradient,) = torch.autograd.grad(total, policy.logits)
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)


def test_appraisal_is_gae_on_bootstrapped_rewards_whitened(started):
    _, values, episodes = started
    batch = appraise(episodes, values, config=config(gae_lambda=1.0))
    assert not bool(episodes.terminated.all())
    row = int((~episodes.terminated).nonzero()[0])
    length = int(episodes.mask[row].sum())
    worth = float(values(episodes.final_states)[row].detach())
    for step in reversed(range(length)):  # λ = 1: the return, continued by V where it was cut off
        worth = float(episodes.rewards[row, step]) + 0.99 * worth
        assert float(batch.returns[row, step]) == pytest.approx(worth)
    counted = batch.advantages[episodes.mask]
    assert float(counted.mean()) == pytest.approx(0, abs=1e-12)
    assert float(counted.square().mean()) == pytest.approx(1, abs=1e-6)


def test_entropy_is_rewarded_and_value_weight_weighs(started):
    policy, values, episodes = started
    losses = []
    for changes in ({}, {"entropy_weight": 0.5}, {"value_weight": 1.5}):
        settings = config(**changes)
        batch = appraise(episodes, values, config=settings)
        loss = partial(ppo_policy_loss, clip_range=0.2)
        losses.append(grid_ppo_loss(policy, values, batch, config=settings, policy_loss=loss))
    (plain, metrics), (bonus, _), (heavy, _) = losses
    assert bonus.item() == pytest.approx((plain - 0.5 * metrics["entropy"]).item())
    assert heavy.item() == pytest.approx((plain + metrics["value_loss"]).item())


def test_what_has_moved_is_measured_from_the_policy_that_played(started):
    """The policy is moved by hand after the episodes: KL is k3 of (π_old ‖ π), the deviation is |ρ − 1|."""
    policy, values, episodes = started
    moved = TabularPolicy(states=48, actions=4)
    moved.logits.data.copy_(policy.logits.detach() + torch.randn(48, 4, generator=drawn(5), dtype=F64))
    batch = appraise(episodes, values, config=config())
    loss = partial(ppo_policy_loss, clip_range=0.2)
    _, metrics = grid_ppo_loss(moved, values, batch, config=config(), policy_loss=loss)
    logp = action_logp(moved, episodes.states, episodes.actions)
    gaps = (logp - episodes.logp_old)[episodes.mask].tolist()
    assert float(metrics["kl"]) == pytest.approx(sum(math.exp(g) - 1 - g for g in gaps) / len(gaps))
    assert float(metrics["ratio_deviation"]) == pytest.approx(
        sum(abs(math.exp(g) - 1) for g in gaps) / len(gaps)
    )


def test_the_ends_of_every_range_are_allowed():
    for discount in (0.0, 1.0):
        for gae_lambda in (0.0, 1.0):
            allowed = config(iterations=1, epochs=1, minibatches=1, discount=discount, gae_lambda=gae_lambda)
            assert (allowed.steps, allowed.clip_range, allowed.value_clip_range) == (1, 0.2, 0.5)
            assert (allowed.value_weight, allowed.entropy_weight) == (0.5, 0.0)


def test_every_episode_is_used_once_an_epoch():
    envs = chains(6, limit=5)
    policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
    played, seen = [], []

    def play():
        played.append(collect(envs, policy, generator=drawn(len(played))))
        return played[-1]

    def spying(logp, logp_old, advantages):
        seen.append(logp_old.detach())
        return ppo_policy_loss(logp, logp_old, advantages, clip_range=0.2)

    hooked = []
    history = grid_ppo(
        policy,
        values,
        play,
        config=config(),
        generator=drawn(),
        policy_loss=spying,
        hooks=[lambda *seen: hooked.append(seen)],
    )
    assert len(history) == config().steps == 12
    assert hooked == [*enumerate(history, 1)]
    assert len(played) == 2
    for epoch in range(6):
        used = torch.cat(seen[2 * epoch : 2 * epoch + 2])
        wanted = played[epoch // 3].logp_old
        assert sorted(used.sum(1).tolist()) == sorted(wanted.sum(1).tolist())
    assert history[0]["ratio_deviation"] == 0
    assert history[6]["ratio_deviation"] == 0  # fresh episodes again
    assert history[5]["ratio_deviation"] > 0


def test_it_learns_and_clipping_keeps_it_nearer():
    envs = chains(16, limit=12)
    moved = {}
    for name, loss in {"clipped": None, "not clipped": ratio_policy_loss}.items():
        policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
        play = partial(collect, envs, policy, generator=drawn())
        settings = config(iterations=25, epochs=8, minibatches=1)
        history = grid_ppo(policy, values, play, config=settings, generator=drawn(), policy_loss=loss)
        assert (policy.probabilities()[:3, 1] > 0.9).all()
        moved[name] = history[7]["kl"]  # after the last pass over the first episodes
    assert moved["clipped"] < 0.5 * moved["not clipped"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "must be at least 1"),
        ({"discount": -1.0}, r"must lie in \[0, 1\], got -1.0"),
        ({"discount": 1.5}, r"must lie in \[0, 1\], got 1.5"),
        ({"gae_lambda": -0.5}, "got 0.99, -0.5"),
        ({"gae_lambda": 1.5}, "got 0.99, 1.5"),
        ({"value_weight": 0.0}, "value_weight must be above 0"),
        ({"entropy_weight": -1.0}, "entropy_weight not below"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_more_minibatches_than_episodes_are_refused():
    policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
    play = partial(collect, chains(2, limit=5), policy, generator=drawn())
    with pytest.raises(ValueError, match="2 episodes cannot be cut into 3 minibatches"):
        grid_ppo(policy, values, play, config=config(minibatches=3), generator=drawn())


def test_a_generator_fixes_the_run_and_as_many_minibatches_as_episodes_are_allowed():
    learned = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        policy, values = TabularPolicy(states=4, actions=2), TabularValues(states=4)
        play = partial(collect, chains(3, limit=5), policy, generator=drawn())
        grid_ppo(policy, values, play, config=config(minibatches=3), generator=drawn(7))
        learned.append(policy.logits.detach().clone())
    assert torch.equal(*learned)
