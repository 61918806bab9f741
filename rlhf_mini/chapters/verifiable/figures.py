"""The chapter's figures and tables of runs, drawn from the records in `book/results/`; `toy_figures` has the others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from rlhf_mini.chapters.record_figures import numbers_in, recorded_in
from rlhf_mini.chapters.small_sums import held_out_sums
from rlhf_mini.chapters.verifiable.choices import METHODS
from rlhf_mini.chapters.verifiable.family import (
    GAP_REWARDS,
    OURS,
    SPARSE,
    TRIED,
    from_name,
    gap_name,
    reused_name,
    run,
    start_name,
)
from rlhf_mini.chapters.verifiable.looks import HELD_OUT, solutions
from rlhf_mini.chapters.verifiable.starts import READER
from rlhf_mini.evaluation import records_table
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Curve, Picture, beside, learning_curves, records, training_curves
from rlhf_mini.worlds.sums import verify

IN_PERCENT = (
    "answer_right", "all_right", "in_form", "follows", "carries_first", "worked", "right_bare", "right_worked",
    "without_spread_first", "without_spread_last", "clip_fraction", "finished",
)  # fmt: skip
METHOD_COLUMNS = {
    "answer_right": "right (%)",
    "kl_k1": "KL (nats)",
    "without_spread_last": "no spread (%)",
    "clip_fraction": "clipped (%)",
}
KL_COLUMNS = {"answer_right": "right (%)", "kl_k1": "KL (nats)", "entropy_last": "entropy (nats)"}
STEP_COLUMNS = {
    "answer_right": "right (%)",
    "worked": "with steps (%)",
    "right_worked": "right with steps (%)",
    "right_bare": "right without (%)",
    "length": "length (tokens)",
}
FORMAT_COLUMNS = {"answer_right": "right (%)", "in_form": "in form (%)", "follows": "follows (%)"}
GAP_COLUMNS = {
    "reward_last": "reward",
    "all_right": "all right (%)",
    "answer_right": "answer right (%)",
    "length": "length (tokens)",
}
STAGE_COLUMNS = {
    "answer_right": "right (%)",
    "carries_first": "carry first (%)",
    "in_form": "in form (%)",
    "kl_k1": "KL (nats)",
}
SIZE_COLUMNS = {
    "answer_right": "right (%)",
    "without_spread_first": "no spread, first (%)",
    "without_spread_last": "no spread, last (%)",
    "drawn": "answers drawn",
}
recorded = partial(recorded_in, "12")  # the chapter's records of an experiment, by seed
by_seed = partial(numbers_in, "12", "runs")  # what is on record of a run: seed → its numbers


def table(names: Sequence[str], columns: Mapping[str, str], *, decimals: int = 1) -> Picture:
    """Runs as a table of the book, in the given order; shares in per cent. What a start has not, is left empty."""
    rows = []
    for name in names:
        for record in recorded("runs", method=name):
            told = {
                key: 100 * value if key in IN_PERCENT else value
                for key, value in record.metrics.items()
                if key in columns
            }
            rows.append(replace(record, metrics=told))
    return records(records_table(rows, metrics=columns, decimals=decimals))


def _of_log(name: str, metric: str) -> list[list[float]]:
    """A number of a run's iterations, a list a seed."""
    return [record.metrics[metric] for record in recorded("logs", method=name)]


def log_curves(names: Mapping[str, tuple[str, str]], metric: str, ylabel: str) -> Picture:
    """A number of some runs along their training. `names`: run → what its curve is called, and its role."""
    curves = []
    for name, (label, role) in names.items():
        rows = _of_log(name, metric)
        curves.append(Curve(label, role, list(range(len(rows[0]))), rows))
    told = "; ".join(_ends(curve) for curve in curves)
    return training_curves(curves, xlabel="iteration", ylabel=ylabel, alt=f"{ylabel} by iteration: {told}.")


