"""How much better than expected each step was."""

import torch

from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import require_finite, require_same_shape, zero_off_mask


def gae(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    discount: float,
    gae_lambda: float,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Generalised advantage estimation, and the value targets that go with it.

    ``δ_t = r_t + γ V_{t+1} − V_t``, ``A_t = δ_t + γλ A_{t+1}``, ``R_t = A_t + V_t``; behind the last step
    both ``V`` and ``A`` are 0. With λ = 0, ``A_t = δ_t``: little variance, biased by ``V``. With λ = 1,
    ``A_t`` is the discounted return less ``V_t``: unbiased whatever ``V`` is.

    The steps of a row are its true mask entries, in order; the next step after ``t`` is the next true entry.

    Args:
        rewards: ``(B, T)``; finite where the mask is true.
        values: ``(B, T)``, value of the prefix before each token, that is of the state in which the step was
            taken.
        mask: ``(B, T)``, true on the steps (the response).
        discount: γ, from 0 to 1; 1 for language models.
        gae_lambda: λ, from 0 to 1.

    Returns:
        The advantages and the returns, each ``(B, T)``, 0 off the mask, not whitened. No gradient is stopped
        here; the losses treat both as constants.

    Raises:
        ValueError: on shapes that differ, a discount or λ outside [0, 1], a counted number that is not
            finite.

    Paper: Schulman et al. 2015, arXiv 1506.02438, eq. 16. Departure: every row ends in a terminal state, a
    response cut off at the length limit too; there is no bootstrap from a value behind it.

    Example:
        >>> rewards, values = torch.tensor([[0.0, 3.0]]), torch.tensor([[1.0, 2.0]])
        >>> gae(rewards, values, torch.ones(1, 2, dtype=torch.bool), discount=1.0, gae_lambda=1.0)
        (tensor([[2., 1.]]), tensor([[3., 3.]]))
    """
    require_same_shape(rewards=rewards, values=values, mask=mask)
    require_finite(mask, rewards=rewards, values=values)
    if not (0 <= discount <= 1 and 0 <= gae_lambda <= 1):
        raise ValueError(
            f"discount and gae_lambda must lie between 0 and 1; received {discount} and {gae_lambda}."
        )
    rewards, values = zero_off_mask(rewards, mask), zero_off_mask(values, mask)
    advantage = next_value = values.new_zeros(len(values))
    columns = []
    steps = zip(
        reversed(rewards.unbind(1)), reversed(values.unbind(1)), reversed(mask.unbind(1)), strict=True
    )
    for reward, value, counts in steps:
        delta = reward + discount * next_value - value
        advantage = torch.where(counts, delta + discount * gae_lambda * advantage, advantage)
        next_value = torch.where(counts, value, next_value)
        columns.append(advantage)
    advantages = zero_off_mask(torch.stack(columns[::-1], dim=1), mask)
    return advantages, advantages + values
