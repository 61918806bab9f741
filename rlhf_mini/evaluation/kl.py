"""How far a policy has moved from its reference: sequence KL from samples.

Simplification compared with the literature: the samples must come from the policy itself at temperature 1
with no truncation. Greedy, cooled or top-p samples estimate some other number.
"""

import math
from dataclasses import dataclass

import torch

from rlhf_mini.estimators.kl import kl_k1, kl_k3
from rlhf_mini.shapes import Bool, Float
from rlhf_mini.tensors import masked_sum


@dataclass(frozen=True, kw_only=True)
class SampledKL:
    """KL[π‖π_ref] per sequence, in nats, estimated twice from the same samples.

    Args:
        k1, k3: (B,), one unbiased estimate a sampled sequence; k1 may be negative, k3 never is.
    """

    k1: torch.Tensor
    k3: torch.Tensor

    @property
    def k1_mean(self) -> float:
        """The estimate from k1, in nats per sequence."""
        return float(self.k1.mean())

    @property
    def k3_mean(self) -> float:
        """The estimate from k3, in nats per sequence: usually the steadier of the two."""
        return float(self.k3.mean())

    @property
    def k1_standard_error(self) -> float:
        """Standard error of `k1_mean`: s / √B."""
        return float(self.k1.std()) / math.sqrt(len(self.k1))

    @property
    def k3_standard_error(self) -> float:
        """Standard error of `k3_mean`: s / √B."""
        return float(self.k3.std()) / math.sqrt(len(self.k3))

    def metrics(self) -> dict[str, float]:
        """The four numbers, named for a record."""
        return {
            "kl_k1": self.k1_mean,
            "kl_k1_standard_error": self.k1_standard_error,
            "kl_k3": self.k3_mean,
            "kl_k3_standard_error": self.k3_standard_error,
        }


def sampled_kl(
    logp: Float[torch.Tensor, "B T"], logp_ref: Float[torch.Tensor, "B T"], mask: Bool[torch.Tensor, "B T"]
) -> SampledKL:
    """Estimates KL[π‖π_ref] of whole sequences from sequences that π drew.

    k1 = Σ_t log π − log π_ref and k3 = Σ_t (ρ_t − 1 − log ρ_t) with ρ_t = π_ref / π of token t. Both are
    unbiased: by the chain rule the sequence KL is the expected sum of the KLs at the states visited. k3 is
    taken token by token, since the ratio of whole sequences has a variance that grows exponentially with
    their length.

    Paper: Schulman 2020, "Approximating KL divergence".

    Args:
        logp, logp_ref, mask: (B, T), aligned with the tokens; mask is true on the response. B ≥ 2.

    Returns:
        A SampledKL, detached, in float64. A sequence with no true position counts 0.

    Raises:
        ValueError: on unequal shapes, fewer than two sequences, or NaN or infinity under a true mask.

    Example:
        >>> logp = torch.log(torch.tensor([[0.5], [0.5]]))
        >>> logp_ref = torch.log(torch.tensor([[0.25], [0.25]]))
        >>> round(sampled_kl(logp, logp_ref, torch.ones(2, 1, dtype=torch.bool)).k1_mean, 4)  # log 2
        0.6931
    """
    if not logp.shape == logp_ref.shape == mask.shape:
        raise ValueError(
            f"logp, logp_ref and mask must share a shape, got {tuple(logp.shape)}, {tuple(logp_ref.shape)} "
            f"and {tuple(mask.shape)}"
        )
    if len(logp) < 2:
        raise ValueError(f"a standard error needs at least two sequences, got {len(logp)}")
    logp, logp_ref = logp.detach().double(), logp_ref.detach().double()
    bad = mask & ~(torch.isfinite(logp) & torch.isfinite(logp_ref))
    if bad.any():
        row, position = bad.nonzero()[0].tolist()
        raise ValueError(
            f"log-probs under a true mask must be finite; row {row}, position {position} holds "
            f"{float(logp[row, position])} and {float(logp_ref[row, position])}. A reference that "
            "gives a sampled token probability 0 has infinite KL: score both models with the same "
            "truncation, or none."
        )
    return SampledKL(
        k1=masked_sum(kl_k1(logp, logp_ref), mask, dim=1), k3=masked_sum(kl_k3(logp, logp_ref), mask, dim=1)
    )
