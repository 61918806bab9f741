"""Where learning from one's own filtered or weighted samples leads, exactly: ReST and its relatives.

Fine-tuned until nothing changes on endlessly many samples from π, each with a weight w(y), a policy maximises
``Σ_y π(y) w(y) log π'(y)``, and so becomes ``π(y) w(y) / Z`` with ``Z = Σ_y π(y) w(y)``. Weights of 0 and 1
filter; exponential ones give the optimum under a KL penalty. What a real run adds to this is samples that are
few, and steps that are not enough.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from rlhf_mini.exact.distributions import require_distribution
from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


class Reweighted(NamedTuple):
    """A distribution that weights have made of another.

    Attributes:
        logp: ``(B,)``, log-probability of every text.
        log_partition: ``log Z``, the logarithm of the mean weight; for a filter, of the share that is kept.
    """

    logp: Tensor
    log_partition: Tensor


def weighted_optimum(logp: Float[Tensor, " B"], log_weights: Float[Tensor, " B"]) -> Reweighted:
    """What likelihood with weights leads to: ``π(y) w(y) / Z``.

    Args:
        logp: ``(B,)``, log-probability of every text under the policy that draws.
        log_weights: ``(B,)``, log w of every text; −∞ leaves it out.

    Returns:
        The distribution. Gradients flow to both inputs.

    Raises:
        ValueError: if the shapes differ, the probabilities do not add up to 1, or no text that can be drawn
            has a weight above 0.

    Example:
        >>> coin = torch.tensor([0.5, 0.5]).log()
        >>> weighted_optimum(coin, torch.tensor([3.0, 1.0]).log()).logp.exp()
        tensor([0.7500, 0.2500])
    """
    require_same_shape(logp=logp, log_weights=log_weights)
    require_distribution(logp=logp)
    weighted = logp + log_weights
    log_partition = weighted.logsumexp(0)
    if log_partition == -math.inf:
        raise ValueError("No text that can be drawn has a weight above 0: nothing is left to learn from.")
    return Reweighted(weighted - log_partition, log_partition)


def filtered_optimum(
    logp: Float[Tensor, " B"], rewards: Float[Tensor, " B"], *, threshold: float
) -> Reweighted:
    """What filtered behaviour cloning leads to: ``π(y) 1[r(y) > τ] / P(r > τ)``.

    Its divergence from π is ``KL(π_τ ‖ π) = −log P(r > τ)``, minus ``log_partition``: whatever else the
    rewards are, the price depends on the kept share alone. Among all policies that never fall to the
    threshold or below it is the nearest to π.

    Args:
        logp: ``(B,)``, log-probability of every text under the policy that draws.
        rewards: ``(B,)``.
        threshold: τ, in units of the reward.

    Returns:
        The distribution; −∞ where a text is left out.

    Raises:
        ValueError: if the shapes differ, the probabilities do not add up to 1, or nothing is kept.

    Paper: Gulcehre et al. 2023, arXiv 2308.08998, §3.

    Example:
        >>> four = torch.full((4,), 0.25).log()
        >>> filtered = filtered_optimum(four, torch.tensor([0.1, 0.2, 0.3, 0.4]), threshold=0.2)
        >>> filtered.logp.exp(), filtered.log_partition.exp()
        (tensor([0.0000, 0.0000, 0.5000, 0.5000]), tensor(0.5000))
    """
    require_same_shape(logp=logp, rewards=rewards)
    kept = rewards > threshold
    if not kept.any():
        raise ValueError(
            f"No reward lies above the threshold {threshold}: the highest is {float(rewards.max())}."
        )
    return weighted_optimum(logp, torch.where(kept, 0.0, -torch.inf).to(logp))


def advantage_weighted_optimum(
    logp: Float[Tensor, " B"],
    rewards: Float[Tensor, " B"],
    *,
    kl_weight: float,
    largest: float = math.inf,
) -> Reweighted:
    """What advantage-weighted regression leads to: ``π(y) min(exp(A(y)/β), c) / Z``,
    ``A = r − Σ_y π(y) r(y)``.

    Without the cap it is ``kl_optimum``: learning from samples with weights, and maximising the reward less
    the price of KL, have the same end. The cap stops it from preferring the best of the good.

    Args:
        logp: ``(B,)``, log-probability of every text under the policy that draws.
        rewards: ``(B,)``; the baseline, their mean under π, is taken off here.
        kl_weight: β, above 0, units of the reward per nat.
        largest: c, above 0, the cap of a weight.

    Returns:
        The distribution. Gradients flow to both inputs.

    Raises:
        ValueError: if the shapes differ, the probabilities do not add up to 1, or β or c is not above 0.

    Paper: Peng et al. 2019, arXiv 1910.00177.

    Example:
        >>> coin, rewards = torch.tensor([0.5, 0.5]).log(), torch.tensor([3.0, 1.0]).log()
        >>> advantage_weighted_optimum(coin, rewards, kl_weight=1.0).logp.exp()  # in proportion 3 to 1
        tensor([0.7500, 0.2500])
    """
    require_same_shape(logp=logp, rewards=rewards)
    for name, number in (("kl_weight", kl_weight), ("largest", largest)):
        if not number > 0:
            raise ValueError(f"{name} must be above 0; received {number}.")
    advantages = rewards - (logp.exp() * rewards).sum()
    return weighted_optimum(logp, (advantages / kl_weight).clamp(max=math.log(largest)))


def grow_and_improve(
    logp: Float[Tensor, " B"], rewards: Float[Tensor, " B"], *, thresholds: Sequence[Sequence[float]]
) -> list[list[Reweighted]]:
    """ReST without an error of sampling or of training: the policy after every Improve of every Grow.

    A Grow draws from the policy as it is; each of its Improves filters *that* sample at a threshold, and so
    leads to ``filtered_optimum`` of the policy that grew, whatever the Improves before it did. In this limit
    only the last threshold of a Grow matters, and only the highest of all in the end; that real runs gain by
    several Improves, and by a second Grow at the same thresholds, is because the limit is not reached.

    Args:
        logp: ``(B,)``, log-probability of every text under the first policy.
        rewards: ``(B,)``.
        thresholds: one sequence for each Grow, with the threshold of each of its Improves.

    Returns:
        For each Grow, the distribution after each Improve; its ``log_partition`` is the logarithm of the
        share that this Improve kept.

    Raises:
        ValueError: as ``filtered_optimum``; if there is no Grow, or one without an Improve.

    Paper: Gulcehre et al. 2023, arXiv 2308.08998, Algorithm 1, without the original data set in the mix.

    Example:
        >>> four, rewards = torch.full((4,), 0.25).log(), torch.tensor([0.1, 0.2, 0.3, 0.4])
        >>> grown = grow_and_improve(four, rewards, thresholds=[[0.0, 0.1], [0.3]])
        >>> [[round(float(step.log_partition.exp()), 4) for step in steps] for steps in grown]
        [[1.0, 0.75], [0.3333]]
    """
    if not thresholds or not all(len(steps) for steps in thresholds):
        raise ValueError(
            f"thresholds needs a sequence for each Grow, none of them empty; got {thresholds!r}."
        )
    grown: list[list[Reweighted]] = []
    for steps in thresholds:
        grown.append([filtered_optimum(logp, rewards, threshold=threshold) for threshold in steps])
        logp = grown[-1][-1].logp
    return grown
