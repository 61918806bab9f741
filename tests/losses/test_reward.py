"""The pairwise loss: by hand, and the reward model that it leads to."""

import math

import torch

from rlhf_mini.losses import next_token_loss, pairwise_loss

F64 = torch.float64


def test_by_hand():
    # σ(log 3) = 3/4, so a lead of log 3 costs log(4/3) and the same lag log 4.
    chosen, rejected = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]], dtype=F64)
    expected = torch.tensor([math.log(4 / 3), math.log(4)], dtype=F64)
    torch.testing.assert_close(pairwise_loss(chosen, rejected), expected)


def test_by_hand_with_a_margin():
    # A lead of 1 + log 3 with margin 1 is a lead of log 3.
    chosen, rejected, margin = torch.tensor([[1 + math.log(3)], [0.0], [1.0]], dtype=F64)
    expected = torch.tensor([math.log(4 / 3)], dtype=F64)
    torch.testing.assert_close(pairwise_loss(chosen, rejected, margin=margin), expected)


def test_equal_scores_cost_log_two_and_pull_apart_by_a_half():
    chosen, rejected = torch.ones(2, 3, dtype=F64).unbind()
    chosen.requires_grad_()
    loss = pairwise_loss(chosen, rejected)
    torch.testing.assert_close(loss, torch.full((3,), math.log(2), dtype=F64))
    assert torch.autograd.grad(loss.sum(), chosen)[0].tolist() == [-0.5] * 3  # −σ(0)


def test_a_constant_added_to_all_scores_does_not_matter():
    chosen, rejected = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    torch.testing.assert_close(pairwise_loss(chosen + 5, rejected + 5), pairwise_loss(chosen, rejected))


def test_a_zero_margin_is_none_and_a_larger_one_costs_more():
    chosen, rejected = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    zero = pairwise_loss(chosen, rejected, margin=torch.zeros(8, dtype=F64))
    assert torch.equal(zero, pairwise_loss(chosen, rejected))
    assert (pairwise_loss(chosen, rejected, margin=torch.ones(8, dtype=F64)) > zero).all()


def test_a_badly_wrong_pair_costs_its_lag():
    # −log σ(−1000) = 1000 to all digits; computed by way of exp it would be infinite.
    loss = pairwise_loss(torch.tensor([-500.0]), torch.tensor([500.0]))
    assert loss.item() == 1000.0


def test_the_minimum_is_the_true_log_odds():
    # If the first wins three times in four, the expected loss is least where the scores differ by log 3.
    lead = torch.zeros((), dtype=F64, requires_grad=True)
    optimizer = torch.optim.LBFGS([lead], line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def expected_loss() -> torch.Tensor:
        optimizer.zero_grad()
        zero = torch.zeros(1, dtype=F64)
        loss = 0.75 * pairwise_loss(lead[None], zero) + 0.25 * pairwise_loss(zero, lead[None])
        loss.sum().backward()
        return loss.sum()

    optimizer.step(expected_loss)
    assert math.isclose(lead.item(), math.log(3), rel_tol=1e-6)


def test_next_token_loss_by_hand():
    # A token with probability 1/8 surprises by three bits: 3 log 2 nats.
    loss = next_token_loss(torch.tensor([[0.125, 1.0]], dtype=F64).log())
    torch.testing.assert_close(loss, torch.tensor([[3 * math.log(2), 0.0]], dtype=F64))
