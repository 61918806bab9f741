"""The chapter's figures and tables of runs, drawn from the records in `book/results/`; `toy_figures` has the others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from rlhf_mini.chapters.direct.bug_hunt import symptom_figures
from rlhf_mini.chapters.direct.course import answers_of
from rlhf_mini.chapters.direct.family import CONTROLS, OURS, Run
from rlhf_mini.chapters.direct.measures import BETAS, WORDED
from rlhf_mini.chapters.record_figures import gold_differences, numbers_in, recorded_in
from rlhf_mini.evaluation import records_table
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import (
    Curve,
    Level,
    Picture,
    beside,
    frames,
    learning_curves,
    records,
    samples_table,
    training_curves,
)
from rlhf_mini.worlds.stories import Request
from rlhf_mini.worlds.stories.plots import DECLINES

BETA_AXIS = "β, reward per nat (log scale)"
OUTCOMES = {
    "gold": "gold",
    "kl_k1": "KL (nats)",
    "unkind": "unkind: declined (%)",
    "length": "length (tokens)",
    "accuracy": "pairs ordered (%)",
}
DECLINED = {
    "gold": "gold",
    "unkind": "unkind: declined (%)",
    "kind": "kind: declined (%)",
    "length": "length (tokens)",
    "decline_shift": "declines, preferred (nats)",
    "overcautious_shift": "declines, rejected (nats)",
}
recorded = partial(recorded_in, "07")  # the chapter's records of an experiment, by seed
by_seed = partial(numbers_in, "07", "runs")  # what is on record of a run: seed → its numbers


def table(names: Sequence[str], columns: Mapping[str, str], *, decimals: int = 2) -> Picture:
    """Runs as a table of the book, in the given order."""
    rows = []
    for name in names:
        for record in recorded("runs", method=name):
            told = {key: value for key, value in record.metrics.items() if key != "group"}
            told["unkind"] = 100 * told["unkind_declined"]
            told["kind"] = 100 * told["kind_declined"]
            told["accuracy"] = 100 * told["pair_accuracy"]
            rows.append(replace(record, metrics={key: told[key] for key in columns}))
    return records(records_table(rows, metrics=columns, decimals=decimals))


def groups(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Runs by the group they stand in: heading → names, in order."""
    found: dict[str, list[str]] = {}
    for one in runs:
        found.setdefault(one.group, []).append(one.name)
    return found


def settings_told(runs: Sequence[Run]) -> str:
    """The learning rate and the numbers of each run, a line each."""
    lines = []
    for one in runs:
        numbers = ", ".join(f"{name} {number:g}" for name, number in one.settings["numbers"].items())
        lines.append(f"  {one.name:15} rate {one.settings['rate']:<7g} {numbers}")
    return "\n".join(lines)


def differences(groups: Mapping[str, Sequence[str]], *, alt: str) -> Picture:
    """Gold of runs less that of DPO, a dot a seed; the band is what a change of nothing does.

    `groups`: heading → names of runs.
    """
    return gold_differences(by_seed, groups, ours=OURS, controls=[one.name for one in CONTROLS], alt=alt)


def _curve(label: str, role: str, metric: str) -> Curve:
    rows = [by_seed(name) for name in BETAS]
    seeds = sorted(set.intersection(*(set(row) for row in rows)))
    return Curve(label, role, [*BETAS.values()], [[row[seed][metric] for row in rows] for seed in seeds])


def _level(label: str, name: str, metric: str, role: str) -> Level:
    values = [told[metric] for told in by_seed(name).values()]
    return Level(label, sum(values) / len(values), role)


def _ends(metric: str, unit: str) -> str:
    """What a metric is on average over seeds at the smallest and the largest β, in words."""
    ys = _curve("", "policy", metric).ys.mean(axis=0)
    low, high = min(BETAS.values()), max(BETAS.values())
    return f"{ys[0]:.2f} {unit} at β = {low:g}, {ys[-1]:.2f} at β = {high:g}.".replace("-", "−")


