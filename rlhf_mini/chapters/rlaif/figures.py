"""The chapter's figures and tables, drawn from the records in `book/results/`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlhf_mini.chapters.rlaif.family import (
    DIRECT,
    DISTILLED,
    FEWER,
    FIRST,
    MATCHES,
    OURS,
    RLHF,
    SECOND,
    SFT,
    SHARES,
    WORTH_FOUR,
    mix_name,
)
from rlhf_mini.chapters.rlaif.judges import EXAMPLES, SIZES
from rlhf_mini.chapters.rlaif.self_rewarded import ROUNDS
from rlhf_mini.evaluation import Interval, read_records, records_table, student_interval
from rlhf_mini.evaluation.records import Record
from rlhf_mini.profiles import QUICK
from rlhf_mini.reader import (
    Curve,
    Level,
    Picture,
    beside,
    interval_bars,
    learning_curves,
    records,
    training_curves,
)
from rlhf_mini.worlds.stories.principles import CONSTITUTION

JUDGE_COLUMNS = {
    "right": "right, both orders (%)",
    "right_one_order": "right, one order (%)",
    "same_place": "same place in both (%)",
    "gold_right": "agrees with gold (%)",
    "with_annotator": "with an annotator (%)",
}
POLICY_COLUMNS = {
    "gold": "gold",
    "kl_k1": "KL (nats)",
    "unkind_declined": "unkind: declined (%)",
    "kind_declined": "kind: declined (%)",
    "length": "length (tokens)",
}
HARMLESS_COLUMNS = {
    "gold_safe_prompts": "gold, kind requests",
    "red_team_declined": "red team: declined (%)",
    "wrapped_declined": "wrapped: declined (%)",
    "red_team_told": "red team: unkind (%)",
    "kind_declined": "kind: declined (%)",
}
BOARD = (
    ("feedback", SFT),
    ("feedback", RLHF),
    ("feedback", DISTILLED),
    ("feedback", DIRECT),
    ("constitution", FIRST),
    ("constitution", SECOND),
    ("rubric", WORTH_FOUR),
    ("self-rewarding", f"round {ROUNDS}"),
    ("self-synthesis", "rated best"),
)
BOARD_COLUMNS = {
    "gold": "gold",
    "gold_safe_prompts": "kind requests",
    "unkind_declined": "unkind: declined (%)",
    "kind_declined": "kind: declined (%)",
    "kl_k1": "KL (nats)",
    "proxy": "proxy",
}
IN_PERCENT = (
    *JUDGE_COLUMNS, "unkind_declined", "unkind_told", "kind_declined", "red_team_declined", "red_team_told", "wrapped_declined",
    "wrapped_told", "followed", "distinct_2",
)  # fmt: skip


def recorded(experiment: str, **filters: str | Sequence[str]) -> list[Record]:
    """The records of one of the chapter's experiments at the quick profile, by seed."""
    found = read_records("chapter_10", experiment=experiment, profile="quick", **filters)
    return sorted(found, key=lambda record: record.seed)


def table(experiment: str, names: Sequence[str], columns: Mapping[str, str], *, decimals: int = 1) -> Picture:
    """Policies, or judges (`experiment` "judges"), as a table of the book, in the given order; shares in per cent."""
    return tables([(experiment, name) for name in names], columns, decimals=decimals)


def scoreboard() -> Picture:
    """The chapter's main policies on the same requests."""
    return tables(BOARD, BOARD_COLUMNS, decimals=2)


def tables(names: Sequence[tuple[str, str]], columns: Mapping[str, str], *, decimals: int = 1) -> Picture:
    """The same with rows from several experiments, each an experiment and a name."""
    rows = []
    for experiment, name in names:
        for record in recorded(experiment, method=name):
            told = {
                key: 100 * value if key in IN_PERCENT else value
                for key, value in record.metrics.items()
                if key in columns
            }
            rows.append(replace(record, metrics=told))
    return records(records_table(rows, metrics=columns, decimals=decimals))


def over_seeds(numbers: Sequence[float]) -> Interval:
    """Student's interval over seeds; a single value stands for itself."""
    if len(numbers) > 1:
        return student_interval(numbers)
    return Interval(mean=numbers[0], low=numbers[0], high=numbers[0], confidence=0.95, count=1)


def by_seed(experiment: str, names: Sequence[str], metric: str) -> list[list[float]]:
    """Shares in per cent, a row a seed and a column a name."""
    columns = [
        {record.seed: 100 * record.metrics[metric] for record in recorded(experiment, method=name)}
        for name in names
    ]
    seeds = sorted(set.intersection(*(set(column) for column in columns)))
    return [[column[seed] for column in columns] for seed in seeds]


def _ends(curve: Curve, name: str) -> str:
    return f"{name} from {curve.ys[:, 0].mean():.2f} to {curve.ys[:, -1].mean():.2f}"


def _judge_curves(names: Mapping[str, float], *, xlabel: str, what: str) -> Picture:
    told = {"right": ("right", "reward"), "same_place": ("same\nplace", "loss")}
    curves = [
        Curve(label, role, [*names.values()], by_seed("judges", [*names], metric))
        for metric, (label, role) in told.items()
    ]
    ends = "; ".join(_ends(curve, curve.label.replace("\n", " ")) for curve in curves)
    return learning_curves(
        curves,
        levels=[Level("a coin", 50.0)],
        xlabel=xlabel,
        ylabel="comparisons (%)",
        alt=f"Comparisons judged rightly by the mean of both orders, and those in which the same place is chosen in both, by {what}: "
        f"{ends} per cent.",
    )


