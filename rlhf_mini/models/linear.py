"""y = x Wᵀ at the processor's full rate.

On a CPU, PyTorch multiplies float32 matrices with MKL, which on AMD processors reaches about half of what
oneDNN, shipped in the same wheel, reaches with the same float32 arithmetic. This file calls oneDNN for the
product and for its two gradients, which are products of the same kind. Everywhere else (a GPU, another
number type, a PyTorch without oneDNN) it is `torch.nn.functional.linear`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (…, K) times the transpose of weight (N, K) gives (…, N), with gradients of any order.

    >>> linear(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]]))
    tensor([[11., 17.]])
    """
    if not _suits_onednn(x, weight):
        return F.linear(x, weight)
    return _Linear.apply(x, weight) if torch.is_grad_enabled() else _onednn(x, weight)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # no public type
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def, override]  # as above
        x, weight = ctx.saved_tensors
        grad_x = linear(grad, weight.t()) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return grad_x, None
        x, grad = x.flatten(0, -2), grad.flatten(0, -2)
        if len(weight) > weight.shape[1]:  # the same product transposed: oneDNN prefers the fewer rows
            return grad_x, linear(x.t(), grad.t()).t()
        return grad_x, linear(grad.t(), x.t())


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    float32 = x.dtype == weight.dtype == torch.float32
    on_cpu = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return _HAS_ONEDNN and float32 and on_cpu and x.ndim > 1 and x.numel() > 0


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
