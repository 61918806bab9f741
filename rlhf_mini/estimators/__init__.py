"""Numbers estimated from samples: returns, advantages, divergences, entropy, rewards, and whitening them."""

from rlhf_mini.estimators.advantages import gae
from rlhf_mini.estimators.averages import (
    constant_length_mean,
    sequence_mean,
    sequence_sum,
    token_mean,
)
from rlhf_mini.estimators.combination import linear_reward, piecewise_reward, whitened_logit
from rlhf_mini.estimators.entropy import entropy, token_entropy
from rlhf_mini.estimators.explained_variance import explained_variance
from rlhf_mini.estimators.group_advantages import (
    batch_mean_advantages,
    group_mean_advantages,
    group_scaled_advantages,
    leave_one_out_advantages,
    without_spread,
)
from rlhf_mini.estimators.kl import kl_k1, kl_k2, kl_k3
from rlhf_mini.estimators.returns import discounted_returns
from rlhf_mini.estimators.rewards import token_rewards
from rlhf_mini.estimators.whitening import whiten

__all__ = [
    "batch_mean_advantages",
    "constant_length_mean",
    "discounted_returns",
    "entropy",
    "explained_variance",
    "gae",
    "group_mean_advantages",
    "group_scaled_advantages",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "leave_one_out_advantages",
    "linear_reward",
    "piecewise_reward",
    "sequence_mean",
    "sequence_sum",
    "token_entropy",
    "token_mean",
    "token_rewards",
    "whiten",
    "whitened_logit",
    "without_spread",
]
