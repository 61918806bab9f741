"""The reward of each token: what it pays for its distance from the reference, and the score at the end."""

import torch

from rlhf_mini.estimators.kl import kl_k1
from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import last_true_index, require_same_shape, zero_off_mask


def token_rewards(
    scores: Float[Tensor, " B"],
    logp: Float[Tensor, "B T"],
    logp_ref: Float[Tensor, "B T"],
    response: Bool[Tensor, "B T"],
    *,
    kl_weight: float | int,
) -> Float[Tensor, "B T"]:
    """The reward of every token of a response: the KL penalty token by token, and the score on the last.

    ``r_t = −β (log π_old(y_t | s_t) − log π_ref(y_t | s_t)) + 1[t = L] r(x, y)``

    Args:
        scores: ``(B,)``, one for each whole response.
        logp: ``(B, T)``, of the policy that drew the response; nats per token.
        logp_ref: ``(B, T)``, of the frozen reference.
        response: ``(B, T)``, true on the response, at least once in every row.
        kl_weight: β, in units of reward per nat.

    Returns:
        ``(B, T)``, 0 off the response. Linear in scores and log-probabilities; no gradient is stopped here.

    Raises:
        ValueError: on shapes that differ, or a row without a response.

    Paper: Ziegler et al. 2019, arXiv 1909.08593, eq. 2; the penalty spread over tokens as in their code.

    Example:
        >>> answer = torch.ones(1, 2, dtype=torch.bool)
        >>> logp, logp_ref = torch.tensor([[-1.0, -0.5]]), torch.tensor([[-2.0, -0.5]])
        >>> token_rewards(torch.tensor([3.0]), logp, logp_ref, answer, kl_weight=0.5)
        tensor([[-0.5000,  3.0000]])
    """
    require_same_shape(logp=logp, logp_ref=logp_ref, response=response)
    penalty = kl_weight * kl_k1(zero_off_mask(logp, response), zero_off_mask(logp_ref, response))
    rows = torch.arange(len(scores), device=scores.device)
    return (-penalty).index_put((rows, last_true_index(response)), scores, accumulate=True)
