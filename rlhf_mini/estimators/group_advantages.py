"""How much better than the others each of several answers to one prompt was: advantages without a critic.

``(B, G)`` rewards, G answers to each of B prompts, become ``(B, G)`` advantages. What is subtracted is an
estimate of what the prompt is worth, made of the answers themselves:

| function | what is subtracted | divided by | E[A ∇ log π] |
|---|---|---|---|
| `group_mean_advantages` | the mean of the group | – | (1 − 1/G) ∇J |
| `leave_one_out_advantages` | the mean of the other G − 1 | – | ∇J |
| `group_scaled_advantages` | the mean of the group | the group's own spread | another objective's |
| `batch_mean_advantages` | the mean of all answers to all prompts | – | (1 − 1/BG) ∇J |

The third counts a prompt that is almost always or almost never solved as much as an even one. For rewards of
0 and 1, a chance p of 1 and large groups it climbs ``2 arcsin √p``, whose slope in p is ``1/√(p (1 − p))``,
and not p.
"""

import torch

from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import require_finite


def group_mean_advantages(rewards: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
    """Each answer's reward less the mean of its group, its own included.

    ``A_i = r_i − r̄``. Since the mean holds 1/G of the answer's own reward, the gradient is on average
    ``(1 − 1/G) ∇J``: the right direction, a little short.

    Args:
        rewards: ``(B, G)``, G answers to each prompt, at least 2.

    Returns:
        ``(B, G)``, in units of the reward; sums to 0 in each group. No gradient is stopped.

    Raises:
        ValueError: if a group has fewer than two answers, or a reward is not finite.

    Paper: Liu et al. 2025 (Dr. GRPO), arXiv 2503.20783.

    Example:
        >>> group_mean_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
        tensor([[ 0.5000, -0.5000, -0.5000,  0.5000]])
    """
    _require_groups(rewards)
    return rewards - rewards.mean(1, keepdim=True)


def group_scaled_advantages(
    rewards: Float[Tensor, "B G"], *, unbiased: bool = True, floor: float | int = 1e-4
) -> Float[Tensor, "B G"]:
    """GRPO's advantage: the reward less its group's mean, in units of the group's own spread.

    ``A_i = (r_i − r̄) / (s + floor)``. The paper writes std and does not say which. The code that others run
    (TRL, verl) divides by ``G − 1`` inside the root and adds a small number to the root, and so do we by
    default, in order that figures can be compared. Dividing by G instead makes all advantages
    ``√(G/(G − 1))`` times as large, in every group alike, which the learning rate takes up. The floor decides
    about groups whose rewards are almost equal only: it keeps equal rewards at 0, where 0/0 would be NaN.

    Args:
        rewards: ``(B, G)``, G answers to each prompt, at least 2.
        unbiased: whether the variance is divided by ``G − 1``; otherwise by ``G``.
        floor: added to the spread, above 0, in units of the reward.

    Returns:
        ``(B, G)``, without a unit; sums to 0 in each group, and is 0 throughout a group of equal rewards. Not
        changed, up to the floor, by multiplying a group's rewards with a positive constant. No gradient is
        stopped.

    Raises:
        ValueError: if a group has fewer than two answers, a reward is not finite, or the floor is not above
            0.

    Paper: Shao et al. 2024 (GRPO), arXiv 2402.03300, §4.1.2.

    Example:
        >>> group_scaled_advantages(torch.tensor([[3.0, 1.0]]), unbiased=False, floor=1e-9)
        tensor([[ 1., -1.]])
    """
    _require_groups(rewards)
    if not floor > 0:
        raise ValueError(f"floor must be above 0, or equal rewards give NaN; received {floor}.")
    deviation = rewards - rewards.mean(1, keepdim=True)
    answers = rewards.shape[1] - 1 if unbiased else rewards.shape[1]
    return deviation / ((deviation.square().sum(1, keepdim=True) / answers).sqrt() + floor)


def leave_one_out_advantages(rewards: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
    """RLOO's advantage: the reward less the mean of the *other* answers to the same prompt.

    ``A_i = r_i − 1/(G − 1) Σ_{j≠i} r_j = G/(G − 1) (r_i − r̄)``. The baseline does not know the answer, so the
    gradient is ∇J on average. It is the group's mean with another factor, the same for all answers.

    Args:
        rewards: ``(B, G)``, G answers to each prompt, at least 2.

    Returns:
        ``(B, G)``, in units of the reward; sums to 0 in each group. No gradient is stopped.

    Raises:
        ValueError: if a group has fewer than two answers, or a reward is not finite.

    Papers: Kool et al. 2019, *Buy 4 REINFORCE samples, get a baseline for free!*; Ahmadian et al. 2024, arXiv
    2402.14740.

    Example:
        >>> leave_one_out_advantages(torch.tensor([[3.0, 1.0, 2.0]]))
        tensor([[ 1.5000, -1.5000,  0.0000]])
    """
    _require_groups(rewards)
    others = rewards.shape[1] - 1
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / others


def batch_mean_advantages(rewards: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
    """The reward less the mean of all answers to all prompts: one baseline, which knows no prompt.

    ``A = r − mean of all B·G rewards``. An answer to an easy prompt looks good whatever it says, so that this
    is right on average and noisier than the baselines above. It needs no second answer to a prompt.

    Args:
        rewards: ``(B, G)``, at least two numbers in all.

    Returns:
        ``(B, G)``, in units of the reward; sums to 0 over the batch, not in each group. No gradient is
        stopped.

    Raises:
        ValueError: if there are fewer than two rewards, or one is not finite.

    Paper: Williams 1992 (a reinforcement baseline).

    Example:
        >>> batch_mean_advantages(torch.tensor([[3.0, 3.0], [1.0, 1.0]]))
        tensor([[ 1.,  1.],
                [-1., -1.]])
    """
    if rewards.ndim != 2 or rewards.numel() < 2:
        raise ValueError(f"rewards must be (B, G), at least 2 in all; received {tuple(rewards.shape)}.")
    _require_finite(rewards)
    return rewards - rewards.mean()


def without_spread(rewards: Float[Tensor, "B G"]) -> Bool[Tensor, " B"]:
    """Which groups have equal rewards throughout: all right, or all wrong. They teach nothing.

    Args:
        rewards: ``(B, G)``, at least 2 answers a prompt.

    Returns:
        ``(B,)`` bool.

    Raises:
        ValueError: if a group has fewer than two answers, or a reward is not finite.

    Example:
        >>> without_spread(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        tensor([ True, False])
    """
    _require_groups(rewards)
    return rewards.amax(1) == rewards.amin(1)


def _require_groups(rewards: Tensor) -> None:
    if rewards.ndim != 2 or rewards.shape[1] < 2 or not len(rewards):
        raise ValueError(
            f"rewards must be (B, G), at least 2 answers to each prompt; received {tuple(rewards.shape)}."
        )
    _require_finite(rewards)


def _require_finite(rewards: Tensor) -> None:
    require_finite(torch.ones_like(rewards, dtype=torch.bool), rewards=rewards)
