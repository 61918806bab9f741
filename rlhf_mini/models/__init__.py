"""Tiny `transformers` models, the lean forward over their weights, and the sampler.

Importing this package asks the C library to keep freed memory (see `rlhf_mini.models.memory`).
"""

from rlhf_mini.models.build import copy_of, freeze, new_llama, new_reward_model, new_value_model
from rlhf_mini.models.forward import (
    ResponseLogp,
    response_logp,
    response_logp_and_entropy,
    sequence_scores,
    token_logits,
    token_values,
)
from rlhf_mini.models.memory import keep_freed_memory
from rlhf_mini.models.sampler import Samples, sample

keep_freed_memory()

__all__ = [
    "ResponseLogp",
    "Samples",
    "copy_of",
    "freeze",
    "new_llama",
    "new_reward_model",
    "new_value_model",
    "response_logp",
    "response_logp_and_entropy",
    "sample",
    "sequence_scores",
    "token_logits",
    "token_values",
]
