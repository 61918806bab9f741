"""The toy language that several chapters' exact results are sums over, and a small Llama that speaks it.

Five tokens, texts of at most three, one prompt: 85 texts, so that a whole distribution can be listed.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from rlhf_mini.exact import TablePolicy, ToyLanguage
from rlhf_mini.models import token_logits

LANGUAGE = ToyLanguage(vocabulary=5, steps=3)
TEXTS = len(LANGUAGE.texts)


@dataclass(frozen=True)
class TextWorld:
    """A reference and a reward for every text of `LANGUAGE`, drawn with one seed.

    The reference has standard normal logits for every state and token; rewards are standard normal.
    """

    seed: int

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        reference = TablePolicy.random(LANGUAGE, generator=generator)
        rewards = torch.randn(TEXTS, generator=generator, dtype=torch.float64)
        return LANGUAGE.sequence_logp(reference).detach(), rewards

    @property
    def logp_ref(self) -> Tensor:
        """(B,), the log-probability of every text under the reference."""
        return self._drawn[0]

    @property
    def rewards(self) -> Tensor:
        """(B,), the true reward of every text."""
        return self._drawn[1]


def leads(values: Tensor) -> Tensor:
    """(B,) -> (B, B): by how much i is ahead of j."""
    return values[:, None] - values[None, :]


@torch.no_grad()
def exact_logp(model: PreTrainedModel) -> Tensor:
    """(B,) float64, the log-probability that a model gives to every text of the language."""
    return LANGUAGE.sequence_logp(
        lambda tokens: token_logits(model, tokens, torch.ones_like(tokens, dtype=torch.bool))
    )


def small_llama(seed: int, architecture: type = LlamaForCausalLM) -> PreTrainedModel:
    """A Llama of one layer whose vocabulary is the language's; the same for the same seed and `architecture`.

    An architecture with a head of its own, such as a value model's, has one output there and no dropout.
    """
    config = LlamaConfig(
        vocab_size=LANGUAGE.vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        eos_token_id=LANGUAGE.end_token,
        bos_token_id=LANGUAGE.end_token,
        pad_token_id=None,  # no row of the embedding stands still: what fills rows up is a word, too
        tie_word_embeddings=False,
        initializer_range=0.1,
        num_labels=1,
    )
    config.classifier_dropout = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture(config)
