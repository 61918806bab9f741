"""Models for the tests: tiny, and with weights large enough that a wrong position or mask shows."""

import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, Qwen2Config

from rlhf_mini.models import new_llama

PAD, BEGIN, END = 0, 1, 2
PROMPTS = [[1, 5, 6], [1, 7, 8, 9, 10, 11, 12], [1], [1, 3, 4, 5]]
SIZES = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
}


def sharpen(model):
    """Larger weights: fresh ones make every distribution nearly uniform, and mistakes invisible."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(5)
    return model


def llama(*, seed=0, vocab_size=48):
    sizes = {"width": 32, "layers": 2, "heads": 4, "context": 64}
    tokens = {"pad_token": PAD, "eos_token": END, "bos_token": BEGIN}
    return sharpen(new_llama(vocab_size=vocab_size, **sizes, **tokens, seed=seed))


def other(name):
    """A model that is not what `new_llama` builds."""
    torch.manual_seed(0)
    config = {
        "grouped": lambda: LlamaConfig(**SIZES, num_key_value_heads=2),
        "neox": lambda: GPTNeoXConfig(**SIZES),
        "qwen2": lambda: Qwen2Config(**SIZES, num_key_value_heads=2),
    }[name]()
    return sharpen(AutoModelForCausalLM.from_config(config))
