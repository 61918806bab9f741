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
from rlhf_mini.losses.ranking import all_pairs_loss, best_of_k_loss, plackett_luce_loss
from rlhf_mini.losses.reward import focal_pairwise_loss, pairwise_loss, rating_loss, score_penalty

__all__ = [
    "all_pairs_loss",
    "best_of_k_loss",
    "clip_fraction",
    "focal_pairwise_loss",
    "in_batch_contrastive_loss",
    "masked_token_loss",
    "next_token_loss",
    "pairwise_loss",
    "plackett_luce_loss",
    "policy_gradient_loss",
    "ppo_policy_loss",
    "ppo_value_loss",
    "rating_loss",
    "ratio_policy_loss",
    "score_penalty",
    "value_loss",
]
