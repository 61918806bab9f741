"""The policy gradient as a loss, the two losses of PPO, and the number to watch beside them.

Paper: Schulman et al. 2017, arXiv 1707.06347, eq. 7; the clipped value loss is from the code released with it
and from Ziegler et al. 2019, arXiv 1909.08593.
"""

import torch

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def policy_gradient_loss(logp: Float[Tensor, "B T"], weights: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The loss whose gradient is the policy gradient with its sign turned.

    ``−Ψ log π``, so that on steps just sampled from π the gradient of its sum over an episode is on average
    ``−∇J``. Its value means nothing: it need not fall while the policy improves.

    Args:
        logp: ``(B, T)``, nats per step, of the actions taken, under the policy that took them.
        weights: ``(B, T)``, Ψ: returns, returns less a baseline, or advantages.

    Returns:
        ``(B, T)``, not reduced. Gradients flow to ``logp`` only.

    Raises:
        ValueError: if the shapes differ.

    Paper: Williams 1992, *Simple statistical gradient-following algorithms*, Machine Learning 8.

    Example:
        >>> policy_gradient_loss(torch.tensor([[-0.5, -2.0]]), torch.tensor([[4.0, -1.0]]))
        tensor([[ 2., -2.]])
    """
    require_same_shape(logp=logp, weights=weights)
    return -weights.detach() * logp


def ratio_policy_loss(
    logp: Float[Tensor, "B T"], logp_old: Float[Tensor, "B T"], advantages: Float[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """PPO's policy loss before clipping: nothing holds the policy near the one that sampled.

    ``−ρ A`` with ``ρ = π/π_old``. It says how good the new policy is as long as the two are close; far from
    the old policy it is no guide, and it can be lowered without end.

    Args:
        logp: ``(B, T)``, nats per step, under the policy in training.
        logp_old: ``(B, T)``, under the policy that sampled the actions, as stored at the time.
        advantages: ``(B, T)``.

    Returns:
        ``(B, T)``, not reduced. Gradients flow to ``logp`` only.

    Raises:
        ValueError: if the shapes differ.

    Paper: Schulman et al. 2017, arXiv 1707.06347, eq. 6, with the sign of a loss.

    Example:
        >>> logp, logp_old = torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log()  # ratio 2
        >>> ratio_policy_loss(logp, logp_old, torch.tensor([[3.0]]))
        tensor([[-6.]])
    """
    require_same_shape(logp=logp, logp_old=logp_old, advantages=advantages)
    return -torch.exp(logp - logp_old.detach()) * advantages.detach()


def ppo_policy_loss(
    logp: Float[Tensor, "B T"],
    logp_old: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    *,
    clip_range: float,
) -> Float[Tensor, "B T"]:
    """PPO's clipped policy loss.

    ``−min(ρ A, clip(ρ, 1 − ε, 1 + ε) A)`` with ``ρ = π/π_old``. A step that has already made a good token
    ``1 + ε`` times as likely, or a bad one ``1 − ε`` times, gains nothing more; a step in the wrong direction
    is never clipped, which is what the ``min`` is for. At ``ρ = 1``, as on the first minibatch, the gradient
    is the plain policy gradient.

    Args:
        logp: ``(B, T)``, nats per token, under the policy in training.
        logp_old: ``(B, T)``, under the policy that sampled the tokens, as stored at the time.
        advantages: ``(B, T)``, whitened or not.
        clip_range: ε, above 0 and below 1; usually 0.2.

    Returns:
        ``(B, T)``, not reduced. Gradients flow to ``logp`` only.

    Raises:
        ValueError: if the shapes differ, or ε is outside (0, 1).

    Paper: Schulman et al. 2017, arXiv 1707.06347, eq. 7, with the sign of a loss.

    Example:
        >>> logp, logp_old = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.25]]).log()  # ratio 2
        >>> ppo_policy_loss(logp, logp_old, torch.tensor([[1.0, -1.0]]), clip_range=0.2)
        tensor([[-1.2000,  2.0000]])
    """
    require_same_shape(logp=logp, logp_old=logp_old, advantages=advantages)
    _require_clip_range(clip_range)
    ratio = torch.exp(logp - logp_old.detach())
    advantages = advantages.detach()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)


def value_loss(values: Float[Tensor, "B T"], returns: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Half the squared error of a value, ``½ (V − R)²``: smallest on average where V is the mean of R.

    Args:
        values: ``(B, T)``, predictions, in units of the reward.
        returns: ``(B, T)``, targets, treated as constants.

    Returns:
        ``(B, T)``, not reduced. Gradients flow to ``values`` only.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> value_loss(torch.tensor([[1.0]]), torch.tensor([[3.0]]))
        tensor([[2.]])
    """
    require_same_shape(values=values, returns=returns)
    return 0.5 * (values - returns.detach()).square()


