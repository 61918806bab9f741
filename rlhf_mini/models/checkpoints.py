"""Activation checkpointing: keep the input of every layer alone, and compute the rest again when needed.

A training step keeps what each layer's backward pass will ask for, which grows with batch × length × layers
and soon outweighs the model. With a checkpoint at every layer only the layer's input is kept; when the
backward pass arrives, the layer is computed once more, one at a time. The gradient is the same; a third more
operations are the price (`footprint.checkpointed_training_flops`).

Why not the method of `transformers`' own, `gradient_checkpointing_enable` (`activation_checkpointing_enable`
from version 6 on): it does nothing while a model is in eval mode, and every method here that compares two
policies trains in eval mode, because dropout would make policy and reference differ. It asks for no error
and saves no memory there. Ours works in both modes.

Chen et al. 2016, arXiv 1604.06174.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of a model's backbone: its first list of as many modules as the configuration has layers.

    Raises ValueError for a model without such a list.
    """
    wanted = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise ValueError(
        f"{type(model).__name__} has no list of {wanted} layers, so that checkpoints have no place: train "
        "without them"
    )


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Have every layer of `model` computed again in the backward pass instead of kept; changed in place.

    Without gradients, as in sampling, layers run as before. A copy of the model has its own checkpoints.
    Calling it twice is calling it once. Raises ValueError as `decoder_layers` does.
    """
    for layer in decoder_layers(model):
        if not is_checkpointed(layer):
            layer.forward = partial(_recomputed, layer.forward)


def is_checkpointed(layer: nn.Module) -> bool:
    """Whether this layer is one that `checkpoint_activations` changed."""
    forward = vars(layer).get("forward")
    return isinstance(forward, partial) and forward.func is _recomputed


def _recomputed(forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    return checkpoint(forward, *given, use_reentrant=False, **named)
