"""What the claims of chapter 08 measure: flat names, plain numbers."""

from rlhf_mini.chapters.hindsight import bug_hunt, family, replay, sum_counts, toy
from rlhf_mini.chapters.hindsight.family import EVERY_STEP, FILTERED, MORE_STEPS, OURS, Run
from rlhf_mini.pipeline import Pipeline

# What a row of the tables holds of a run.
SUMS_TOLD = ("right", "greedy", "right_if_asked_for_wrong", "by_round", "rows")
STORIES_TOLD = (
    "gold", "gold_safe_prompts", "gold_unkind_prompts", "followed", "fulfilled", "fulfil_something", "unkind_declined",
    "kl_k1", "kl_k3", "length", "distinct_2", "proxy", "by_round",
)  # fmt: skip


def ends(
    pipeline: Pipeline, names: tuple[str, ...], *metrics: str, among: tuple[Run, ...]
) -> dict[str, float]:
    """Numbers of several runs as `metric run`."""
    told = {name: family.run(name, among=among).measured(pipeline) for name in names}
    return {f"{metric} {name}": told[name][metric] for name in names for metric in metrics}


def grid(pipeline: Pipeline) -> dict[str, float]:
    """Shares of walks that came to the asked cell, over all walks, and what is known at the end."""
    found = pipeline.measured(replay.curves)
    told = {name: value for name, value in found.items() if not isinstance(value, list)}
    means = {name: sum(value) / len(value) for name, value in found.items() if isinstance(value, list)}
    return {**told, **means}


def same_end(pipeline: Pipeline) -> dict[str, float]:
    """Relabelled likelihood and filtering in a table."""
    return dict(pipeline.measured(toy.same_end))


def from_failures(pipeline: Pipeline) -> dict[str, float]:
    """What is learned from failures alone, in tables."""
    return dict(pipeline.measured(toy.from_failures))


def smoothing_counted(pipeline: Pipeline) -> dict[str, float]:
    """What smoothing leaves of an answer."""
    return dict(pipeline.measured(toy.smoothing))


def smoothing(pipeline: Pipeline) -> dict[str, float]:
    """What smoothing leaves of policies that sample and learn in rounds, on sums and on stories."""
    names = (OURS, "with ε = 0.2")
    return ends(pipeline, names, "right", among=family.SUMS) | ends(
        pipeline, names, "gold", among=family.STORIES
    )


def accidents(pipeline: Pipeline) -> dict[str, float]:
    """What each script keeps of the start's solutions."""
    return {name: float(count) for name, count in pipeline.measured(sum_counts.kept).items()}


def sums(pipeline: Pipeline) -> dict[str, float]:
    """The methods on sums, from the start that is rarely right."""
    relabelled = ("relabelled verdict", OURS, "relabelled steps")
    names = ("start", FILTERED, MORE_STEPS, EVERY_STEP, "no relabelling", *relabelled, "PPO")
    return ends(pipeline, names, "right", "greedy", "right_if_asked_for_wrong", among=family.SUMS)


def often(pipeline: Pipeline) -> dict[str, float]:
    """The methods on sums, from the start that is often right; `lead rarely`, of relabelling over the filter, from the other."""
    rarely = ends(pipeline, (FILTERED, OURS), "right", among=family.SUMS)
    names = ("start", FILTERED, EVERY_STEP, OURS, "relabelled verdict", "verdict with contrast", "PPO")
    found = ends(pipeline, names, "right", "right_if_asked_for_wrong", among=family.OFTEN_SUMS)
    return found | {"lead rarely": rarely[f"right {OURS}"] - rarely[f"right {FILTERED}"]}


def stories(pipeline: Pipeline) -> dict[str, float]:
    """The methods on stories."""
    names = ("SFT", "PPO", "PPO, script", FILTERED, MORE_STEPS, OURS, "no relabelling", "relabelled verdict")
    return ends(pipeline, names, "gold", "kl_k1", "fulfilled", "unkind_declined", among=family.STORIES)


def verdicts(pipeline: Pipeline) -> dict[str, float]:
    """All of `often` and `stories`, and `sums` as `rarely …`: wherever a verdict was what was learned."""
    rarely = {f"rarely {name}": value for name, value in sums(pipeline).items()}
    return rarely | often(pipeline) | stories(pipeline)


def contrasts(pipeline: Pipeline) -> dict[str, float]:
    """The contrast on stories."""
    names = (OURS, "with contrast", "with a four-way contrast")
    return ends(pipeline, names, "gold", "kl_k1", among=family.STORIES)


def hunt(pipeline: Pipeline) -> dict[str, float]:
    """The bug's symptoms and the suspects'."""
    return bug_hunt.readings(pipeline)
