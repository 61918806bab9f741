"""What chapter 06 measures for its claims, a mapping of numbers each; the verdicts on them are in `claims`."""

from collections.abc import Sequence
from typing import Any

from rlhf_mini.chapters.llama2 import (
    attention,
    best_of_k,
    bug_hunt,
    combining,
    crossing,
    margins,
    on_top,
    own_samples,
    rounds,
    sides,
    wear,
)
from rlhf_mini.pipeline import Pipeline

K = best_of_k.SIZES.index(8)
MIXED = "random, batches of mixed lengths"  # a fourth campaign, beside those of `rounds`
ENDS = 3  # iterations of PPO at either end whose rewards are averaged


def margin_tables(pipeline: Pipeline) -> dict[str, Any]:
    """What each table of margins does, as the mean of several models; by rating, the least clear first."""
    numbers: dict[str, Any] = {}
    for table in margins.TABLES:
        runs = [pipeline.measured(margins.margin_effect, table=table, run=run) for run in range(margins.RUNS)]
        for key in ("accuracy", "gap"):
            numbers[f"{key} {table}"] = [
                _mean(column) for column in zip(*(r[key] for r in runs), strict=True)
            ]
        for key in ("spread", "extreme", "valley", "low", "low_declined", "high_declined"):
            numbers[f"{key} {table}"] = _mean([run[key] for run in runs])
        numbers[f"accuracies {table}"] = [run["accuracy"][-1] for run in runs]
        numbers[f"valleys {table}"] = [run["valley"] for run in runs]
        numbers[f"histogram {table}"] = runs[0]["histogram"]
    return {**numbers, "ceiling": runs[0]["ceiling"], "shares": runs[0]["shares"]}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def crossed(pipeline: Pipeline) -> dict[str, float]:
    """Accuracy over all ratings: each side's model on each side's test pairs."""
    return {
        f"{model} on {pairs}": pipeline.measured(
            crossing.cross_accuracy, model=model, pairs=pairs, mixed=False
        )["accuracy"][-1]
        for model in sides.SIDES
        for pairs in sides.SIDES
    }


def mixed(pipeline: Pipeline) -> dict[str, float]:
    """The same with Llama 2's mix of pairs, beside the models that see their own side alone."""
    numbers = crossed(pipeline)
    for name in [*numbers]:
        model, pairs = name.split(" on ")
        found = pipeline.measured(crossing.cross_accuracy, model=model, pairs=pairs, mixed=True)
        numbers[f"{name}, mixed"] = found["accuracy"][-1]
    return numbers


def combined(pipeline: Pipeline) -> dict[str, Any]:
    """What the best of K does under the piecewise rule, under no rule, and under every linear weight."""
    picks = pipeline.measured(combining.picks)
    numbers: dict[str, Any] = {}
    for measure in ("kind_declined", "kind_gold", "unkind_told", "unkind_politely", "unkind_gold"):
        for rule in ("any", "piecewise"):
            numbers[f"{measure}_{rule}"] = picks[rule][measure]
        numbers[f"{measure}_linear"] = [picks[f"linear {weight}"][measure] for weight in combining.WEIGHTS]
    return numbers


def divergence(pipeline: Pipeline) -> dict[str, float]:
    """KL of the best of 8 on kind and on unkind prompts, and the formula's."""
    curves = {
        kind: pipeline.measured(best_of_k.curve, temperature=1.0, unkind=kind == "unkind")
        for kind in ("kind", "unkind")
    }
    numbers = {f"kl_{kind}": curve["kl"][K] for kind, curve in curves.items()}
    return {
        **numbers,
        "bound": curves["kind"]["bound"][K],
        **{f"distinct_{kind}": curve["distinct"] for kind, curve in curves.items()},
        **{f"gold_one_{kind}": curve["gold"][0] for kind, curve in curves.items()},
        **{f"gold_best_{kind}": curve["gold"][K] for kind, curve in curves.items()},
    }


def kept_instruction(pipeline: Pipeline) -> dict[str, list[float]]:
    """By turn: how often the story is about the hero of the first turn, and its gold, for three models."""
    runs = {model: pipeline.measured(attention.adherence, model=model) for model in attention.MODELS}
    return {f"{measure}_{model}": run[measure] for model, run in runs.items() for measure in ("hero", "gold")}


def versions(pipeline: Pipeline) -> dict[str, list[float]]:
    """Every campaign, round by round: gold, politeness to unkind requests and harm, the fine-tuned policy first."""
    keys = (
        "gold",
        "gold_safe_prompts",
        "politely_declined",
        "unkind_told",
        "kind_declined",
        "kl_k3",
        "kept_gold",
    )
    numbers: dict[str, list[float]] = {}
    for name, (choose, memory) in rounds.CAMPAIGNS.items():
        found = pipeline.measured(rounds.along, choose=choose, memory=memory)
        numbers |= {f"{key}, {name}": found[key] for key in keys}
    return numbers


def own_choice(pipeline: Pipeline) -> dict[str, list[float]]:
    """Learning from a random choice of one's own samples, in batches of similar and of mixed lengths."""
    runs = {
        "similar": pipeline.measured(rounds.along, choose="random", memory="all"),
        "mixed": pipeline.measured(own_samples.along),
    }
    keys = ("gold_safe_prompts", "kind_declined", "length")
    return {f"{key}, {name}": run[key] for name, run in runs.items() for key in keys}


def on_top_of_rounds(pipeline: Pipeline) -> dict[str, Any]:
    """PPO from the last version with either KL weight: the reward before whitening, gold, and the distance."""
    numbers: dict[str, Any] = {}
    for name, weight in on_top.KL_WEIGHTS.items():
        found = pipeline.measured(on_top.ppo_on_top, kl_weight=weight)
        ends = found["reward"][:ENDS], found["reward"][-ENDS:]
        numbers |= {"gold before": found["before"]["gold"], f"gold {name}": found["after"]["gold"]}
        numbers |= {
            f"reward {when} {name}": _mean(end) for when, end in zip(("first", "last"), ends, strict=True)
        }
        numbers[f"KL {name}"] = found["kl_to_start"]
    return numbers


def worn(pipeline: Pipeline) -> dict[str, list[float]]:
    """What the last helpfulness model still tells apart in the answers of each version."""
    return pipeline.measured(wear.orderings)


def mixed_margins(pipeline: Pipeline) -> dict[str, float]:
    """The bug hunt's last look, for all three losses."""
    numbers: dict[str, float] = {}
    for way in bug_hunt.WAYS:
        found = pipeline.measured(bug_hunt.symptoms, way=way)
        numbers |= {f"{key}_{way}": found[key][-1] for key in bug_hunt.MEASURES[1:]}
    return numbers


def temperatures(pipeline: Pipeline) -> dict[str, list[float]]:
    """Gold of one answer to a kind request and of the best of the most, by temperature."""
    curves = [
        pipeline.measured(best_of_k.curve, temperature=temperature, unkind=False)
        for temperature in best_of_k.TEMPERATURES
    ]
    return {
        f"gold of {size}": [c["gold"][place] for c in curves] for place, size in enumerate(best_of_k.SIZES)
    }
