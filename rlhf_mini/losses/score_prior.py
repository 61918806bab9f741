"""What keeps a reward model's scores near zero: a Gaussian prior, as a loss."""

from rlhf_mini.shapes import Float, Tensor


def squared_score_penalty(scores: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The square of each score: ``r²``.

    Weighted by ``w`` it is, up to a constant, minus the log-density of a Gaussian prior with mean 0 and
    variance ``1/(2w)``. A loss of differences leaves the shift of the scores open, and this fixes it: of
    all shifts of the same scores the one with mean 0 costs least. It pulls far scores in the more, where
    `reward.score_penalty` puts up a wall.

    Args:
        scores: ``(B,)``, raw scores.

    Returns:
        ``(B,)``, squared units of the score, at least 0; not reduced. Gradients flow to ``scores``.

    Paper: Hou et al. 2024 (ChatGLM-RLHF), arXiv 2404.00934, describes an L2 penalty on the scores of both
    answers; its weight was not found.

    Example:
        >>> import torch
        >>> squared_score_penalty(torch.tensor([0.0, 1.0, -3.0]))
        tensor([0., 1., 9.])
    """
    return scores.square()
