"""REINFORCE, RLOO, PPO without a critic, GRPO, Dr. GRPO, DAPO, CISPO and GSPO as one table of choices.

All draw several answers to a prompt, compare their rewards, and make the better ones likelier. They differ in
what a `GroupMethod` holds:

| method | policy term | advantage | average of token losses | KL |
|---|---|---|---|---|
| REINFORCE | −A log π | less the batch's mean | sum per answer | in the reward |
| RLOO | −A log π | less the mean of the others | sum per answer | in the reward |
| PPO without a critic | clipped at 1 ± ε | whitened over the batch | all tokens | in the reward |
| GRPO | clipped at 1 ± ε | less the group's mean, by its spread | per answer, then answers | k3 in the loss |
| Dr. GRPO | clipped at 1 ± ε | less the group's mean | sum by one length for all | – |
| DAPO | clipped at 1 − ε_low, 1 + ε_high | as GRPO | all tokens | – |
| CISPO | −sg(min(ρ, 1 + ε)) A log π | as GRPO | all tokens | – |
| GSPO | clipped, one ratio an answer | as GRPO | per answer, then answers | – |

On the first step after a draw the ratio ρ is 1 and all policy terms have one gradient, ``−A ∇ log π``. Then
REINFORCE, RLOO and Dr. GRPO are one method but for the baseline and constant factors, and GRPO differs from
GSPO in nothing. On later steps over the same draw the terms part: −A log π forgets that the samples are those
of an older policy, and the clipped ones stop.

Papers: Williams 1992; Ahmadian et al. 2024 (RLOO), arXiv 2402.14740; Shao et al. 2024 (GRPO), arXiv
2402.03300; Liu et al. 2025 (Dr. GRPO), arXiv 2503.20783; Yu et al. 2025 (DAPO), arXiv 2503.14476; MiniMax
2025 (CISPO), arXiv 2506.13585; Zheng et al. 2025 (GSPO), arXiv 2507.18071.

Simplifications: CISPO in the paper keeps DAPO's dynamic sampling and price of length, GSPO's batch is split
into four; both are the caller's choice here (`GRPOConfig.redraws`, `reward_parts.overlong_penalty`, epochs
and minibatches).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rlhf_mini.estimators import (
    batch_mean_advantages,
    constant_length_mean,
    group_mean_advantages,
    group_scaled_advantages,
    kl_k1,
    kl_k2,
    kl_k3,
    leave_one_out_advantages,
    sequence_mean,
    sequence_sum,
    token_mean,
    whiten,
)
from rlhf_mini.losses import cispo_loss, policy_gradient_loss, two_bound_policy_loss
from rlhf_mini.tensors import masked_mean

# logp, logp_old (B, T), advantages (B,), response (B, T) → a loss for each token (B, T)
PolicyTerm = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logp, logp_old, advantages of one shape → losses of it
Advantage = Callable[[Tensor], Tensor]  # rewards (prompts, G) → advantages (prompts, G)
Average = Callable[[Tensor, Tensor], Tensor]  # losses and response, (B, T) each → a scalar
Penalty = Callable[[Tensor, Tensor, Tensor], Tensor]  # logp, logp_old, logp_ref → nats for each token; (B, T)


@dataclass(frozen=True, kw_only=True)
class GroupMethod:
    """A policy term, an advantage, an average, and where the KL to a reference is paid for, if it is.

    - `kl_in_loss`: what is added to the loss of each token, times `GRPOConfig.kl_weight`.
    - `kl_in_reward`: whether each answer's reward pays for its divergence instead, ``Σ_t k1_t`` nats.

    Raises ValueError if both are set.
    """

    policy_term: PolicyTerm
    advantage: Advantage
    average: Average
    kl_in_loss: Penalty | None = None
    kl_in_reward: bool = False

    def __post_init__(self) -> None:
        if self.kl_in_loss is not None and self.kl_in_reward:
            raise ValueError("KL is paid for in the loss or in the reward; both are set")

    @property
    def can_pay_for_kl(self) -> bool:
        """Whether a KL weight has an effect."""
        return self.kl_in_reward or self.kl_in_loss is not None


# ---- policy terms


def plain_gradient(logp: Tensor, logp_old: Tensor, advantages: Tensor, response: Tensor) -> Tensor:
    """−A log π on every token, whichever policy drew it; (B, T)."""
    return policy_gradient_loss(logp, advantages[:, None].expand_as(logp))


def by_token(loss: Loss) -> PolicyTerm:
    """A loss of each token's own ratio."""

    def term(logp: Tensor, logp_old: Tensor, advantages: Tensor, response: Tensor) -> Tensor:
        return loss(logp, logp_old, advantages[:, None].expand_as(logp))

    return term


def by_answer(loss: Loss) -> PolicyTerm:
    """A loss of one ratio an answer, the geometric mean of its tokens' ratios; it stands at each token.

    So the average of a row is the answer's loss, whatever its length. It needs at least one token an answer.
    """

    def term(logp: Tensor, logp_old: Tensor, advantages: Tensor, response: Tensor) -> Tensor:
        now, before = (masked_mean(one, response, dim=1) for one in (logp, logp_old))
        return loss(now, before, advantages)[:, None].expand_as(logp)

    return term


