"""What chapter 00 measures: each function takes a pipeline and returns plain numbers.

Call them through `pipeline.measured`, which measures once and keeps the numbers.
"""

import dataclasses
import math
import random
from functools import lru_cache

from rlhf_mini.chapters.judging import held_out_requests, judged_on_requests
from rlhf_mini.data.text import token_stream
from rlhf_mini.evaluation.best_of_n import best_of_n_expectation, best_of_n_kl, best_of_n_kl_bound
from rlhf_mini.evaluation.policy import Pool, judge_plain_text, sample_pool
from rlhf_mini.methods.pretrain import document_loss
from rlhf_mini.methods.reward_model import normalise, pair_accuracy, scores, train_reward_model
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories

BEST_OF = (1, 2, 4, 8, 16, 32, 64)


@lru_cache(maxsize=8)
def judged(pipeline: Pipeline, stage: str) -> dict[str, float]:
    """The stage's policy on held-out requests, with KL to the SFT model and the proxy's opinion."""
    return judged_on_requests(pipeline, pipeline.policy(stage)).metrics()


def pretraining(pipeline: Pipeline) -> dict[str, float]:
    """Held-out loss of the base model and the grammar's entropy, in nats per document and as perplexity."""
    rng = random.Random(f"held-out documents {pipeline.seed}")
    documents = [stories.draw_document(rng) for _ in range(1000)]
    tokenizer = pipeline.tokenizer()
    loss = document_loss(pipeline.policy("base"), tokenizer, documents)
    tokens = len(token_stream(tokenizer, documents)) / len(documents) - 1  # the begin token is given
    return {
        "nats_per_document": loss,
        "entropy_per_document": stories.entropy(),
        "tokens_per_document": tokens,
        "perplexity": math.exp(loss / tokens),
        "perplexity_of_the_grammar": math.exp(stories.entropy() / tokens),
    }


def fine_tuning(pipeline: Pipeline) -> dict[str, float]:
    """Share of held-out requests that base and SFT model follow to the letter, and their mean gold."""
    base = base_metrics(pipeline)
    sft = judged(pipeline, "sft")
    return {
        "followed_base": base["followed"],
        "followed_sft": sft["followed"],
        "gold_base": base["gold"],
        "gold_sft": sft["gold"],
        "best_gold": stories.BEST,
    }


def _trained_accuracy(pipeline: Pipeline, backbone: Pipeline, labels: int) -> float:
    """Held-out accuracy of a reward model on the backbone's base model, from the first `labels` pairs."""
    tokenizer, settings = pipeline.tokenizer(), pipeline.profile.reward_model
    pairs = pack_pairs(tokenizer, pipeline.preferences("train").select(range(labels)))
    model = new_reward_model(backbone.policy("base"), seed=pipeline.seed).requires_grad_(True)
    train_reward_model(model, pairs, config=settings, generator=pipeline.generator(f"rm {labels}"))
    normalise(model, pairs.rejected)
    return pair_accuracy(model, pack_pairs(tokenizer, pipeline.preferences("test")))


