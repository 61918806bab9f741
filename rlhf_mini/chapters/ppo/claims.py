"""What chapter 05 claims, measured on one pipeline: `rlhf-mini claims 05` prints it and writes the records."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.ppo import bug_hunt, measures
from rlhf_mini.chapters.ppo.variants import ALL, OURS, TARGET, Variant
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


def _golds(numbers: Mapping[str, float]) -> list[float]:
    return [value for name, value in numbers.items() if name.startswith("gold ")]


CLAIMS = (
    Claim(
        "the optimum",
        "On a toy language, PPO ends within 0.05 nats of the exact optimum of its objective, in KL(π ‖ π*), and at least three times "
        "as near to it as the optimum for half the β is.",
        measures.optimum,
        lambda m: m["to_optimum"][-1] < min(0.05, m["from half the weight"] / 3),
    ),
    Claim(
        "KL in the reward",
        "On a toy language, k1 in the reward and k2 as a loss on whole answers have exactly the gradient of KL(π ‖ π_ref), k1 as a "
        "loss has none, and k3's is that of KL(π_ref ‖ π); k1 and k3 as losses end at least ten times as far from the optimum.",
        measures.kl_in_two_places,
        lambda m: (
            max(m["gap_reward_k1"], m["gap_loss_k2"], m["size_loss_k1"], m["gap_other_loss_k3"]) < 1e-9
            and min(m["distance_loss_k1"], m["distance_loss_k3"])
            > 10 * max(m["distance_reward_k1"], m["distance_loss_k2"])
        ),
    ),
    Claim(
        "hacking",
        "Without the penalty PPO ends with a higher proxy reward than with it, at least 1 less gold, and less varied answers.",
        measures.hacked,
        lambda m: (
            m["proxy ppo_without_kl"] > m["proxy ppo"] > m["proxy sft"]
            and m["gold ppo_without_kl"] < m["gold ppo"] - 1
            and m["distinct_2 ppo_without_kl"] < m["distinct_2 ppo"] < m["distinct_2 sft"]
        ),
        ("ppo", "ppo_without_kl"),
    ),
    Claim(
        "KL weight",
        "The policy stays nearer to the SFT model at every step of β from 0 to 0.01, 0.05 and 0.2; its gold at 0.05 is at least 1 "
        "higher than at 0 and higher than at 1.",
        measures.kl_weights,
        lambda m: (
            m["kl_k1 β = 0"] > m["kl_k1 β = 0.01"] > m["kl_k1 ours"] > m["kl_k1 β = 0.2"]
            and m["gold ours"] > m["gold β = 0"] + 1
            and m["gold ours"] > m["gold β = 1"]
        ),
        live=False,
    ),
    Claim(
        "adaptive β",
        "Adaptive weights that start a factor of ten apart end within a factor of three of each other, and the KL within "
        "a factor of 2.5 of its target.",
        measures.controllers,
        lambda m: (
            1 / 3 < m["last_kl_weight adaptive, from 0.05"] / m["last_kl_weight adaptive, from 0.5"] < 3
            and all(
                1 / 2.5 < m[f"last_kl_k1 adaptive, from {start}"] / TARGET["kl_target"] < 2.5
                for start in ("0.05", "0.5")
            )
        ),
        live=False,
    ),
    Claim(
        "KL as a loss",
        "At one weight and without a penalty in the reward, k1 as a loss leaves the policy at least four times as far from the SFT "
        "model as k1 in the reward does, and farther than k2 or k3 as losses; its gold is at least 1 lower.",
        measures.kl_losses,
        lambda m: (
            m["kl_k1 k1 in the loss"] > 4 * m["kl_k1 ours"]
            and m["kl_k1 k1 in the loss"] > 1.3 * max(m["kl_k1 k2 in the loss"], m["kl_k1 k3 in the loss"])
            and m["gold k1 in the loss"] < m["gold ours"] - 1
        ),
        live=False,
    ),
    Claim(
        "ratio check",
        "Dropout, and a sampler at a temperature that the scoring does not have, make the mean of |ρ − 1| larger than 0.01 on every "
        "first minibatch; in our run it never reaches 0.001.",
        measures.first_ratios,
        lambda m: (
            min(m["ratio 0.1 while learning"], m["ratio sampled at 0.7, scored at 1"]) > 0.01
            and m["largest ratio ours"] < 0.001
        ),
        live=False,
    ),
    Claim(
        "details that matter",
        "λ = 0 and scores ten times as large cost at least 0.5 gold each; a learning rate three times as large and four epochs, with "
        "the clip or without it, at least 0.2.",
        measures.details_that_matter,
        lambda m: (
            max(m["gold λ = 0"], m["gold scores × 10"]) < m["gold ours"] - 0.5
            and max(m["gold 4 epochs"], m["gold 4 epochs, ratio not clipped"], m["gold × 3"])
            < m["gold ours"] - 0.2
        ),
        live=False,
    ),
    Claim(
        "details that do not",
        "Each of twelve details, from the whitening of advantages to the value model's start, moves gold by less than 0.35.",
        measures.details_that_do_not,
        lambda m: max(abs(gold - m["gold ours"]) for gold in _golds(m)) < 0.35,
        live=False,
    ),
    Claim(
        "temperature",
        "Asked at temperature 0.7, the policy that was trained at 1 has at least 0.2 more gold than asked at 1, not less than the one "
        "trained at 0.7, within 0.1, and at least 0.1 more than the two that were drawn at 0.7 and trained as if at 1.",
        measures.temperatures,
        lambda m: (
            m["gold ours at 0.7"] > max(m["gold ours at 1"] + 0.2, m["gold 0.7, sampled and scored"] - 0.1)
            and m["gold ours at 0.7"]
            > max(m["gold sampled at 0.7, scored at 1"], m["gold the same, ratio 1"]) + 0.1
        ),
        live=False,
    ),
    Claim(
        "critic first",
        "Of the first rollout's returns a copy of the reward model explains less than nothing (below −0.3 of the variance), a head of "
        "zeros nothing, and a critic trained first at least 0.1; the three runs end within 0.4 gold of each other.",
        measures.critic_first,
        lambda m: (
            m["explained ours"] < -0.3
            and abs(m["explained head of zeros"]) < 0.05
            and m["explained critic first, λ = 1"] > 0.1
            and max(_golds(m)) - min(_golds(m)) < 0.4
        ),
        live=False,
    ),
    Claim(
        "wrong signs",
        "With the sign of the score wrong, or that of the KL as well, the policy loses at least 2 gold. The SFT model finds what the "
        "first writes ordinary (below 1 nat a token) and what the second writes strange (above 3).",
        measures.wrong_signs,
        lambda m: (
            max(m["gold −r − β KL"], m["gold −r + β KL"]) < m["gold ours"] - 2
            and m["sft_nats −r − β KL"] < 1
            and m["sft_nats −r + β KL"] > 3
        ),
        live=False,
    ),
    Claim(
        "alignment tax",
        "PPO makes a plain story at least 5 nats dearer than it was to the SFT model, and at least 2 with β = 0.2; with the "
        "pretraining mix at γ = 1 it is cheaper than to the SFT model, for at most 0.6 gold.",
        measures.alignment_tax,
        lambda m: (
            m["document_nats ours"] > m["document_nats sft"] + 5
            and m["document_nats β = 0.2"] > m["document_nats sft"] + 2
            and m["document_nats γ = 1"] < m["document_nats sft"]
            and m["gold γ = 1"] > m["gold ours"] - 0.6
        ),
        live=False,
    ),
    Claim(
        "bug hunt",
        "Values that stand one place off leave the policy at least twice as far from the optimum of a toy language, while the "
        "ratio starts at 1 and the critic, trained alone before, foresees more of the first rollout than a right one.",
        measures.values_one_place_off,
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
