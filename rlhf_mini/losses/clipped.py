"""What became of PPO's clipping without a critic: two bounds, a bounded weight, and KL as a term of the loss.

Each takes log-probabilities of tokens or of whole answers. What stands for an answer is the caller's choice:
the sum over its tokens gives the ratio of the answers' probabilities, as RLOO's code has it, and the mean
GSPO's geometric mean of the tokens' ratios.

Papers: Shao et al. 2024 (GRPO), arXiv 2402.03300; Yu et al. 2025 (DAPO), arXiv 2503.14476; MiniMax 2025
(CISPO), arXiv 2506.13585; Zheng et al. 2025 (GSPO), arXiv 2507.18071.
"""

import torch

from rlhf_mini.shapes import Float, Tensor
from rlhf_mini.tensors import require_same_shape


def two_bound_policy_loss(
    logp: Float[Tensor, "*shape"],
    logp_old: Float[Tensor, "*shape"],
    advantages: Float[Tensor, "*shape"],
    *,
    clip_low: float | int,
    clip_high: float | int,
) -> Float[Tensor, "*shape"]:
    """The clipped policy loss with a bound of its own on either side: GRPO's term, and DAPO's "clip-higher".

    ``−min(ρ A, clip(ρ, 1 − ε_low, 1 + ε_high) A)`` with ``ρ = π/π_old``. With both bounds alike it is PPO's.
    A token of probability 0.01 may rise to 0.012 at ε = 0.2, one of 0.9 to 1: the upper bound holds back what
    is rare, and so exploration. A higher one gives way there and leaves the lower one, which keeps a token
    from being driven to 0, where it was.

    Args:
        logp: any shape: ``(B, T)``, nats per token, or ``(B,)``, one number for each answer, a sum or a mean
            over its tokens; under the policy in training.
        logp_old: the same under the policy that sampled, as stored at the time.
        advantages: the same shape.
        clip_low: ε_low, above 0 and at most 1; 0.2 as a rule for tokens.
        clip_high: ε_high, above 0; 0.28 in DAPO. ``math.inf`` lifts the bound.

    Returns:
        The same shape, not reduced. Gradients flow to ``logp`` only; at ρ = 1 the gradient is ``−A``, the
        policy gradient's.

    Raises:
        ValueError: if the shapes differ, or a bound is out of range.

    Papers: Shao et al. 2024, eq. 3, without its KL term; Yu et al. 2025, §3.1. Zheng et al. 2025, eq. 5, with
    means over an answer's tokens.

    Example:
        >>> logp, logp_old = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.25]]).log()  # ratio 2
        >>> advantages = torch.tensor([[1.0, -1.0]])
        >>> two_bound_policy_loss(logp, logp_old, advantages, clip_low=0.2, clip_high=0.5)
        tensor([[-1.5000,  2.0000]])
    """
    require_same_shape(logp=logp, logp_old=logp_old, advantages=advantages)
    if not 0 < clip_low <= 1:
        raise ValueError(f"clip_low must be above 0 and at most 1, as 0.2 is; received {clip_low}.")
    _require_upper_bound(clip_high)
    ratio = torch.exp(logp - logp_old.detach())
    advantages = advantages.detach()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


def cispo_loss(
    logp: Float[Tensor, "*shape"],
    logp_old: Float[Tensor, "*shape"],
    advantages: Float[Tensor, "*shape"],
    *,
    clip_high: float | int,
) -> Float[Tensor, "*shape"]:
    """REINFORCE on samples of an older policy, with a bounded weight for how old they are.

    ``−sg(min(ρ, 1 + ε_high)) A log π``, where ``sg`` stops the gradient. Its gradient is ``−min(ρ, 1 + ε) A``
    times that of ``log π``: a token whose ratio has left the range still teaches, with the bound for its
    weight, where PPO's clipping would silence it. For the same reason nothing stops a policy from going on in
    a direction; the bound limits how fast. Its value means nothing: it is not 0 at ρ = 1.

    Args:
        logp: any shape, ``(B, T)`` as a rule, nats per token, under the policy in training.
        logp_old: the same under the policy that sampled.
        advantages: the same shape.
        clip_high: ε_high, above 0; ``math.inf`` for the plain importance weight.

    Returns:
        The same shape, not reduced. Gradients flow to ``logp`` only, and not through the weight.

    Raises:
        ValueError: if the shapes differ, or ``clip_high`` is not above 0.

    Paper: MiniMax 2025, §3.1; like them without a lower bound. (TRL's `epsilon_high` is the bound itself,
    1 + ε_high here.)

    Example:
        >>> logp, logp_old = torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log()  # ratio 2
        >>> cispo_loss(logp, logp_old, torch.tensor([[1.0]]), clip_high=0.5)  # 1.5 · log 2
        tensor([[1.0397]])
    """
    require_same_shape(logp=logp, logp_old=logp_old, advantages=advantages)
    _require_upper_bound(clip_high)
    weight = torch.exp(logp.detach() - logp_old.detach()).clamp(max=1 + clip_high)
    return -weight * advantages.detach() * logp


def reweighted_kl_loss(
    logp: Float[Tensor, "*shape"], logp_old: Float[Tensor, "*shape"], logp_ref: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """KL(π ‖ π_ref) as a loss on tokens of an older policy: k3, weighted with the ratio and differentiated
    with it.

    ``ρ (π_ref/π − 1 − log(π_ref/π))`` with ``ρ = π/π_old``. For tokens drawn from π_old its mean is
    KL(π ‖ π_ref), and the mean of its gradient is that divergence's gradient, however far π has moved. The
    three plain estimators, used as a loss (`rlhf_mini.estimators.kl` lists their gradients), do this at ρ = 1
    at best: k2 there and only there, k1 and k3 nowhere. Its gradient at one token is
    ``ρ (log π − log π_ref)``.

    Args:
        logp: any shape, ``(B, T)`` as a rule, nats per token, under the policy in training.
        logp_old: the same under the policy that sampled.
        logp_ref: the same under the frozen reference.

    Returns:
        The same shape, at least 0, not reduced. Gradients flow to ``logp`` only.

    Raises:
        ValueError: if the shapes differ.

    Paper: DeepSeek-AI 2025 (V3.2), arXiv 2512.02556; TRL 1.16's default. The states are held fixed, as with
    the other estimators token by token.

    Example:
        >>> logp, logp_old = torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log()
        >>> reweighted_kl_loss(logp, logp_old, torch.tensor([[0.25]]).log())  # 2 (1/2 − 1 + log 2)
        tensor([[0.3863]])
    """
    require_same_shape(logp=logp, logp_old=logp_old, logp_ref=logp_ref)
    log_ratio = logp_ref.detach() - logp
    return torch.exp(logp - logp_old.detach()) * (torch.expm1(log_ratio) - log_ratio)


def _require_upper_bound(clip_high: float) -> None:
    if not clip_high > 0:  # NaN is not
        raise ValueError(f"clip_high must be above 0, as 0.28 is; received {clip_high}.")
