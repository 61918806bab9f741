"""How much a second reward must weigh so that it decides where the first one prefers the wrong answer."""

import math

import torch

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def smallest_weight(
    wished: Float[Tensor, " N"], other: Float[Tensor, " N"], lead: Float[Tensor, " N"], *, share: float = 1.0
) -> float:
    """The smallest weight of a second reward at which the wished answers score as high as the others.

    The smallest ``λ ≥ 0`` with ``wished + λ · lead ≥ other`` on at least ``share`` of the pairs. A pair needs
    ``λ = (other − wished) / lead``; the result is the ``⌈share · N⌉``-th smallest of these, and 0 if that is
    negative. At it that pair is level.

    Args:
        wished: ``(N,)``, the first reward of the answer that ought to win.
        other: ``(N,)``, the first reward of the answer that ought not to, to the same prompt.
        lead: ``(N,)``, above 0, by how much the second reward prefers the wished answer.
        share: above 0 and at most 1; below 1, that many of the most stubborn pairs are given up.

    Returns:
        The weight, in units of the first reward per unit of the second. No gradient.

    Raises:
        ValueError: if the shapes differ, there is no pair, a lead is not above 0, or the share is not.

    Paper: OpenAI 2023, arXiv 2303.08774, System Card §3.1, has the purpose ("the optimal RBRM weights to
    overcome undesired preferences of the RM") and no formula; this one is ours.

    Example:
        >>> wished, other = torch.tensor([0.0, 1.0]), torch.tensor([3.0, 0.0])
        >>> smallest_weight(wished, other, torch.tensor([2.0, 2.0]))  # 0 + 1.5 · 2 = 3
        1.5
    """
    require_same_shape(wished=wished, other=other, lead=lead)
    if not len(lead) or not torch.all(lead > 0) or not 0 < share <= 1:
        raise ValueError(
            f"need pairs whose lead is above 0, and a share above 0 and at most 1; got {len(lead)} pairs, "
            f"the smallest lead {float(lead.min()) if len(lead) else math.nan:.3g}, and a share of {share}"
        )
    needed = ((other - wished) / lead).detach().sort().values
    place = math.ceil(share * len(needed) - 1e-9) - 1
    return max(0.0, float(needed[place]))
