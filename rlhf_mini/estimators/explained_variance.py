"""How much of what happened a value model had foreseen."""

from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import masked_var, require_same_shape


def explained_variance(
    values: Float[Tensor, "B T"], returns: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> float:
    """The share of the returns' variance that the values explain, ``1 − Var(R − V) / Var(R)``.

    1 for perfect predictions up to a constant, 0 for a constant, below 0 for predictions worse than a
    constant. A constant error does not count, as it does not for whitened advantages.

    Args:
        values: ``(B, T)``, predicted before the returns were known.
        returns: ``(B, T)``, Monte Carlo returns; with λ < 1 the targets contain the values themselves, and
            the share looks better than it is.
        mask: ``(B, T)``, true where a pair counts, at least once.

    Returns:
        A number of at most 1; 0 where all returns are equal, since there is nothing to explain.

    Raises:
        ValueError: if the shapes differ or nothing counts.

    Example:
        >>> import torch
        >>> returns = torch.tensor([[1.0, 3.0]])
        >>> explained_variance(torch.tensor([[2.0, 3.0]]), returns, torch.ones(1, 2, dtype=torch.bool))
        0.75
    """
    require_same_shape(values=values, returns=returns, mask=mask)
    total = float(masked_var(returns, mask, unbiased=False))
    if total == 0:
        return 0.0
    return 1 - float(masked_var(returns - values, mask, unbiased=False)) / total