def ppo_value_loss(
    values: Float[Tensor, "B T"],
    values_old: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    *,
    clip_range: float,
) -> Float[Tensor, "B T"]:
    """PPO's clipped value loss.

    ``½ max((V − R)², (clip(V, V_old − ε, V_old + ε) − R)²)``: a value that has moved by ε towards its target
    gains nothing more by moving on. Whether this helps is disputed; it is what the RLHF papers' code does.

    Args:
        values: ``(B, T)``, from the value model in training.
        values_old: ``(B, T)``, from the value model at the time of sampling.
        returns: ``(B, T)``, the targets.
        clip_range: ε, above 0, in units of the reward.

    Returns:
        ``(B, T)``, at least 0, not reduced. Gradients flow to ``values`` only.

    Raises:
        ValueError: if the shapes differ, or ε is not above 0.

    Paper: Ziegler et al. 2019, arXiv 1909.08593, their code (eq. 9 of the PPO paper has no clipping).

    Example:
        >>> values, values_old, returns = torch.tensor([[2.0]]), torch.tensor([[0.0]]), torch.tensor([[3.0]])
        >>> ppo_value_loss(values, values_old, returns, clip_range=1.0)  # ½ max((2 − 3)², (1 − 3)²)
        tensor([[2.]])
    """
    require_same_shape(values=values, values_old=values_old, returns=returns)
    if not clip_range > 0:
        raise ValueError(f"clip_range must be above 0, in units of the reward; received {clip_range}.")
    values_old, returns = values_old.detach(), returns.detach()
    clipped = values_old + (values - values_old).clamp(-clip_range, clip_range)
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())


def clip_fraction(
    logp: Float[Tensor, "B T"],
    logp_old: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    *,
    clip_range: float,
) -> Float[Tensor, "B T"]:
    """Which tokens PPO's clipping silences: 1 where the policy loss has no gradient because of it, else 0.

    1 where ``ρ > 1 + ε`` and ``A > 0``, or ``ρ < 1 − ε`` and ``A < 0``. Its mean is the clip fraction to
    watch. (Some code counts every ratio outside the range, whatever the advantage.)

    Args:
        logp: ``(B, T)``, nats per token, under the policy in training.
        logp_old: ``(B, T)``, under the policy that sampled the tokens.
        advantages: ``(B, T)``.
        clip_range: ε, as in ``ppo_policy_loss``.

    Returns:
        ``(B, T)``, zeros and ones, not reduced, without a gradient.

    Raises:
        ValueError: if the shapes differ, or ε is outside (0, 1).

    Example:
        >>> logp, logp_old = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.25]]).log()  # ratio 2
        >>> clip_fraction(logp, logp_old, torch.tensor([[1.0, -1.0]]), clip_range=0.2)
        tensor([[1., 0.]])
    """
    require_same_shape(logp=logp, logp_old=logp_old, advantages=advantages)
    _require_clip_range(clip_range)
    ratio = torch.exp(logp - logp_old)
    silenced = ((ratio > 1 + clip_range) & (advantages > 0)) | ((ratio < 1 - clip_range) & (advantages < 0))
    return silenced.to(logp.dtype)


def _require_clip_range(clip_range: float) -> None:
    if not 0 < clip_range < 1:
        raise ValueError(f"clip_range must lie between 0 and 1, as 0.2 does; received {clip_range}.")
