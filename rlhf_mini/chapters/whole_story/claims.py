"""What chapter 00 claims, and its rows of the scoreboard: `rlhf-mini claims 00` measures and judges them."""

from rlhf_mini.chapters.claims import Claim, record_of
from rlhf_mini.chapters.whole_story.experiments import (
    BEST_OF,
    base_metrics,
    best_of_metrics,
    best_of_n,
    fine_tuning,
    judged,
    ppo_with_kl,
    ppo_without_kl,
    pretraining,
    reward_modelling,
)
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "00"

CLAIMS = (
    Claim(
        "pretraining",
        "On stories that it has not seen, the base model's perplexity is within 20% of the grammar's own.",
        lambda pipeline: pipeline.measured(pretraining),
        lambda m: m["perplexity"] < 1.2 * m["perplexity_of_the_grammar"],
        ("tokenizer", "base"),
    ),
    Claim(
        "SFT",
        "The SFT model follows held-out requests to the letter at least three times as often as the base "
        "model, and its mean gold reward stays at least 0.5 below the best reachable.",
        lambda pipeline: pipeline.measured(fine_tuning),
        lambda m: (
            m["followed_sft"] >= max(3 * m["followed_base"], 0.1) and m["gold_sft"] < m["best_gold"] - 0.5
        ),
        ("sft",),
    ),
    Claim(
        "reward model",
        "The reward model agrees with more than 65% of held-out choices, and with fewer than the Bayes "
        "ceiling; one with a tenth of the comparisons and one on a smaller model agree with fewer than it.",
        lambda pipeline: pipeline.measured(reward_modelling),
        lambda m: (
            0.65 < m["accuracy"] < m["bayes_ceiling"]
            and m["accuracy"] > m["accuracy_tenth_of_labels"]
            and m["accuracy"] > m["accuracy_small_model"]
        ),
        ("preferences", "reward_model"),
        live=False,  # it trains two more reward models
    ),
    Claim(
        "best-of-n",
        "The gold reward of best of n rises from n = 1 to 4 to 16, and its measured KL never exceeds "
        "log n − (n − 1)/n.",
        lambda pipeline: pipeline.measured(best_of_n),
        lambda m: (
            m["gold_1"] < m["gold_4"] < m["gold_16"]
            and all(m[f"kl_{n}"] <= m[f"kl_bound_{n}"] + 1e-9 for n in BEST_OF if f"kl_{n}" in m)
        ),
    ),
    Claim(
        "PPO with KL",
        "On held-out requests, PPO with its KL penalty closes at least half of the gap between the SFT "
        "model's gold reward and the best reachable.",
        lambda pipeline: pipeline.measured(ppo_with_kl),
        lambda m: m["gap_closed"] >= 0.5,
        ("ppo",),
    ),
    Claim(
        "PPO without KL",
        "Without the KL penalty the proxy keeps rising, while gold rises at first, turns, and ends at least "
        "0.5 below its peak.",
        lambda pipeline: pipeline.measured(ppo_without_kl),
        lambda m: (
            m["proxy_end"] > m["proxy_at_gold_peak"] > m["proxy_start"]
            and m["gold_end"] <= m["gold_peak"] - 0.5
            and m["gold_peak"] > m["gold_start"]
        ),
        ("ppo_without_kl",),
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """One record a method of this chapter: gold at measured KL, proxy, diversity and length on held-out
    requests.
    """
    rows: dict[str, tuple[dict[str, float], tuple[str, ...]]] = {
        "base model": (base_metrics(pipeline), ("tokenizer", "base")),
        "SFT": (judged(pipeline, "sft"), ("sft",)),
        "best of 16": (best_of_metrics(pipeline, n=16), ("preferences", "reward_model")),
        "PPO": (judged(pipeline, "ppo"), ("preferences", "reward_model", "ppo")),
        "PPO without KL": (
            judged(pipeline, "ppo_without_kl"),
            ("preferences", "reward_model", "ppo_without_kl"),
        ),
    }
    return [
        record_of(
            chapter=CHAPTER,
            experiment="scoreboard",
            method=method,
            pipeline=pipeline,
            seconds=sum(pipeline.seconds(stage) for stage in stages),
            metrics=numbers,
        )
        for method, (numbers, stages) in rows.items()
    ]
