"""What RLHF and best-of-n should reach: their distributions, exactly."""

import math
from typing import NamedTuple

import torch

from rlhf_mini.exact.distributions import expectation, kl_divergence, require_distribution
from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


class Optimum(NamedTuple):
    """The best that any policy can do under a KL penalty.

    Attributes:
        logp: ``(B,)``, log-probability of every text under π*.
        log_partition: ``log Z``.
        value: the objective there, ``β log Z``.
    """

    logp: Tensor
    log_partition: Tensor
    value: Tensor


def kl_objective(
    logp: Float[Tensor, " B"],
    logp_ref: Float[Tensor, " B"],
    rewards: Float[Tensor, " B"],
    *,
    kl_weight: float,
) -> Float[Tensor, ""]:
    """What RLHF maximises: ``Σ_y π(y) r(y) − β KL(π ‖ π_ref)``.

    Args:
        logp: ``(B,)``, log-probability of every text under the policy.
        logp_ref: ``(B,)``, under the reference.
        rewards: ``(B,)``.
        kl_weight: β, reward per nat.

    Returns:
        A scalar, in units of the reward. Gradients flow to all three.

    Raises:
        ValueError: if the shapes differ, or probabilities do not add up to 1.

    Example:
        >>> certain, coin = torch.tensor([1.0, 0.0]).log(), torch.tensor([0.5, 0.5]).log()
        >>> kl_objective(certain, coin, torch.tensor([3.0, 0.0]), kl_weight=1.0)  # 3 − log 2
        tensor(2.3069)
    """
    return expectation(logp, rewards) - kl_weight * kl_divergence(logp, logp_ref)


def kl_optimum(logp_ref: Float[Tensor, " B"], rewards: Float[Tensor, " B"], *, kl_weight: float) -> Optimum:
    """The policy that maximises ``kl_objective``, and how well it does.

    ``π*(y) = π_ref(y) exp(r(y)/β) / Z``, ``Z = Σ_y π_ref(y) exp(r(y)/β)``; the objective there is
    ``β log Z``.

    Args:
        logp_ref: ``(B,)``, log-probability of every text under the reference.
        rewards: ``(B,)``.
        kl_weight: β, above 0, reward per nat.

    Returns:
        The optimum. Gradients flow to both inputs.

    Raises:
        ValueError: if the shapes differ, the probabilities do not add up to 1, or β is not above 0.

    Paper: Rafailov et al. 2023, arXiv 2305.18290, eq. 4.

    Example:
        >>> coin, rewards = torch.tensor([0.5, 0.5]).log(), torch.tensor([3.0, 1.0]).log()
        >>> kl_optimum(coin, rewards, kl_weight=1.0).logp.exp()  # in proportion 3 to 1
        tensor([0.7500, 0.2500])
    """
    require_same_shape(logp_ref=logp_ref, rewards=rewards)
    require_distribution(logp_ref=logp_ref)
    if not kl_weight > 0:
        raise ValueError(
            f"kl_weight must be above 0; received {kl_weight}. Without it the optimum is the best text alone."
        )
    tilted = logp_ref + rewards / kl_weight
    log_partition = tilted.logsumexp(0)
    return Optimum(tilted - log_partition, log_partition, kl_weight * log_partition)


def best_of_n(logp: Float[Tensor, " B"], scores: Float[Tensor, " B"], *, n: int) -> Float[Tensor, " B"]:
    """The exact distribution of the best of ``n`` independent samples.

    ``π_n(y) = π(y) Σ_{k<n} F(y)^k G(y)^{n−1−k}``, where ``F`` is the chance that a sample scores at most as
    high as ``y`` and ``G`` that it scores lower. (The sum is ``(F^n − G^n)/(F − G)`` without its loss of
    digits.)

    Ties: among the samples with the highest score the first drawn is kept. Keeping one of them at random
    gives the same distribution. Scores tie if they are equal as numbers.

    Args:
        logp: ``(B,)``, log-probability of every text under the policy that samples.
        scores: ``(B,)``, what is compared.
        n: number of samples, at least 1. Time and memory grow as ``n`` times the number of texts.

    Returns:
        ``(B,)``, log-probabilities. Gradients flow to ``logp``.

    Raises:
        ValueError: if the shapes differ, the probabilities do not add up to 1, or ``n`` is below 1.

    Paper: Beirami et al. 2024, arXiv 2401.01879, with ties.

    Example:
        >>> best_of_n(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.0, 1.0]), n=2).exp()
        tensor([0.2500, 0.7500])
    """
    require_same_shape(logp=logp, scores=scores)
    require_distribution(logp=logp)
    if n < 1:
        raise ValueError(f"n must be at least 1; received {n}.")
    probability = logp.exp()
    at_most = torch.where(scores[None] <= scores[:, None], probability, 0.0).sum(1, keepdim=True)  # F, (B, 1)
    lower = torch.where(scores[None] < scores[:, None], probability, 0.0).sum(1, keepdim=True)  # G, (B, 1)
    power = torch.arange(n)
    return logp + (at_most**power * lower ** (n - 1 - power)).sum(1).log()


def best_of_n_kl_bound(n: int) -> float:
    """The most that ``KL(best of n ‖ π)`` can be: ``log n − (n − 1)/n``, in nats per sequence.

    It is reached where no two samples ever tie, as with continuous scores; on a finite language it is a
    bound.

    Raises:
        ValueError: if ``n`` is below 1.

    Paper: Beirami et al. 2024, arXiv 2401.01879.

    Example:
        >>> best_of_n_kl_bound(1)
        0.0
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; received {n}.")
    return math.log(n) - (n - 1) / n
