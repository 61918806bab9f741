"""Pools of answers for best-of-n, drawn once for a policy. What proxies say of them is the business of `pools`."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlhf_mini.chapters.reward_scaling.sizes import Size, sized
from rlhf_mini.evaluation.policy import sample_pool
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

Settings = Mapping[str, Any]


def drawn(pipeline: Pipeline, folder: Path, *, prompts: int, samples: int, size: Size = None) -> None:
    """A kept pool: `samples` answers of the SFT model of this size to each of `prompts` held-out requests, with gold."""
    seed = pipeline.seed_for("chapter 11 pool")
    pool = sample_pool(
        sized(pipeline, size).policy("sft"),
        pipeline.tokenizer(),
        stories.draw_requests(prompts, seed=seed, held_out=True),
        n=samples,
        score=lambda sequences: torch.zeros(len(sequences)),  # the proxies come later
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 11 pool"),
    )
    text = json.dumps({"prompts": pool.prompts, "answers": pool.answers})
    (folder / "texts.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    np.save(folder / "golds.npy", pool.golds.numpy())


def texts_of(pipeline: Pipeline, pool: Settings) -> dict[str, Any]:
    """The `prompts` of a pool, P of them, and the `answers` to each, P lists of N."""
    return json.loads(gzip.decompress((pipeline.kept(drawn, **pool) / "texts.json.gz").read_bytes()))


def golds_of(pipeline: Pipeline, pool: Settings) -> np.ndarray:
    """The gold of every answer of a pool, (P, N)."""
    return np.load(pipeline.kept(drawn, **pool) / "golds.npy").astype(np.float64)
