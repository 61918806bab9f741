"""Losses on preference pairs that need no reference: they compare log-probabilities of the policy alone.

Nothing but the number of steps, or another loss beside them, keeps the policy near where it began. Mind what
each takes: ``simpo_loss`` and ``odds_ratio_loss`` the *mean* log-probability per token of an answer,
``contrastive_preference_loss`` the *sum*.
"""

import math

import torch
from torch.nn.functional import softplus

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def simpo_loss(
    logp_chosen: Float[Tensor, " B"], logp_rejected: Float[Tensor, " B"], *, scale: float, margin: float
) -> Float[Tensor, " B"]:
    """Simple preference optimisation: the reward is the mean log-probability per token.

    ``−log σ(β (p_w − p_l) − γ)`` with ``p = 1/|y| Σ_t log π(y_t)``. The mean takes away the reason to prefer
    short answers that a sum gives, and γ asks for a lead. β is no price for a divergence, as there is no
    reference: it only sets how wide the loss is, and common values are 2 to 10.

    Args:
        logp_chosen: ``(B,)``, nats per token: the preferred answers' mean log-probability per token.
        logp_rejected: ``(B,)``, of the others, of the same prompts.
        scale: β, above 0.
        margin: γ, at least 0, in units of ``β p``. (The authors' code takes ``γ/β`` instead.)

    Returns:
        ``(B,)``, nats per pair, above 0; not reduced. Gradients flow to both, equal and opposite.

    Raises:
        ValueError: if the shapes differ, β is not above 0, or γ is below 0.

    Paper: Meng et al. 2024, arXiv 2405.14734, eq. 6.

    Example:
        >>> better, worse = torch.tensor([-1.0]), torch.tensor([-1.5])
        >>> simpo_loss(better, worse, scale=2.0, margin=1.0).exp()  # just the lead that was asked for
        tensor([2.])
    """
    require_same_shape(logp_chosen=logp_chosen, logp_rejected=logp_rejected)
    _require_above_zero(scale=scale)
    if not margin >= 0:
        raise ValueError(f"margin must be 0 or above, in units of scale times nats; received {margin}.")
    return softplus(margin - scale * (logp_chosen - logp_rejected))


def odds_ratio_loss(
    logp_chosen: Float[Tensor, " B"], logp_rejected: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """The second term of ORPO: the odds of the preferred answer should be above those of the other.

    ``−log σ(log(odds_w/odds_l))`` with ``odds = P/(1 − P)`` and ``P = exp p``, the geometric mean of the
    probabilities of an answer's tokens. ORPO adds it, times a small weight, to the next-token loss of the
    preferred answers, and needs neither a reference nor fine-tuning first.

    Args:
        logp_chosen: ``(B,)``, nats per token, at most 0: the preferred answers' mean log-probability per
            token.
        logp_rejected: ``(B,)``, of the others, of the same prompts.

    Returns:
        ``(B,)``, nats per pair, above 0, ``log 2`` where both are equal; not reduced. Gradients flow to both;
        unlike those of ``simpo_loss`` they are not equal and opposite, and grow like ``1/(1 − P)``.

    Raises:
        ValueError: if the shapes differ.

    Paper: Hong et al. 2024, arXiv 2403.07691, eq. 7.

    Departures: ``log(1 − P)`` is computed without first rounding P to 1. Odds of ``P = 1`` are infinite:
    above ``p = −ε``, with ε the rounding of the number type, the log-odds go on as their tangent, so that a
    policy that is certain of an answer has a finite loss and gradient.

    Example:
        >>> likely, even = torch.tensor([0.75]).log(), torch.tensor([0.5]).log()  # odds of 3 and of 1
        >>> odds_ratio_loss(likely, even).neg().exp()
        tensor([0.7500])
    """
    require_same_shape(logp_chosen=logp_chosen, logp_rejected=logp_rejected)
    return softplus(_log_odds(logp_rejected) - _log_odds(logp_chosen))


def contrastive_preference_loss(
    logp_chosen: Float[Tensor, " B"],
    logp_rejected: Float[Tensor, " B"],
    *,
    temperature: float,
    conservatism: float = 1.0,
) -> Float[Tensor, " B"]:
    """Contrastive preference learning (CPL): the policy as the advantage that people judge by.

    ``−log( exp(α s_w) / (exp(α s_w) + exp(λ α s_l)) )`` with ``s = Σ_t γᵗ log π(a_t|s_t)``, the discounted
    sum over a stretch of behaviour. Of a policy that is optimal with an entropy bonus of weight α, the
    advantage is ``α log π``, and people are taken to prefer the stretch with less regret: the larger sum of
    advantages. ``λ < 1`` shrinks the side that lost: it makes the loss smaller where both stretches are
    likely, and so holds the policy to what is in the data.

    Args:
        logp_chosen: ``(B,)``, nats per stretch: the sums of the preferred stretches.
        logp_rejected: ``(B,)``, of the others.
        temperature: α, above 0, reward per nat.
        conservatism: λ, above 0 and at most 1; 1 is the plain loss.

    Returns:
        ``(B,)``, nats per pair, above 0; not reduced. Gradients flow to both; that of the stretch that lost
        is ``−λ`` times the other's.

    Raises:
        ValueError: if the shapes differ, α is not above 0, or λ is out of range.

    Paper: Hejna et al. 2023, arXiv 2310.13639, §3. With log-ratios in place of log-probabilities, λ = 1 and
    stretches of one action it is ``dpo_loss``.

    Example:
        >>> won, lost = torch.tensor([0.3]).log(), torch.tensor([0.1]).log()
        >>> contrastive_preference_loss(won, lost, temperature=1.0).neg().exp()  # 0.3 of 0.4
        tensor([0.7500])
    """
    require_same_shape(logp_chosen=logp_chosen, logp_rejected=logp_rejected)
    _require_above_zero(temperature=temperature)
    if not 0 < conservatism <= 1:
        raise ValueError(f"conservatism must be above 0 and at most 1, as 0.5 is; received {conservatism}.")
    return softplus(temperature * (conservatism * logp_rejected - logp_chosen))


def _log_odds(logp: Tensor) -> Tensor:
    """``log(P/(1 − P))`` of ``P = exp logp``; where P rounds to 1 it goes on as its tangent."""
    edge = -torch.finfo(logp.dtype).eps
    inside = logp.clamp(max=edge)
    slope = -1 / math.expm1(edge)  # of log P − log(1 − P), which is 1/(1 − P)
    beyond = torch.relu(logp - edge)  # logp − inside would have gradients that cancel, times 1/ε
    return inside - torch.log(-torch.expm1(inside)) + slope * beyond


def _require_above_zero(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name} must be above 0; received {number}.")
