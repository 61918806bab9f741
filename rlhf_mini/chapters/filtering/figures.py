"""The chapter's figures and tables of runs, drawn from the records in `book/results/`; `toy_figures` has the others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from rlhf_mini.chapters.filtering import arithmetic, data
from rlhf_mini.chapters.filtering.family import CONTROLS, OURS, run
from rlhf_mini.chapters.record_figures import gold_differences, numbers_in, recorded_in
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.evaluation import records_table
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import (
    Curve,
    Level,
    Picture,
    Sample,
    beside,
    records,
    samples_table,
    training_curves,
)
from rlhf_mini.worlds.stories import Request, gold

OUTCOMES = {
    "gold": "gold",
    "proxy": "reward model",
    "kl_k1": "KL (nats)",
    "entropy": "entropy (nats)",
    "overlap": "overlap (%)",
    "unkind": "unkind: declined (%)",
}
DECLINES = {
    "gold": "gold",
    "proxy": "reward model",
    "kl_k1": "KL (nats)",
    "unkind": "unkind: declined (%)",
    "kind": "kind: declined (%)",
}
SUM_ROLES = {
    "from base each round": "policy",
    "from the last policy": "data",
    "without the checker": "reference",
}
SUM_OUTCOMES = {
    **{f"pass_{k}": f"pass@{k}" for k in arithmetic.PASSES},
    "train": "pass@1, training problems",
    "differ": "two right ones differ",
}
KL_AXIS = "KL to the SFT model (nats per answer)"
recorded = partial(recorded_in, "09")  # the chapter's records of an experiment, by seed
by_seed = partial(numbers_in, "09", "runs")  # what is on record of a run: seed → its numbers


def table(names: Sequence[str], columns: Mapping[str, str] = OUTCOMES, *, decimals: int = 2) -> Picture:
    """Runs as a table of the book, in the given order."""
    rows = []
    for name in names:
        for record in recorded("runs", method=name):
            told = {key: value for key, value in record.metrics.items() if key != "group"}
            for short, name in (
                ("unkind", "unkind_declined"),
                ("kind", "kind_declined"),
                ("overlap", "overlap"),
            ):
                told[short] = 100 * told[name]
            rows.append(replace(record, metrics={key: told[key] for key in columns}))
    return records(records_table(rows, metrics=columns, decimals=decimals))


def written(pipeline: Pipeline, asked: Sequence[Request], names: Mapping[str, str]) -> Picture:
    """What the policies of some runs write for the same requests, with gold and the reward model's score.

    `names`: run → the colour of its card. Every policy has the same random numbers.
    """
    tokenizer, prompts = pipeline.tokenizer(), [request.text for request in asked]
    cards: list[dict[str, Sample]] = [{} for _ in asked]
    for name, role in names.items():
        texts = answer(
            run(name).policy(pipeline),
            tokenizer,
            prompts,
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=pipeline.generator("chapter 09 side by side"),
        )
        scores = data.reward_of(pipeline)(pack_texts(tokenizer, prompts, texts)).tolist()
        for card, request, text, score in zip(cards, asked, texts, scores, strict=True):
            card[name] = Sample(text=text, role=role, gold=gold(request, text).total, proxy=score)
    return samples_table(list(zip(prompts, cards, strict=True)))


def differences(groups: Mapping[str, Sequence[str]], *, alt: str) -> Picture:
    """Gold of runs less that of ReST, a dot a seed; the band is what a change of nothing does.

    `groups`: heading → names of runs.
    """
    return gold_differences(by_seed, groups, ours=OURS, controls=[one.name for one in CONTROLS], alt=alt)


def _level(label: str, name: str, metric: str, role: str) -> Level:
    values = [told[metric] for told in by_seed(name).values()]
    return Level(label, sum(values) / len(values), role)


def _by_round(name: str, metric: str) -> tuple[list[int], list[list[float]]]:
    """A number of the SFT model and after each Improve or iteration of a run, a list a seed."""
    before = {record.seed: record.metrics for record in recorded("rounds", method="SFT")}
    rows = [
        [*before[record.seed][metric], *record.metrics[metric]] for record in recorded("rounds", method=name)
    ]
    return list(range(len(rows[0]))), rows


def improve_curves() -> Picture:
    """Gold and entropy after each Improve of ReST: three Grows, each with rising thresholds."""
    pictures = []
    for metric, words, role in (("gold", "gold", "gold"), ("entropy", "entropy (nats per answer)", "policy")):
        x, rows = _by_round(OURS, metric)
        ends = [sum(row[place] for row in rows) / len(rows) for place in (0, -1)]
        pictures.append(
            training_curves(
                [Curve("ReST", role, x, rows)],
                levels=[_level("PPO", "PPO", metric, "reference")],
                xlabel="Improve",
                ylabel=words,
                alt=f"The {words} after each Improve of ReST, from {ends[0]:.2f} to {ends[1]:.2f}.",
            )
        )
    return beside(*pictures)


def kl_curves() -> Picture:
    """Gold and the reward model's opinion against KL: ReST's Improves, RAFT's iterations at two rates, best-of-n."""
    pictures = []
    for metric, words in (("gold", "gold"), ("proxy", "reward model's score")):
        curves = []
        for name, role in ((OURS, "policy"), ("RAFT", "data"), ("RAFT, too fast", "reference")):
            (_, kls), (_, rows) = _by_round(name, "kl_k1"), _by_round(name, metric)
            curves.append(Curve(name.replace(", ", ",\n"), role, kls, rows))
        pool = recorded("best of n", method="best of n")
        curves.append(
            Curve(
                "best\nof n",
                "reward",
                [record.metrics["kl"] for record in pool],
                [record.metrics[metric] for record in pool],
            )
        )
        told = ", ".join(
            f"{curve.label.replace(chr(10), ' ')} {curve.ys[:, -1].mean():.2f} at {curve.xs[:, -1].mean():.1f} nats"
            for curve in curves
        )
        pictures.append(
            training_curves(
                curves,
                xlabel=KL_AXIS,
                ylabel=words,
                alt=f"The {words} against the distance travelled: {told}.",
            )
        )
    return beside(*pictures)


