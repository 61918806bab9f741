"""The losses of reward models."""

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
        >>> import torch
        >>> pairwise_loss(torch.tensor([1.0]), torch.tensor([1.0])).exp()  # an even chance
        tensor([2.])
    """
    require_same_shape(chosen=chosen, rejected=rejected, **({} if margin is None else {"margin": margin}))
    difference = chosen - rejected
    if margin is not None:
        difference = difference - margin
    return softplus(-difference)  # −log σ(x), without the overflow of exp for a badly wrong pair
