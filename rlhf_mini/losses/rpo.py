"""Reward-aware preference optimisation: how much better the preferred answer is, and not only that it is.

DPO reads one bit from a pair. These losses have a score for each answer, from a reward model or a judge, and
fit the policy's implied lead ``a = β h`` (``direct.implied_lead``) to the lead that was scored,
``b = η (r_w − r_l)``. All three are 0 where ``a = b``, and only there; they differ in what a miss costs.
Because the scores say it all, the answers may come in either order.
"""

import torch
from torch.nn.functional import softplus

from rlhf_mini.losses.direct import implied_lead
from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def rpo_backward_kl_loss(
    chosen: Float[Tensor, " B"],
    rejected: Float[Tensor, " B"],
    reward_chosen: Float[Tensor, " B"],
    reward_rejected: Float[Tensor, " B"],
    *,
    kl_weight: float,
    reward_scale: float,
) -> Float[Tensor, " B"]:
    """DPO with the label replaced by a probability, less the entropy of that label.

    ``KL(σ(b) ‖ σ(a)) = σ(b) log(σ(b)/σ(a)) + (1 − σ(b)) log((1 − σ(b))/(1 − σ(a)))`` between two coins, with
    ``a = β h`` and ``b = η (r_w − r_l)``: the sum is over the scored coin, and the policy is fitted to it as
    a student to a teacher. Its gradient in ``a`` is ``σ(a) − σ(b)``. For ``b → ∞`` it is ``dpo_loss``.

    Args:
        chosen: ``(B,)``, log-ratios ``log π/π_ref`` of the first answers, as a rule the preferred ones, nats
            per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        reward_chosen: ``(B,)``, scores of the first answers, treated as constants.
        reward_rejected: ``(B,)``, scores of the others, treated as constants.
        kl_weight: β, above 0.
        reward_scale: η, above 0, what one unit of score is worth in log-odds.

    Returns:
        ``(B,)``, nats per pair, at least 0, and 0 where ``a = b``; not reduced. Gradients flow to both
        log-ratios, equal and opposite, and not to the scores.

    Raises:
        ValueError: if the shapes differ, or β or η is not above 0.

    Papers: Adler et al. 2024 (Nemotron-4), arXiv 2406.11704; Sun et al. 2025, arXiv 2502.00203.

    Example:
        >>> level, better, worse = torch.zeros(1), torch.tensor([100.0]), torch.tensor([0.0])
        >>> rpo_backward_kl_loss(level, level, better, worse, kl_weight=1.0, reward_scale=1.0).exp()
        tensor([2.])
    """
    implied, scored = _leads(
        chosen, rejected, reward_chosen, reward_rejected, kl_weight=kl_weight, reward_scale=reward_scale
    )
    return _coin_kl(scored, implied)


def rpo_forward_kl_loss(
    chosen: Float[Tensor, " B"],
    rejected: Float[Tensor, " B"],
    reward_chosen: Float[Tensor, " B"],
    reward_rejected: Float[Tensor, " B"],
    *,
    kl_weight: float,
    reward_scale: float,
) -> Float[Tensor, " B"]:
    """The same divergence the other way round: the sum is over the policy's coin.

    ``KL(σ(a) ‖ σ(b)) = σ(a) log(σ(a)/σ(b)) + (1 − σ(a)) log((1 − σ(a))/(1 − σ(b)))``, with ``a = β h`` and
    ``b = η (r_w − r_l)``. Its gradient in ``a`` is ``σ(a) σ(−a) (a − b)``: a policy that is sure and wrong is
    hardly pulled back, one that is near even is pulled by the whole difference.

    Args:
        chosen: ``(B,)``, log-ratios ``log π/π_ref`` of the first answers, as a rule the preferred ones, nats
            per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        reward_chosen: ``(B,)``, scores of the first answers, treated as constants.
        reward_rejected: ``(B,)``, scores of the others, treated as constants.
        kl_weight: β, above 0.
        reward_scale: η, above 0, what one unit of score is worth in log-odds.

    Returns:
        ``(B,)``, nats per pair, at least 0, and 0 where ``a = b``; not reduced. Gradients flow to both
        log-ratios, equal and opposite, and not to the scores.

    Raises:
        ValueError: if the shapes differ, or β or η is not above 0.

    Paper: Sun et al. 2025, arXiv 2502.00203.

    Departures: none in the formula. Which of the two is called forward follows the code released with the
    paper.

    Example:
        >>> sure, level = torch.tensor([100.0]), torch.zeros(1)
        >>> rpo_forward_kl_loss(sure, level, level, level, kl_weight=1.0, reward_scale=1.0).exp()
        tensor([2.])
    """
    implied, scored = _leads(
        chosen, rejected, reward_chosen, reward_rejected, kl_weight=kl_weight, reward_scale=reward_scale
    )
    return _coin_kl(implied, scored)


