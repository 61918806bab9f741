"""Best-of-n at answering time: what could be had from the SFT model's samples without any training."""

import itertools
from typing import Any

from torch import Tensor

from rlhf_mini.chapters.filtering import data, looks
from rlhf_mini.evaluation import best_of_n_expectation, best_of_n_kl_bound
from rlhf_mini.evaluation.policy import sample_pool
from rlhf_mini.pipeline import Pipeline

NUMBERS = (1, 2, 4, 8, 16, 32)


def best_of_n(pipeline: Pipeline) -> dict[str, list[float]]:
    """Gold and proxy of the best of n by the reward model, n of `NUMBERS`, with its price, log n − (n − 1)/n nats.

    Every n is averaged over all choices of n from one pool of answers to the requests that policies are judged on.
    The price is an upper bound, nearly reached where the same answer is hardly ever drawn twice.
    """
    pool = sample_pool(
        pipeline.policy("sft"),
        pipeline.tokenizer(),
        looks.requests(pipeline),
        n=NUMBERS[-1],
        score=data.reward_of(pipeline),
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 09 pool"),
    )
    return {
        "n": [float(number) for number in NUMBERS],
        "gold": [_chosen(pool.golds, pool.proxies, number) for number in NUMBERS],
        "proxy": [_chosen(pool.proxies, pool.proxies, number) for number in NUMBERS],
        "kl": [best_of_n_kl_bound(number) for number in NUMBERS],
    }


def _chosen(values: Tensor, scores: Tensor, number: int) -> float:
    rows = zip(values.tolist(), scores.tolist(), strict=True)
    return sum(best_of_n_expectation(value, score, n=number) for value, score in rows) / len(values)


def gold_at(curve: dict[str, Any], kl: float) -> float:
    """The gold of best-of-n at a divergence, between its points by straight lines; beyond the last, the last's."""
    points = list(zip(curve["kl"], curve["gold"], strict=True))
    for (left, low), (right, high) in itertools.pairwise(points):
        if kl <= right:
            return low + (high - low) * max(0.0, kl - left) / (right - left)
    return points[-1][1]
