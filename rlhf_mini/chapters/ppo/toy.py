"""A toy language as a world for PPO: every text has a reward, and the best policy is known exactly.

Five tokens, texts of at most three, one prompt. The policy is a small Llama, so that PPO runs on it as on any
other model; what the best policy would be, and how far the trained one is from it, are sums over all texts.
"""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import LlamaForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.toy_language import LANGUAGE, exact_logp, small_llama
from rlhf_mini.exact import Optimum, kl_optimum

PROMPT = (LANGUAGE.end_token,)  # the end token also stands where a text begins
WORDS = ("<end>", "a", "b", "c", "d")  # "d" is a word and also fills up rows: masks tell the two apart


@dataclass(frozen=True)
class ToyWorld:
    """Two models and a reward for every text of `LANGUAGE`, standard normal, all drawn with one seed."""

    seed: int

    def policy(self) -> LlamaForCausalLM:
        """The policy that PPO starts from, and whose copy is the reference; the same every time."""
        return small_llama(self.seed).eval()

    def value_model(self) -> LlamaForTokenClassification:
        """A value model that knows nothing yet; the same every time."""
        return small_llama(self.seed, LlamaForTokenClassification).eval()

    @property
    def rewards(self) -> Tensor:
        """(B,) float64, the reward of every text, in the order of `LANGUAGE.texts`."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(len(LANGUAGE.texts), generator=generator, dtype=torch.float64)

    def score(self, sequences: Sequences) -> Tensor:
        """What PPO is told: the reward of each sampled text."""
        reward_of = dict(zip(LANGUAGE.texts, self.rewards.tolist(), strict=True))
        rows = zip(sequences.tokens, sequences.response, strict=True)
        return torch.tensor([reward_of[tuple(tokens[response].tolist())] for tokens, response in rows])

    def optimum(self, *, kl_weight: float, missing_eos_penalty: float = 0.0) -> Optimum:
        """π* ∝ π_ref exp(r/β), with the reference at the start."""
        unfinished = LANGUAGE.score(lambda text: text[-1] != LANGUAGE.end_token)
        rewards = self.rewards - missing_eos_penalty * unfinished
        return kl_optimum(exact_logp(self.policy()), rewards, kl_weight=kl_weight)


def toy_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose words are the five tokens."""
    words = models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="a")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(words), eos_token=WORDS[LANGUAGE.end_token], pad_token=WORDS[-1]
    )
