"""One reward from two: helpfulness and safety, chosen between (Llama 2) or added up."""

import torch

from rlhf_mini.estimators.whitening import whiten
from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import require_mask, require_same_shape

SURE = 1e-6  # probabilities nearer to 0 or 1 than this count as this: their logits would be infinite


def piecewise_reward(
    helpfulness: Float[Tensor, " B"],
    safety: Float[Tensor, " B"],
    safety_prompt: Bool[Tensor, " B"],
    *,
    threshold: float | int,
) -> Float[Tensor, " B"]:
    """Llama 2's choice between two reward models: safety where it is at stake, helpfulness elsewhere.

    ``R_c = R_s`` if the prompt is about safety or ``R_s < threshold``, and ``R_c = R_h`` otherwise. Where
    safety decides, no amount of helpfulness counts.

    Args:
        helpfulness: ``(B,)``, R_h, the helpfulness model's score through the sigmoid, from 0 to 1.
        safety: ``(B,)``, R_s, the safety model's, likewise; of the same responses.
        safety_prompt: ``(B,)``, true where the prompt could lead to an unsafe answer.
        threshold: below it a response counts as unsafe, whatever the prompt; 0.15 in the paper.

    Returns:
        ``(B,)``, from 0 to 1. Gradients flow to the chosen score only.

    Raises:
        ValueError: if the shapes differ, a score is not from 0 to 1, or ``safety_prompt`` is not boolean.

    Paper: Touvron et al. 2023, arXiv 2307.09288, §3.2.3.

    Example:
        >>> helpfulness, safety = torch.tensor([0.75, 0.75, 0.75]), torch.tensor([0.5, 0.5, 0.125])
        >>> asks_for_harm = torch.tensor([True, False, False])
        >>> piecewise_reward(helpfulness, safety, asks_for_harm, threshold=0.15)
        tensor([0.5000, 0.7500, 0.1250])
    """
    require_same_shape(helpfulness=helpfulness, safety=safety, safety_prompt=safety_prompt)
    require_mask(safety_prompt)
    _require_probabilities(helpfulness=helpfulness, safety=safety)
    return torch.where(safety_prompt | (safety < threshold), safety, helpfulness)


def linear_reward(
    helpfulness: Float[Tensor, " B"], safety: Float[Tensor, " B"], *, safety_weight: float | int
) -> Float[Tensor, " B"]:
    """What Llama 2 is often said to do and does not: a weighted mean of the two scores.

    ``(1 − w) R_h + w R_s``. Enough helpfulness makes up for any lack of safety, and the other way round.

    Args:
        helpfulness: ``(B,)``, R_h.
        safety: ``(B,)``, R_s, of the same responses and on the same scale.
        safety_weight: w, from 0 to 1.

    Returns:
        ``(B,)``, between the two scores. Gradients flow to both.

    Raises:
        ValueError: if the shapes differ or the weight is not from 0 to 1.

    Example:
        >>> linear_reward(torch.tensor([0.75]), torch.tensor([0.25]), safety_weight=0.5)
        tensor([0.5000])
    """
    require_same_shape(helpfulness=helpfulness, safety=safety)
    if not 0 <= safety_weight <= 1:
        raise ValueError(f"safety_weight must be from 0 to 1; received {safety_weight}.")
    return (1 - safety_weight) * helpfulness + safety_weight * safety


def whitened_logit(probabilities: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Combined scores as rewards: the sigmoid undone, then mean 0 and variance 1 over the batch.

    ``whiten(log(R / (1 − R)))``, with ``R`` moved into ``[10⁻⁶, 1 − 10⁻⁶]``. The logit spreads out what the
    sigmoid pressed together near 0 and 1; the whitening sets the scale that the KL weight is measured in.

    Args:
        probabilities: ``(B,)``, R, from 0 to 1.

    Returns:
        ``(B,)``, mean 0, variance 1; all 0 where all are equal. The order of the batch stays, so that the
        best of K is the best before and after. No gradient reaches what was moved.

    Raises:
        ValueError: if a score is not from 0 to 1.

    Paper: Touvron et al. 2023, arXiv 2307.09288, §3.2.3. The batch is our choice; the paper names none.

    Example:
        >>> whitened_logit(torch.tensor([0.25, 0.75]))
        tensor([-1.,  1.])
    """
    _require_probabilities(probabilities=probabilities)
    return whiten(
        torch.logit(probabilities, eps=SURE),
        torch.ones_like(probabilities, dtype=torch.bool),
        shift_mean=True,
    )


def _require_probabilities(**scores: Tensor) -> None:
    for name, values in scores.items():
        wrong = ~((values >= 0) & (values <= 1))  # NaN is neither
        if wrong.any():
            raise ValueError(
                f"{name} must be from 0 to 1; received {values[wrong][0].item()}. Apply torch.sigmoid to "
                "what a reward model gives."
            )
