"""The losses: tensors and numbers in, one value per token or per sequence out, never reduced."""

from rlhf_mini.losses.contrastive import in_batch_contrastive_loss
from rlhf_mini.losses.language import masked_token_loss, next_token_loss
from rlhf_mini.losses.policy import (
    clip_fraction,
    policy_gradient_loss,
    ppo_policy_loss,
    ppo_value_loss,
    ratio_policy_loss,
    value_loss,
)
from rlhf_mini.losses.reward import pairwise_loss

__all__ = [
    "clip_fraction",
    "in_batch_contrastive_loss",
    "masked_token_loss",
    "next_token_loss",
    "pairwise_loss",
    "policy_gradient_loss",
    "ppo_policy_loss",
    "ppo_value_loss",
    "ratio_policy_loss",
    "value_loss",
]
