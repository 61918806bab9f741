"""Likelihood with weights: what filtering and advantage weighting make of supervised fine-tuning.

Trained until nothing changes on answers drawn from π, a policy becomes ``π(y) w(y) / Z`` for whatever weights
w stand before the log-probabilities: see ``rlhf_mini.exact``'s ``weighted_optimum``.
"""

import math

import torch

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def threshold_weights(rewards: Float[Tensor, "*shape"], *, threshold: float) -> Float[Tensor, "*shape"]:
    """Which answers are kept: 1 where the reward lies above the threshold, else 0.

    ``w = 1[r > τ]``, strictly above: of rewards that are 0 or 1, the threshold 0 keeps the ones.

    Args:
        rewards: any shape.
        threshold: τ, in units of the reward; −∞ keeps everything.

    Returns:
        The same shape, of the rewards' type. No gradient.

    Raises:
        ValueError: if τ is NaN.

    Papers: Gulcehre et al. 2023 (ReST), arXiv 2308.08998, §3; with a learned value, filtered behaviour
    cloning.

    Example:
        >>> threshold_weights(torch.tensor([0.2, 0.7, 0.9]), threshold=0.7)
        tensor([0., 0., 1.])
    """
    _require_threshold(threshold)
    return (rewards.detach() > threshold).to(rewards.dtype)


def advantage_weights(
    advantages: Float[Tensor, "*shape"], *, kl_weight: float, largest: float = math.inf
) -> Float[Tensor, "*shape"]:
    """How much each answer counts: exponentially more, the better it was.

    ``w = min(exp(A/β), c)``. Unlike a threshold it keeps something of everything and prefers the best of the
    good ones. As weights of a likelihood it leads to the optimum under a KL penalty of weight β towards the
    policy that drew (``exact.advantage_weighted_optimum``), up to the cap c.

    Args:
        advantages: any shape: rewards, or rewards less a baseline of the prompt, which changes no more than
            the scale of a prompt's weights.
        kl_weight: β, above 0, units of the reward per nat; the smaller, the choosier.
        largest: c, above 0, the most that one answer may count; no cap if infinite.

    Returns:
        The same shape, above 0, at most c. No gradient.

    Raises:
        ValueError: if β or c is not above 0.

    Papers: Peng et al. 2019, arXiv 1910.00177, with c = 20 in their experiments; Nair et al. 2020, arXiv
    2006.09359.

    Example:
        >>> advantage_weights(torch.tensor([4.0, 1.0, 0.25]).log(), kl_weight=0.5, largest=8.0)
        tensor([8.0000, 1.0000, 0.0625])
    """
    for name, number in (("kl_weight", kl_weight), ("largest", largest)):
        if not number > 0:
            raise ValueError(f"{name} must be above 0; received {number}.")
    # The cap before exp: no overflow, whatever the advantages.
    return (advantages.detach() / kl_weight).clamp(max=math.log(largest)).exp().clamp(max=largest)


def filtered_loss(
    logp: Float[Tensor, " B"], rewards: Float[Tensor, " B"], *, threshold: float
) -> Float[Tensor, " B"]:
    """Filtered behaviour cloning: the surprise at answers that are good enough, nothing for the rest.

    ``−1[r > τ] log π(y | x)``.

    Args:
        logp: ``(B,)``, log-probability of each answer, nats per sequence.
        rewards: ``(B,)``, treated as constants.
        threshold: τ, in units of the reward.

    Returns:
        ``(B,)``, nats per sequence, 0 where the answer is left out; not reduced. Gradients flow to ``logp``
        where it is kept.

    Raises:
        ValueError: if the shapes differ, or τ is NaN.

    Paper: Gulcehre et al. 2023 (ReST), arXiv 2308.08998, §3, with the loss of behaviour cloning.

    Example:
        >>> filtered_loss(torch.tensor([-3.0, -2.0]), torch.tensor([0.0, 1.0]), threshold=0.5)
        tensor([0., 2.])
    """
    require_same_shape(logp=logp, rewards=rewards)
    _require_threshold(threshold)
    return torch.where(rewards.detach() > threshold, -logp, 0.0)  # 0 even for an answer of probability 0


def advantage_weighted_loss(
    logp: Float[Tensor, " B"],
    advantages: Float[Tensor, " B"],
    *,
    kl_weight: float,
    largest: float = math.inf,
) -> Float[Tensor, " B"]:
    """Advantage-weighted regression: the surprise at every answer, at exponentially different weights.

    ``−min(exp(A/β), c) log π(y | x)``.

    Args:
        logp: ``(B,)``, log-probability of each answer, nats per sequence.
        advantages: ``(B,)``, treated as constants.
        kl_weight: β, above 0, units of the reward per nat.
        largest: c, the cap of a weight.

    Returns:
        ``(B,)``, nats per sequence times the weight, not reduced. Gradients flow to ``logp`` only.

    Raises:
        ValueError: if the shapes differ, or β or c is not above 0.

    Paper: Peng et al. 2019, arXiv 1910.00177.

    Example:
        >>> advantage_weighted_loss(torch.tensor([-3.0]), torch.tensor([2.0]).log(), kl_weight=1.0)
        tensor([6.])
    """
    require_same_shape(logp=logp, advantages=advantages)
    return -advantage_weights(advantages, kl_weight=kl_weight, largest=largest) * logp


def _require_threshold(threshold: float) -> None:
    if math.isnan(threshold):
        raise ValueError("threshold must be a number in units of the reward; received nan.")