def rpo_squared_loss(
    chosen: Float[Tensor, " B"],
    rejected: Float[Tensor, " B"],
    reward_chosen: Float[Tensor, " B"],
    reward_rejected: Float[Tensor, " B"],
    *,
    kl_weight: float,
    reward_scale: float,
) -> Float[Tensor, " B"]:
    """A regression of the policy's lead on the scored one.

    ``(a − b)²``, with ``a = β h`` and ``b = η (r_w − r_l)``. A miss costs the same wherever it is; the two
    divergences hardly care about one between two leads that are both safe. ``ipo_loss`` is this with every
    lead scored ½, divided by β².

    Args:
        chosen: ``(B,)``, log-ratios ``log π/π_ref`` of the first answers, as a rule the preferred ones, nats
            per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        reward_chosen: ``(B,)``, scores of the first answers, treated as constants.
        reward_rejected: ``(B,)``, scores of the others, treated as constants.
        kl_weight: β, above 0, reward (times η) per nat.
        reward_scale: η, above 0.

    Returns:
        ``(B,)``, squared units of ``b``, at least 0, and 0 where ``a = b``; not reduced. Gradients flow to
        both log-ratios, equal and opposite, and not to the scores.

    Raises:
        ValueError: if the shapes differ, or β or η is not above 0.

    Paper: Sun et al. 2025, arXiv 2502.00203.

    Example:
        >>> ratios, scores = (torch.tensor([2.0]), torch.zeros(1)), (torch.tensor([4.0]), torch.tensor([1.0]))
        >>> rpo_squared_loss(*ratios, *scores, kl_weight=0.5, reward_scale=1.0)  # 1, and should be 3
        tensor([4.])
    """
    implied, scored = _leads(
        chosen, rejected, reward_chosen, reward_rejected, kl_weight=kl_weight, reward_scale=reward_scale
    )
    return (implied - scored).square()


def _leads(
    chosen: Tensor,
    rejected: Tensor,
    reward_chosen: Tensor,
    reward_rejected: Tensor,
    *,
    kl_weight: float,
    reward_scale: float,
) -> tuple[Tensor, Tensor]:
    """What the policy implies and what the scores say, in log-odds."""
    implied = implied_lead(chosen, rejected, kl_weight=kl_weight)  # compares their shapes too
    require_same_shape(chosen=chosen, reward_chosen=reward_chosen, reward_rejected=reward_rejected)
    if not reward_scale > 0:
        raise ValueError(f"reward_scale must be above 0, as 1 is; received {reward_scale}.")
    return implied, reward_scale * (reward_chosen - reward_rejected).detach()


def _coin_kl(summed: Tensor, other: Tensor) -> Tensor:
    """The divergence of two coins from their log-odds, the sum over the first: no σ is divided by another."""
    heads = softplus(-other) - softplus(-summed)  # log σ(summed) − log σ(other)
    tails = softplus(other) - softplus(summed)
    return torch.sigmoid(summed) * heads + torch.sigmoid(-summed) * tails
