"""The worlds of a few tokens that two processes must treat as one does, in double precision.

Double precision, and the library's own `.float()` made to mean it, because AdamW divides a gradient by its
size: a gradient that should be 0 and is 1e-9 of rounding moves a parameter as far as any other. Batches have
odd numbers of rows, and rows of very different lengths.
"""

import contextlib
import random
from collections.abc import Iterator

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from rlhf_mini.batch import Pairs, Sequences, pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.models import new_llama, new_reward_model

Result = tuple[list[dict[str, float]], dict[str, nn.Module]]  # what was logged, and what was trained

WORDS, END, PAD = 5, 0, 5  # the end, a to d, and padding
ADAMW = OptimizerConfig(learning_rate=1e-2, weight_decay=0.1, warmup_steps=1, clip_norm=0.5)
DRAWING = Drawing(samples=3, temperature=1.0, max_new_tokens=6)
PROMPTS = [[1], [2, 3, 4], [4, 4], [1, 2, 3, 4, 1, 2], [3]]
ASKED = ["a", "b c", "d", "a d b", "c", "b", "d d d"]


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    before, float_ = torch.get_default_dtype(), Tensor.float
    torch.set_default_dtype(torch.float64)
    Tensor.float = Tensor.double
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        Tensor.float = float_


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def word_tokenizer() -> PreTrainedTokenizerFast:
    words = ["<end>", "a", "b", "c", "d", "<pad>"]
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="a"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<pad>")


def language_model(seed: int = 0) -> nn.Module:
    model = new_llama(
        vocab_size=WORDS + 1,
        width=16,
        layers=1,
        heads=2,
        context=24,
        pad_token=PAD,
        eos_token=END,
        bos_token=END,
        seed=seed,
    ).double()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(4)  # fresh weights make every word as likely, and mistakes invisible
    return model.eval()


def reward_model(seed: int = 0) -> nn.Module:
    return new_reward_model(language_model(seed), seed=seed + 1).double()


def texts(count: int, *, seed: int, longest: int = 12) -> Sequences:
    """Prompts of 1 to 5 tokens with answers of 1 to `longest`."""
    rng = random.Random(seed)
    prompts = [[rng.randrange(1, WORDS) for _ in range(rng.randint(1, 5))] for _ in range(count)]
    answers = [[rng.randrange(1, WORDS) for _ in range(rng.randint(0, longest - 1))] for _ in range(count)]
    return pack_rows(prompts, [[*answer, END] for answer in answers], pad_token=PAD)


def some_pairs(**more: Tensor) -> Pairs:
    return Pairs(texts(15, seed=1), texts(15, seed=2), **more)


def endless(count: int = 5) -> Iterator[Sequences]:
    for seed in range(1000):
        yield texts(count, seed=100 + seed)


def score(sequences: Sequences) -> Tensor:
    """How many of the answer's tokens are a's, less a tenth for each token."""
    ones = ((sequences.tokens == 1) & sequences.response).sum(1)
    return ones.double() - 0.1 * sequences.response.sum(1) + 0.01 * sequences.tokens.sum(1)


def tuned(steps: int = 3) -> dict[str, OptimizerConfig | int]:
    return {"epochs": 1, "batch": 15 // steps, "optimizer": ADAMW}
