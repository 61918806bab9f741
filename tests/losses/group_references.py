"""The losses of the methods without a critic on single numbers, with ``math`` only, as in the papers."""

import math

import torch


def two_bounds(logp: float, logp_old: float, advantage: float, clip_low: float, clip_high: float) -> float:
    ratio = math.exp(logp) / math.exp(logp_old)
    if advantage >= 0:
        return -min(ratio, 1 + clip_high) * advantage
    return -max(ratio, 1 - clip_low) * advantage


def cispo(logp: float, logp_old: float, advantage: float, clip_high: float) -> float:
    return -min(math.exp(logp) / math.exp(logp_old), 1 + clip_high) * advantage * logp


def cispo_with_its_weight_fixed(
    at: dict[str, torch.Tensor], logp: torch.Tensor, clip_high: float = 0.5
) -> torch.Tensor:
    """The loss as a function of ``logp`` alone, the stopped weight being that of ``at``."""
    weights = [
        -min(math.exp(now) / math.exp(before), 1 + clip_high) * advantage
        for now, before, advantage in zip(
            *(at[name].flatten().tolist() for name in ("logp", "logp_old", "advantages")), strict=True
        )
    ]
    return torch.tensor(weights, dtype=logp.dtype).view(logp.shape) * logp


def reweighted_kl(logp: float, logp_old: float, logp_ref: float) -> float:
    p, q = math.exp(logp), math.exp(logp_ref)
    return p / math.exp(logp_old) * (q / p - 1 - math.log(q / p))
