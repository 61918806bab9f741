"""The chapter's figures over seeds, drawn from the records in `book/results/`, and texts to read."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rlhf_mini.chapters.reward_models import doubt, ranking
from rlhf_mini.chapters.reward_models.learning import SIZES
from rlhf_mini.evaluation import Interval, read_records, records_table, student_interval
from rlhf_mini.evaluation.records import Record
from rlhf_mini.reader import (
    Curve,
    Level,
    Picture,
    Sample,
    beside,
    frames,
    interval_bars,
    learning_curves,
    records,
    samples_table,
    training_curves,
)
from rlhf_mini.worlds import stories

ON_RECORD = {"profile": "quick"}
LONGEST_CARD = 420  # letters of a text that a card shows


def recorded(experiment: str, **filters: str) -> list[Record]:
    """The records of one of the chapter's experiments, by seed."""
    found = read_records("chapter_04", experiment=experiment, **ON_RECORD, **filters)
    return sorted(found, key=lambda record: record.seed)


def values(claim: str, metric: str) -> list[float]:
    """One number of a claim on every seed on record."""
    return [record.metrics[metric] for record in recorded("claims", method=claim)]


def over_seeds(numbers: Sequence[float]) -> Interval:
    """Student's interval over seeds; a single value stands for itself."""
    if len(numbers) > 1:
        return student_interval(numbers)
    return Interval(mean=numbers[0], low=numbers[0], high=numbers[0], confidence=0.95, count=1)


def bars(rows: dict[str, tuple[str, list[float]]], *, xlabel: str, alt: str) -> Picture:
    """Bars over seeds: name -> (role, values)."""
    return interval_bars(
        {name: (role, over_seeds(found)) for name, (role, found) in rows.items()}, xlabel=xlabel, alt=alt
    )


def rating_bars() -> Picture:
    """Accuracy by the strength that the annotator stated."""
    rows = {
        rating: ("reward", [100 * value for value in values("ratings", f"accuracy {rating}")])
        for rating in stories.RATINGS
    }
    return bars(
        rows,
        xlabel="held-out labels predicted (%)",
        alt="Held-out accuracy by rating: near chance for pairs called negligibly better, and rising with each "
        "grade to the highest for those called significantly better.",
    )


def label_curves() -> Picture:
    """Accuracy on labels and by gold against the number of labels."""
    sizes = [*SIZES, int(values("labels", "labels_all")[0])]
    names = [str(size) for size in SIZES] + ["all"]
    curves = [
        Curve(
            label,
            role,
            sizes,
            list(zip(*([100 * v for v in values("labels", f"{key}_{name}")] for name in names), strict=True)),
        )
        for key, label, role in (("accuracy", "labels", "reward"), ("gold_accuracy", "gold\norder", "gold"))
    ]
    ceiling = over_seeds([100 * value for value in values("accuracy", "ceiling_accuracy")]).mean
    return learning_curves(
        curves,
        levels=[Level("Bayes\nceiling\n(labels)", ceiling)],
        xlabel="labels (log scale)",
        ylabel="held-out pairs ordered right (%)",
        alt="Accuracy against the number of labels on a logarithmic axis: both curves rise steadily, that of the "
        "gold order above that of the labels, which stays below its ceiling.",
    )


def reliability_curves(found: dict[str, tuple[str, dict[str, Any]]], *, alt: str) -> Picture:
    """Reliability curves: name -> (role, what `on_labels` measured), and the diagonal."""
    curves = [Curve("promised", "reference", [50, 100], [50, 100])]
    for name, (role, numbers) in found.items():
        stated, happened = ([100 * value for value in numbers[key]] for key in ("stated", "happened"))
        curves.append(Curve(name, role, stated, happened))
    return training_curves(
        curves,
        xlabel="stated chance of the favourite (%)",
        ylabel="the favourite was chosen (%)",
        alt=alt,
    )


def shuffling_curves() -> Picture:
    """Loss on training pairs and on held-out pairs, pairs together and pairs shuffled."""
    panels = []
    for key, title in (("train", "training pairs"), ("held_out", "other prompts")):
        curves = []
        for way, role in (("together", "policy"), ("shuffled", "loss")):
            found = recorded("along", method=way)
            curves.append(Curve(way, role, found[0].metrics["step"], [r.metrics[key] for r in found]))
        panels.append(
            training_curves(
                curves,
                xlabel="update",
                ylabel=f"loss on {title} (nats per pair)",
                alt=f"Loss on {title} along one epoch, for pairs kept together and pairs shuffled.",
            )
        )
    return beside(*panels)


def way_bars() -> Picture:
    """Gold accuracy of what was learned from the same people in six ways."""
    rows = {
        way: ("reward", [100 * value for value in values("ways to learn", f"gold_accuracy {way}")])
        for way in ranking.WAYS
    }
    return bars(
        rows,
        xlabel="held-out pairs in gold's order (%)",
        alt="Held-out pairs in gold's order for six ways of learning from the same prompts and people.",
    )