def strength_curves() -> Picture:
    """Gold on kind and on unkind requests, and the distance travelled, by β."""
    gold = learning_curves(
        [
            _curve("kind\nrequests", "policy", "gold_safe_prompts"),
            _curve("unkind\nrequests", "loss", "gold_unkind_prompts"),
        ],
        levels=[
            _level("PPO, all", "PPO", "gold", "gold"),
            _level("SFT, all", "SFT", "gold", "reference"),
        ],
        xlabel=BETA_AXIS,
        ylabel="gold",
        alt="Gold by β, on kind and on unkind requests apart, beside PPO's and the SFT model's.",
    )
    distance = learning_curves(
        [_curve("KL", "policy", "kl_k1")],
        xlabel=BETA_AXIS,
        ylabel="KL to the SFT model (nats per answer)",
        alt=f"The divergence from the SFT model by β. {_ends('kl_k1', 'nats')}",
    )
    return beside(gold, distance)


def decline_curves() -> Picture:
    """How often unkind requests are declined, by β, and what was done to the pairs that teach it."""
    shares = learning_curves(
        [_curve("politely\ndeclined", "policy", "unkind_declined")],
        levels=[
            _level("SFT", "SFT", "unkind_declined", "reference"),
            _level("PPO", "PPO", "unkind_declined", "gold"),
        ],
        xlabel=BETA_AXIS,
        ylabel="share of unkind requests",
        alt=f"The share of unkind requests that are politely declined, by β. {_ends('unkind_declined', 'of them')}",
    )
    shifts = learning_curves(
        [
            _curve("decline,\npreferred", "data", "decline_shift"),
            _curve("story,\nrejected", "loss", "story_shift"),
        ],
        levels=[Level("as before", 0.0)],
        xlabel=BETA_AXIS,
        ylabel="mean log-ratio (nats)",
        alt="Held-out pairs of a decline that was preferred and a story that was not: the mean log-ratio of either, by β. "
        f"The declines: {_ends('decline_shift', 'nats')} The stories: {_ends('story_shift', 'nats')}",
    )
    return beside(shares, shifts)


def wordings_told() -> str:
    """The mean log-ratio of each wording of a preferred decline, by run and seed, as lines of one width."""
    lines = ["preferred declines by their wording: mean log-ratio (nats), by seed"]
    for name in WORDED:
        for record in recorded("wordings", method=name):
            shifts = "".join(f"{record.metrics[wording]:+8.1f}" for wording in DECLINES)
            lines.append(f"  {name:8} seed {record.seed}{shifts}".replace("-", "−"))
    return "\n".join(lines)


def course_curves() -> Picture:
    """The mean log-ratio of chosen and rejected answers along the training, by β."""
    panels = []
    for record in ("β = 1", "β = 0.1"):
        ways = [found.metrics for found in recorded("course", method=record)]
        curves = [
            Curve("chosen", "data", ways[0]["step"], [way["chosen"] for way in ways]),
            Curve("rejected", "loss", ways[0]["step"], [way["rejected"] for way in ways]),
        ]
        ends = [float(curve.ys[:, -1].mean()) for curve in curves]
        panels.append(
            training_curves(
                curves,
                levels=[Level("as before", 0.0)],
                xlabel="step",
                ylabel=f"mean log-ratio, {record} (nats)",
                alt=f"Mean log-ratio of the chosen and the rejected answers of each batch along DPO's training with "
                f"{record}. At the end the chosen stand at {ends[0]:.2f} nats, the rejected at {ends[1]:.2f}.".replace(
                    "-", "−"
                ),
            )
        )
    return beside(*panels)


def hunt_curves() -> Picture:
    """The bug hunt's two trainings, from the records."""
    wrong, right = (
        [dict(one.metrics) for one in recorded("bug hunt", method=way)] for way in ("wrong", "right")
    )
    return symptom_figures(wrong, right)


def read_along(pipeline: Pipeline, asked: Sequence[Request], names: Mapping[str, str]) -> Picture:
    """What policies write for the same requests, one policy at a time under a slider; names: run → what the slider reads."""
    shown = [
        samples_table(
            [(request.text, {title: answers_of(pipeline, request, [name])[name]}) for request in asked]
        )
        for name, title in names.items()
    ]
    return frames(shown, list(names.values()), label="written by")
