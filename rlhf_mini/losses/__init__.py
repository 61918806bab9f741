"""The losses: tensors and numbers in, one value per token or per sequence out, never reduced."""

from rlhf_mini.losses.contrastive import in_batch_contrastive_loss
from rlhf_mini.losses.hindsight import (
    instruction_contrast_loss,
    smoothed_token_loss,
    two_way_contrast_loss,
)
from rlhf_mini.losses.language import masked_token_loss, next_token_loss
from rlhf_mini.losses.offline import (
    advantage_weighted_loss,
    advantage_weights,
    filtered_loss,
    threshold_weights,
)
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
from rlhf_mini.losses.sequence_ranking import best_answer_loss, rrhf_ranking_loss, slic_loss

__all__ = [
    "advantage_weighted_loss",
    "advantage_weights",
    "all_pairs_loss",
    "best_answer_loss",
    "best_of_k_loss",
    "clip_fraction",
    "filtered_loss",
    "focal_pairwise_loss",
    "in_batch_contrastive_loss",
    "instruction_contrast_loss",
    "masked_token_loss",
    "next_token_loss",
    "pairwise_loss",
    "plackett_luce_loss",
    "policy_gradient_loss",
    "ppo_policy_loss",
    "ppo_value_loss",
    "rating_loss",
    "ratio_policy_loss",
    "rrhf_ranking_loss",
    "score_penalty",
    "slic_loss",
    "smoothed_token_loss",
    "threshold_weights",
    "two_way_contrast_loss",
    "value_loss",
]