def scale_bars(names: Sequence[str]) -> Picture:
    """The scale that each annotator of the crowd was given."""
    rows = {
        name: ("data" if number < len(stories.PANEL) else "loss", values("crowd", f"scale {name}"))
        for number, name in enumerate(names)
    }
    return bars(
        rows,
        xlabel="scale: how closely choices follow the model",
        alt="Scales of eight annotators: four clearly above zero, four careless ones near zero.",
    )


def price_bars() -> Picture:
    """What a sentence more is worth, in units of gold."""
    shown = {"stage": "all labels", "any": "1,000 labels", "matched": "1,000 labels,\nequal lengths"}
    rows = {
        "in the labels": ("data", values("length bias", "price_labels")),
        **{label: ("reward", values("length bias", f"price_{way}")) for way, label in shown.items()},
        "all labels,\ncorrected": ("policy", values("length bias", "price_corrected")),
    }
    return bars(
        rows,
        xlabel="what one more sentence is worth (gold)",
        alt="What a sentence more is worth in gold: in the labels, to models, and after two remedies.",
    )


def doubt_bars() -> Picture:
    """Disagreement of the members on texts of several kinds."""
    rows = {
        kind: (
            "policy" if kind == "SFT model" else "loss",
            values("no alarm", f"disagreement {kind}"),
        )
        for kind in doubt.KINDS
    }
    return bars(
        rows,
        xlabel="disagreement of the members (deviations)",
        alt="Mean disagreement of the members on answers of the SFT model and on four kinds of other texts.",
    )


def shortened(text: str) -> str:
    """The text, or its beginning if a card cannot show it."""
    return text if len(text) <= LONGEST_CARD else text[: LONGEST_CARD - 2].rsplit(" ", 1)[0] + " …"


def most_fooled(found: dict[str, Any]) -> list[int]:
    """Numbers of the searches, the one that lost most gold first."""
    losses = [b - a for b, a in zip(found["golds_before"], found["golds_after"], strict=True)]
    return sorted(range(len(losses)), key=lambda index: -losses[index])


def fooled_table(found: dict[str, Any], *, which: Sequence[int]) -> Picture:
    """Answers before and after the search, with proxy and gold."""
    rows = []
    for index in which:
        cards = {
            label: Sample(
                text=shortened(found[when][index]),
                role=role,
                gold=found[f"golds_{when}"][index],
                proxy=found[f"scores_{when}"][index],
            )
            for when, label, role in (("before", "SFT model", "policy"), ("after", "found by search", "loss"))
        }
        rows.append((found["prompts"][index], cards))
    return samples_table(rows)


def climb_frames(found: dict[str, Any]) -> Picture:
    """One search step by step: the text, its score and its gold."""
    pictures = [
        samples_table(
            [
                (
                    found["prompts"][found["shown"]],
                    {"text": Sample(text=shortened(text), gold=gold, proxy=score)},
                )
            ]
        )
        for text, gold, score in zip(
            found["shown_texts"], found["shown_golds"], found["shown_scores"], strict=True
        )
    ]
    return frames(pictures, [str(place) for place in found["shown_edits"]], label="edits kept")


def hunt_curves() -> Picture:
    """The bug hunt's symptoms: training accuracy, and held-out accuracy with one text and with all at a time."""
    kinds = {"right": ("ours", "policy"), "wrong": ("his", "loss")}
    panels = []
    for key, ylabel in (
        ("accuracy_in_training", "labels predicted in training (%)"),
        ("accuracy_of_1", "held out, one text at a time (%)"),
    ):
        curves = []
        for way, (label, role) in kinds.items():
            found = recorded("bug hunt", method=way)
            rows = [[100 * value for value in record.metrics[key]] for record in found]
            curves.append(Curve(label, role, found[0].metrics["step"], rows))
        panels.append(
            training_curves(curves, xlabel="update", ylabel=ylabel, alt=f"{ylabel}, for both versions.")
        )
    return beside(*panels)


def _place(row: str) -> tuple[bool, int, str]:
    """Rows by their number of labels, the ceiling last."""
    labels = row.split(" ")[0].replace(",", "")
    return (True, 0, row) if not labels.isdigit() else (False, int(labels), row)


def scoreboard() -> Picture:
    """The chapter's runs, on the held-out pairs."""
    columns = {
        "accuracy": "labels predicted",
        "gold_accuracy": "in gold's order",
        "loss": "loss (nats)",
        "calibration_error": "calibration error",
    }
    found = sorted(recorded("scoreboard"), key=lambda record: _place(record.method))
    rows = [replace(r, metrics={key: r.metrics[key] for key in columns}) for r in found]
    return records(records_table(rows, metrics=columns))
