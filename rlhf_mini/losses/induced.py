"""The loss of advantage-induced policy alignment (APA): a regression of log-probabilities on advantages."""

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def apa_loss(
    logp: Float[Tensor, "B T"],
    logp_init: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    *,
    kl_weight: float,
) -> Float[Tensor, "B T"]:
    """The squared distance of a log-probability from the one that its advantage induces.

    ``(log π − log π_init − A/λ)²``. It is 0 where ``π = π_init exp(A/λ)``: the optimum under a KL penalty of
    weight λ, but for its normalisation, which the loss takes to be 1. The distance is of each token that was
    drawn; there is no ratio to the policy that drew it, and nothing is clipped.

    Its gradient is ``2/λ`` times that of ``−A log π + λ · ½ (log π − log π_init)²``: on tokens that the
    policy has just drawn, the policy gradient with ``kl_k2`` to the initial policy as its penalty.

    Args:
        logp: ``(B, T)``, nats per token, under the policy in training.
        logp_init: ``(B, T)``, under the policy that training started from.
        advantages: ``(B, T)``, whitened or not.
        kl_weight: λ, above 0: advantage per nat.

    Returns:
        ``(B, T)``, at least 0, in square nats, not reduced. Gradients flow to ``logp`` only.

    Raises:
        ValueError: if the shapes differ, or λ is not above 0.

    Paper: Zhu et al. 2023, arXiv 2306.02231 (the expectation is over tokens of the policy that samples).

    Example:
        >>> import torch
        >>> logp, logp_init = torch.tensor([[-1.0, -1.0]]), torch.tensor([[-2.0, -1.0]])
        >>> apa_loss(logp, logp_init, torch.tensor([[0.5, -1.0]]), kl_weight=0.5)  # (1 − 1)², (0 + 2)²
        tensor([[0., 4.]])
    """
    require_same_shape(logp=logp, logp_init=logp_init, advantages=advantages)
    if not kl_weight > 0:
        raise ValueError(
            f"kl_weight must be above 0, in units of the advantage per nat; received {kl_weight}."
        )
    return (logp - logp_init.detach() - advantages.detach() / kl_weight).square()
