"""The masked and the contrastive loss: by hand, against PyTorch's own, by gradient and by property."""

import math

import pytest
import torch

from rlhf_mini.losses import in_batch_contrastive_loss, masked_token_loss

F64 = torch.float64


def test_masked_token_loss_is_not_shifted():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]], dtype=F64))
    loss = masked_token_loss(logits, torch.tensor([[1, 2]]))
    torch.testing.assert_close(loss, torch.tensor([[-math.log(0.25), -math.log(0.8)]], dtype=F64))


def test_masked_token_loss_is_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=generator, dtype=F64)
    tokens = torch.randint(7, (2, 5), generator=generator)
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
    torch.testing.assert_close(masked_token_loss(logits, tokens), expected)
    torch.testing.assert_close(masked_token_loss(logits + 3.0, tokens), expected)
    assert torch.autograd.gradcheck(lambda z: masked_token_loss(z, tokens), logits.requires_grad_(True))


@pytest.mark.usefixtures("unchecked")
def test_masked_token_loss_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"logits \(1, 2, 3\)"):
        masked_token_loss(torch.zeros(1, 2, 3), torch.zeros(1, 3, dtype=torch.long))


def test_contrastive_loss_by_hand():
    similarity = torch.tensor([[2.0, 0.0], [1.0, 1.0]], dtype=F64)
    expected = torch.tensor([math.log(1 + math.exp(-2)), math.log(2)], dtype=F64)
    torch.testing.assert_close(in_batch_contrastive_loss(similarity), expected)


def test_contrastive_loss_is_cross_entropy_of_the_diagonal():
    similarity = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=F64)
    expected = torch.nn.functional.cross_entropy(similarity, torch.arange(6), reduction="none")
    torch.testing.assert_close(in_batch_contrastive_loss(similarity), expected)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    shuffled = in_batch_contrastive_loss(similarity[order][:, order])
    torch.testing.assert_close(shuffled, expected[order])


def test_contrastive_gradient_raises_the_own_partner_and_lowers_the_others():
    similarity = torch.zeros(3, 3, dtype=F64, requires_grad=True)
    in_batch_contrastive_loss(similarity).sum().backward()
    expected = torch.full((3, 3), 1 / 3, dtype=F64) - torch.eye(3, dtype=F64)
    torch.testing.assert_close(similarity.grad, expected)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (3,)])
def test_contrastive_loss_refuses_what_is_not_square(shape):
    with pytest.raises(ValueError, match="B at least 2"):
        in_batch_contrastive_loss(torch.zeros(shape))
