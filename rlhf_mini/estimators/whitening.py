"""Bringing numbers to a common scale."""

from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import masked_mean, masked_var, zero_off_mask

VARIANCE_FLOOR = 1e-8  # added to the variance, so that equal values whiten to 0 and not to NaN


def whiten(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], *, shift_mean: bool
) -> Float[Tensor, "*shape"]:
    """Scale the counted values to variance 1, and shift them to mean 0 if asked.

    ``(x − x̄) / √(var + 10⁻⁸)``, plus ``x̄`` unless ``shift_mean``. The variance is the mean square deviation
    of the counted values (divided by ``n``), so that the result's variance is 1 and one value alone whitens
    to 0.

    Args:
        values: any shape.
        mask: the same shape, true where a value counts, at least once.
        shift_mean: True for advantages; False for rewards, whose sign means something.

    Returns:
        The shape of ``values``, 0 off the mask. Not changed, up to the floor, by multiplying the values with
        a positive constant, nor (with ``shift_mean``) by adding one. No gradient is stopped.

    Raises:
        ValueError: if nothing counts, if the shapes differ or the mask is not boolean.

    Paper: Ziegler et al. 2019, arXiv 1909.08593, their code, which divides by ``n`` too. (TRL divides
    by ``n − 1``.)

    Example:
        >>> import torch
        >>> whiten(torch.tensor([1.0, 5.0, 99.0]), torch.tensor([True, True, False]), shift_mean=True)
        tensor([-1.,  1.,  0.])
    """
    mean = masked_mean(values, mask)
    variance = masked_var(values, mask, unbiased=False)
    whitened = (zero_off_mask(values, mask) - mean) * (variance + VARIANCE_FLOOR).rsqrt()
    return zero_off_mask(whitened if shift_mean else whitened + mean, mask)
