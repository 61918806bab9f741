"""Three estimators of KL(π ‖ π_ref) from tokens sampled from π, token by token.

With ``x ~ π`` and ``log r = log π_ref(x) − log π(x)``: k1 = −log r, k2 = (log r)²/2, k3 = r − 1 − log r.
Paper: Schulman, *Approximating KL divergence*, blog, 7 March 2020.

| | on average | sign | as a loss on fresh samples, its gradient is that of |
|---|---|---|---|
| k1 | KL(π ‖ π_ref) exactly | either | nothing: 0 on average |
| k2 | biased, near KL when π is near π_ref | ≥ 0 | KL(π ‖ π_ref) |
| k3 | KL(π ‖ π_ref) exactly | ≥ 0 | KL(π_ref ‖ π), the other direction |

Token by token, the last column holds with the states that were visited held fixed: it leaves out that other
tokens would lead to other states. With one number for each whole response it holds for the KL of responses.

So an estimator that is right as a number may be wrong as a loss. No gradient is stopped in this file. As a
penalty inside the reward, the number is a constant and only the first two columns matter.
"""

import torch

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def kl_k1(logp: Float[Tensor, "B T"], logp_ref: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The plain estimator of KL(π ‖ π_ref), for tokens sampled from π.

    ``k1 = log π − log π_ref``: right on average, of either sign, noisy.

    Args:
        logp: ``(B, T)``, nats per token, of the sampled tokens under the policy π that sampled them.
        logp_ref: ``(B, T)``, of the same tokens under the reference.

    Returns:
        ``(B, T)``, nats per token, not reduced. No gradient is stopped; as a loss its gradient is 0 on
        average.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> kl_k1(torch.tensor([[-1.0]]), torch.tensor([[-3.0]]))
        tensor([[2.]])
    """
    require_same_shape(logp=logp, logp_ref=logp_ref)
    return logp - logp_ref


def kl_k2(logp: Float[Tensor, "B T"], logp_ref: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Half the squared log-ratio, for tokens sampled from π.

    ``k2 = (log π − log π_ref)² / 2``: never negative, little noise, biased; as a loss on tokens just sampled
    from π its gradient is on average that of KL(π ‖ π_ref).

    Args:
        logp: ``(B, T)``, nats per token, of the sampled tokens under the policy π that sampled them.
        logp_ref: ``(B, T)``, of the same tokens under the reference.

    Returns:
        ``(B, T)``, at least 0, not reduced. No gradient is stopped.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> kl_k2(torch.tensor([[-1.0]]), torch.tensor([[-3.0]]))
        tensor([[2.]])
    """
    require_same_shape(logp=logp, logp_ref=logp_ref)
    return 0.5 * (logp - logp_ref).square()


def kl_k3(logp: Float[Tensor, "B T"], logp_ref: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The unbiased estimator of KL(π ‖ π_ref) that is never negative, for tokens sampled from π.

    ``k3 = π_ref/π − 1 − log(π_ref/π)``. As a loss on tokens just sampled from π its gradient is on average
    that of the other direction, KL(π_ref ‖ π).

    Args:
        logp: ``(B, T)``, nats per token, of the sampled tokens under the policy π that sampled them.
        logp_ref: ``(B, T)``, of the same tokens under the reference.

    Returns:
        ``(B, T)``, nats per token, at least 0, not reduced. No gradient is stopped. It grows exponentially
        where the reference is likelier, and overflows float32 at 88 nats.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> kl_k3(torch.tensor([[0.0]]), torch.tensor([[0.5]]).log())  # 1/2 − 1 + log 2
        tensor([[0.1931]])
    """
    require_same_shape(logp=logp, logp_ref=logp_ref)
    log_ratio = logp_ref - logp
    # exp(x) − 1 − x loses all digits for small x in float32; expm1 keeps them.
    return torch.expm1(log_ratio) - log_ratio