# ---- KL as a term of the loss


def k1_penalty(logp: Tensor, logp_old: Tensor, logp_ref: Tensor) -> Tensor:
    """`kl_k1` as a loss: at ratio one its gradient is 0 on average, and it holds nothing back."""
    return kl_k1(logp, logp_ref)


def k2_penalty(logp: Tensor, logp_old: Tensor, logp_ref: Tensor) -> Tensor:
    """`kl_k2` as a loss: at ratio one its gradient is that of KL(π ‖ π_ref) on average."""
    return kl_k2(logp, logp_ref)


def k3_penalty(logp: Tensor, logp_old: Tensor, logp_ref: Tensor) -> Tensor:
    """`kl_k3` as a loss, GRPO's choice: at ratio one its gradient is that of KL(π_ref ‖ π) on average."""
    return kl_k3(logp, logp_ref)


# ---- advantages


def whitened_advantages(rewards: Tensor) -> Tensor:
    """The rewards of all answers to all prompts at mean 0 and variance 1: PPO's, if no critic knows more.

    >>> whitened_advantages(torch.tensor([[1.0, 1.0], [5.0, 5.0]]))
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    return whiten(rewards, torch.ones_like(rewards, dtype=torch.bool), shift_mean=True)


# ---- the methods by name


def reinforce_method() -> GroupMethod:
    """REINFORCE with one baseline for all prompts; each answer is one action."""
    return GroupMethod(
        policy_term=plain_gradient, advantage=batch_mean_advantages, average=sequence_sum, kl_in_reward=True
    )


def rloo_method() -> GroupMethod:
    """REINFORCE, each answer compared with the others to its prompt."""
    return GroupMethod(
        policy_term=plain_gradient,
        advantage=leave_one_out_advantages,
        average=sequence_sum,
        kl_in_reward=True,
    )


def ppo_method(*, clip_range: float = 0.2) -> GroupMethod:
    """PPO's clipped term with whitened rewards in the place of a critic's advantages."""
    return GroupMethod(
        policy_term=by_token(clipped(clip_range, clip_range)),
        advantage=whitened_advantages,
        average=token_mean,
        kl_in_reward=True,
    )


def grpo_method(*, clip_range: float = 0.2) -> GroupMethod:
    """GRPO as published. The paper prints no ε; 0.2 is PPO's."""
    return GroupMethod(
        policy_term=by_token(clipped(clip_range, clip_range)),
        advantage=group_scaled_advantages,
        average=sequence_mean,
        kl_in_loss=k3_penalty,
    )


def dr_grpo_method(*, longest: int, clip_range: float = 0.2) -> GroupMethod:
    """GRPO "done right": no spread, no length of the answer; `longest` is what it divides by."""
    return GroupMethod(
        policy_term=by_token(clipped(clip_range, clip_range)),
        advantage=group_mean_advantages,
        average=partial(constant_length_mean, length=longest),
    )


def dapo_method(*, clip_low: float = 0.2, clip_high: float = 0.28) -> GroupMethod:
    """DAPO's loss; its dynamic sampling is `GRPOConfig.redraws`."""
    return GroupMethod(
        policy_term=by_token(clipped(clip_low, clip_high)),
        advantage=group_scaled_advantages,
        average=token_mean,
    )


def cispo_method(*, clip_high: float = 1.0) -> GroupMethod:
    """CISPO's loss. A weight of at most 2 is our choice; the bound is a number to be tuned."""
    return GroupMethod(
        policy_term=by_token(partial(cispo_loss, clip_high=clip_high)),
        advantage=group_scaled_advantages,
        average=token_mean,
    )


def gspo_method(*, clip_low: float = 3e-4, clip_high: float = 4e-4) -> GroupMethod:
    """GSPO's loss, at its published bounds: a mean over many tokens stays near 1."""
    return GroupMethod(
        policy_term=by_answer(clipped(clip_low, clip_high)),
        advantage=group_scaled_advantages,
        average=sequence_mean,
    )


def named_methods(*, longest: int) -> dict[str, GroupMethod]:
    """All eight at these settings; `longest` is the most tokens of an answer.

    >>> [*named_methods(longest=24)]
    ['REINFORCE', 'RLOO', 'PPO', 'GRPO', 'Dr. GRPO', 'DAPO', 'CISPO', 'GSPO']
    """
    return {
        "REINFORCE": reinforce_method(),
        "RLOO": rloo_method(),
        "PPO": ppo_method(),
        "GRPO": grpo_method(),
        "Dr. GRPO": dr_grpo_method(longest=longest),
        "DAPO": dapo_method(),
        "CISPO": cispo_method(),
        "GSPO": gspo_method(),
    }


def clipped(clip_low: float, clip_high: float) -> Loss:
    """`two_bound_policy_loss` at these bounds."""
    return partial(two_bound_policy_loss, clip_low=clip_low, clip_high=clip_high)
