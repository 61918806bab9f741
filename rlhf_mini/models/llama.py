"""The lean Llama: the weights of `transformers`' own modules, with fewer operations around them.

    x = embedding[tokens]
    for every layer:  x = x + attention(norm(x));  x = x + mlp(norm(x))
    return norm(x)

Gradients flow to the module's own parameters, so optimizers, `save_pretrained` and TRL notice no difference.
What makes it faster on small models: padding is skipped outside attention, matrix products run at the
processor's full rate (`linear`), the rotary embedding is two operations, and no mask is built.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    PreTrainedModel,
)
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm

from rlhf_mini.models.checkpoints import is_checkpointed
from rlhf_mini.models.linear import linear
from rlhf_mini.models.packing import Packing

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]

_LLAMAS = (LlamaForCausalLM, LlamaForSequenceClassification, LlamaForTokenClassification)
_FIXED_TABLES = ("default", "linear", "llama3", "yarn")  # rotary variants that do not depend on the length


def is_plain_llama(model: PreTrainedModel) -> bool:
    """Whether the lean forward computes what this model's own `forward` computes.

    False for other architectures, subclasses, biases, other activations, active dropout, rotary variants
    whose tables change with the length, and models with other layers in place of linear ones (LoRA). False
    too after `checkpoint_activations`: the lean forward would keep what is to be computed again.
    """
    if type(model) not in _LLAMAS:
        return False
    config = model.config
    return (
        not (config.attention_bias or config.mlp_bias)
        and not (config.attention_dropout and model.training)
        and config.hidden_act == "silu"
        and config.rope_parameters["rope_type"] in _FIXED_TABLES
        and not any(is_checkpointed(layer) for layer in model.base_model.layers)
        and all(type(module) is nn.Linear for module in model.modules() if hasattr(module, "in_features"))
    )


def llama_hidden(
    model: PreTrainedModel, tokens: Tensor, mask: Tensor, *, past: list[tuple[Tensor, Tensor]] | None = None
) -> Tensor:
    """The final hidden state at every position: tokens (B, T) -> (B, T, D), zero where `mask` is false.

    Attention needs no padding mask: it looks only to the left and padding stands on the right, so no
    real token sees any. Where `past` is given, each layer's keys and values (B, T, KV, head) are
    appended to it.
    """
    packing = Packing(mask)
    cos, sin = rotary_tables(model, tokens.shape[1])

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = packing.unpack(query), packing.unpack(key), packing.unpack(value)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if past is not None:
            past.append((key, value))
        return packing.pack(causal_attention(query, key, value))

    x = embed(model, packing.pack(tokens))
    for layer in model.base_model.layers:
        x = transformer_layer(x, layer, attend)
    return packing.unpack(norm(x, model.base_model.norm))


def transformer_layer(x: Tensor, layer: LlamaDecoderLayer, attend: Attend) -> Tensor:
    """One layer on x (N, D). `attend` takes query, key and value heads (N, heads, head) and mixes rows."""
    attention, mlp = layer.self_attn, layer.mlp
    h = norm(x, layer.input_layernorm)
    query, key, value = (
        linear(h, projection.weight).unflatten(-1, (-1, attention.head_dim))
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    x = x + linear(attend(query, key, value).flatten(-2), attention.o_proj.weight)
    h = norm(x, layer.post_attention_layernorm)
    gated = F.silu(linear(h, mlp.gate_proj.weight)) * linear(h, mlp.up_proj.weight)
    return x + linear(gated, mlp.down_proj.weight)


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(B, T, heads, head) three times -> (B, T, H, head). Each token attends to itself and to its left."""
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    grouped = query.shape[1] != key.shape[1]
    attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)
    return attended.transpose(1, 2)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn channel pairs (i, i + head/2) by the angle of the token's position (rotary embedding).

    The first half of `sin` carries a minus: (a, b) becomes (a cos − b sin, b cos + a sin).
    """
    swapped = heads.roll(heads.shape[-1] // 2, dims=-1)
    return torch.addcmul(heads * cos, swapped, sin).type_as(heads)


def rotary_tables(model: PreTrainedModel, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the positions below `length`, each (T, 1, head): one row for all heads."""
    rotary = model.base_model.rotary_emb
    positions = torch.arange(length, device=model.device, dtype=torch.float32)
    angles = torch.outer(positions, rotary.inv_freq.float())[:, None]
    cos, sin = angles.cos() * rotary.attention_scaling, angles.sin() * rotary.attention_scaling
    return torch.cat((cos, cos), dim=-1).to(model.dtype), torch.cat((-sin, sin), dim=-1).to(model.dtype)


def embed(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """The embedding of each token: (…) -> (…, D). The padding token's row gets no gradient."""
    embedding = model.base_model.embed_tokens
    return F.embedding(tokens, embedding.weight, embedding.padding_idx)


def norm(x: Tensor, module: LlamaRMSNorm) -> Tensor:
    """x over its root mean square, times a learned weight a channel."""
    return F.rms_norm(x, module.weight.shape, module.weight, module.variance_epsilon)
