"""Episodes: what the collector writes down, and what follows a cut."""

import gymnasium
import pytest
import torch

from rlhf_mini.estimators import discounted_returns, gae
from rlhf_mini.methods.episodes import (
    Episodes,
    TabularPolicy,
    TabularValues,
    action_logp,
    collect,
    with_bootstrap,
    with_kl_penalty,
)
from rlhf_mini.worlds.gridworld import ROBOT_GRID
from tests.methods.small_worlds import chains

F64 = torch.float64


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_policy(states: int, actions: int) -> TabularPolicy:
    policy = TabularPolicy(states=states, actions=actions)
    policy.logits.data.copy_(torch.randn(states, actions, generator=drawn(1), dtype=F64))
    return policy


@pytest.fixture
def played() -> tuple[TabularPolicy, Episodes]:
    envs = [gymnasium.make(ROBOT_GRID, slip=0.2, max_episode_steps=30) for _ in range(12)]
    policy = random_policy(48, 4)
    return policy, collect(envs, policy, generator=drawn())


def test_stored_logp_is_the_policys_own_to_the_last_digit(played):
    policy, episodes = played
    again = action_logp(policy, episodes.states, episodes.actions)
    assert torch.equal(again[episodes.mask], episodes.logp_old[episodes.mask])
    assert (episodes.logp_old[~episodes.mask] == 0).all()
    assert (episodes.logp_old[episodes.mask] < 0).all()


def test_every_row_is_one_whole_episode_that_the_tables_allow(played):
    _, episodes = played
    mdp = gymnasium.make(ROBOT_GRID, slip=0.2).unwrapped.model
    assert len(set(episodes.mask.sum(1).tolist())) > 2
    assert bool(episodes.terminated.any())
    for row in range(len(episodes)):
        length = int(episodes.mask[row].sum())
        assert episodes.mask[row].tolist() == [column < length for column in range(episodes.mask.shape[1])]
        path = [*episodes.states[row, :length].tolist(), int(episodes.final_states[row])]
        assert mdp.start[path[0]] == 1
        for here, there, action, reward in zip(
            path, path[1:], episodes.actions[row].tolist(), episodes.rewards[row].tolist(), strict=False
        ):
            assert mdp.transitions[here, action, there] > 0
            assert mdp.rewards[here, action, there] == reward
            assert not mdp.terminal[here]
        assert bool(mdp.terminal[path[-1]]) == bool(episodes.terminated[row])
        assert bool(episodes.terminated[row]) or length == 30


def test_actions_are_drawn_from_the_policy():
    # 4,000 independent draws in state 0: four standard deviations from the truth has a chance of 6e-5.
    policy = random_policy(2, 2)
    episodes = collect(chains(4_000, limit=1, length=1), policy, generator=drawn())
    p = float(policy.probabilities()[0, 1])
    assert abs(float((episodes.actions == 1).double().mean()) - p) < 4 * (p * (1 - p) / 4_000) ** 0.5


def test_the_generator_decides_everything(played):
    policy, first = played
    envs = [gymnasium.make(ROBOT_GRID, slip=0.2, max_episode_steps=30) for _ in range(12)]
    again, other = (collect(envs, policy, generator=drawn(seed)) for seed in (0, 1))
    assert torch.equal(first.states, again.states)
    assert torch.equal(first.rewards, again.rewards)
    assert first.states.shape != other.states.shape or not torch.equal(first.states, other.states)


