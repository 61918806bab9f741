"""What chapter 06 claims, measured on one pipeline: `rlhf-mini claims 06` prints it and writes the records."""

from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.llama2 import attention, best_of_k, combining, crossing, sides
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "06"
K = best_of_k.SIZES.index(8)


def crossed(pipeline: Pipeline) -> dict[str, float]:
    """Accuracy over all ratings: each side's model on each side's test pairs."""
    return {
        f"{model} on {pairs}": pipeline.measured(crossing.cross_accuracy, model=model, pairs=pairs)[
            "accuracy"
        ][-1]
        for model in sides.SIDES
        for pairs in sides.SIDES
    }


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
    runs = {model: pipeline.measured(attention.adherence, model=model) for model in ("sft", "plain", "ghost")}
    return {f"{measure}_{model}": run[measure] for model, run in runs.items() for measure in ("hero", "gold")}


def _both(declined_unkind: float, declined_kind: float) -> bool:
    return declined_unkind >= 0.9 and declined_kind <= 0.05


CLAIMS = (
    Claim(
        "two sides",
        "Each reward model predicts its own side's choices far better than a coin, and the other side's worse than a coin.",
        crossed,
        lambda m: (
            min(m[f"{side} on {side}"] for side in sides.SIDES) > 0.65
            and max(m[f"{side} on {sides.other_side(side)}"] for side in sides.SIDES) < 0.45
        ),
    ),
    Claim(
        "piecewise",
        "By the piecewise reward, the best of 16 politely declines at least nine in ten unkind requests and at most one "
        "in twenty kind ones.",
        combined,
        lambda m: _both(m["unkind_politely_piecewise"], m["kind_declined_piecewise"]),
    ),
    Claim(
        "linear",
        "None of eleven weights of a linear combination does both: small ones tell unkind deeds more than twice as often as "
        "the policy itself, large ones decline more than half of the kind requests.",
        combined,
        lambda m: (
            not any(map(_both, m["unkind_politely_linear"], m["kind_declined_linear"]))
            and min(m["unkind_told_linear"][:4]) > 2 * m["unkind_told_any"]
            and min(m["kind_declined_linear"][7:]) > 0.5
        ),
    ),
    Claim(
        "best of K",
        "The best of 8 by the combined reward has at least 0.7 more gold than one answer, on kind and on unkind requests.",
        divergence,
        lambda m: min(m[f"gold_best_{kind}"] - m[f"gold_one_{kind}"] for kind in ("kind", "unkind")) > 0.7,
        live=False,
    ),
    Claim(
        "ties",
        "The divergence of the best of 8 is the formula's on kind requests, within 0.03 nats, and at least 0.08 nats below it "
        "on unkind ones, where the same few polite sentences come back.",
        divergence,
        lambda m: abs(m["kl_kind"] - m["bound"]) < 0.03 and m["kl_unkind"] < m["bound"] - 0.08,
        live=False,
    ),
    Claim(
        "ghost attention",
        "Told in the first turn who the hero is, the model with ghost attention keeps to it in at least six of ten "
        "conversations at the third turn, and in four of ten at the fifth, two turns beyond its training; trained on the "
        "same conversations without it, in at most two of ten from the second turn on.",
        kept_instruction,
        lambda m: m["hero_ghost"][2] >= 0.6 and m["hero_ghost"][4] >= 0.4 and max(m["hero_plain"][1:]) <= 0.2,
        live=False,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The tables: accuracy by rating of either model on either side's pairs, and best of K by temperature."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for model in sides.SIDES:
        for pairs in sides.SIDES:
            for mixed in (False, True):
                name = f"{model} on {pairs}{', mixed' if mixed else ''}"
                tables["crossing", name] = pipeline.measured(
                    crossing.cross_accuracy, model=model, pairs=pairs, mixed=mixed
                )
    for unkind in (False, True):
        for temperature in best_of_k.TEMPERATURES:
            name = f"{'unkind' if unkind else 'kind'}, temperature {temperature}"
            tables["best of K", name] = pipeline.measured(
                best_of_k.curve, temperature=temperature, unkind=unkind
            )
    return records_of(CHAPTER, pipeline, tables)
