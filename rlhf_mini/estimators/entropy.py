"""How undecided a policy is."""

import torch

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import align_to_tokens


def entropy(logits: Float[Tensor, "B T V"]) -> Float[Tensor, "B T"]:
    """The entropy of the next-token distribution at each position.

    ``H = −Σ_v p_v log p_v`` with ``p = softmax(logits)``; a token that was ruled out (logit −∞) adds nothing.

    Args:
        logits: ``(B, T, V)``; divide by the temperature first, if there is one.

    Returns:
        ``(B, T)``, nats, from 0 to ``log V``, at the position that predicts (not shifted), not reduced. No
        gradient is stopped.

    Example:
        >>> entropy(torch.zeros(1, 1, 8)).exp()  # as undecided as eight equal chances
        tensor([[8.0000]])
    """
    logp = torch.log_softmax(logits, dim=-1)
    return -(logp.exp() * logp.masked_fill(logp == -torch.inf, 0.0)).sum(-1)


def token_entropy(logits: Float[Tensor, "B T V"]) -> Float[Tensor, "B T"]:
    """The entropy of the distribution that each token was drawn from.

    ``H_t = −Σ_v p(v | tokens before t) log p(v | tokens before t)``: ``entropy``, aligned with the tokens.

    Args:
        logits: ``(B, T, V)``; position ``t`` predicts token ``t + 1``.

    Returns:
        ``(B, T)``, nats per token, not reduced; column 0 is 0. No gradient is stopped.

    Example:
        >>> token_entropy(torch.zeros(1, 3, 1).expand(1, 3, 2)).exp()  # a fair coin: e^H = 2
        tensor([[1., 2., 2.]])
    """
    return align_to_tokens(entropy(logits))