def test_truncation_by_hand():
    """Three steps, two episodes: one cut off, one ended. γ = ½, V(2) = 8, V(3) = 100.

    Cut in state 2 after rewards 1, 0, 1: the last becomes 1 + ½·8 = 5, and G = 1 + ½·0 + ¼·5 = 2.25.
    Ended after 1, 1, 1: nothing follows, whatever V(3) says, and G = 1 + ½ + ¼ = 1.75.
    """
    episodes = Episodes(
        states=torch.tensor([[0, 1, 1], [0, 1, 2]]),
        actions=torch.tensor([[1, 0, 1], [1, 1, 1]]),
        rewards=torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], dtype=F64),
        mask=torch.ones(2, 3, dtype=torch.bool),
        logp_old=torch.zeros(2, 3, dtype=F64),
        final_states=torch.tensor([2, 3]),
        terminated=torch.tensor([False, True]),
    )
    values = TabularValues(states=4)
    values.table.data.copy_(torch.tensor([2.0, 4.0, 8.0, 100.0]))
    rewards = with_bootstrap(episodes, values, discount=0.5)
    assert rewards.tolist() == [[1.0, 0.0, 5.0], [1.0, 1.0, 1.0]]
    assert not rewards.requires_grad
    assert episodes.rewards[0, 2] == 1  # the world's own rewards are left alone
    assert discounted_returns(rewards, episodes.mask, discount=0.5)[:, 0].tolist() == [2.25, 1.75]
    # One-step advantages, r + γ V(next) − V: 1 + 2 − 2, 0 + 2 − 4, 1 + 4 − 4; and 1, 1 + 4 − 4, 1 − 8.
    advantages, _ = gae(rewards, values(episodes.states), episodes.mask, discount=0.5, gae_lambda=0.0)
    assert advantages.tolist() == [[1.0, -2.0, 1.0], [1.0, 1.0, -7.0]]


def test_the_collector_tells_a_cut_from_an_end():
    always = TabularPolicy(states=4, actions=2)
    always.logits.data[:, 1] = 50.0
    cut = collect(chains(1, limit=2), always, generator=drawn())
    ended = collect(chains(1, limit=3), always, generator=drawn())  # ends on the very step of the limit
    assert (cut.terminated.tolist(), cut.final_states.tolist(), cut.steps) == ([False], [2], 2)
    assert (ended.terminated.tolist(), ended.final_states.tolist(), ended.steps) == ([True], [3], 3)


def test_kl_penalty_is_taken_out_of_every_step(played):
    policy, episodes = played
    reference = TabularPolicy(states=48, actions=4)  # uniform: log π_ref = −log 4
    paid = with_kl_penalty(episodes, reference, kl_weight=0.5)
    expected = episodes.rewards - 0.5 * (episodes.logp_old + torch.tensor(4.0, dtype=F64).log())
    torch.testing.assert_close(paid.rewards[paid.mask], expected[paid.mask])
    assert (paid.rewards[~paid.mask] == 0).all()
    same = with_kl_penalty(episodes, policy, kl_weight=0.5)
    torch.testing.assert_close(same.rewards, episodes.rewards)


def test_rows_picks_episodes(played):
    _, episodes = played
    picked = episodes.rows(torch.tensor([3, 1]))
    assert torch.equal(picked.states, episodes.states[[3, 1]])
    assert torch.equal(picked.terminated, episodes.terminated[[3, 1]])
    assert len(picked) == 2


def test_bad_environments_are_refused():
    policy = TabularPolicy(states=4, actions=2)
    with pytest.raises(ValueError, match="at least one environment, received none"):
        collect([], policy, generator=drawn())
    with pytest.raises(ValueError, match=r"observations must be numbered from 0 .* Box"):
        collect([gymnasium.make("CartPole-v1")], policy, generator=drawn())


def test_tables_start_at_zero_and_probabilities_carry_no_gradient():
    policy, values = TabularPolicy(states=3, actions=4), TabularValues(states=3)
    assert not policy.logits.any()
    assert not values.table.any()
    assert not policy.probabilities().requires_grad
    torch.testing.assert_close(policy.probabilities(), torch.full((3, 4), 0.25, dtype=F64))


def test_padding_is_all_zero(played):
    _, episodes = played
    off = ~episodes.mask
    assert off.any()
    for part in (episodes.states, episodes.actions, episodes.rewards, episodes.logp_old):
        assert not part[off].any()