def _ends(curve: Curve) -> str:
    label = curve.label.replace("\n", " ")
    first, last = (round(float(curve.ys[:, place].mean()), 2) + 0.0 for place in (0, -1))  # no −0.00
    return f"{label} from {first:.2f} to {last:.2f}"


def loss_and_reward() -> Picture:
    """GRPO's loss stays at 0 on-policy, whatever is learned; the reward says how it goes."""
    names = {OURS: ("GRPO", "policy")}
    return beside(
        log_curves(names, "policy_loss", "loss"), log_curves(names, "score_answer right", "share right")
    )


def steps_curves() -> Picture:
    """How often steps are written, and how often the answer is right, from a start that hardly writes any."""
    name = from_name(SPARSE)
    return beside(
        log_curves({name: ("in form", "data")}, "score_in form", "share with all steps"),
        log_curves({name: ("right", "policy")}, "score_answer right", "share right"),
    )


def gap_curves(gap: str) -> Picture:
    """A reward with a gap beside what it was meant for, along training on either side of the gap."""
    pictures = []
    for side in ("open", "closed"):
        name, reward = gap_name(gap, side), GAP_REWARDS[gap][side == "closed"]
        curves = []
        for metric, label, role in (
            (f"score_{reward}", "reward", "loss"),
            ("score_all right", "all right", "policy"),
        ):
            rows = _of_log(name, metric)
            curves.append(Curve(label, role, list(range(len(rows[0]))), rows))
        told = "; ".join(_ends(curve) for curve in curves)
        pictures.append(
            training_curves(
                curves, xlabel="iteration", ylabel=f"the gap {side}", alt=f"The gap {side}: {told}."
            )
        )
    return beside(*pictures)


def tries_curves(start: str) -> Picture:
    """What more tries are worth before and after training from a start: one of them right, and the answer of most."""
    pictures = []
    for metric, words in (("pass", "pass@k"), ("majority", "majority of k right")):
        curves = []
        for name, (label, role) in TRIED[start].items():
            rows = [record.metrics for record in recorded("tries", method=name)]
            curves.append(Curve(label, role, rows[0]["tries"], [row[metric] for row in rows]))
        told = "; ".join(_ends(curve) for curve in curves)
        pictures.append(learning_curves(curves, xlabel="tries k", ylabel=words, alt=f"{words}: {told}."))
    return beside(*pictures)


def token_curves() -> Picture:
    """How often the answer of most is right, against the tokens written for it: compute at test time."""
    curves = []
    for name, (label, role) in list(TRIED[READER].items())[:2]:
        rows = [record.metrics for record in recorded("tries", method=name)]
        tokens = [[tries * row["length"] for tries in row["tries"]] for row in rows]
        curves.append(Curve(label, role, tokens, [row["majority"] for row in rows]))
    told = "; ".join(_ends(curve) for curve in curves)
    return learning_curves(
        curves, xlabel="tokens a problem", ylabel="majority right", alt=f"Majority right by tokens: {told}."
    )


def method_table(*, reused: bool = False) -> Picture:
    """The nine methods, with one step on every draw or with several."""
    names = [reused_name(name) for name in METHODS] if reused else [start_name(READER), *METHODS]
    return table(names, METHOD_COLUMNS)


def written(pipeline: Pipeline, names: Sequence[str], *, problems: int = 2, samples: int = 1) -> str:
    """What some runs' policies write to the first held-out problems, with the checker's word on the answer."""
    asked = held_out_sums(HELD_OUT, rehearsal=False)[:problems]
    rows = {name: solutions(pipeline, run(name).policy(pipeline), asked, samples=samples) for name in names}
    width, lines = max(map(len, names)), []
    for place, problem in enumerate(asked):
        lines.append(f"{problem.text} is {problem.answer}")
        for name in names:
            for text in rows[name][place]:
                right = "right" if verify(problem, text).answer_right else "wrong"
                lines.append(f"  {name:{width}}  {right}  {text}")
    return "\n".join(lines)
