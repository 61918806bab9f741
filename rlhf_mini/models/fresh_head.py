"""A one-label model that forgets its head and keeps its backbone."""

import torch
from torch import nn
from transformers import PreTrainedModel

from rlhf_mini.models.build import scalar_head


@torch.no_grad()
def with_fresh_head(model: PreTrainedModel, *, generator: torch.Generator) -> PreTrainedModel:
    """Draw the weights of the model's one-label head anew, in place, and return the model.

    Normal with variance ``1 / (width + 1)``, as `new_reward_model` draws them; a bias becomes 0.
    InternLM2's critic takes the reward model's weights without its head (Cai et al. 2024, arXiv 2403.17297,
    §4.2.3).

    `generator` lives on the CPU. Raises ValueError, as `scalar_head` does, for a model without such a head.
    """
    head = scalar_head(model)
    drawn = torch.empty(head.weight.shape)
    nn.init.normal_(drawn, std=(head.in_features + 1) ** -0.5, generator=generator)
    head.weight.copy_(drawn)
    if head.bias is not None:
        head.bias.zero_()
    return model
