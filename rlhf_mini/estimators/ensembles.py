"""One score from the scores of several reward models: their mean, their worst, their mean less their doubt.

Paper: Coste et al. 2023, arXiv 2310.02743. Scores of different models have different zeros and units; bring
each to mean 0 and deviation 1 on the same reference sequences first.
"""

from rlhf_mini.shapes import Float, Tensor


def mean_score(scores: Float[Tensor, "M B"]) -> Float[Tensor, " B"]:
    """The members' mean: what most of them agree on.

    ``r̄ = 1/M Σ_m r_m``.

    Args:
        scores: ``(M, B)``, one row a member, at least one.

    Returns:
        ``(B,)``, in the members' unit.

    Raises:
        ValueError: if there is no member.

    Example:
        >>> import torch
        >>> mean_score(torch.tensor([[1.0], [3.0]]))
        tensor([2.])
    """
    _require_members(scores)
    return scores.mean(0)


def worst_score(scores: Float[Tensor, "M B"]) -> Float[Tensor, " B"]:
    """The least of the members' scores: worst-case optimisation, WCO.

    ``min_m r_m``: a text has to please every member.

    Args:
        scores: ``(M, B)``, one row a member, at least one.

    Returns:
        ``(B,)``, in the members' unit.

    Raises:
        ValueError: if there is no member.

    Example:
        >>> import torch
        >>> worst_score(torch.tensor([[1.0], [3.0]]))
        tensor([1.])
    """
    _require_members(scores)
    return scores.amin(0)


def uncertainty_weighted_score(scores: Float[Tensor, "M B"], *, weight: float) -> Float[Tensor, " B"]:
    """The members' mean less the price of their disagreement: uncertainty-weighted optimisation, UWO.

    ``r̄ − λ · 1/M Σ_m (r_m − r̄)²``. The variance and not its root: the price grows
    with the square of the unit.

    Args:
        scores: ``(M, B)``, one row a member, at least one.
        weight: λ, at least 0; 0 is the mean. The paper's code takes 0.5 for best-of-n and 0.1 for PPO.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: if there is no member, or λ is below 0.

    Example:
        >>> import torch
        >>> uncertainty_weighted_score(torch.tensor([[1.0], [3.0]]), weight=0.5)  # 2 − 0.5 · 1
        tensor([1.5000])
    """
    _require_members(scores)
    if not weight >= 0:
        raise ValueError(f"weight must be 0 or above, as 0.5 is; received {weight}.")
    return scores.mean(0) - weight * scores.var(0, unbiased=False)


def disagreement(scores: Float[Tensor, "M B"]) -> Float[Tensor, " B"]:
    """How far apart the members' scores of a text are: their standard deviation.

    ``√( 1/M Σ_m (r_m − r̄)² )``.

    Args:
        scores: ``(M, B)``, one row a member, at least one.

    Returns:
        ``(B,)``, in the members' unit, 0 for a single member.

    Raises:
        ValueError: if there is no member.

    Example:
        >>> import torch
        >>> disagreement(torch.tensor([[1.0], [3.0]]))
        tensor([1.])
    """
    _require_members(scores)
    return scores.std(0, unbiased=False)


def _require_members(scores: Tensor) -> None:
    if scores.ndim != 2 or not len(scores):
        raise ValueError(
            f"scores must be (M, B), one row for each of M members; received {tuple(scores.shape)}."
        )
