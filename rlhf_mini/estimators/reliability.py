"""How far annotators can be trusted, judged by a reward model that learned from all of them, without gold."""

import torch

from rlhf_mini.shapes import Float, Int, Tensor


def annotator_scales(
    leads: Float[Tensor, " B"], annotators: Int[Tensor, " B"], *, count: int, limit: float = 4.0
) -> Float[Tensor, " A"]:
    """How closely each annotator's choices follow the reward model's differences.

    The scale ``s_a`` that makes annotator a's choices likeliest under ``P(chosen) = σ(s_a · lead)``, where
    the lead is the score of the chosen answer less that of the rejected one. A scale of 1 is as noisy as the
    model believes people to be, 0 is a coin, below 0 prefers what the others reject: ``1/s_a`` is a
    temperature. The likelihood is concave in ``s_a``; Newton's steps find its maximum.

    Args:
        leads: ``(B,)``, raw score of the chosen answer less the rejected one's, one for each label, in nats.
            Take them from labels that the model did not train on, or it will trust what it has learned.
        annotators: ``(B,)``, who gave the label, in ``0 … count − 1``.
        count: how many annotators there are.
        limit: scales are sought in ±limit; one whose choices all agree with the model would have none.

    Returns:
        ``(count,)``; an annotator without labels, or whose labels all have lead 0, gets 1.

    Raises:
        ValueError: on shapes that differ, on an annotator outside ``0 … count − 1``, on a limit below 1.

    The idea of judging judges by a consensus that is learned with them: Dawid and Skene 1979, *Maximum
    likelihood estimation of observer error-rates using the EM algorithm*, Applied Statistics 28.

    Example:
        >>> leads = torch.tensor([2.0, 2.0, 2.0, -2.0]), torch.tensor([0, 0, 0, 0])
        >>> annotator_scales(*leads, count=1) * 2  # right three times in four: log 3
        tensor([1.0986])
    """
    if leads.ndim != 1 or leads.shape != annotators.shape:
        raise ValueError(
            f"leads and annotators must both be (B,); received {tuple(leads.shape)} and "
            f"{tuple(annotators.shape)}."
        )
    if len(annotators) and (int(annotators.min()) < 0 or int(annotators.max()) >= count):
        raise ValueError(
            f"annotators lie in {int(annotators.min())} … {int(annotators.max())}, expected 0 … {count - 1}."
        )
    if not limit >= 1:
        raise ValueError(f"limit must be at least 1; received {limit}.")
    return torch.stack([_scale(leads[annotators == who], limit) for who in range(count)])


def _scale(leads: Tensor, limit: float) -> Tensor:
    scale = torch.ones((), dtype=torch.float64)
    leads = leads.double()
    if not bool((leads != 0).any()):
        return scale.to(torch.float32)
    for _ in range(50):
        doubt = torch.sigmoid(-scale * leads)  # how surprised each choice leaves the model
        slope = (leads * doubt).sum()
        bend = (leads.square() * doubt * (1 - doubt)).sum()
        step = (slope / bend.clamp(min=1e-12)).clamp(-1, 1)
        scale = (scale + step).clamp(-limit, limit)
    return scale.to(torch.float32)
