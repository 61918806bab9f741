"""Pools of answers for best-of-n: drawn once for a policy, scored once by each proxy, combined as often as wanted."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlhf_mini.chapters.reward_scaling.proxies import Size, proxy, sized
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.estimators.ensembles import mean_score, uncertainty_weighted_score, worst_score
from rlhf_mini.evaluation.policy import sample_pool
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.progress import progress_bar
from rlhf_mini.worlds import stories

Settings = Mapping[str, Any]
AT_ONCE = 2048  # answers of about one length, packed and scored together

# How the scores of several proxies become one. The weights are those of Coste et al.'s code for best-of-n and PPO.
RULES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": mean_score,
    "worst": worst_score,
    "mean less half the variance": partial(uncertainty_weighted_score, weight=0.5),
    "mean less a tenth of the variance": partial(uncertainty_weighted_score, weight=0.1),
}


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


def scored(pipeline: Pipeline, folder: Path, *, pool: Settings, proxy_settings: Settings) -> None:
    """What a proxy gives every answer of a pool, kept: (P, N) float32."""
    told = json.loads(gzip.decompress((pipeline.kept(drawn, **pool) / "texts.json.gz").read_bytes()))
    model, tokenizer = proxy(pipeline, **proxy_settings), pipeline.tokenizer()
    rows = [
        (prompt, text)
        for prompt, texts in zip(told["prompts"], told["answers"], strict=True)
        for text in texts
    ]
    found = torch.empty(len(rows))
    by_length = torch.tensor([len(text) for _, text in rows]).argsort()
    with progress_bar(total=len(rows), description="scores") as bar:
        for part in by_length.split(AT_ONCE):
            prompts, texts = zip(*(rows[row] for row in part.tolist()), strict=True)
            found[part] = scores(model, pack_texts(tokenizer, prompts, texts))
            bar.update(len(part))
    np.save(folder / "scores.npy", found.view(len(told["prompts"]), -1).numpy())


def golds_of(pipeline: Pipeline, pool: Settings) -> np.ndarray:
    """The gold of every answer of a pool, (P, N)."""
    return np.load(pipeline.kept(drawn, **pool) / "golds.npy").astype(np.float64)


def scores_of(
    pipeline: Pipeline, pool: Settings, proxies: Sequence[Settings], *, rule: str = "mean"
) -> np.ndarray:
    """The score of every answer of a pool by one proxy, or by several put together by one of `RULES`, (P, N).

    Raises ValueError on an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}: choose one of {', '.join(RULES)}")
    folders = [pipeline.kept(scored, pool=pool, proxy_settings=settings) for settings in proxies]
    tables = torch.stack([torch.from_numpy(np.load(folder / "scores.npy")) for folder in folders])
    return RULES[rule](tables.flatten(1)).view(tables.shape[1:]).double().numpy()
