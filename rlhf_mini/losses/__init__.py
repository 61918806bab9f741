"""The losses: tensors and numbers in, one value per token or per sequence out, never reduced."""

from rlhf_mini.losses.clipped import cispo_loss, reweighted_kl_loss, two_bound_policy_loss
from rlhf_mini.losses.contrastive import in_batch_contrastive_loss
from rlhf_mini.losses.direct import (
    calibration_loss,
    conservative_dpo_loss,
    dpo_loss,
    implied_lead,
    ipo_loss,
    length_regularised_dpo_loss,
    robust_dpo_loss,
)
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
from rlhf_mini.losses.reference_free import contrastive_preference_loss, odds_ratio_loss, simpo_loss
from rlhf_mini.losses.reward import focal_pairwise_loss, pairwise_loss, rating_loss, score_penalty
from rlhf_mini.losses.rpo import rpo_backward_kl_loss, rpo_forward_kl_loss, rpo_squared_loss
from rlhf_mini.losses.sequence_ranking import best_answer_loss, rrhf_ranking_loss, slic_loss
from rlhf_mini.losses.soft_labels import soft_preference_loss
from rlhf_mini.losses.unpaired import kto_loss

__all__ = [
    "advantage_weighted_loss",
    "advantage_weights",
    "all_pairs_loss",
    "best_answer_loss",
    "best_of_k_loss",
    "calibration_loss",
    "cispo_loss",
    "clip_fraction",
    "conservative_dpo_loss",
    "contrastive_preference_loss",
    "dpo_loss",
    "filtered_loss",
    "focal_pairwise_loss",
    "implied_lead",
    "in_batch_contrastive_loss",
    "instruction_contrast_loss",
    "ipo_loss",
    "kto_loss",
    "length_regularised_dpo_loss",
    "masked_token_loss",
    "next_token_loss",
    "odds_ratio_loss",
    "pairwise_loss",
    "plackett_luce_loss",
    "policy_gradient_loss",
    "ppo_policy_loss",
    "ppo_value_loss",
    "rating_loss",
    "ratio_policy_loss",
    "reweighted_kl_loss",
    "robust_dpo_loss",
    "rpo_backward_kl_loss",
    "rpo_forward_kl_loss",
    "rpo_squared_loss",
    "rrhf_ranking_loss",
    "score_penalty",
    "simpo_loss",
    "slic_loss",
    "smoothed_token_loss",
    "soft_preference_loss",
    "threshold_weights",
    "two_bound_policy_loss",
    "two_way_contrast_loss",
    "value_loss",
]
