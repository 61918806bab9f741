"""From a loss for each token to one number: four ways, and what a token of a long answer weighs in each.

| function | weight of each token | a long answer |
|---|---|---|
| `sequence_sum` | 1 / B | pushes with all its tokens: the policy gradient's own average |
| `constant_length_mean` | 1 / (B L) | the same, in smaller units |
| `sequence_mean` | 1 / (B · its answer's length) | pushes each of its tokens less than a short one |
| `token_mean` | 1 / (all tokens of the batch) | the first two but for a factor that the batch decides |

The gradient of an expected reward is ``E[A Σ_t ∇ log π_t]``, a sum over tokens. So only the first two are
without bias: they differ by a constant, which the learning rate takes up. The third shrinks the push on long
answers, right or wrong: wrong ones are better long. The fourth divides by a random number: it has a bias too,
but treats all tokens of a batch alike.

Papers: Williams 1992 and Ahmadian et al. 2024, arXiv 2402.14740 (the sum); Liu et al. 2025 (Dr. GRPO), arXiv
2503.20783 (a constant); Shao et al. 2024 (GRPO), arXiv 2402.03300, eq. 3 (the mean of means); Yu et al. 2025
(DAPO), arXiv 2503.14476, §3.3 (all tokens).
"""

from rlhf_mini.shapes import Bool, Float, Tensor
from rlhf_mini.tensors import masked_mean, masked_sum


def sequence_mean(losses: Float[Tensor, "B T"], response: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The mean over each answer's tokens, then over the answers: every answer weighs the same. GRPO's.

    Args:
        losses: ``(B, T)``, a loss for each token.
        response: ``(B, T)``, true on the answers' tokens, at least once a row.

    Returns:
        A scalar. No gradient is stopped.

    Raises:
        ValueError: if the shapes differ, the mask is not boolean, or a row has no true entry.

    Example:
        >>> import torch
        >>> sequence_mean(torch.tensor([[6.0, 9.0], [1.0, 3.0]]), torch.tensor([[True, False], [True, True]]))
        tensor(4.)
    """
    return masked_mean(losses, response, dim=1).mean()


def token_mean(losses: Float[Tensor, "B T"], response: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The mean over all tokens of all answers: every token weighs the same. DAPO's, CISPO's and PPO's.

    The batch decides what it divides by: in minibatches, each by its own tokens.

    Args:
        losses: ``(B, T)``, a loss for each token.
        response: ``(B, T)``, true on the answers' tokens.

    Returns:
        A scalar. No gradient is stopped.

    Raises:
        ValueError: if the shapes differ, the mask is not boolean, or nothing is true.

    Example:
        >>> import torch
        >>> token_mean(torch.tensor([[6.0, 9.0], [1.0, 2.0]]), torch.tensor([[True, False], [True, True]]))
        tensor(3.)
    """
    return masked_mean(losses, response)


def sequence_sum(losses: Float[Tensor, "B T"], response: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The sum over each answer's tokens, averaged over the answers: REINFORCE's and RLOO's.

    With ``−A log π`` for a loss its gradient is that of the answers' log-probabilities, each times its
    advantage.

    Args:
        losses: ``(B, T)``, a loss for each token.
        response: ``(B, T)``, true on the answers' tokens. An empty row adds 0, and counts as an answer.

    Returns:
        A scalar. No gradient is stopped.

    Raises:
        ValueError: if the shapes differ or the mask is not boolean.

    Example:
        >>> import torch
        >>> sequence_sum(torch.tensor([[6.0, 9.0], [1.0, 3.0]]), torch.tensor([[True, False], [True, True]]))
        tensor(5.)
    """
    return masked_sum(losses, response, dim=1).mean()


def constant_length_mean(
    losses: Float[Tensor, "B T"], response: Bool[Tensor, "B T"], *, length: float | int
) -> Float[Tensor, ""]:
    """The sum over each answer's tokens by one length for all, averaged over the answers: Dr. GRPO's.

    ``1/(B L) Σ_i Σ_t ℓ_it``: `sequence_sum` in the units of a mean over tokens.

    Args:
        losses: ``(B, T)``, a loss for each token.
        response: ``(B, T)``, true on the answers' tokens.
        length: L, above 0; the most tokens that an answer may have.

    Returns:
        A scalar. No gradient is stopped.

    Raises:
        ValueError: if the shapes differ, the mask is not boolean, or the length is not above 0.

    Example:
        >>> import torch
        >>> losses, response = torch.tensor([[6.0, 9.0], [1.0, 3.0]]), torch.ones(2, 2, dtype=torch.bool)
        >>> constant_length_mean(losses, response, length=2)  # (15 / 2 + 4 / 2) / 2
        tensor(4.7500)
    """
    if not length > 0:
        raise ValueError(f"length must be above 0, the same for all answers; received {length}.")
    return sequence_sum(losses, response) / length
