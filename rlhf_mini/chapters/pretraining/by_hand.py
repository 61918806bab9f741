"""What the chapter writes out by hand, held against the libraries that everyone uses."""

import json
import random
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from rlhf_mini.chapters.pretraining.block import llama_logits
from rlhf_mini.chapters.pretraining.bpe import Pair, count_words, learn_merges
from rlhf_mini.models import new_llama
from rlhf_mini.models.masks import causal_attention_mask
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

TEXTS, MERGES = 200, 120


def world_texts(seed: int, count: int = TEXTS) -> list[str]:
    """Documents of the world for a small tokenizer."""
    rng = random.Random(f"chapter 02, by hand {seed}")
    return [stories.draw_document(rng) for _ in range(count)]


def merges_of_tokenizers(texts: list[str], count: int) -> list[Pair]:
    """The first merges that the library `tokenizers` learns on these texts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = len(set("".join(count_words(texts))))
    trainer = trainers.BpeTrainer(vocab_size=letters + count, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    return [(first, second) for first, second in json.loads(bpe.to_str())["model"]["merges"]]


def hand_and_library(pipeline: Pipeline) -> dict[str, Any]:
    """How far the layers by hand are from `transformers`, and how many merges agree with `tokenizers`."""
    model = new_llama(
        vocab_size=64, width=32, layers=2, heads=4, context=64, pad_token=0, eos_token=2, bos_token=1,
        seed=pipeline.seed_for("chapter 02, by hand"),
    ).eval()  # fmt: skip
    tokens = torch.randint(3, 64, (3, 20), generator=pipeline.generator("chapter 02, tokens by hand"))
    with torch.no_grad():
        ours = llama_logits(model, tokens, causal_attention_mask(torch.ones_like(tokens, dtype=torch.bool)))
        difference = (ours - model(input_ids=tokens).logits).abs().max()
    texts = world_texts(pipeline.seed)
    mine, theirs = learn_merges(count_words(texts), MERGES), merges_of_tokenizers(texts, MERGES)
    agreeing = sum(a == b for a, b in zip(mine, theirs, strict=True))
    return {"largest_difference": float(difference), "merges": MERGES, "merges_agreeing": agreeing}
