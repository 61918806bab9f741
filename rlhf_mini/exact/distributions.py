"""Sums over all texts, each with its log-probability ``(B,)``."""

from collections.abc import Iterable

import torch

from rlhf_mini.shapes import Float, Int, Tensor
from rlhf_mini.tensors import require_same_shape, zero_off_mask


def require_distribution(**distributions: Tensor) -> None:
    """Stop unless the probabilities of all texts add up to 1.

    Raises:
        ValueError: naming the one that does not.

    Example:
        >>> require_distribution(logp=torch.tensor([0.25, 0.75]).log())
    """
    for name, logp in distributions.items():
        total = float(logp.detach().exp().sum())
        if not abs(total - 1) < 1e-5:
            raise ValueError(
                f"The probabilities exp({name}) add up to {total:.6g}, not to 1. "
                "Give one log-probability a text, for every text of the language."
            )


def expectation(logp: Float[Tensor, " B"], values: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """The exact expectation of a number per text: ``Σ_y π(y) f(y)``.

    Args:
        logp: ``(B,)``, log-probability of every text.
        values: ``(B,)``: rewards, or the sums over a row of a per-token loss or estimate.

    Returns:
        A scalar. Gradients flow to both; detach ``logp`` where samples would carry no gradient.

    Raises:
        ValueError: if the shapes differ, or the probabilities do not add up to 1.

    Example:
        >>> expectation(torch.tensor([0.25, 0.75]).log(), torch.tensor([4.0, 0.0]))
        tensor(1.)
    """
    require_same_shape(logp=logp, values=values)
    require_distribution(logp=logp)
    return (logp.exp() * values).sum()


def kl_divergence(logp: Float[Tensor, " B"], logp_other: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """The exact divergence ``KL(π ‖ other) = Σ_y π(y) (log π(y) − log other(y))``: the first is summed over.

    With the policy first and the reference second it is the "reverse" KL of RLHF, the price of drifting from
    the reference. Exchange the two for the other direction, the "forward" KL, which fitting to samples of a
    teacher minimises.

    Args:
        logp: ``(B,)``, log-probability of every text under the distribution summed over; −∞ adds 0.
        logp_other: ``(B,)``, under the other one; −∞ where the first is not makes the result ∞.

    Returns:
        A scalar, nats per sequence, at least 0. Gradients flow to both.

    Raises:
        ValueError: if the shapes differ, or probabilities do not add up to 1.

    Example:
        >>> certain, coin = torch.tensor([1.0, 0.0]).log(), torch.tensor([0.5, 0.5]).log()
        >>> kl_divergence(certain, coin), kl_divergence(coin, certain)
        (tensor(0.6931), tensor(inf))
    """
    require_same_shape(logp=logp, logp_other=logp_other)
    require_distribution(logp=logp, logp_other=logp_other)
    # Zeros before the product: behind it, 0 times −∞ would come back in the gradient.
    return (logp.exp() * zero_off_mask(logp - logp_other, logp > -torch.inf)).sum()


def sequence_entropy(logp: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """The exact entropy of the whole text: ``−Σ_y π(y) log π(y)``, nats per sequence, from 0 to ``log B``.

    Raises:
        ValueError: if the probabilities do not add up to 1.

    Example:
        >>> sequence_entropy(torch.tensor([0.5, 0.5, 0.0]).log())
        tensor(0.6931)
    """
    require_distribution(logp=logp)
    return -(logp.exp() * zero_off_mask(logp, logp > -torch.inf)).sum()


def policy_gradient(
    logp: Float[Tensor, " B"], rewards: Float[Tensor, " B"], parameters: Iterable[Tensor]
) -> tuple[Tensor, ...]:
    """The exact gradient of the expected reward, ``∇ Σ_y π(y) r(y)``: the direction in which it rises.

    Args:
        logp: ``(B,)``, log-probability of every text, attached to the parameters.
        rewards: ``(B,)``, treated as constants.
        parameters: what to differentiate by.

    Returns:
        One gradient a parameter, of its shape. The graph is kept, so that ``logp`` can be used again.

    Raises:
        ValueError: if the shapes differ, or the probabilities do not add up to 1.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)  # p = 1/2, so dp/dz = p (1 − p) = 1/4
        >>> policy_gradient(logits.log_softmax(0), torch.tensor([0.0, 1.0]), [logits])
        (tensor([-0.2500,  0.2500]),)
    """
    return torch.autograd.grad(expectation(logp, rewards.detach()), tuple(parameters), retain_graph=True)


def sample_rows(
    logp: Float[Tensor, " B"], count: int, *, generator: torch.Generator
) -> Int[Tensor, " count"]:
    """Draw texts: ``count`` row numbers, each row as often as its probability says.

    ``language.tokens[rows]`` are then the texts.

    Raises:
        ValueError: if the probabilities do not add up to 1.

    Example:
        >>> sample_rows(torch.tensor([0.0, 1.0]).log(), 3, generator=torch.Generator().manual_seed(0))
        tensor([1, 1, 1])
    """
    require_distribution(logp=logp)
    return torch.multinomial(logp.exp(), count, replacement=True, generator=generator)
