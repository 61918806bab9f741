"""A loss for answers that were called good or bad one at a time, with nothing to compare them to."""

import torch

from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import require_mask, require_same_shape


def kto_loss(
    log_ratios: Float[Tensor, " B"],
    desirable: Bool[Tensor, " B"],
    baseline: Float[Tensor, ""],
    *,
    kl_weight: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Float[Tensor, " B"]:
    """Kahneman–Tversky optimisation: gains and losses against a point of reference, both of them saturating.

    ``λ_D (1 − σ(β (u − z₀)))`` for a desirable answer and ``λ_U (1 − σ(β (z₀ − u)))`` for the others, with
    ``u = log π/π_ref``. The point of reference ``z₀`` is the policy's KL to the reference as it stands: an
    answer is a gain if the policy has moved to it by more than it has moved at all. Far out on either side
    the loss is flat, also where the policy is quite wrong; a label that contradicts everything learnt is
    thereby left alone.

    Args:
        log_ratios: ``(B,)``, ``log π/π_ref`` of the answers, nats per sequence.
        desirable: ``(B,)``, true where the answer was called good.
        baseline: z₀, a scalar, at least 0, nats per sequence: an estimate of ``KL(π ‖ π_ref)``, treated as a
            constant. An estimate from samples can fall below 0; clamp it.
        kl_weight: β, above 0; the smaller, the wider the stretch that is not flat.
        desirable_weight: λ_D, at least 0.
        undesirable_weight: λ_U, at least 0. The paper balances the two against the numbers of answers, with
            ``λ_D n_D / (λ_U n_U)`` between 1 and 3/2.

    Returns:
        ``(B,)``, between 0 and the answer's weight, half of it where ``u = z₀``; not reduced. It has no unit:
        it is an expected utility, not a log-likelihood. Gradients flow to ``log_ratios`` only, at most β/4
        times the weight.

    Raises:
        ValueError: if the shapes differ, ``desirable`` is not boolean, the baseline is no scalar or below 0,
            β is not above 0, or a weight is below 0.

    Paper: Ethayarajh et al. 2024, arXiv 2402.01306, §4.1.

    Departures: the paper's loss is ``λ_y − v``; with ``v = λ_y σ(…)`` that is what stands here. How ``z₀`` is
    estimated (in the paper from answers paired with the wrong prompts of a batch) is the caller's affair.

    Example:
        >>> good_and_bad = torch.tensor([True, False])
        >>> kto_loss(torch.ones(2), good_and_bad, torch.tensor(1.0), kl_weight=0.1, undesirable_weight=2.0)
        tensor([0.5000, 1.0000])
    """
    require_same_shape(log_ratios=log_ratios, desirable=desirable)
    require_mask(desirable)
    if baseline.ndim or not bool(baseline >= 0):
        raise ValueError(
            f"baseline must be one number of at least 0, a divergence in nats; received {baseline.tolist()}. "
            "Clamp an estimate from samples at 0."
        )
    if not kl_weight > 0:
        raise ValueError(f"kl_weight must be above 0, as 0.1 is; received {kl_weight}.")
    if not (desirable_weight >= 0 and undesirable_weight >= 0):
        raise ValueError(
            "desirable_weight and undesirable_weight must be 0 or above; received "
            f"{desirable_weight} and {undesirable_weight}."
        )
    gain = kl_weight * (log_ratios - baseline.detach())
    # 1 − σ(x) = σ(−x), which keeps its digits where σ(x) rounds to 1.
    return torch.where(
        desirable, desirable_weight * torch.sigmoid(-gain), undesirable_weight * torch.sigmoid(gain)
    )
