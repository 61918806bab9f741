"""What chapter 04 claims, measured on one pipeline: `rlhf-mini claims 04` prints it and writes the records."""

from collections.abc import Sequence
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
    numbers: dict[str, float] = {}
    for start in learning.STARTS:
        run = pipeline.measured(learning.on_labels, labels=learning.COMPARED, start=start)
        numbers |= {f"{key}_{start}": run[key] for key in ("accuracy", "gold_accuracy", "loss")}
    return numbers


def passes(pipeline: Pipeline) -> dict[str, float]:
    """One pass over few labels, and several."""
    numbers: dict[str, float] = {}
    for name, epochs in (("once", 1), ("often", learning.PASSES)):
        run = pipeline.measured(learning.on_labels, labels=learning.FEW, epochs=epochs)
        keys = ("accuracy", "gold_accuracy", "loss", "calibration_error", "overconfidence")
        numbers |= {f"{key}_{name}": run[key] for key in keys}
    return numbers


def shuffling(pipeline: Pipeline) -> dict[str, float]:
    """Loss on training and on held-out pairs at the end of one epoch, and what is lowest on the way."""
    numbers: dict[str, float] = {}
    for way in ("together", "shuffled"):
        run = pipeline.measured(ranking.along, way=way)
        for key in ("train", "held_out"):
            numbers[f"{key}_{way}"] = run[key][-1]
        numbers[f"gap_{way}"] = run["held_out"][-1] - run["train"][-1]
    return numbers


def ways_to_learn(pipeline: Pipeline) -> dict[str, float]:
    """What six ways of learning make of the same prompts and people."""
    numbers: dict[str, float] = {}
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


