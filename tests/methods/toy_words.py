"""The toy language in words: prompts and answers of the letters a to d, with a reward for every text."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlhf_mini.exact import ToyLanguage
from rlhf_mini.models import token_logits

WORDS = ["", "a", "b", "c", "d"]
LANGUAGE = ToyLanguage(vocabulary=5, steps=3)  # the language of the toy policy


def in_words(text: tuple[int, ...]) -> str:
    return " ".join(WORDS[token] for token in text if token)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """The toy words, with spaces between them; masks tell padding from ends."""
    words = models.WordLevel({"<end>": 0, "a": 1, "b": 2, "c": 3, "d": 4}, unk_token="a")
    backend = Tokenizer(words)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<end>")


def rewards_by_text(seed: int = 5) -> torch.Tensor:
    """A reward for each text of the language: what its first two tokens are worth, added up.

    Standard normal for the first and half of that for the second: simple enough that the toy policy learns it
    in a few hundred steps, where a reward of its own for every text takes thousands.
    """
    worth = torch.randn(2, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    rewards = [worth[0][text[0]] + (0.5 * worth[1][text[1]] if text[1:] else 0.0) for text in LANGUAGE.texts]
    return torch.tensor(rewards, dtype=torch.float64)


def score_by_text(rewards: torch.Tensor):
    """The score of a batch: an answer is looked up by its tokens, cut at three."""
    of = {text: float(reward) for text, reward in zip(LANGUAGE.texts, rewards, strict=True)}

    def score(sequences):
        rows = zip(sequences.tokens, sequences.response, strict=True)
        return torch.tensor([of[tuple(row[counts].tolist()[:3])] for row, counts in rows])

    return score


def logp_after(model, word: str = "a") -> torch.Tensor:
    """The exact log-probability of every text after a prompt of one word."""

    def logits_of(tokens):
        prompted = tokens.clone()
        prompted[:, 0] = WORDS.index(word)
        with torch.no_grad():
            return token_logits(model, prompted, torch.ones_like(prompted, dtype=torch.bool))

    return LANGUAGE.sequence_logp(logits_of)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
