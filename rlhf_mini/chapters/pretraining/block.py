"""A Llama layer written out: normalisation, rotation, attention, gated MLP, and how they are put together.

Everything here is plain tensor algebra, equal to `transformers` within rounding (`tests/chapters`). The
library itself runs `rlhf_mini.models.llama`, which computes the same in fewer operations.
"""

import math

import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer


def rms_norm(x: Tensor, weight: Tensor, *, epsilon: float) -> Tensor:
    """Each vector over its root mean square, times a learned weight a channel.

    Zhang and Sennrich (2019), equation 4.
    """
    return x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt() * weight


def rotate_by_position(heads: Tensor, *, base: float) -> Tensor:
    """Rotary embedding: turn channel pair i of position t by the angle t · base^(−2i/D).

    Heads (B, H, T, D). Pair i is made of channels i and i + D/2, as in `transformers`; Su et al. (2021),
    equation 34, pair neighbours, which is the same up to the order of channels.
    """
    length, channels = heads.shape[-2:]
    frequency = base ** (-torch.arange(0, channels, 2) / channels)
    angle = torch.arange(length)[:, None] * frequency  # (T, D/2)
    first, second = heads.chunk(2, dim=-1)
    return torch.cat(
        [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], dim=-1
    )


def attention(query: Tensor, key: Tensor, value: Tensor, look: Tensor) -> Tensor:
    """softmax(Q Kᵀ / √D) V, over the positions that `look` (…, T, T) bool allows.

    Vaswani et al. (2017), equation 1.
    """
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.masked_fill(~look, -torch.inf).softmax(-1) @ value


def self_attention(x: Tensor, layer: LlamaDecoderLayer, *, heads: int, base: float, look: Tensor) -> Tensor:
    """Split x (B, T, D) into heads, rotate queries and keys, attend, and put the heads together again."""
    weights = layer.self_attn
    query, key, value = (
        (x @ projection.weight.T).unflatten(-1, (heads, -1)).transpose(1, 2)
        for projection in (weights.q_proj, weights.k_proj, weights.v_proj)
    )
    query, key = rotate_by_position(query, base=base), rotate_by_position(key, base=base)
    attended = attention(query, key, value, look[:, None])
    return attended.transpose(1, 2).flatten(-2) @ weights.o_proj.weight.T


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The gated MLP: (silu(x G) ⊙ x U) D with silu(z) = z σ(z). Shazeer (2020), equation 6."""
    opened = x @ gate.T
    return (opened * opened.sigmoid() * (x @ up.T)) @ down.T


def llama_layer(x: Tensor, layer: LlamaDecoderLayer, *, heads: int, base: float, look: Tensor) -> Tensor:
    """x plus attention of the normalised x, then plus the MLP of that, normalised again."""
    epsilon = layer.input_layernorm.variance_epsilon
    h = rms_norm(x, layer.input_layernorm.weight, epsilon=epsilon)
    x = x + self_attention(h, layer, heads=heads, base=base, look=look)
    h = rms_norm(x, layer.post_attention_layernorm.weight, epsilon=epsilon)
    mlp = layer.mlp
    return x + swiglu(h, mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)


def llama_logits(model: LlamaForCausalLM, tokens: Tensor, look: Tensor) -> Tensor:
    """The whole model: embedding, layers, a last normalisation, and the projection onto the vocabulary."""
    config, backbone = model.config, model.model
    x = backbone.embed_tokens.weight[tokens]
    for layer in backbone.layers:
        x = llama_layer(
            x,
            layer,
            heads=config.num_attention_heads,
            base=config.rope_parameters["rope_theta"],
            look=look,
        )
    return rms_norm(x, backbone.norm.weight, epsilon=config.rms_norm_eps) @ model.lm_head.weight.T