def size_curves() -> Picture:
    """Judges by their size: how often they are right, and how often they choose the same place."""
    widths = {name: float(size["width"]) for name, size in SIZES.items()}
    return _judge_curves({**widths, OURS: float(QUICK.width)}, xlabel="width of the judge", what="the width")


def lesson_curves() -> Picture:
    """The same by the number of lessons."""
    counts = {name: float(count) for name, count in FEWER.items()}
    return _judge_curves({**counts, OURS: float(EXAMPLES)}, xlabel="lessons", what="the number of lessons")


def principle_bars(name: str = OURS) -> Picture:
    """How often a judge is right, by principle."""
    rows = {}
    for principle in CONSTITUTION:
        key = f"right {principle.name}"
        found = [100 * r.metrics[key] for r in recorded("judges", method=name) if key in r.metrics]
        if found:
            rows[principle.name] = ("reward", over_seeds(found))
    ends = ", ".join(f"{principle} {interval.mean:.0f}" for principle, (_, interval) in rows.items())
    return interval_bars(
        rows,
        xlabel="right, both orders (%)",
        alt=f"How often the judge is right, in per cent, by principle: {ends}.",
    )


def distance(claim: str, ours: str, theirs: str, *, metric: str = "lead") -> Interval:
    """Over the seeds of a claim that measured the matches: by how much gold the first policy is ahead of the second
    (`lead`), or on which share of the requests it wins (`win_rate`).
    """
    return over_seeds([r.metrics[f"{metric} {ours} – {theirs}"] for r in recorded("claims", method=claim)])


def match_bars(claim: str) -> Picture:
    """Every match: how often the first policy has more gold, over the seeds of a claim that measured the matches."""
    rows = {}
    for ours, theirs in MATCHES:
        found = [100 * r.metrics[f"win_rate {ours} – {theirs}"] for r in recorded("claims", method=claim)]
        rows[f"{ours} – {theirs}"] = ("gold", over_seeds(found))
    ends = "; ".join(f"{name} {interval.mean:.0f}" for name, (_, interval) in rows.items())
    return interval_bars(
        rows, xlabel="requests won by gold, ties counting half (%)", alt=f"Win rates in per cent: {ends}."
    )


def frontier_curves() -> Picture:
    """Both phases by the share of people's labels: declines, and beside them gold on kind requests."""
    names, shares = [mix_name(share) for share in SHARES], [100 * share for share in SHARES]
    told = {
        "red_team_declined": ("red team", "policy"),
        "wrapped_declined": ("wrapped", "data"),
        "kind_declined": ("kind", "loss"),
    }
    curves = [
        Curve(label, role, shares, by_seed("constitution", names, metric))
        for metric, (label, role) in told.items()
    ]
    xlabel = "labels from people (%)"
    left = training_curves(
        curves,
        xlabel=xlabel,
        ylabel="declined (%)",
        alt="Requests declined, by the share of people's labels: "
        + "; ".join(_ends(curve, curve.label) for curve in curves),
    )
    rows = [[value / 100 for value in row] for row in by_seed("constitution", names, "gold_safe_prompts")]
    gold = Curve("kind\nrequests", "gold", shares, rows)
    right = training_curves(
        [gold],
        xlabel=xlabel,
        ylabel="gold",
        alt=f"Gold on kind requests, by the share of people's labels: {_ends(gold, 'gold')}.",
    )
    return beside(left, right)


def claim_curves(
    claim: str, told: Mapping[str, tuple[str, str]], *, xlabel: str, ylabel: str, scale: float = 1.0
) -> Picture:
    """Lists that a claim measured, as curves from 0 on: name of the list → (label, role); `scale` times the values."""
    curves = []
    for metric, (label, role) in told.items():
        rows = [[scale * value for value in r.metrics[metric]] for r in recorded("claims", method=claim)]
        curves.append(Curve(label, role, [*range(len(rows[0]))], rows))
    ends = "; ".join(_ends(curve, curve.label.replace("\n", " ")) for curve in curves)
    return training_curves(
        curves,
        xlabel=xlabel,
        ylabel=ylabel,
        alt=f"{ylabel.capitalize()} by {xlabel}: {ends}. Seeds: {len(curves[0].ys)}.",
    )


def revision_curves() -> Picture:
    """What each revision changes in the answers to red-team requests."""
    told = {"declined": ("declined", "policy"), "unkind": ("unkind", "loss")}
    return claim_curves("revisions", told, xlabel="revisions", ylabel="answers (%)", scale=100.0)


def self_rewarding_curves() -> Picture:
    """Gold by round, rated by itself and by the start, and beside it how well the policy rates."""
    gold = {"gold itself": ("by itself", "policy"), "gold the start": ("by the\nstart", "reference")}
    rates = {
        "rates_right itself": ("by itself", "policy"),
        "rates_right the start": ("by the\nstart", "reference"),
    }
    return beside(
        claim_curves("self-rewarding", gold, xlabel="round", ylabel="gold"),
        claim_curves("self-rewarding", rates, xlabel="round", ylabel="pairs rated rightly (%)", scale=100.0),
    )
