"""The experiments of chapter 01's policy-gradient half: they measure what they say."""

import pytest
import torch

from rlhf_mini.chapters.grid_world import bug_hunt, clipping, estimates, gradients, token_walk
from rlhf_mini.estimators import gae
from rlhf_mini.exact import evaluate_policy, kl_divergence
from rlhf_mini.methods.episodes import TabularPolicy

F64 = torch.float64


def test_the_diary_keeps_exact_returns_and_counts_steps():
    diary, policy, _ = gradients.learn("REINFORCE", seed=0, steps=300)
    exact = float(diary.mdp.start @ evaluate_policy(diary.mdp, policy.probabilities()).state)
    assert diary.returns[-1] == exact
    uniform = torch.full((diary.mdp.states, 4), 0.25, dtype=F64)
    assert diary.returns[0] == pytest.approx(
        float(diary.mdp.start @ evaluate_policy(diary.mdp, uniform).state)
    )
    assert len(diary.steps) == len(diary.returns) == len(diary.seconds)
    assert diary.steps[-1] >= 300
    place = next(index for index, steps in enumerate(diary.steps) if steps >= 300)
    assert diary.at(300)[0] == diary.returns[place]
    with pytest.raises(ValueError, match="steps were taken, fewer than 1000000"):
        diary.at(1_000_000)


def test_the_small_grid_is_what_the_chapter_says():
    """From the start 3 moves to the exit; the way to the goal is worth more than the bait of 5."""
    mdp = gradients.grid_envs(count=1)[0].unwrapped.model
    assert gradients.shortest_episode(mdp) == 3
    right = TabularPolicy(states=mdp.states, actions=mdp.actions)
    right.logits.data[:, 1] = 50.0
    assert gradients.exact_return(mdp, right) < 4.2 < 10.7 < gradients.best_return(mdp)


def test_gradients_of_episodes_average_to_the_gradient_of_the_loss():
    trained = estimates.half_trained(0, iterations=1)
    episodes = estimates.play_many(trained, 100, seed=0)
    assert len(episodes) == 100
    assert episodes.terminated.all()
    weights = torch.randn(episodes.rewards.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    each = estimates.gradients_of_episodes(trained.policy, episodes, weights)
    logp = trained.policy(episodes.states).log_softmax(-1).gather(-1, episodes.actions[..., None]).squeeze(-1)
    objective = (torch.where(episodes.mask, weights, 0.0) * logp).sum() / len(episodes)
    (whole,) = torch.autograd.grad(objective, trained.policy.logits)
    torch.testing.assert_close(each.mean(0), whole)


def test_bias_and_variance_finds_what_was_put_in():
    """Two actions, equally often; bias ±2 around an offset of 3, variance 4. 40,000 errors: within 0.15."""
    generator = torch.Generator().manual_seed(0)
    actions = torch.arange(40_000) % 2
    noise = 2 * torch.randn(40_000, generator=generator, dtype=F64)
    errors = 3.0 + torch.where(actions == 0, 2.0, -2.0) + noise
    found = estimates.bias_and_variance(errors, torch.zeros_like(actions), actions)
    assert found == pytest.approx((4.0, 9.0, 4.0), abs=0.15)
    # Few errors a group: what their noise adds to a squared mean is taken out. 10,000 groups of 2, bias 0.
    states = torch.arange(40_000) // 4
    squared_bias, squared_offset, variance = estimates.bias_and_variance(noise, states, actions)
    assert (squared_bias, squared_offset) == pytest.approx((0.0, 0.0), abs=0.1)
    assert variance == pytest.approx(4.0, abs=0.15)


def test_bias_falls_and_variance_rises_with_lambda():
    rows = estimates.gae_trade_off(0, episodes=500)
    bias, variance = ([row[name] for row in rows.values()] for name in ("squared_bias", "variance"))
    assert bias[0] > bias[2] > bias[4] > bias[-1]
    assert variance == sorted(variance)


def test_kl_of_an_update_by_hand():
    diary = gradients.Diary(
        gradients.grid_envs(count=2), TabularPolicy(states=16, actions=4), torch.Generator().manual_seed(0)
    )
    watch = clipping.Watch(diary)
    watch()
    assert watch.kl == []
    diary.policy.logits.data[:, 0] = torch.tensor(3.0, dtype=F64).log()  # ¼ each becomes ½, 1/6, 1/6, 1/6
    watch()
    expected = 0.25 * torch.tensor(0.25 / 0.5).log() + 0.75 * torch.tensor(0.25 * 6).log()
    assert watch.kl == pytest.approx([float(expected)])


def test_without_min_a_harmful_step_gets_no_gradient():
    ratio = torch.tensor([[2.0, 0.5, 2.0, 0.5]], dtype=F64)
    advantages = torch.tensor([[-1.0, 1.0, 1.0, -1.0]], dtype=F64)  # two harmful steps, two that went too far
    slopes = {}
    for name, loss in clipping.POLICY_LOSSES.items():
        logp = ratio.log().requires_grad_()
        (slope,) = torch.autograd.grad(loss(logp, torch.zeros_like(ratio), advantages).sum(), logp)
        slopes[name] = slope[0].tolist()
    assert slopes["clip without min"] == [0, 0, 0, 0]
    assert slopes["clipped"] == pytest.approx([2, -0.5, 0, 0])
    assert slopes["not clipped"] == pytest.approx([2, -0.5, -2, 0.5])


@pytest.mark.slow  # two hundred rounds of REINFORCE with 64 texts each
def test_reinforce_on_the_token_world_reaches_the_optimum():
    """It starts 0.57 nats from π*."""
    best = token_walk.optimum()
    notes = token_walk.approach(0, iterations=200)
    assert notes["kl_to_optimum"][0] > 0.5
    assert notes["kl_to_reference"][0] == pytest.approx(0, abs=1e-12)
    assert notes["kl_to_optimum"][-1] < 0.02
    assert float(best.value) - 0.01 < notes["objective"][-1] <= float(best.value)
    # Half the β is another optimum, and far: 0.2 nats.
    assert kl_divergence(best.logp, token_walk.optimum(kl_weight=0.25).logp) > 0.2


def test_the_two_estimates_of_the_bug_hunt_differ_only_where_episodes_meet():
    rewards, values = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=F64)
    mask = torch.arange(5) < torch.tensor([[5], [2], [4]])
    one = torch.tensor([[True, True, True, True, True]])
    settings = {"discount": gradients.DISCOUNT, "gae_lambda": bug_hunt.GAE_LAMBDA}
    alone = bug_hunt.through_a_buffer(rewards[:1], values[:1], one)
    together = bug_hunt.through_a_buffer(rewards, values, mask)
    right = gae(rewards, values, mask, **settings)
    for found, wanted in zip(together, right, strict=True):
        assert (found[~mask] == 0).all()
        assert not torch.allclose(found[0], wanted[0])
        torch.testing.assert_close(found[2, 3], wanted[2, 3])  # the very last step of the buffer
    assert not torch.allclose(alone[0], right[0][:1])


@pytest.mark.slow  # two actor-critics for sixty iterations
def test_the_bug_shows():
    curves = bug_hunt.learning_curves(0, iterations=60)
    assert curves["rows"]["returns"][-1] > curves["buffer"]["returns"][-1] + 3
    assert curves["buffer"]["steps"][-1] > 1.5 * curves["rows"]["steps"][-1]
    assert len(curves["rows"]["value_of_start"]) == len(curves["rows"]["returns"]) == 60
