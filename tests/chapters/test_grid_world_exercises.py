"""Chapter 01's solutions against the library: what the reader is told is right is what the library does."""

import pytest
import torch

from rlhf_mini.chapters.grid_world import exercises
from rlhf_mini.chapters.grid_world.bug_hunt import flat_gae, flat_gae_mended
from rlhf_mini.estimators import discounted_returns, gae
from rlhf_mini.exact import bellman_optimality
from rlhf_mini.losses import ppo_policy_loss
from rlhf_mini.worlds.gridworld import TWO_DOORS, grid_mdp

GENERATOR = torch.Generator().manual_seed(0)
REWARDS, VALUES = torch.randn(2, 7, generator=GENERATOR, dtype=torch.float64)
ALL = torch.ones(1, 7, dtype=torch.bool)


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_the_return_is_the_library_s(discount):
    by_library = discounted_returns(REWARDS[None], ALL, discount=discount)[0, 0]
    assert exercises.discounted_return(REWARDS.tolist(), discount) == pytest.approx(float(by_library))


def test_the_backup_is_the_library_s():
    mdp = grid_mdp(TWO_DOORS, slip=0.2, discount=0.9)
    values = torch.randn(mdp.states, generator=GENERATOR, dtype=torch.float64).masked_fill(mdp.terminal, 0)
    mine = exercises.optimality_backup(mdp.expected_rewards, mdp.transitions, values, 0.9)
    assert torch.allclose(mine, bellman_optimality(mdp, values))


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 1.0])
def test_advantages_are_the_library_s(gae_lambda):
    by_library, _ = gae(REWARDS[None], VALUES[None], ALL, discount=0.9, gae_lambda=gae_lambda)
    mine = exercises.gae_of_one_episode(REWARDS.tolist(), VALUES.tolist(), 0.9, gae_lambda)
    assert mine == pytest.approx(by_library[0].tolist())


def test_the_clipped_loss_is_the_library_s_in_value_and_gradient():
    logp_old, advantages = torch.randn(2, 3, 20, generator=GENERATOR)
    gradients = []
    for loss in (
        lambda logp: exercises.clipped_loss(logp, logp_old, advantages, 0.2),
        lambda logp: ppo_policy_loss(logp, logp_old, advantages, clip_range=0.2),
    ):
        logp = (
            logp_old + 0.5 * torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
        ).requires_grad_()
        value = loss(logp)
        gradients.append((value.detach(), torch.autograd.grad(value.sum(), logp)[0]))
    (mine, my_gradient), (its, its_gradient) = gradients
    assert torch.allclose(mine, its)
    assert torch.allclose(my_gradient, its_gradient)


def test_leave_one_out_by_hand():
    # 1 − (2 + 6)/2, 2 − (1 + 6)/2, 6 − (1 + 2)/2
    assert exercises.leave_one_out(torch.tensor([1.0, 2.0, 6.0])).tolist() == [-3.0, -1.5, 4.5]


def test_the_target_by_hand():
    assert exercises.q_learning_target(-0.5, [1.0, 4.0], 0.5, False) == 1.5
    assert exercises.q_learning_target(20.0, [1.0, 4.0], 0.5, True) == 20.0


def test_the_mended_buffer_is_gae_and_the_hunted_one_is_not():
    """Two episodes of three and four steps, laid end to end."""
    rows = torch.zeros(2, 4, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    rewards, values = rows.masked_scatter(mask, REWARDS), rows.masked_scatter(mask, VALUES)
    by_library, _ = gae(rewards, values, mask, discount=0.9, gae_lambda=0.8)
    ends = torch.tensor([False, False, True, False, False, False, True])
    options = {"discount": 0.9, "gae_lambda": 0.8}
    mended, _ = flat_gae_mended(REWARDS, VALUES, ends, **options)
    hunted, _ = flat_gae(REWARDS, VALUES, ends, **options)
    assert torch.allclose(mended.double(), by_library[mask])
    assert not torch.allclose(hunted.double(), by_library[mask], atol=0.1)
