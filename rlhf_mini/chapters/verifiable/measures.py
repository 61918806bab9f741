"""What chapter 12 measures for its claims, a mapping of numbers each; the verdicts on them are in `claims`."""

from collections.abc import Sequence
from typing import Any

from rlhf_mini.chapters.verifiable import taste
from rlhf_mini.chapters.verifiable.choices import IN_REWARD, METHODS
from rlhf_mini.chapters.verifiable.family import (
    ALL,
    CURVES,
    EITHER,
    GAP_REWARDS,
    GRADUAL,
    LATE,
    OURS,
    SIZES,
    SPARSE,
    THINKING,
    from_name,
    gap_name,
    group_size_name,
    reused_name,
    run,
    start_name,
)
from rlhf_mini.chapters.verifiable.looks import ENDS
from rlhf_mini.chapters.verifiable.starts import READER
from rlhf_mini.pipeline import Pipeline

BEFORE = start_name(READER)


def ends(pipeline: Pipeline, names: Sequence[str], *metrics: str) -> dict[str, float]:
    """Some numbers of some runs: metric and name → number."""
    return {f"{metric} {name}": run(name).measured(pipeline)[metric] for name in names for metric in metrics}


def methods(pipeline: Pipeline) -> dict[str, float]:
    """All methods with one step on every draw, and with several; the most that a loss read among the former."""
    names = [*METHODS, *(reused_name(name) for name in METHODS)]
    return {
        **ends(pipeline, (BEFORE,), "answer_right"),
        **ends(pipeline, names, "answer_right", "entropy_last", "seconds", "clip_fraction", "kl_k1"),
    }


def loss(pipeline: Pipeline) -> dict[str, float]:
    """What GRPO's loss and gradient read on-policy, and how the reward went."""
    log, told = run(OURS).log(pipeline), run(OURS).measured(pipeline)
    return {
        "loss_largest": told["loss_largest"],
        "grad_norm": told["grad_norm"],
        "first": _mean([entry["score_answer right"] for entry in log[:ENDS]]),
        "last": _mean([entry["score_answer right"] for entry in log[-ENDS:]]),
    }


def kl(pipeline: Pipeline) -> dict[str, float]:
    """KL in the loss, in the reward, and nowhere."""
    names = [f"KL {place}" for place in ("k1 in the loss", "k2 in the loss", "k3 in the loss", IN_REWARD)]
    return ends(pipeline, (reused_name(OURS), *names), "answer_right", "kl_k1", "entropy_last")


def clipping(pipeline: Pipeline) -> dict[str, float]:
    """The bounds of the ratio: what they leave of the entropy and of the right answers."""
    names = [one.name for one in ALL if one.group == "clip"]
    metrics = ("answer_right", "entropy_first", "entropy_last", "clip_fraction", "ratio_deviation", "kl_k1")
    return ends(pipeline, (reused_name(OURS), *names), *metrics)


def averages(pipeline: Pipeline) -> dict[str, float]:
    """Three averages over tokens where answers of two lengths compete."""
    names = [from_name(SPARSE), *(one.name for one in ALL if one.group == "average")]
    return ends(pipeline, names, "answer_right", "worked", "length")


def beginnings(pipeline: Pipeline) -> dict[str, float]:
    """What as much training makes of starts that are right more or less often."""
    trained = [*(from_name(start) for start in GRADUAL[:-1]), OURS]
    return {
        **ends(pipeline, [start_name(start) for start in GRADUAL], "answer_right"),
        **ends(pipeline, trained, "answer_right", "without_spread_first"),
    }


def thinking(pipeline: Pipeline) -> dict[str, float]:
    """Whether written steps become more frequent where only the answer is paid for, and what they are worth."""
    names = [*(name for start in THINKING for name in (start_name(start), from_name(start))), LATE]
    return ends(pipeline, names, "answer_right", "worked", "right_worked", "right_bare", "length")


def tries(pipeline: Pipeline) -> dict[str, Any]:
    """What more tries are worth before and after: `pass`, `majority` by number of tries, and tokens of one."""
    found: dict[str, Any] = {}
    for name in CURVES:
        told = run(name).curves(pipeline)
        for k, passed, majority in zip(told["tries"], told["pass"], told["majority"], strict=True):
            found |= {f"pass {k} {name}": passed, f"majority {k} {name}": majority}
        found |= {f"length {name}": told["length"], f"never {name}": told["never"]}
    return found


def formats(pipeline: Pipeline) -> dict[str, float]:
    """A reward in parts: with and without the part for the form, and that part alone."""
    names = (start_name(SPARSE), from_name(SPARSE), *(one.name for one in ALL if one.group == "format"))
    return ends(pipeline, names, "answer_right", "in_form", "worked")


def gaps(pipeline: Pipeline) -> dict[str, float]:
    """Each reward with a gap and its closed twin: the reward, at the ends of training, and the truth."""
    found = ends(pipeline, (BEFORE,), "answer_right", "all_right", "length", "steps", "worked")
    for gap, rewards in GAP_REWARDS.items():
        for side, reward in zip(("open", "closed"), rewards, strict=True):
            name = gap_name(gap, side)
            found |= ends(pipeline, (name,), "answer_right", "all_right", "length", "steps", "worked")
            log = [entry[f"score_{reward}"] for entry in run(name).log(pipeline)]
            found |= {f"first {name}": _mean(log[:ENDS]), f"last {name}": _mean(log[-ENDS:])}
    return found


def stages(pipeline: Pipeline) -> dict[str, float]:
    """Two stages: right answers, then people's taste, alone or beside the checker."""
    names = [start_name(EITHER), *(one.name for one in ALL if one.group == "stages" and not one.untrained)]
    return {
        **ends(pipeline, names, "answer_right", "carries_first", "in_form", "follows"),
        "taste": taste.accuracy(pipeline),
    }


def sizes(pipeline: Pipeline) -> dict[str, float]:
    """Group sizes at as many answers, and groups without spread drawn again."""
    names = [*(group_size_name(size) for size in SIZES), "redrawn"]
    return ends(pipeline, names, "answer_right", "without_spread_first", "without_spread_last", "drawn")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
