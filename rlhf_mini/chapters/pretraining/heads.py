"""Which attention head copies: switch each of them off, and ask for the hero again."""

from typing import Any

import torch
from transformers import PreTrainedModel

from rlhf_mini.chapters.pretraining.copying import (
    WATCHED,
    attention_on_the_hero,
    draw_places,
    look_at,
    seen,
    watched_model,
)
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline


@torch.no_grad()
def without_head(model: PreTrainedModel, number: int) -> PreTrainedModel:
    """A copy of a Llama in which one attention head says nothing: its columns of the output map are zero.

    Heads are numbered through the layers: number = layer · heads + head.
    """
    heads = model.config.num_attention_heads
    if not 0 <= number < heads * model.config.num_hidden_layers:
        raise ValueError(f"there is no head {number} among {heads * model.config.num_hidden_layers}")
    silenced = copy_of(model)
    output = silenced.model.layers[number // heads].self_attn.o_proj.weight
    output.unflatten(1, (heads, -1))[:, number % heads] = 0.0
    return silenced


def silenced_heads(pipeline: Pipeline) -> dict[str, Any]:
    """What each attention head of the trained model is worth for copying.

    `off` holds the mean probability of the right hero over all places with each head switched off in turn, `on`
    with none. The copying `head` is the one that is missed most, `another` the one that is missed most after
    it; `attention` is what the copying head gives to the title's hero at every look of the training, in one
    scene.
    """
    model, places = watched_model(pipeline), draw_places(pipeline, WATCHED, titled=True)
    places = places.to(model.device)
    count = model.config.num_attention_heads * model.config.num_hidden_layers
    off = [look_at(without_head(model, head), places)["probability"] for head in range(count)]
    order = sorted(range(count), key=lambda head: off[head])
    return {
        "head": order[0],
        "on": look_at(model, places)["probability"],
        "off": off,
        "without_it": off[order[0]],
        "without_another": off[order[1]],
        "attention": [float(attention_on_the_hero(pipeline, look)[order[0]]) for look in seen(pipeline)],
    }
