"""A toy world for methods: five tokens, at most three steps, and models small enough to train in a test."""

import copy
from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.exact import ToyLanguage
from rlhf_mini.models import new_llama, token_logits

WORDS = ["<end>", "a", "b", "c", "d"]  # "d" is a word and also fills up rows: masks tell the two apart


@pytest.fixture(scope="session")
def language() -> ToyLanguage:
    return ToyLanguage(vocabulary=5, steps=3)


@pytest.fixture(scope="session")
def toy_tokenizer() -> PreTrainedTokenizerFast:
    words = models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="a")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), eos_token="<end>", pad_token="d")


@pytest.fixture
def toy_policy() -> LlamaForCausalLM:
    return LlamaForCausalLM(_config()).eval()


@pytest.fixture
def toy_values() -> LlamaForTokenClassification:
    config = _config()
    config.num_labels, config.classifier_dropout = 1, 0.0
    return LlamaForTokenClassification(config).eval()


def _config() -> LlamaConfig:
    torch.manual_seed(0)
    return LlamaConfig(
        vocab_size=5,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        eos_token_id=0,
        bos_token_id=0,
        pad_token_id=None,  # no row of the embedding stands still: token 4 is a word
        tie_word_embeddings=False,
        initializer_range=0.1,
    )


@pytest.fixture(scope="session")
def text_rewards(language: ToyLanguage) -> dict[tuple[int, ...], float]:
    """A reward for every text, standard normal."""
    drawn = torch.randn(len(language.texts), generator=torch.Generator().manual_seed(1)).tolist()
    return dict(zip(language.texts, drawn, strict=True))


@pytest.fixture(scope="session")
def toy_score(text_rewards: dict[tuple[int, ...], float]) -> Callable[[Sequences], torch.Tensor]:
    def score(sequences: Sequences) -> torch.Tensor:
        rows = zip(sequences.tokens, sequences.response, strict=True)
        return torch.tensor([text_rewards[tuple(tokens[response].tolist())] for tokens, response in rows])

    return score


@pytest.fixture(scope="session")
def exact_logp(language: ToyLanguage) -> Callable[[LlamaForCausalLM], torch.Tensor]:
    """The log-probability that a model gives to every text of the language."""

    def logp(model: LlamaForCausalLM) -> torch.Tensor:
        with torch.no_grad():
            return language.sequence_logp(
                lambda tokens: token_logits(model, tokens, torch.ones_like(tokens, dtype=torch.bool))
            )

    return logp


@pytest.fixture(scope="session")
def weights_of() -> Callable[[torch.nn.Module], dict[str, torch.Tensor]]:
    """An independent copy of a model's weights, to be compared bit by bit."""
    return lambda model: copy.deepcopy(model.state_dict())


@pytest.fixture(scope="session")
def same_weights() -> Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]:
    return lambda one, other: (
        one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    )


@pytest.fixture
def model() -> LlamaForCausalLM:
    """An untrained model for demonstrations of token numbers, no text."""
    return new_llama(
        vocab_size=16, width=32, layers=1, heads=2, context=12, pad_token=0, eos_token=2, bos_token=1, seed=0
    )


@pytest.fixture
def demonstrations() -> Sequences:
    """Four answered prompts of unequal length."""
    prompts = [[1, 5, 6], [1, 7], [1, 8, 9, 10], [1, 6]]
    return pack_rows(prompts, [[11, 2], [3, 4, 5, 6, 2], [7, 2], [12, 13, 2]], pad_token=0)
