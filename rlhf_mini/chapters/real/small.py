"""Small things on disk that stand for large ones: saved models of other architectures than the book's, and files.

A model of two layers from a configuration of Qwen2 or GPT-NeoX is loaded, trained and saved by the same code as one of
the hub with billions of parameters. It begins with random numbers: what is shown with it is that a training runs and
learns, and not what a pretrained model can do.
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
)

from rlhf_mini.chapters.real.beside_data import (
    Start,
    demonstration_rows,
    preference_rows,
    save_start,
    verdict_rows,
)
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.handover import hand_over_model
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import new_llama

CONFIGS: Mapping[str, Callable[..., PreTrainedConfig]] = MappingProxyType(
    {"Qwen2": Qwen2Config, "GPT-NeoX": GPTNeoXConfig, "Llama": LlamaConfig}
)
VOCABULARY, CONTEXT = 512, 320


def tokenizer_for(seed: int, *, rows: int = 200) -> PreTrainedTokenizerBase:
    """A tokenizer of at most `VOCABULARY` pieces, trained on demonstrations."""
    texts = [f"{row['prompt']} {row['completion']}" for row in demonstration_rows(rows, seed=seed)]
    return train_tokenizer(texts, vocab_size=VOCABULARY)


def configuration(kind: str, tokenizer: PreTrainedTokenizerBase, *, width: int = 64) -> PreTrainedConfig:
    """The configuration of two layers in one of `CONFIGS`; ValueError for another kind."""
    if kind not in CONFIGS:
        raise ValueError(f"kind must be one of {', '.join(CONFIGS)}; got {kind!r}")
    tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    return CONFIGS[kind](
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=3 * width, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=CONTEXT, **tokens,
        **({"num_key_value_heads": 2} if kind == "Qwen2" else {}),
    )  # fmt: skip


def untrained(kind: str, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> PreTrainedModel:
    """A model of that configuration with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(configuration(kind, tokenizer))
    return model.eval()


def save_base(kind: str, folder: Path, *, seed: int) -> Path:
    """Save such a model and its tokenizer as a folder that stands for a hub name; returns the folder."""
    tokenizer = tokenizer_for(seed)
    return hand_over_model(untrained(kind, tokenizer, seed=seed), tokenizer, folder)


def small_start(folder: Path, *, seed: int, steps: int = 40) -> Start:
    """A Llama of two layers and width 64 after `steps` steps of SFT, and a reward model on it, saved."""
    tokenizer = tokenizer_for(seed)
    tokens = {f"{name}_token": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    policy = new_llama(
        vocab_size=len(tokenizer), width=64, layers=2, heads=4, context=CONTEXT, seed=seed, **tokens
    )
    rows = demonstration_rows(16 * steps, seed=seed + 1)
    data = pack_texts(tokenizer, [row["prompt"] for row in rows], [row["completion"] for row in rows])
    config = SFTConfig(epochs=1, batch=16, optimizer=OptimizerConfig(learning_rate=3e-3, final_fraction=0.1))
    sft(policy, data, config=config, generator=torch.Generator().manual_seed(seed))
    return save_start(policy, tokenizer, folder, seed=seed)


# ------------------------------------------------------------------------------------------------------ files


def sum_rows(count: int, *, seed: int) -> list[dict[str, str]]:
    """Sums in the format of GSM8K: a question, and an answer whose last line is #### and the number."""
    rng = random.Random(seed)
    numbers = [(rng.randint(2, 99), rng.randint(2, 99)) for _ in range(count)]
    return [
        {"question": f"What is {a} plus {b}?", "answer": f"{a}+{b}=<<{a}+{b}={a + b}>>{a + b}\n#### {a + b}"}
        for a, b in dict.fromkeys(numbers)
    ]


def write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows as JSON, one a line; returns the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")
    return file


def story_files(folder: Path, *, count: int = 200, seed: int) -> dict[str, Path]:
    """A file for each kind of rows that `rlhf-mini train` reads, by the method that reads it."""
    demonstrations = demonstration_rows(count, seed=seed)
    text = folder / "stories.txt"
    folder.mkdir(parents=True, exist_ok=True)
    text.write_text("\n".join(row["completion"] for row in demonstrations), encoding="utf-8")
    decided = [row for row in preference_rows(count, seed=seed) if row["chosen"] != row["rejected"]]
    pairs = write_lines(folder / "pairs.jsonl", decided)
    return {
        "pretrain": text,
        "sft": write_lines(folder / "demonstrations.jsonl", demonstrations),
        "reward": pairs,
        "dpo": pairs,
        "kto": write_lines(folder / "verdicts.jsonl", verdict_rows(count // 2, seed=seed)),
        "grpo": write_lines(folder / "sums.jsonl", sum_rows(count, seed=seed)),
    }
