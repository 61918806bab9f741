"""A reward model's zero moved to the mean score of given answers, its unit left as it is.

What pairs teach is a difference of scores, so that any constant may be added. Papers: Stiennon et al. 2020,
arXiv 2009.01325, and Ouyang et al. 2022, arXiv 2203.02155, §3.5, put the zero at the people's own
answers: a score says by how much an answer is better than a demonstration, in log-odds of being preferred.
`reward_model.normalise` also divides by a spread, which neither paper speaks of.
"""

import math

import torch
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.methods.reward_model import scores


@torch.no_grad()
def centre(reward_model: PreTrainedModel, reference: Sequences) -> None:
    """Set the model's `config.mean`, and `config.std` to 1: `scores` of `reference` get mean 0, in nats.

    Differences between scores stay what training made them. Raises ValueError if the mean score is not
    finite.
    """
    reward_model.config.mean, reward_model.config.std = 0.0, 1.0
    mean = float(scores(reward_model, reference).mean())
    if not math.isfinite(mean):
        raise ValueError(f"the mean score of {len(reference)} reference sequences is {mean}: it is no zero")
    reward_model.config.mean = mean
