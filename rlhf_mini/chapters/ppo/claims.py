"""What chapter 05 claims, measured on one pipeline: `rlhf-mini claims 05` prints it and writes the records."""

from collections.abc import Sequence
from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.chapters.ppo import bug_hunt, exact_kl, hacking, tax
from rlhf_mini.chapters.ppo.optimum import way_to_the_optimum
from rlhf_mini.chapters.ppo.runs import cooled
from rlhf_mini.chapters.ppo.variants import ALL, OURS, Variant, variant
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "05"
# What a row of the table holds of a run's end, and the curves that the figures are drawn from.
TOLD = (
    "gold", "proxy", "kl_k1", "kl_k3", "length", "distinct_2", "pairwise_overlap", "followed", "coherence",
    "sft_nats", "document_nats", "last_finished", "last_explained_variance", "last_clip_fraction",
    "last_entropy", "last_kl_weight", "seconds", "processor_seconds",
)  # fmt: skip
DRAWN = (
    "gold", "score", "kl_k1", "entropy", "distinct_2", "length", "explained_variance", "clip_fraction",
    "first_ratio_deviation", "kl_weight",
)  # fmt: skip
GALLERY = (
    OURS, "β = 0", "β = 1", "× 3", "λ = 0", "from SFT, random head", "head of zeros", "scores × 10",
    "no penalty without an end", "4 epochs, ratio not clipped", "0.1 while learning",
    "sampled at 0.7, scored at 1", "the same, ratio 1", "adaptive, from 0.05", "adaptive, from 0.5",
    "k1 in the loss", "k2 in the loss", "k3 in the loss", "critic first, λ = 1",
)  # fmt: skip
READ = (OURS, "β = 0", "−r − β KL", "−r + β KL")  # runs whose answers are kept
TEXTS = 2  # requests of theirs that are kept in the records


def ends(pipeline: Pipeline, names: Sequence[str], *metrics: str) -> dict[str, float]:
    """Some numbers of the ends of some runs: metric and name → number."""
    return {
        f"{metric} {name}": variant(name).measured(pipeline)["end"][metric]
        for name in names
        for metric in metrics
    }


def kl_weights(pipeline: Pipeline) -> dict[str, float]:
    """Gold, proxy and KL against β."""
    return ends(pipeline, ("β = 0", "β = 0.01", OURS, "β = 0.2", "β = 1"), "gold", "proxy", "kl_k1")


def hacked(pipeline: Pipeline) -> dict[str, float]:
    """The pipeline's runs with and without a penalty, judged."""
    return pipeline.measured(hacking.with_and_without)


def controllers(pipeline: Pipeline) -> dict[str, float]:
    """Where adaptive weights end, from two starts, in the last rollouts."""
    return ends(pipeline, ("adaptive, from 0.05", "adaptive, from 0.5"), "last_kl_k1", "last_kl_weight")


def kl_losses(pipeline: Pipeline) -> dict[str, float]:
    """KL where it is in the loss, by estimator, beside no KL at all."""
    names = ("β = 0", "k1 in the loss", "k2 in the loss", "k3 in the loss", OURS)
    return ends(pipeline, names, "kl_k1", "gold")


def first_ratios(pipeline: Pipeline) -> dict[str, float]:
    """How far the ratio was from 1 on first minibatches, at most, and gold."""
    names = (OURS, "0.1 while learning", "sampled at 0.7, scored at 1", "the same, ratio 1")
    runs = {name: variant(name).measured(pipeline) for name in names}
    numbers = {f"ratio {name}": min(run["curves"]["first_ratio_deviation"]) for name, run in runs.items()}
    numbers["largest ratio ours"] = max(runs[OURS]["curves"]["first_ratio_deviation"])
    return numbers | {f"gold {name}": run["end"]["gold"] for name, run in runs.items()}


def wrong_signs(pipeline: Pipeline) -> dict[str, float]:
    """Gold, coherence and surprise of the two wrong signs, beside the right one."""
    return ends(pipeline, (OURS, "−r − β KL", "−r + β KL"), "gold", "proxy", "coherence", "sft_nats", "kl_k1")


def alignment_tax(pipeline: Pipeline) -> dict[str, float]:
    """Loss on plain stories before PPO, after it, and with the pretraining mix; gold."""
    numbers = {f"document_nats {stage}": nats for stage, nats in pipeline.measured(tax.before).items()}
    names = (OURS, "β = 0", "β = 0.2", *(one.name for one in ALL if one.group == "PPO-ptx"))
    return numbers | ends(pipeline, names, "document_nats", "gold", "kl_k1")