def reward_modelling(pipeline: Pipeline) -> dict[str, float]:
    """Held-out accuracy of the reward model, its Bayes ceiling, and how it grows with labels and size."""
    test = pipeline.preferences("test")
    pairs = pack_pairs(pipeline.tokenizer(), test)
    profile = dataclasses.replace(pipeline.profile, **pipeline.profile.small_model)
    small = Pipeline(profile, seed=pipeline.seed, cache=pipeline.store.root)
    labels = pipeline.profile.pairs
    return {
        "accuracy": pair_accuracy(pipeline.reward_model(), pairs),
        "bayes_ceiling": sum(test["ceiling"]) / len(test),
        "agreement": stories.agreement(
            [{"prompt": r["prompt"], "first": r["chosen"], "second": r["rejected"]} for r in test]
        ),
        "accuracy_tenth_of_labels": _trained_accuracy(pipeline, pipeline, labels // 10),
        "accuracy_small_model": _trained_accuracy(pipeline, small, labels),
    }


@lru_cache(maxsize=2)
def best_of_n_pool(pipeline: Pipeline) -> Pool:
    """`best_of` answers of the SFT model to each of 64 held-out requests."""
    reward_model = pipeline.reward_model()
    return sample_pool(
        pipeline.policy("sft"),
        pipeline.tokenizer(),
        held_out_requests(pipeline)[:64],
        n=pipeline.profile.best_of,
        score=lambda sequences: scores(reward_model, sequences),
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("pool"),
    )


def best_of_n(pipeline: Pipeline) -> dict[str, float]:
    """Expected gold and proxy of best-of-n by the proxy, and the measured KL beside its bound.

    For every n of `BEST_OF` up to the pool's size.
    """
    pool, numbers = best_of_n_pool(pipeline), {}
    size = pool.golds.shape[1]
    for n in (n for n in BEST_OF if n <= size):
        rows = [*zip(pool.golds.tolist(), pool.proxies.tolist(), strict=True)]
        numbers[f"gold_{n}"] = sum(best_of_n_expectation(g, p, n=n) for g, p in rows) / len(rows)
        numbers[f"proxy_{n}"] = sum(best_of_n_expectation(p, p, n=n) for _, p in rows) / len(rows)
        numbers[f"kl_{n}"] = sum(best_of_n_kl([1 / size] * size, p, n=n) for _, p in rows) / len(rows)
        numbers[f"kl_bound_{n}"] = best_of_n_kl_bound(n)
    return numbers


def ppo_with_kl(pipeline: Pipeline) -> dict[str, float]:
    """Held-out gold before and after PPO with its KL penalty, the share of the gap closed, the KL spent."""
    before, after = judged(pipeline, "sft"), judged(pipeline, "ppo")
    return {
        "gold_sft": before["gold"],
        "gold_ppo": after["gold"],
        "gap_closed": (after["gold"] - before["gold"]) / (stories.BEST - before["gold"]),
        "kl": after["kl_k3"],
        "proxy_sft": before["proxy"],
        "proxy_ppo": after["proxy"],
        "followed_ppo": after["followed"],
        "distinct_2_ppo": after["distinct_2"],
    }


def smoothed(values: list[float], *, window: int = 5) -> list[float]:
    """Means over a sliding window, shorter at the ends by what is missing."""
    half = window // 2
    parts = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def ppo_without_kl(pipeline: Pipeline) -> dict[str, float]:
    """Gold and proxy along PPO without a KL penalty on training requests, and at its end on held-out ones."""
    log, after = pipeline.history("ppo_without_kl"), judged(pipeline, "ppo_without_kl")
    golds, proxies = (smoothed([entry[name] for entry in log]) for name in ("gold", "score"))
    peak = max(range(len(golds)), key=golds.__getitem__)
    return {
        "gold_start": golds[0],
        "gold_peak": golds[peak],
        "gold_end": golds[-1],
        "proxy_start": proxies[0],
        "proxy_at_gold_peak": proxies[peak],
        "proxy_end": proxies[-1],
        "iteration_of_peak": float(peak),
        "kl_end": after["kl_k3"],
        "held_out_gold_end": after["gold"],
        "held_out_proxy_end": after["proxy"],
    }


@lru_cache(maxsize=2)
def base_metrics(pipeline: Pipeline) -> dict[str, float]:
    """The base model on held-out requests, which it continues as plain text."""
    return judge_plain_text(
        pipeline.policy("base"),
        pipeline.tokenizer(),
        held_out_requests(pipeline),
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("judge"),
    ).metrics()


def best_of_metrics(pipeline: Pipeline, *, n: int) -> dict[str, float]:
    """Best-of-n on the pool's requests, with the names that other methods' metrics have."""
    numbers = best_of_n(pipeline)
    return {"gold": numbers[f"gold_{n}"], "proxy": numbers[f"proxy_{n}"], "kl_k3": numbers[f"kl_{n}"]}
