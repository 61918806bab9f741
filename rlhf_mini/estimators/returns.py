"""The reward still to come."""

import torch

from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import require_finite, require_same_shape, zero_off_mask


def discounted_returns(
    rewards: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], *, discount: float
) -> Float[Tensor, "B T"]:
    """The reward from each step to the end of its row, later rewards counting for less.

    ``G_t = r_t + γ G_{t+1}``, and ``G = 0`` behind the last step.

    The steps of a row are its true mask entries, in order. A false entry is no step: between two responses of
    a conversation it is passed over and discounts nothing.

    Args:
        rewards: ``(B, T)``; finite where the mask is true.
        mask: ``(B, T)``, true on the steps.
        discount: γ, from 0 to 1.

    Returns:
        ``(B, T)``, 0 off the mask. Linear in the rewards; no gradient is stopped.

    Raises:
        ValueError: on shapes that differ, a discount outside [0, 1], a counted reward that is not finite.

    Paper: Sutton and Barto, *Reinforcement Learning*, eq. 3.9.

    Example:
        >>> rewards = torch.tensor([[4.0, 0.0, 8.0]])
        >>> discounted_returns(rewards, torch.ones(1, 3, dtype=torch.bool), discount=0.5)
        tensor([[6., 4., 8.]])
    """
    require_same_shape(rewards=rewards, mask=mask)
    require_finite(mask, rewards=rewards)
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie between 0 and 1; received {discount}.")
    rewards = zero_off_mask(rewards, mask)
    to_come = rewards.new_zeros(len(rewards))
    columns = []
    for reward, counts in zip(reversed(rewards.unbind(1)), reversed(mask.unbind(1)), strict=True):
        to_come = torch.where(counts, reward + discount * to_come, to_come)
        columns.append(to_come)
    return zero_off_mask(torch.stack(columns[::-1], dim=1), mask)
