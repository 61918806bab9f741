"""The reward of each token: by hand, at the edges of the response, and what its sum is."""

import pytest
import torch

from rlhf_mini.estimators import token_rewards


def test_by_hand():
    # Row 0: KL terms 0.5 · (−1 + 1.5) and 0.5 · (−2 + 1), paid; the score 2 on the second token.
    # Row 1: one token, as likely as under the reference; the score −1 on it. Nothing elsewhere.
    response = torch.tensor([[False, True, True], [False, True, False]])
    logp = torch.tensor([[7.0, -1.0, -2.0], [7.0, -3.0, 7.0]])
    logp_ref = torch.tensor([[0.0, -1.5, -1.0], [0.0, -3.0, 0.0]])
    rewards = token_rewards(torch.tensor([2.0, -1.0]), logp, logp_ref, response, kl_weight=0.5)
    assert rewards.tolist() == [[0.0, -0.25, 2.5], [0.0, -1.0, 0.0]]


def test_without_kl_weight_only_the_score_is_left():
    response = torch.tensor([[False, True, True]])
    rewards = token_rewards(
        torch.tensor([2.0]), torch.tensor([[0.0, -1.0, -2.0]]), torch.zeros(1, 3), response, kl_weight=0.0
    )
    assert rewards.tolist() == [[0.0, 0.0, 2.0]]


def test_the_sum_is_the_score_less_the_weighted_log_ratio():
    generator = torch.Generator().manual_seed(0)
    logp, logp_ref = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    scores = torch.randn(4, generator=generator, dtype=torch.float64)
    response = torch.arange(6) < torch.tensor([[1], [3], [6], [4]])
    rewards = token_rewards(scores, logp, logp_ref, response, kl_weight=0.3)
    assert torch.allclose(rewards.sum(1), scores - 0.3 * ((logp - logp_ref) * response).sum(1))


def test_junk_off_the_response_changes_neither_value_nor_gradient():
    response = torch.tensor([[False, True, False]])
    clean, junk = (
        torch.tensor([[x, -1.0, x]], dtype=torch.float64, requires_grad=True) for x in (0.0, float("nan"))
    )
    results = [
        token_rewards(torch.ones(1, dtype=torch.float64), logp, 2 * logp, response, kl_weight=1.0)
        for logp in (clean, junk)
    ]
    assert torch.equal(*results)
    gradients = [torch.autograd.grad(r.sum(), x)[0] for r, x in zip(results, (clean, junk), strict=True)]
    assert gradients[0].tolist() == [[0.0, 1.0, 0.0]]
    assert torch.equal(*gradients)


def test_the_inputs_stay_as_they_are():
    logp, response = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    token_rewards(torch.ones(1), logp, torch.zeros(1, 2), response, kl_weight=0.0)
    assert logp.tolist() == [[0.0, 0.0]]


def test_shapes_that_differ_and_rows_without_a_response_are_refused(unchecked):
    logp, response = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="response"):
        token_rewards(torch.ones(1), logp, logp, torch.ones(1, 3, dtype=torch.bool), kl_weight=1.0)
    with pytest.raises(ValueError, match="mask"):
        token_rewards(torch.ones(1), logp, logp, ~response, kl_weight=1.0)
