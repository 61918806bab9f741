"""The losses of reward models that learn from pairs or from ratings; ``ranking`` has those of K answers."""

import math

import torch
from torch.nn.functional import softplus

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def pairwise_loss(
    chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"], *, margin: Float[Tensor, " B"] | None = None
) -> Float[Tensor, " B"]:
    """The Bradley–Terry loss of a reward model on pairs.

    ``−log σ(r_chosen − r_rejected − m)``: the negative log-likelihood of the choice, if the better one wins
    with probability ``σ`` of the difference in score. Only differences matter; a constant added to all scores
    does not.

    Args:
        chosen: ``(B,)``, scores of the preferred responses.
        rejected: ``(B,)``, scores of the others, of the same prompts.
        margin: ``(B,)``, by how much the scores should differ, 0 where the two were nearly as good; None is
            0.

    Returns:
        ``(B,)``, nats per pair, above 0, ``log 2`` where both scores are equal; not reduced. Gradients flow
        to both scores, equal and opposite.

    Raises:
        ValueError: if the shapes differ.

    Papers: Ouyang et al. 2022, arXiv 2203.02155, eq. 1 (for K = 2); the margin is Touvron et al. 2023, arXiv
    2307.09288, eq. 2.

    Example:
        >>> pairwise_loss(torch.tensor([1.0]), torch.tensor([1.0])).exp()  # an even chance
        tensor([2.])
    """
    require_same_shape(chosen=chosen, rejected=rejected, **({} if margin is None else {"margin": margin}))
    difference = chosen - rejected
    if margin is not None:
        difference = difference - margin
    return softplus(-difference)  # −log σ(x), without the overflow of exp for a badly wrong pair


def focal_pairwise_loss(
    chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"], *, focus: float
) -> Float[Tensor, " B"]:
    """The Bradley–Terry loss with less weight on pairs that are ranked right already.

    ``−(1 − 2 max(0, P − ½))^γ log P`` with ``P = σ(r_chosen − r_rejected)``. A pair ranked wrong or not at
    all, ``P ≤ ½``, costs what it costs in ``pairwise_loss``; one ranked right fades out as P goes to 1. The
    weight is differentiated too, so that the minimum is not at the true log-odds: scores are not calibrated.

    Args:
        chosen: ``(B,)``, scores of the preferred responses.
        rejected: ``(B,)``, scores of the others, of the same prompts.
        focus: γ, at least 0; 0 is ``pairwise_loss``, 2 is the paper's.

    Returns:
        ``(B,)``, nats per pair, at most ``pairwise_loss``; not reduced. Gradients flow to both scores, equal
        and opposite.

    Raises:
        ValueError: if the shapes differ, or γ is below 0.

    Paper: Cai et al. 2024 (InternLM2), arXiv 2403.17297, §4.2.

    Example:
        >>> lead = torch.tensor([0.75]).logit()  # P = ¾: half the weight to the power of 2
        >>> focal_pairwise_loss(lead, torch.zeros(1), focus=2.0) / pairwise_loss(lead, torch.zeros(1))
        tensor([0.2500])
    """
    require_same_shape(chosen=chosen, rejected=rejected)
    if not focus >= 0:
        raise ValueError(f"focus must be 0 or above, as 2 is; received {focus}.")
    difference = chosen - rejected
    # 1 − 2 (σ(x) − ½) = 2 σ(−x) where x > 0, else 1; as a logarithm it is exact where σ(x) rounds to 1.
    log_weight = math.log(2) - softplus(difference.clamp(min=0))
    return torch.exp(focus * log_weight) * softplus(-difference)


def score_penalty(scores: Float[Tensor, " B"], *, limit: float = 5.0) -> Float[Tensor, " B"]:
    """What keeps scores within bounds: a barrier that rises towards ±limit.

    ``−(log(r + L) + log(L − r))``. It is least at 0, and so also fixes the shift that a loss of differences
    leaves open. Departure from the paper, which is silent on scores outside ±L, where the logarithm has no
    value: beyond 99% of L the barrier goes on as its tangent, so that a score outside is pushed back with a
    finite force instead of ending the training.

    Args:
        scores: ``(B,)``, raw scores.
        limit: L, above 0, in units of the scores.

    Returns:
        ``(B,)``, nats, ``−2 log L`` (a negative number for L above 1) at 0; not reduced. Gradients flow to
        ``scores``.

    Raises:
        ValueError: if the limit is not above 0.

    Paper: Cai et al. 2024 (InternLM2), arXiv 2403.17297, §4.2, with L = 5 and the weight 0.02 in the sum.

    Example:
        >>> score_penalty(torch.tensor([0.0, 1.0, -1.0]), limit=3.0)  # −log(3 · 3) and −log(4 · 2)
        tensor([-2.1972, -2.0794, -2.0794])
    """
    if not limit > 0:
        raise ValueError(f"limit must be above 0, in units of the scores; received {limit}.")
    edge = 0.99 * limit
    inside = scores.clamp(-edge, edge)
    slope = 1 / (limit - edge) - 1 / (limit + edge)
    barrier = -(torch.log(limit + inside) + torch.log(limit - inside))
    return barrier + slope * (scores - inside).abs()


def rating_loss(scores: Float[Tensor, " B"], ratings: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Half the squared error of a score that predicts a rating, ``½ (r − y)²``.

    A regression on scalar ratings: nothing is compared, and the zero and the unit of the scores are the
    raters'. Least on average where the score is the mean rating, whatever habits the raters have.

    Args:
        scores: ``(B,)``, from the reward model.
        ratings: ``(B,)``, what the answers were rated, treated as constants.

    Returns:
        ``(B,)``, squared rating points, not reduced. Gradients flow to ``scores`` only.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> rating_loss(torch.tensor([4.0]), torch.tensor([6.0]))
        tensor([2.])
    """
    require_same_shape(scores=scores, ratings=ratings)
    return 0.5 * (scores - ratings.detach()).square()
