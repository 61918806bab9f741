import torch
import torch.nn.functional as F

from rlhf_mini.models.linear import linear


def test_value_and_gradients_equal_those_of_pytorch():
    torch.manual_seed(0)
    for rows, inputs, outputs in ((7, 5, 11), (7, 11, 5), (1, 3, 3)):
        x = torch.randn(2, rows, inputs, requires_grad=True)
        weight = torch.randn(outputs, inputs, requires_grad=True)
        pull = torch.randn(2, rows, outputs)
        ours = torch.autograd.grad(linear(x, weight), (x, weight), pull)
        theirs = torch.autograd.grad(F.linear(x, weight), (x, weight), pull)
        torch.testing.assert_close(linear(x, weight), F.linear(x, weight))
        torch.testing.assert_close(ours, theirs)


def test_a_gradient_that_nobody_needs_is_left_out():
    x, weight = torch.randn(4, 3), torch.randn(2, 3, requires_grad=True)
    linear(x, weight).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(0).expand(2, 3))
    x.requires_grad_()
    linear(x, weight.detach()).sum().backward()
    torch.testing.assert_close(x.grad, weight.detach().sum(0).expand(4, 3))


def test_second_derivatives():
    """f = Σ (xᵀw)³, so d²f/dw² = Σ 6 (xᵀw) x xᵀ; by hand for one row."""
    x, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]], requires_grad=True)
    (first,) = torch.autograd.grad(linear(x, weight).pow(3).sum(), weight, create_graph=True)
    torch.testing.assert_close(first, torch.tensor([[3.0, 6.0]]))  # 3 · 1² · x
    (second,) = torch.autograd.grad(first.sum(), weight)
    torch.testing.assert_close(second, torch.tensor([[18.0, 36.0]]))  # 6 · 1 · x · (1 + 2)


def test_other_number_types_and_empty_batches():
    for dtype in (torch.float64, torch.bfloat16):
        assert linear(torch.ones(2, 3, dtype=dtype), torch.ones(4, 3, dtype=dtype)).dtype == dtype
    assert linear(torch.ones(0, 3), torch.ones(4, 3)).shape == (0, 4)
    assert linear(torch.ones(3), torch.ones(4, 3)).shape == (4,)
