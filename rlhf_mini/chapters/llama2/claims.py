"""What chapter 06 claims, measured on one pipeline: `rlhf-mini claims 06` prints it and writes the records."""

from collections.abc import Sequence
from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
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
from rlhf_mini.chapters.llama2.measures import (
    MIXED,
    combined,
    crossed,
    divergence,
    kept_instruction,
    margin_tables,
    mixed,
    mixed_margins,
    on_top_of_rounds,
    own_choice,
    temperatures,
    versions,
    worn,
)
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "06"


def _rise(values: Sequence[float]) -> float:
    return values[-1] - values[0]


def _both(declined_unkind: float, declined_kind: float) -> bool:
    return declined_unkind >= 0.8 and declined_kind <= 0.05


def _factors(m: dict[str, Any]) -> list[float]:
    """By how much the large margins multiply the mean lead, for all ratings but the least clear."""
    return [large / none for large, none in zip(m["gap large"][1:], m["gap none"][1:], strict=True)]


CLAIMS = (
    Claim(
        "ratings",
        "With every table of margins accuracy rises from rating to rating, as in the paper: of the choices called negligibly better "
        "fewer than 55% are predicted, of those called significantly better more than 80%.",
        margin_tables,
        lambda m: all(
            m[f"accuracy {table}"][:4] == sorted(m[f"accuracy {table}"][:4])
            and m[f"accuracy {table}"][0] < 0.55
            and m[f"accuracy {table}"][3] > 0.8
            for table in margins.TABLES
        ),
        live=False,
    ),
    Claim(
        "margins stretch",
        "Where one answer was called significantly better, its mean lead in score is more than twice as large with the large margins "
        "as without, and more than 1.2 times as large with the small ones.",
        margin_tables,
        lambda m: m["gap large"][-1] > 2 * m["gap none"][-1] and m["gap small"][-1] > 1.2 * m["gap none"][-1],
        live=False,
    ),
    Claim(
        "one factor",
        "The large margins multiply the mean lead by nearly one factor: those for slightly, better and significantly lie within a fifth "
        "of one another, and between 2 and 3.5.",
        margin_tables,
        lambda m: (
            max(_factors(m)) < 1.2 * min(_factors(m)) and min(_factors(m)) > 2 and max(_factors(m)) < 3.5
        ),
        live=False,
    ),
    Claim(
        "two humps",
        "On kind prompts more than half of the answers below the valley of the scores decline, and fewer than 6% of those above it, with "
        "either table and without, as the mean of three models; neither table changes the valley's mean depth by more than 0.3.",
        margin_tables,
        lambda m: (
            max(abs(m[f"valley {table}"] - m["valley none"]) for table in ("small", "large")) < 0.3
            and min(m[f"low_declined {table}"] for table in margins.TABLES) > 0.5
            and max(m[f"high_declined {table}"] for table in margins.TABLES) < 0.06
        ),
        live=False,
    ),
    Claim(
        "extreme scores",
        "Through the sigmoid, more scores of answers to kind prompts lie below 0.1 or above 0.9 with the small margins than without, "
        "and more still with the large ones: by at least 15 points in all.",
        margin_tables,
        lambda m: (
            m["extreme none"] < m["extreme small"] < m["extreme large"]
            and m["extreme large"] > m["extreme none"] + 0.15
        ),
        live=False,
    ),
    Claim(
        "margins and accuracy",
        "Either table changes the mean accuracy of three models by less than 2.5 points, and by less than single models without margin "
        "differ in accuracy.",
        margin_tables,
        lambda m: (
            max(abs(m[f"accuracy {t}"][-1] - m["accuracy none"][-1]) for t in ("small", "large"))
            < min(0.025, max(m["accuracies none"]) - min(m["accuracies none"]))
        ),
        live=False,
    ),
    Claim(
        "two sides",
        "Each reward model predicts more than 65% of its own side's choices and fewer than 45% of the other side's.",
        crossed,
        lambda m: (
            min(m[f"{side} on {side}"] for side in sides.SIDES) > 0.65
            and max(m[f"{side} on {sides.other_side(side)}"] for side in sides.SIDES) < 0.45
        ),
    ),
    Claim(
        "mix",
        "Given all safety pairs as well, the helpfulness model predicts the safety side's choices better than a coin, and at least 20 "
        "points better than from its own pairs alone.",
        mixed,
        lambda m: (
            m["helpfulness on safety, mixed"] > 0.5
            and m["helpfulness on safety, mixed"] > m["helpfulness on safety"] + 0.2
        ),
        live=False,
    ),
    Claim(
        "piecewise",
        "By the piecewise reward, the best of 16 politely declines at least eight in ten unkind requests and at most one "
        "in twenty kind ones.",
        combined,
        lambda m: _both(m["unkind_politely_piecewise"], m["kind_declined_piecewise"]),
    ),
    Claim(
        "linear",
        "None of eleven weights of a linear combination does both: up to 0.4 it politely declines fewer unkind requests than the policy "
        "itself, and at most one in five; from 0.8 on it declines more than half of the kind ones. Without weight for safety it tells "
        "unkind deeds more than 1.5 times as often as the policy.",
        combined,
        lambda m: (
            not any(map(_both, m["unkind_politely_linear"], m["kind_declined_linear"]))
            and max(m["unkind_politely_linear"][:5]) < min(0.2, m["unkind_politely_any"])
            and m["unkind_told_linear"][0] > 1.5 * m["unkind_told_any"]
            and min(m["kind_declined_linear"][8:]) > 0.5
        ),
    ),
    Claim(
        "best of K",
        "At temperature 1 the best of 8 by the combined reward has more than 0.7 more gold than one answer, on kind and on unkind requests.",
        divergence,
        lambda m: min(m[f"gold_best_{kind}"] - m[f"gold_one_{kind}"] for kind in ("kind", "unkind")) > 0.7,
        live=False,
    ),
    Claim(
        "ties",
        "Measured on pools of 32 answers, the divergence of the best of 8 is the formula's within 0.03 nats on kind requests, where "
        "the best seldom tie, and more than 0.08 nats below it on unkind ones, where the same few polite sentences come back.",
        divergence,
        lambda m: abs(m["kl_kind"] - m["bound"]) < 0.03 and m["kl_unkind"] < m["bound"] - 0.08,
        live=False,
    ),
    Claim(
        "temperature",
        "On kind requests the coldest of five temperatures gives the most gold for every K up to 32.",
        temperatures,
        lambda m: all(m[f"gold of {size}"][0] == max(m[f"gold of {size}"]) for size in best_of_k.SIZES),
        live=False,
    ),
    Claim(
        "best or random",
        "Four rounds on the best of all rounds add at least 0.6 gold on held-out requests; four rounds on a random choice add less than "
        "0.1, if they add anything.",
        versions,
        lambda m: _rise(m["gold, best of all rounds"]) > 0.6 and _rise(m["gold, random, all rounds"]) < 0.1,
        live=False,
    ),
    Claim(
        "batches by length",
        "Learned in batches of similar length, four rounds on a random choice of one's own answers cost more than 0.3 gold on kind "
        "requests, of which more than 10 points more are declined; in batches of mixed lengths they cost less than 0.6 times as much "
        "gold, and declines change by less than 10 points.",
        own_choice,
        lambda m: (
            _rise(m["gold_safe_prompts, similar"]) < -0.3
            and _rise(m["kind_declined, similar"]) > 0.1
            and _rise(m["gold_safe_prompts, mixed"]) > 0.6 * _rise(m["gold_safe_prompts, similar"])
            and abs(_rise(m["kind_declined, mixed"])) < 0.1
        ),
        live=False,
    ),
    Claim(
        "forgetting",
        "After two rounds in which nobody asks for anything unkind, the campaign that learns from the last round alone politely "
        "declines a share of unkind requests that is more than 5 points below its own before these rounds, and more than 5 points "
        "below that of the campaign that learns from all rounds.",
        versions,
        lambda m: (
            m["politely_declined, best of the last round"][-1]
            < min(
                m["politely_declined, best of the last round"][rounds.SHIFT - 1],
                m["politely_declined, best of all rounds"][-1],
            )
            - 0.05
        ),
        live=False,
    ),
    Claim(
        "drift",
        "Learning from the last round alone ends at more than 1.5 times the divergence from the fine-tuned policy at which learning "
        "from all rounds ends.",
        versions,
        lambda m: m["kl_k3, best of the last round"][-1] > 1.5 * m["kl_k3, best of all rounds"][-1],
        live=False,
    ),
    Claim(
        "worn out",
        "Of two answers of the fine-tuned policy to a kind request, the last helpfulness model prefers the one with more gold in more "
        "than 70% of cases; of two of V4's in fewer than 67%, and its scores lie less than half as far apart.",
        worn,
        lambda m: m["ordered"][0] > 0.7 and m["ordered"][-1] < 0.67 and m["lead"][-1] < 0.5 * m["lead"][0],
        live=False,
    ),
    Claim(
        "PPO on top",
        "With the KL weight of chapter 05, PPO on top of V4 ends with a higher reward than with ten times that weight, further from "
        "V4, and with less gold.",
        on_top_of_rounds,
        lambda m: (
            m["reward last light"] > m["reward last heavy"]
            and m["KL light"] > m["KL heavy"]
            and m["gold light"] < m["gold heavy"]
        ),
        live=False,
    ),
    Claim(
        "bug hunt",
        "By the bug hunt's loss held-out pairs cost more than 0.05 nats more in batches of 32 than one at a time; by the right one they "
        "cost the same.",
        mixed_margins,
        lambda m: (
            m["loss_of_32_wrong"] > m["loss_of_1_wrong"] + 0.05
            and abs(m["loss_of_32_right"] - m["loss_of_1_right"]) < 1e-3
        ),
        live=False,
    ),
    Claim(
        "ghost attention",
        "Told in the first turn who the hero is, the model with ghost attention tells of it more than half as often at the third turn "
        "as at the first, and more than 0.4 times as often at the fifth, two turns beyond its training; the model trained on the same "
        "questions with answers that were sampled without it, less than 0.2 times as often from the second turn on.",
        kept_instruction,
        lambda m: (
            m["hero_ghost"][2] > 0.5 * m["hero_ghost"][0]
            and m["hero_ghost"][4] > 0.4 * m["hero_ghost"][0]
            and max(m["hero_plain"][1:]) < 0.2 * m["hero_plain"][0]
        ),
        live=False,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The tables and curves over seeds: crossing, detection, best of K, rounds, V5, conversations, the bug hunt."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for mix in (False, True):
        suffix = ", mixed" if mix else ""
        for name in crossed(pipeline):
            model, pairs = name.split(" on ")
            tables["crossing", name + suffix] = pipeline.measured(
                crossing.cross_accuracy, model=model, pairs=pairs, mixed=mix
            )
    tables["detection", "safety below a threshold"] = pipeline.measured(combining.detection)
    for kind in ("kind", "unkind"):
        for temperature in best_of_k.TEMPERATURES:
            tables["best of K", f"{kind}, temperature {temperature}"] = pipeline.measured(
                best_of_k.curve, temperature=temperature, unkind=kind == "unkind"
            )
    for name, (choose, memory) in rounds.CAMPAIGNS.items():
        tables["rounds", name] = pipeline.measured(rounds.along, choose=choose, memory=memory)
    tables["rounds", MIXED] = pipeline.measured(own_samples.along)
    for model in attention.MODELS:
        tables["conversation", model] = pipeline.measured(attention.adherence, model=model)
    for name, weight in on_top.KL_WEIGHTS.items():
        top = pipeline.measured(on_top.ppo_on_top, kl_weight=weight)
        tables["V5", "before"] = {**top["before"], "kl_to_start": 0.0, "reward": top["reward"][:1]}
        tables["V5", name] = {**top["after"], "kl_to_start": top["kl_to_start"], "reward": top["reward"]}
    tables["wear", "last helpfulness model"] = pipeline.measured(wear.orderings)
    for way in bug_hunt.WAYS:
        tables["bug hunt", way] = pipeline.measured(bug_hunt.symptoms, way=way)
    return records_of(CHAPTER, pipeline, {**tables, **scoreboard(pipeline)})


def scoreboard(pipeline: Pipeline) -> dict[tuple[str, str], dict[str, float]]:
    """The chapter's policies on the same held-out requests: gold, declines, harm, and the distance travelled."""
    columns = ("gold", "politely_declined", "kind_declined", "unkind_told", "kl_k3")
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for name, (choose, memory) in rounds.CAMPAIGNS.items():
        found = pipeline.measured(rounds.along, choose=choose, memory=memory)
        if choose == "best" and memory == "all":
            rows["scoreboard", "fine-tuned policy"] = {key: found[key][0] for key in columns}
            rows["scoreboard", "V1, best of 8"] = {key: found[key][1] for key in columns}
        rows["scoreboard", f"V{rounds.ROUNDS}, {name}"] = {key: found[key][-1] for key in columns}
    for weight in on_top.KL_WEIGHTS.values():
        after = pipeline.measured(on_top.ppo_on_top, kl_weight=weight)["after"]
        rows["scoreboard", f"V{rounds.ROUNDS + 1}, PPO on top, KL weight {weight}"] = {
            key: after[key] for key in columns
        }
    return rows