def one_off(pipeline: Pipeline) -> dict[str, float]:
    """The bug hunt's last look, for both versions."""
    numbers: dict[str, float] = {}
    for way in bug_hunt.WAYS:
        run = pipeline.measured(bug_hunt.symptoms, way=way)
        keys = ("loss", "accuracy_in_training", "accuracy_of_1", "accuracy_of_32", "accuracy_of_all")
        numbers |= {f"{key}_{way}": run[key][-1] for key in keys} | {f"moved_{way}": run["moved"]}
    return numbers


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "accuracy",
        "The reward model predicts more than 65% of held-out labels, puts more pairs into gold's order than it predicts labels, and "
        "stays below the ceiling of both.",
        accuracy,
        lambda m: (
            0.65 < m["accuracy"] < m["ceiling_accuracy"]
            and m["accuracy"] < m["gold_accuracy"] < m["ceiling_gold_accuracy"]
        ),
        ("reward_model",),
    ),
    Claim(
        "ratings",
        "Held-out accuracy is highest where the annotators called an answer significantly better, by at least 15 points above the two "
        "weaker grades together, and lies between where they called it better.",
        by_rating,
        lambda m: (
            m["accuracy significantly better"] > m["accuracy better"] > _weak(m)
            and m["accuracy significantly better"] > _weak(m) + 0.15
        ),
    ),
    Claim(
        "labels",
        "Held-out accuracy rises with labels, from 250 to 1,000 and from 1,000 to all, by at least 5 points in all.",
        more_labels,
        lambda m: (
            m["accuracy_250"] < m["accuracy_1000"] < m["accuracy_all"]
            and m["accuracy_all"] > m["accuracy_250"] + 0.05
        ),
        live=False,
    ),
    Claim(
        "start",
        "With 1,000 labels the start hardly matters: from random weights the model predicts as many held-out labels as from the SFT "
        "model, give or take 6 points.",
        starts,
        lambda m: abs(m["accuracy_sft"] - m["accuracy_scratch"]) < 0.06,
        live=False,
    ),
    Claim(
        "passes",
        "Four passes over 250 labels instead of one at least double the calibration error and raise the held-out loss, while accuracy "
        "falls by less than 5 points, if at all.",
        passes,
        lambda m: (
            m["calibration_error_often"] > 2 * m["calibration_error_once"]
            and m["loss_often"] > m["loss_once"]
            and m["accuracy_often"] > m["accuracy_once"] - 0.05
        ),
        live=False,
    ),
    Claim(
        "judges",
        "A logistic fit to a judge's own labels finds the temperature within 25%, what a sentence is worth within 0.08 gold, and what "
        "being shown first is worth within 0.2.",
        judges,
        lambda m: all(
            abs(m[f"temperature_{judge.name}"] / judge.temperature - 1) < 0.25
            and abs(m[f"length_{judge.name}"] - judge.length_bias) < 0.08
            and abs(m[f"position_{judge.name}"] - judge.position_bias) < 0.2
            for judge in stories.PANEL
        ),
    ),
    Claim(
        "shuffled pairs",
        "With as many updates and pairs in each, shuffled pairs end with a wider gap between training and held-out loss than pairs kept "
        "together, by more than 0.02 nats.",
        shuffling,
        lambda m: m["gap_shuffled"] > m["gap_together"] + 0.02,
        live=False,
    ),
    Claim(
        "ways to learn",
        "All pairs of a ranking put more held-out pairs into gold's order than a single pair of each ranking does, by at least 2 points.",
        ways_to_learn,
        lambda m: m["gold_accuracy all pairs"] > m["gold_accuracy one pair"] + 0.02,
        live=False,
    ),
    Claim(
        "crowd",
        "Without gold, the four careful annotators get a scale that is on average at least 0.4 above that of the four who do not look; "
        "weighing or filtering labels by it puts, on average, at least 2 points more pairs into gold's order.",
        crowd,
        lambda m: (
            _mean_scale(m, people.CROWD[:CAREFUL]) > _mean_scale(m, people.CROWD[CAREFUL:]) + 0.4
            and (m["gold_accuracy_weighted"] + m["gold_accuracy_filtered"]) / 2
            > m["gold_accuracy_all"] + 0.02
        ),
        live=False,
    ),
    Claim(
        "few labels, more length",
        "After 1,000 labels a sentence is worth more to the reward model than to the judges, and more than after all labels; learning "
        "from pairs of equal length alone does not bring it down to the judges' price.",
        length_bias,
        lambda m: (
            m["price_any"] > max(m["price_stage"], m["price_labels"])
            and m["price_matched"] > m["price_labels"] > 0
        ),
        live=False,
    ),
    Claim(
        "length bias",
        "Subtracting what the reward model's scores rise with a sentence brings the price of a sentence nearer to nothing, and costs no "
        "more than a point of gold's order.",
        length_bias,
        lambda m: (
            abs(m["price_corrected"]) < m["price_stage"]
            and m["gold_accuracy_corrected"] > m["gold_accuracy_stage"] - 0.01
        ),
        live=False,
    ),
    Claim(
        "ensemble",
        "The mean of three reward models puts more held-out pairs into gold's order than its members do on average, with a lower loss.",
        together,
        lambda m: m["gold_accuracy_mean"] > m["gold_accuracy_member"] and m["loss_mean"] < m["loss_member"],
    ),
    Claim(
        "no alarm",
        "On texts of the base model, shuffled words and answers to another prompt, whose gold is lower by more than 0.5, the members "
        "disagree at most half as much again as on answers of the SFT model.",
        doubted,
        lambda m: all(
            m[f"gold {kind}"] < m["gold SFT model"] - 0.5
            and m[f"disagreement {kind}"] < 1.5 * m["disagreement SFT model"]
            for kind in ("base model", "words shuffled", "other prompt")
        ),
    ),
    Claim(
        "fooled",
        "Thirty rounds of search raise the reward model's score by more than one deviation and lower gold by more than 1 on average, "
        "in at least three cases of four; models that the search never asked rate what it found higher, too.",
        fooled,
        lambda m: (
            m["score_after"] > m["score_before"] + 1
            and m["gold_after"] < m["gold_before"] - 1
            and m["worse"] >= 0.75
            and m["others_after"] > m["others_before"]
        ),
    ),
    Claim(
        "bug hunt",
        "Read in the last column, a text's score moves by more than a tenth of a deviation with the texts beside it, and fewer "
        "held-out labels are predicted one at a time; read at its own last token, it does not move.",
        one_off,
        lambda m: (
            m["moved_wrong"] > 0.1
            and m["accuracy_of_1_wrong"] < m["accuracy_of_1_right"]
            and m["moved_right"] < 1e-3
        ),
        live=False,
    ),
)


def _mean_scale(numbers: dict[str, float], judges: Sequence[stories.Annotator]) -> float:
    return sum(numbers[f"scale {judge.name}"] for judge in judges) / len(judges)


def _weak(numbers: dict[str, float]) -> float:
    """Accuracy on the pairs of the two weaker grades together."""
    weak = stories.RATINGS[:2]
    right = sum(numbers[f"accuracy {rating}"] * numbers[f"pairs {rating}"] for rating in weak)
    return right / sum(numbers[f"pairs {rating}"] for rating in weak)


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
    if not pipeline.seed:  # on one seed only, for it takes long
        run = pipeline.measured(learning.on_labels, labels=pipeline.profile.pairs, start="scratch")
        metrics["start", "scratch, all labels"] = {key: run[key] for key in keys}
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
