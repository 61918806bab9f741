"""The loss of a reward model on soft labels: pairs with a probability of the preference, not a choice."""

from torch.nn.functional import softplus

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def soft_preference_loss(
    first: Float[Tensor, " B"], second: Float[Tensor, " B"], *, preference: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """The Bradley–Terry loss with a probability for a label.

    ``−p log σ(r_1 − r_2) − (1 − p) log σ(r_2 − r_1)``: the cross-entropy between the label's two
    probabilities and the model's. With p = 1 it is ``pairwise_loss`` with the first answer chosen, with p = 0
    with the second. It is least where ``r_1 − r_2 = log p/(1 − p)``, and its value there is the label's own
    entropy, so that a judge in doubt asks for a small difference, and one who is sure for a large one.

    Args:
        first: ``(B,)``, scores of the answers that the label calls the first.
        second: ``(B,)``, scores of the others, of the same prompts.
        preference: ``(B,)``, the probability p that the first is better, in [0, 1]; a constant.

    Returns:
        ``(B,)``, nats per pair, ``log 2`` where both scores are equal, whatever p; not reduced. Gradients
        flow to both scores, equal and opposite: ``σ(r_1 − r_2) − p`` to the first.

    Raises:
        ValueError: if the shapes differ.

    Papers: Bai et al. 2022, arXiv 2212.08073, §4; Lee et al. 2023, arXiv 2309.00267, §2.

    Example:
        >>> import torch
        >>> lead = torch.tensor([0.75]).logit()  # σ(lead) = ¾
        >>> soft_preference_loss(lead, torch.zeros(1), preference=torch.ones(1)).exp()  # 1/¾
        tensor([1.3333])
    """
    require_same_shape(first=first, second=second, preference=preference)
    difference, p = first - second, preference.detach()
    return p * softplus(-difference) + (1 - p) * softplus(difference)
