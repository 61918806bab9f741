"""Small models of other architectures with a tokenizer of their own, and rows for every method."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, Qwen2Config

from rlhf_mini.data.tokenizer import train_tokenizer

STORIES = [
    "Finn the fox found a red kite. He gave it to Mara.",
    "Mara the owl lost a blue boat. She was sad.",
    "How many? Two and five are seven. #### 7",
    "How many? Two and six are eight. #### 8",
]
ANIMALS = ("fox", "owl", "cat", "hen", "pig", "cow", "ant", "bee")
WORDS = ("kite", "boat", "drum", "ball")


def save(kind: str, folder: Path) -> Path:
    """A saved model of this architecture, with a tokenizer that a few stories trained."""
    tokenizer = train_tokenizer(STORIES * 3, vocab_size=320)
    sizes = {
        "vocab_size": len(tokenizer) + 2,  # a rounded vocabulary, as most published models have
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    config = {
        "neox": lambda: GPTNeoXConfig(**sizes),
        "qwen2": lambda: Qwen2Config(**sizes, num_key_value_heads=2),
        "llama": lambda: LlamaConfig(**sizes, num_key_value_heads=2),
    }[kind]()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows_for(method: str) -> list[dict[str, object]]:
    """Forty rows in the format that the method reads; the first answer is the better one."""
    asked = [(f"A {animal} and a {word}?", animal, word) for animal in ANIMALS for word in WORDS]
    asked += [(f"The {animal}?", animal, "kite") for animal in ANIMALS]
    rows: list[dict[str, object]] = []
    for place, (prompt, animal, word) in enumerate(asked):
        good, bad = f"The {animal} found a {word}.", "No. She was sad."
        rows.append(
            {
                "sft": {"prompt": prompt, "completion": good},
                "kto": {"prompt": prompt, "completion": (good, bad)[place % 2], "label": place % 2 == 0},
                "ppo": {"prompt": prompt},
                "grpo": {"question": prompt, "answer": "#### 7"},
            }.get(method, {"prompt": prompt, "chosen": good, "rejected": bad})
        )
    return rows


def write(folder: Path, rows: list[dict[str, object]], name: str = "rows.jsonl") -> Path:
    """The rows as JSON lines."""
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
