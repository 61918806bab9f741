"""What chapter 04 claims, measured on one pipeline: `rlhf-mini claims 04` prints it and writes the records."""

from typing import Any

from rlhf_mini.chapters.claims import Claim, record_of
from rlhf_mini.chapters.reward_models import bug_hunt, doubt, fooling, learning, lengths, people, ranking
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

CHAPTER = "04"
CAREFUL = len(stories.PANEL)  # the crowd's first four; the others do not look


def accuracy(pipeline: Pipeline) -> dict[str, float]:
    """The pipeline's reward model on the held-out pairs, beside its ceilings; without curve and ratings."""
    found = pipeline.measured(learning.whole)
    keys = ("accuracy", "gold_accuracy", "loss", "calibration_error")
    return {name: found[name] for key in keys for name in (key, f"ceiling_{key}")}


def by_rating(pipeline: Pipeline) -> dict[str, float]:
    """Accuracy by the annotators' four ratings, and how often two judges agree there."""
    found, agreed = pipeline.measured(learning.whole), pipeline.measured(people.agreements)
    numbers = {f"accuracy {rating}": found[f"accuracy {rating}"] for rating in stories.RATINGS}
    numbers |= {f"pairs {rating}": found[f"pairs {rating}"] for rating in stories.RATINGS}
    return numbers | {f"agreement {name}": value for name, value in agreed.items()}


def more_labels(pipeline: Pipeline) -> dict[str, float]:
    """Accuracy against the number of labels, one pass over each."""
    whole = pipeline.measured(learning.whole)
    runs = {str(size): pipeline.measured(learning.on_labels, labels=size) for size in learning.SIZES}
    numbers = {"labels_all": float(pipeline.profile.pairs)}
    for name, run in {**runs, "all": whole}.items():
        numbers |= {f"{key}_{name}": run[key] for key in ("accuracy", "gold_accuracy", "loss")}
    return numbers


def starts(pipeline: Pipeline) -> dict[str, float]:
    """The same labels and settings from the SFT model and from random weights."""
    numbers = {}
    for start in learning.STARTS:
        run = pipeline.measured(learning.on_labels, labels=learning.COMPARED, start=start)
        numbers |= {f"{key}_{start}": run[key] for key in ("accuracy", "gold_accuracy", "loss")}
    return numbers


def passes(pipeline: Pipeline) -> dict[str, float]:
    """One pass over few labels, and several."""
    numbers = {}
    for name, epochs in (("once", 1), ("often", learning.PASSES)):
        run = pipeline.measured(learning.on_labels, labels=learning.FEW, epochs=epochs)
        keys = ("accuracy", "gold_accuracy", "loss", "calibration_error", "overconfidence")
        numbers |= {f"{key}_{name}": run[key] for key in keys}
    return numbers


def shuffling(pipeline: Pipeline) -> dict[str, float]:
    """Loss on training and on held-out pairs at the end of one epoch, and what is lowest on the way."""
    numbers = {}
    for way in ("together", "shuffled"):
        run = pipeline.measured(ranking.along, way=way)
        for key in ("train", "held_out"):
            numbers[f"{key}_{way}"] = run[key][-1]
        numbers[f"gap_{way}"] = run["held_out"][-1] - run["train"][-1]
    return numbers


def ways_to_learn(pipeline: Pipeline) -> dict[str, float]:
    """What six ways of learning make of the same prompts and people."""
    numbers = {}
    for way in ranking.WAYS:
        run = pipeline.measured(ranking.learned, way=way)
        keys = ("accuracy", "gold_accuracy", "loss", "calibration_error", "overconfidence", "largest")
        numbers |= {f"{key} {way}": run[key] for key in keys}
    return numbers


def judges(pipeline: Pipeline) -> dict[str, float]:
    """Temperature and biases of every judge, as the labels show them."""
    return pipeline.measured(people.biases)


def crowd(pipeline: Pipeline) -> dict[str, float]:
    """The annotators' scales, found without gold, and models that use them or not."""
    scales = pipeline.measured(people.scales_of_crowd)["scales"]
    numbers = {f"scale {judge.name}": scale for judge, scale in zip(people.CROWD, scales, strict=True)}
    for way in ("all", "weighted", "filtered"):
        run = pipeline.measured(people.crowd, way=way)
        numbers |= {f"{key}_{way}": run[key] for key in ("accuracy", "gold_accuracy", "loss")}
    return numbers


def length_bias(pipeline: Pipeline) -> dict[str, float]:
    """What a sentence more is worth, in the labels and to models, with and without a remedy."""
    found = pipeline.measured(lengths.in_the_labels)
    numbers = {f"{key}_labels": found[key] for key in ("price", "longer_chosen", "longer_better")}
    for way in ("stage", "any", "matched", "corrected"):
        run = pipeline.measured(lengths.priced, way=way)
        numbers |= {f"{key}_{way}": run[key] for key in ("price", "accuracy", "gold_accuracy")}
    return numbers


def together(pipeline: Pipeline) -> dict[str, float]:
    """An ensemble's members, on average, and their mean."""
    return pipeline.measured(doubt.ensemble)


def doubted(pipeline: Pipeline) -> dict[str, float]:
    """The members' disagreement by kind of text."""
    return pipeline.measured(doubt.doubts)


def fooled(pipeline: Pipeline) -> dict[str, float]:
    """Proxy and gold before and after the search, and what other models say."""
    found = pipeline.measured(fooling.fooled)
    return {key: value for key, value in found.items() if isinstance(value, float)}


CLAIMS: tuple[Claim, ...] = ()


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's rows of the scoreboard, and its curves."""
    metrics: dict[tuple[str, str], dict[str, Any]] = {}
    keys = ("accuracy", "gold_accuracy", "loss", "calibration_error")
    for size in learning.SIZES:
        run = pipeline.measured(learning.on_labels, labels=size)
        metrics["scoreboard", f"{size:,} labels"] = {key: run[key] for key in keys}
    run = pipeline.measured(learning.on_labels, labels=learning.FEW, epochs=learning.PASSES)
    metrics["scoreboard", f"{learning.FEW:,} labels, {learning.PASSES} passes"] = {k: run[k] for k in keys}
    metrics["reliability", "often"] = {key: run[key] for key in ("stated", "happened")}
    run = pipeline.measured(learning.on_labels, labels=learning.COMPARED, start="scratch")
    metrics["scoreboard", f"{learning.COMPARED:,} labels, from scratch"] = {key: run[key] for key in keys}
    mean = pipeline.measured(doubt.ensemble)
    metrics["scoreboard", f"{learning.LABELS:,} labels, mean of {doubt.MEMBERS} models"] = {
        key: mean[f"{key}_mean"] for key in keys
    }
    whole = pipeline.measured(learning.whole)
    metrics["scoreboard", f"{pipeline.profile.pairs:,} labels"] = {key: whole[key] for key in keys}
    metrics["scoreboard", "Bayes ceiling"] = {key: whole[f"ceiling_{key}"] for key in keys}
    for way in ("together", "shuffled"):
        metrics["along", way] = pipeline.measured(ranking.along, way=way)
    for way in bug_hunt.WAYS:
        metrics["bug hunt", way] = pipeline.measured(bug_hunt.symptoms, way=way)
    return [
        record_of(
            chapter=CHAPTER,
            experiment=experiment,
            method=method,
            pipeline=pipeline,
            seconds=0.0,
            metrics=numbers,
        )
        for (experiment, method), numbers in metrics.items()
    ]
