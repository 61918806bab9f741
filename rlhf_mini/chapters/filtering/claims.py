"""What chapter 09 claims, measured on one pipeline: `rlhf-mini claims 09` prints it and writes the records."""

from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.filtering import arithmetic, choosing, measures
from rlhf_mini.chapters.filtering.family import ALL, LOOKED, OURS, run
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "09"
# What a row of the chapter's tables holds of a run, and what is kept of its rounds.
TOLD = (
    "gold", "gold_safe_prompts", "gold_unkind_prompts", "unkind_declined", "kind_declined", "proxy", "kl_k1", "kl_k3",
    "length", "entropy", "unique", "overlap", "distinct_2", "followed",
)  # fmt: skip
OF_ROUNDS = (
    "gold",
    "proxy",
    "kl_k1",
    "entropy",
    "overlap",
    "unkind_declined",
    "kept_reward",
    "reward",
    "loss",
)
OF_SUMS = (*(f"pass_{k}" for k in arithmetic.PASSES), "differ", "train")

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "a filter",
        "On a toy language a filtered policy is the old one given that the reward is high enough, at a price of −log of the kept "
        "share; only a Grow's last threshold matters; and two rounds of the best of two are the best of four: all to 12 digits.",
        measures.identities,
        lambda m: (
            max(m[name] for name in ("conditional", "price", "last_threshold", "grow_again", "rounds_of_two"))
            < 1e-12
        ),
    ),
    Claim(
        "advantage weights",
        "Without a cap, advantage weighting leads to the optimum under a KL penalty of its β, to 12 digits, and a second round to that of "
        "half the β; a cap of 2 leads more than 0.05 nats elsewhere.",
        measures.identities,
        lambda m: max(m["advantage"], m["advantage_twice"]) < 1e-12 and m["capped"] > 0.05,
    ),
    Claim(
        "equal KL",
        "At equal KL the optimum has more reward than best-of-n, which has more than a filter somewhere: the filter misses at least 0.1 "
        "more of it than best-of-n at their worst.",
        measures.equal_kl,
        lambda m: (
            m["best_of_n_least"] > -1e-9
            and m["filter_least"] > -1e-9
            and m["filter_most"] > m["best_of_n_most"] + 0.1
        ),
    ),
    Claim(
        "drift",
        "A table that is fitted to k samples of itself loses variety without any reward: each round leaves 1 − 1/k of the chance that two "
        "draws differ, to 0.02. Keeping the best instead loses more than twice as much of it.",
        measures.drift,
        lambda m: m["off"] < 0.02 and m["start"] - m["best"] > 2 * (m["start"] - m["random"]) > 0,
    ),
    Claim(
        "landing",
        "A small Llama that learns from filtered texts ends within 0.02 nats of the exact filter; means over tokens would end three times "
        "as far at least.",
        measures.landed,
        lambda m: m["end"] < 0.02 and m["per_token"] > 3 * m["end"] and m["start"] > 0.1,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's tables: runs, the rounds of those that looked, best-of-n, and the methods on sums."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for one in ALL:
        told = one.measured(pipeline)
        tables["runs", one.name] = {"group": one.group or OURS, **{name: told[name] for name in TOLD}}
    for name in LOOKED:
        seen = run(name).seen(pipeline)
        tables["rounds", name] = {metric: [entry[metric] for entry in seen] for metric in OF_ROUNDS}
    tables["best of n", "best of n"] = pipeline.measured(choosing.best_of_n)
    for name, history in pipeline.measured(arithmetic.runs).items():
        tables["sums", name] = {metric: [entry[metric] for entry in history] for metric in OF_SUMS}
    return records_of(CHAPTER, pipeline, tables)
