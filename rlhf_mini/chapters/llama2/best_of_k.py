"""Best of K: its reward against K and temperature, and its KL, exact, measured and bounded."""

from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.llama2 import combining
from rlhf_mini.evaluation import best_of_n_expectation, best_of_n_kl, best_of_n_kl_bound
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

SIZES = (1, 2, 4, 8, 16, 32)
TEMPERATURES = (0.4, 0.7, 1.0, 1.3, 1.6)
PROMPTS = 64


def curve(pipeline: Pipeline, *, temperature: float, unkind: bool) -> dict[str, Any]:
    """Expected reward (logit of R_c) and gold of the best of K, its KL and the formula's, for K of `SIZES`.

    `distinct` is the share of the pool's answers to a prompt that are different texts.
    """
    drawn = combining.pool(
        pipeline, unkind=unkind, prompts=PROMPTS, samples=SIZES[-1], temperature=temperature
    )
    rewards = torch.logit(combining.combined(drawn, unkind=unkind), eps=1e-6)
    golds = golds_of(drawn)
    return {
        "reward": [_mean(rewards, rewards, n) for n in SIZES],
        "gold": [_mean(golds, rewards, n) for n in SIZES],
        "kl": [kl(rewards, n) for n in SIZES],
        "bound": [best_of_n_kl_bound(n) for n in SIZES],
        "distinct": sum(len(set(row)) for row in drawn["answers"]) / rewards.numel(),
    }


def golds_of(drawn: dict[str, Any]) -> Tensor:
    """The gold of a pool, (N, K)."""
    return torch.tensor(
        [
            [stories.gold(p, a).total for a in row]
            for p, row in zip(drawn["prompts"], drawn["answers"], strict=True)
        ]
    )


def _mean(values: Tensor, scores: Tensor, n: int) -> float:
    rows = zip(values.tolist(), scores.tolist(), strict=True)
    return sum(best_of_n_expectation(v, s, n=n) for v, s in rows) / len(values)


def kl(rewards: Tensor, n: int) -> float:
    """KL(best of n ‖ policy) as if a pool's answers were all there is, averaged over prompts: an estimate.

    Answers with equal rewards count as one outcome; rewards are rounded to four digits, because the same text in
    two batches gets scores that differ in the last ones. The estimate is at most log K, K the pool's size.
    """
    share = torch.full((rewards.shape[1],), 1 / rewards.shape[1]).tolist()
    rounded = rewards.double().round(decimals=4)
    return sum(best_of_n_kl(share, row, n=n) for row in rounded.tolist()) / len(rewards)