def optimum(pipeline: Pipeline) -> dict[str, Any]:
    """The way to the optimum of the toy language."""
    return pipeline.measured(way_to_the_optimum, kl_weight=1.0, iterations=60)


def kl_in_two_places(pipeline: Pipeline) -> dict[str, Any]:
    """Exact gradients of the estimators, and where they lead, on a toy language."""
    return pipeline.measured(exact_kl.kl_as_loss)


def values_one_place_off(pipeline: Pipeline) -> dict[str, float]:
    """Both versions of the bug hunt on a toy language: where they end, and what the critic foresaw at first."""
    runs = {way: pipeline.measured(bug_hunt.symptoms, way=way) for way in bug_hunt.WAYS}
    numbers = {f"{name} {way}": run[name][-1] for way, run in runs.items() for name in ("distance", "score")}
    numbers |= {f"explained {way}": run["explained"][0] for way, run in runs.items()}
    return numbers | {"first_ratio wrong": max(runs["wrong"]["first_ratio"])}


def served(pipeline: Pipeline, *, stage: str, temperature: float) -> dict[str, float]:
    """A stage's policy judged at a temperature."""
    return judged_on_requests(pipeline, cooled(pipeline.policy(stage), temperature=temperature)).metrics()


CLAIMS = (
    Claim(
        "the optimum",
        "On a toy language, PPO's policy comes at least 20 times as near to the exact optimum of its objective as it started, "
        "in KL(π ‖ π*).",
        optimum,
        lambda m: m["to_optimum"][-1] < m["to_optimum"][0] / 20,
    ),
    Claim(
        "KL in the reward",
        "On a toy language, k1 in the reward and k2 as a loss on whole answers have exactly the gradient of KL(π ‖ π_ref), k1 as a "
        "loss has none, and k3's is that of KL(π_ref ‖ π); k1 and k3 as losses end at least ten times as far from the optimum.",
        kl_in_two_places,
        lambda m: (
            max(m["gap_reward_k1"], m["gap_loss_k2"], m["size_loss_k1"], m["gap_other_loss_k3"]) < 1e-9
            and min(m["distance_loss_k1"], m["distance_loss_k3"])
            > 10 * max(m["distance_reward_k1"], m["distance_loss_k2"])
        ),
    ),
    Claim(
        "hacking",
        "Without the penalty PPO ends with a higher proxy reward than with it, at least 1 less gold, and less varied answers.",
        hacked,
        lambda m: (
            m["proxy ppo_without_kl"] > m["proxy ppo"] > m["proxy sft"]
            and m["gold ppo_without_kl"] < m["gold ppo"] - 1
            and m["distinct_2 ppo_without_kl"] < m["distinct_2 ppo"] < m["distinct_2 sft"]
        ),
        ("ppo", "ppo_without_kl"),
    ),
    Claim(
        "bug hunt",
        "Values that stand one place off leave the policy at least twice as far from the optimum of a toy language, while the "
        "ratio starts at 1 and the critic, trained alone before, foresees more of the first rollout than a right one.",
        values_one_place_off,
        lambda m: (
            m["distance wrong"] > 2 * m["distance right"]
            and m["first_ratio wrong"] < 1e-3
            and m["explained wrong"] > m["explained right"]
        ),
        live=False,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's table of details, the curves of its gallery, and answers to read."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for one in ALL:
        tables |= tables_of(one, one.measured(pipeline))
    for way in bug_hunt.WAYS:
        run = pipeline.measured(bug_hunt.symptoms, way=way)
        tables["hunt", way] = {
            name: _rounded(value) for name, value in run.items() if isinstance(value, list)
        }
    return records_of(CHAPTER, pipeline, tables)


def tables_of(one: Variant, run: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The records' metrics that one run gives: (experiment, method) → metrics."""
    tables: dict[tuple[str, str], dict[str, Any]] = {
        ("details", one.name): {"group": one.group or OURS, **{name: run["end"][name] for name in TOLD}}
    }
    if one.name in GALLERY:
        tables["curves", one.name] = {name: _rounded(run["curves"][name]) for name in DRAWN}
    if one.name in READ:
        tables["texts", one.name] = {
            "iteration": run["moments"],
            **{f"text_{i}": [row[i] for row in run["texts"]] for i in range(TEXTS)},
            **{f"gold_{i}": [row[i] for row in run["golds"]] for i in range(TEXTS)},
            **{f"proxy_{i}": _rounded([row[i] for row in run["proxies"]]) for i in range(TEXTS)},
        }
    return tables


def _rounded(values: Sequence[float]) -> list[float]:
    """Four significant digits: what a figure can show."""
    return [float(f"{value:.4g}") for value in values]
