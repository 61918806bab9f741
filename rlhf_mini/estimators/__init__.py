"""Numbers estimated from samples: returns, advantages, divergences, entropy, rewards, and whitening them."""

from rlhf_mini.estimators.advantages import gae
from rlhf_mini.estimators.combination import linear_reward, piecewise_reward, whitened_logit
from rlhf_mini.estimators.entropy import entropy, token_entropy
from rlhf_mini.estimators.explained_variance import explained_variance
from rlhf_mini.estimators.kl import kl_k1, kl_k2, kl_k3
from rlhf_mini.estimators.returns import discounted_returns
from rlhf_mini.estimators.rewards import token_rewards
from rlhf_mini.estimators.whitening import whiten

__all__ = [
    "discounted_returns",
    "entropy",
    "explained_variance",
    "gae",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "linear_reward",
    "piecewise_reward",
    "token_entropy",
    "token_rewards",
    "whiten",
    "whitened_logit",
]
