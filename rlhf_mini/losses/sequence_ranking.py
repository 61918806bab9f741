"""Losses that put a policy's own log-probabilities into the order of a reward: RRHF's and SLiC's.

Nothing is compared with a reference, and nothing is sampled: the answers may come from anywhere. Both losses
are hinges, which stop pushing once the order is right (RRHF) or right by a margin (SLiC); without a second
term that holds on to good answers, all log-probabilities may fall together.
"""

import torch
from torch.nn.functional import relu

from rlhf_mini.losses.direct import calibration_loss
from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def rrhf_ranking_loss(logp_mean: Float[Tensor, "B K"], rewards: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """By how much the answers to a prompt stand in the wrong order: a sum over pairs.

    ``Σ_{r_i < r_j} max(0, p_i − p_j)``, where ``p_i`` is the mean log-probability of answer i's tokens.
    Answers with equal rewards are not compared. It is 0 as soon as the order is right, by however little:
    there is no margin, and how far apart the rewards lie does not matter.

    Args:
        logp_mean: ``(B, K)``, log-probability of each of K answers divided by its number of tokens, nats per
            token; K at least 2.
        rewards: ``(B, K)``, treated as constants.

    Returns:
        ``(B,)``, nats, at least 0; a sum over up to K(K − 1)/2 pairs, not reduced further. Gradients flow to
        ``logp_mean`` only, and sum to 0 in each row.

    Raises:
        ValueError: if the shapes differ, or there are fewer than two answers.

    Paper: Yuan et al. 2023, arXiv 2304.05302, §3.

    Example:
        >>> rrhf_ranking_loss(torch.tensor([[-1.0, -3.0, -2.0]]), torch.tensor([[0.0, 1.0, 5.0]]))
        tensor([3.])
    """
    _require_answers(logp_mean=logp_mean, rewards=rewards)
    worse = rewards[:, :, None] < rewards[:, None, :]  # (B, i, j): r_i < r_j
    lead = logp_mean[:, :, None] - logp_mean[:, None, :]
    return torch.where(worse, relu(lead), 0.0).sum((1, 2))


def best_answer_loss(logp: Float[Tensor, "B K"], rewards: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """The surprise at the best of K answers: supervised fine-tuning on it alone.

    ``−log P(y_{i*} | x)`` with ``i* = argmax_i r_i``, the first of those that tie.

    Args:
        logp: ``(B, K)``, log-probability of each answer: its sum over tokens in the paper. The authors'
            program takes a mean, which makes the ranking term weigh more by the length of an answer.
        rewards: ``(B, K)``, treated as constants.

    Returns:
        ``(B,)``, nats per sequence if ``logp`` is, not reduced. Gradients flow to the best answer of a row.

    Raises:
        ValueError: if the shapes differ, or there are fewer than two answers.

    Paper: Yuan et al. 2023, arXiv 2304.05302, §3.

    Example:
        >>> best_answer_loss(torch.tensor([[-1.0, -3.0, -2.0]]), torch.tensor([[0.0, 1.0, 5.0]]))
        tensor([2.])
    """
    _require_answers(logp=logp, rewards=rewards)
    is_best = rewards == rewards.amax(1, keepdim=True)
    first = is_best.int().argmax(1, keepdim=True)  # a NaN anywhere makes it 0, and the row still has a value
    return -logp.gather(1, first).squeeze(1)


def slic_loss(
    logp_chosen: Float[Tensor, " B"],
    logp_rejected: Float[Tensor, " B"],
    logp_target: Float[Tensor, " B"],
    *,
    margin: float,
    target_weight: float,
) -> Float[Tensor, " B"]:
    """Sequence likelihood calibration: a hinge on a pair, and likelihood of a target that must not be lost.

    ``max(0, δ − log π(y_w) + log π(y_l)) − λ log π(y_target)``. A pair that leads by δ or more is left alone.

    Args:
        logp_chosen: ``(B,)``, log-probability of the preferred answer, nats per sequence.
        logp_rejected: ``(B,)``, of the other one.
        logp_target: ``(B,)``, of the answer that fine-tuning had as its target, or of the best one found.
        margin: δ, at least 0, nats per sequence.
        target_weight: λ, at least 0.

    Returns:
        ``(B,)``, nats per sequence, not reduced. Gradients flow to all three.

    Raises:
        ValueError: if the shapes differ, or δ or λ is below 0 or not finite.

    Paper: Zhao et al. 2023, arXiv 2305.10425, §2.

    Example:
        >>> chosen, rejected, target = torch.tensor([[-4.0], [-5.0], [-6.0]])
        >>> slic_loss(chosen, rejected, target, margin=3.0, target_weight=0.5)  # (3 − 1) + 6/2
        tensor([5.])
    """
    require_same_shape(logp_chosen=logp_chosen, logp_rejected=logp_rejected, logp_target=logp_target)
    for name, number in (("margin", margin), ("target_weight", target_weight)):
        if not 0 <= number < float("inf"):
            raise ValueError(f"{name} must be a finite number, 0 or above; received {number}.")
    hinge = calibration_loss(logp_chosen, logp_rejected, margin=margin)
    return hinge if target_weight == 0 else hinge - target_weight * logp_target


def _require_answers(**tensors: Tensor) -> None:
    require_same_shape(**tensors)
    name, first = next(iter(tensors.items()))
    if first.ndim != 2 or first.shape[1] < 2:
        raise ValueError(
            f"{name} must be (B, K) with K at least 2, all answers to a prompt in one row; "
            f"received {tuple(first.shape)}."
        )