def sum_curves(metric: str, ylabel: str) -> Picture:
    """A number of the policies on sums, by round."""
    curves = []
    for name, role in SUM_ROLES.items():
        rows = [record.metrics[metric] for record in recorded("sums", method=name)]
        curves.append(Curve(name.replace(" ", "\n", 1), role, list(range(len(rows[0]))), rows))
    told = "; ".join(
        f"{name}, {curve.ys[:, -1].mean():.2f}" for name, curve in zip(SUM_ROLES, curves, strict=True)
    )
    start = curves[0].ys[:, 0].mean()
    return training_curves(
        curves,
        xlabel="round",
        ylabel=ylabel,
        alt=f"{ylabel} by round on held-out sums. It begins at {start:.2f} and ends at: {told}.",
    )


def sum_figure() -> Picture:
    """pass@1 and variety by round."""
    return beside(
        sum_curves("pass_1", "pass@1"),
        sum_curves("differ", "chance that two right solutions differ"),
    )


def sum_table(columns: Mapping[str, str] = SUM_OUTCOMES, *, decimals: int = 2) -> Picture:
    """The start, and every method on sums after its last round, as a table of the book."""
    rows = []
    for name in arithmetic.METHODS:
        for record in recorded("sums", method=name):
            first, last = ({key: record.metrics[key][place] for key in columns} for place in (0, -1))
            if name == next(iter(arithmetic.METHODS)):  # all begin with the same start
                rows.append(replace(record, method="the start", metrics=first))
            rows.append(replace(record, metrics=last))
    rows.sort(key=lambda record: record.method != "the start")
    return records(records_table(rows, metrics=columns, decimals=decimals))
