"""The chapter's tables and figures, drawn from the board."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlhf_mini.chapters.scoreboard.board import ANCHOR, Board
from rlhf_mini.chapters.scoreboard.matched import matched_kl, matched_seconds
from rlhf_mini.evaluation.intervals import Interval, Number, student_interval
from rlhf_mini.evaluation.record_tables import Cell
from rlhf_mini.reader.frames import frames
from rlhf_mini.reader.marks import Mark, frontier, interval_dots, marked_plane, spread_dots
from rlhf_mini.reader.picture import Picture
from rlhf_mini.reader.sortable import NOTHING, Shown, shown, sortable_table

# A role's colour and shape for each family; roles are what the palette can tell apart.
FAMILIES: Mapping[str, str] = {
    "start": "reference",
    "sampling": "gold",
    "policy gradient": "policy",
    "filtering": "data",
    "preference loss": "reward",
    "hindsight": "value",
    "AI feedback": "loss",
}
# metric → heading, decimals, factor
COLUMNS: Mapping[str, tuple[str, int, int]] = {
    "gold": ("gold", 2, 1),
    "helpfulness": ("helpful", 2, 1),
    "safety": ("safe", 2, 1),
    "gold_safe_prompts": ("gold, kind requests", 2, 1),
    "gold_unkind_prompts": ("gold, unkind requests", 2, 1),
    "unkind_declined": ("unkind: declined (%)", 0, 100),
    "kind_declined": ("kind: declined (%)", 0, 100),
    "proxy": ("proxy", 2, 1),
    "kl_k3": ("KL (nats)", 1, 1),
    "beats_sft": ("beats SFT (%)", 0, 100),
    "distinct_2": ("distinct pairs (%)", 1, 100),
    "pairwise_overlap": ("overlap (%)", 1, 100),
    "length": ("tokens", 0, 1),
    "story_nats": ("plain stories (nats a token)", 3, 1),
    "labels": ("labels", 0, 1),
    "judge_labels": ("a judge's labels", 0, 1),
    "samples": ("answers drawn", 0, 1),
    "own_seconds": ("seconds, its own", 0, 1),
    "seconds": ("seconds in all", 0, 1),
    "clock_seconds": ("seconds by the clock", 0, 1),
    "held_megabytes": ("models held (MB)", 1, 1),
}
LEAST = 1e-3  # what is less, as the KL of the SFT model to itself is by rounding, has no place on a logarithmic axis
COUNTS = ("labels", "judge_labels", "samples")  # the same on every seed


def cell_of(interval: Interval | None, *, decimals: int, factor: Number = 1) -> Shown:
    """A mean with ± half its interval, sorted by the mean; a dash where there is none."""
    if interval is None:
        return NOTHING
    half = factor * interval.half_width if interval.count > 1 else None
    cell = Cell(factor * interval.mean, half, interval.count)
    return Shown(cell.text(decimals=decimals), cell.mean)


def _column(board: Board, name: str, metric: str) -> Shown:
    _, decimals, factor = COLUMNS[metric]
    if metric == "kl_k3" and (bound := board.mean(name, "kl_bound")) is not None:
        return Shown(f"≤ {bound:.{decimals}f}", bound)
    if metric in COUNTS:
        return Shown(f"{board.mean(name, metric):,.0f}", board.mean(name, metric))
    return cell_of(board.interval(name, metric), decimals=decimals, factor=factor)


def table(board: Board, names: Sequence[str] | None = None) -> Picture:
    """The board: a row a method, with all that is known of it, by Elo from the top."""
    elo = board.elo.elo
    chosen = sorted(board.names if names is None else names, key=lambda name: -elo[name].mean)
    headings = ["method", "family", "chapter", "Elo", *(title for title, _, _ in COLUMNS.values()), "seeds"]
    rows = []
    for name in chosen:
        points = cell_of(elo[name], decimals=0)
        if elo[name].count == 1 and name != ANCHOR:  # of one seed it is over requests, and still an interval
            points = Shown(
                f"{elo[name].mean:.0f} ± {elo[name].half_width:.0f}".replace("-", "−"), elo[name].mean
            )
        rows.append(
            [
                shown(name),
                shown(board.fact(name, "family")),
                shown(board.fact(name, "from_chapter")),
                points,
                *(_column(board, name, metric) for metric in COLUMNS),
                Shown(str(len(board.seeds(name))), len(board.seeds(name))),
            ]
        )
    return sortable_table(headings, rows, caption=_note(board))


def _note(board: Board) -> str:
    counts = sorted({len(board.seeds(name)) for name in board.names})
    seeds = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    requests = len(board.records(ANCHOR)[0].metrics["golds"])
    return (
        f"Profile {board.profile}; mean over {seeds} seed{'' if seeds == '1' else 's'} ± 95% interval (Student's; Elo's by "
        f"bootstrap over seeds and requests). {requests} held-out requests a seed, one answer each at temperature 1. KL is to "
        "the SFT model, k3 on the answers; of best of n the formula's bound. Labels and answers drawn are with those of the "
        "reward model or the pairs; a judge's own lessons are not counted. Seconds are the processor's, counted work at "
        "measured prices, from the SFT model on. "
        "Models held: weights, gradients and Adam's moments in training, without activations. Click a heading to sort."
    )


def elo_picture(board: Board) -> Picture:
    """Every method's Elo with its interval, the best on top."""
    elo = board.elo.elo
    names = sorted(board.names, key=lambda name: -elo[name].mean)
    rows = {name: (FAMILIES[board.fact(name, "family")], elo[name]) for name in names}
    told = f"{names[0]} at {elo[names[0]].mean:.0f}, {names[-1]} at {elo[names[-1]].mean:.0f}".replace(
        "-", "−"
    )
    return interval_dots(
        rows,
        xlabel="Elo by gold, SFT at 0",
        groups={
            family: role for family, role in FAMILIES.items() if role in {row[0] for row in rows.values()}
        },
        alt=f"Elo of {len(names)} methods with intervals: from {told}; the SFT model stands at 0.",
        caption="Everybody against everybody, request by request, judged by gold; one Bradley–Terry fit. Bars: 95% of "
        f"resamples over {len(board.common_seeds)} seed(s) and their requests. 400 points are odds of ten to one.",
    )


def plane(
    board: Board,
    x: str,
    y: str,
    *,
    caption: str,
    log_x: bool = False,
    low_is_good: bool = True,
    names: Sequence[str] | None = None,
) -> Picture:
    """Every method that has both metrics; the names are written of those that no other beats in both, and of SFT.

    `names`: the methods to draw, all if None.

    `x`, `y`: metrics of `COLUMNS`, or "distance", which is KL and of best of n its bound. Raises ValueError on others.
    """
    titles = {
        **{name: title for name, (title, _, _) in COLUMNS.items()},
        "distance": "KL to the SFT model (nats)",
    }
    if unknown := [metric for metric in (x, y) if metric not in titles]:
        raise ValueError(f"unknown metrics {unknown}: choose from {[*titles]}")
    found: dict[str, tuple[float, Interval]] = {}
    for name in board.names if names is None else names:
        across, up = (
            distance(board, name) if x == "distance" else board.mean(name, x),
            board.interval(name, y),
        )
        if across is not None and up is not None and (across > LEAST or not log_x):
            found[name] = (across * _factor(x), _times(up, _factor(y)))
    sign = 1 if low_is_good else -1
    best = frontier({name: (sign * across, up.mean) for name, (across, up) in found.items()})
    named = [*best, *([ANCHOR] if ANCHOR in found else [])]
    marks = {
        name: Mark(FAMILIES[board.fact(name, "family")], across, up, name in named)
        for name, (across, up) in found.items()
    }
    present = {board.fact(name, "family") for name in found}
    return marked_plane(
        marks,
        {family: role for family, role in FAMILIES.items() if family in present},
        xlabel=titles[x],
        ylabel=titles[y],
        log_x=log_x,
        alt=f"{titles[y]} against {titles[x]} of {len(found)} methods. No other is better in both than: {', '.join(best)}.",
        caption=caption,
    )


def _factor(metric: str) -> int:
    """What a metric is multiplied with to have the unit of its heading, such as 100 for per cent."""
    return COLUMNS[metric][2] if metric in COLUMNS else 1


def _times(interval: Interval, factor: int) -> Interval:
    mean, low, high = (factor * value for value in (interval.mean, interval.low, interval.high))
    return replace(interval, mean=mean, low=low, high=high)


def distance(board: Board, name: str) -> float | None:
    """A method's KL to the SFT model, and of best of n its bound; None for the base model."""
    bound = board.mean(name, "kl_bound")
    return board.mean(name, "kl_k3") if bound is None else bound


# metric → what the slider says, whether its axis is logarithmic and whether little of it is good
PRICES: Mapping[str, tuple[str, bool, bool]] = {
    "distance": ("KL", True, True),
    "seconds": ("seconds in all", True, True),
    "labels": ("labels", False, True),
    "held_megabytes": ("models held", False, True),
    "story_nats": ("what was forgotten", False, True),
    "distinct_2": ("variety that is left", False, False),
}


def gold_by_prices(board: Board) -> Picture:
    """Gold against each of the prices that it is paid with, one at a time under a slider."""
    drawn = [
        plane(
            board,
            metric,
            "gold",
            log_x=log_x,
            low_is_good=low_is_good,
            caption="Named are the methods that none beats in both, and SFT; bars are 95% intervals over seeds."
            + (f" A logarithmic axis has no 0, where {_at_zero(board, metric)}." if log_x else "")
            + (" Of best of n the KL is a bound, the true one is smaller." if metric == "distance" else ""),
        )
        for metric, (_, log_x, low_is_good) in PRICES.items()
    ]
    return frames(drawn, [title for title, _, _ in PRICES.values()], label="price")


def _at_zero(board: Board, metric: str) -> str:
    """Who stands at 0 of a price, and with how much gold."""
    there = [
        f"{name} with gold {board.mean(name, 'gold'):.2f}"
        for name in board.names
        for price in [distance(board, name) if metric == "distance" else board.mean(name, metric)]
        if price is not None and price <= LEAST
    ]
    return f"{' and '.join(there)} would stand" if there else "nobody stands"


def colder_table(board: Board) -> Picture:
    """Every trained policy asked at temperature 1 and at a lower one: gold, how far it rises, KL and variety."""
    rows = []
    for name, records in board.colder.items():
        warm = {record.seed: record.metrics for record in board.records(name)}
        told = [(record.metrics, warm[record.seed]) for record in records if record.seed in warm]
        if not told:
            continue
        columns = [
            _mean_of([before["gold"] for _, before in told], 2),
            _mean_of([after["gold"] for after, _ in told], 2),
            _mean_of([after["gold"] - before["gold"] for after, before in told], 2),
            _mean_of([after["kl_k1"] for after, _ in told], 1),
            _mean_of([100 * after["distinct_2"] for after, _ in told], 1),
        ]
        rows.append([shown(name), *columns])
    if not rows:
        raise ValueError("no record says what a policy answers when it is sampled colder")
    rows.sort(key=lambda row: -float(row[2].key or 0))
    headings = [
        "method",
        "gold at 1",
        "gold at 0.5",
        "difference",
        "KL at 0.5 (nats)",
        "distinct pairs at 0.5 (%)",
    ]
    caption = (
        "The same weights, sampled at temperature 1 and at 0.5; differences seed by seed. KL is to the SFT model at 1, by k1: "
        "one answer that the SFT model would hardly give moves the mean of k3 by many nats."
    )
    return sortable_table(headings, rows, caption=caption)


def safety_by_helpfulness(board: Board) -> Picture:
    """The two halves of gold against each other, of the methods that have at least the SFT model's gold."""
    least = board.mean(ANCHOR, "gold") or 0.0
    names = [name for name in board.names if (board.mean(name, "gold") or 0.0) >= least]
    left_out = [name for name in board.names if name not in names]
    told = f" Left out, with less gold than {ANCHOR}: {', '.join(left_out)}." if left_out else ""
    return plane(
        board,
        "helpfulness",
        "safety",
        low_is_good=False,
        names=names,
        caption="The two parts of gold, means over all requests; up and to the right is better. Named are the methods that "
        f"none beats in both.{told}",
    )


def matched_table(
    board: Board, *, kls: Sequence[Number] = (2, 5, 10), seconds: Sequence[Number] = (150, 250)
) -> Picture:
    """Gold of every method at the same KL and after the same seconds, where that lies between points that were run."""
    headings = [
        "method",
        *(f"gold at {kl:g} nats" for kl in kls),
        *(f"gold after {s:g} s" for s in seconds),
        "points",
    ]
    rows = []
    for name in board.names:
        if distance(board, name) is None:
            continue
        found = [
            *(matched_kl(board, name, float(kl)) for kl in kls),
            *(matched_seconds(board, name, float(s)) for s in seconds),
        ]
        count = max(len(board.points(name, seed)) for seed in board.seeds(name))
        cells = [cell_of(interval, decimals=2) for interval in found]
        rows.append([shown(name), *cells, Shown(str(count), count)])
    caption = (
        "Each seed's own runs, at other values of the main hyperparameter and at smaller budgets, joined by straight lines (in "
        "the root of KL, from the SFT model at 0); a dash where the method was not run on both sides, or at one point only. "
        "Seconds are counted work at measured prices, all that comes before included; a run that is over stays what it is."
    )
    return sortable_table(headings, rows, caption=caption)


def dials_picture(board: Board) -> Picture:
    """Gold at every value of each method's dial, the board's own marked; the widest spread on top.

    Means are over the seeds that have all of a method's values. Raises ValueError where no method has two.
    """
    rows: dict[str, tuple[str, float, list[float]]] = {}
    seeds: set[int] = set()
    for name in board.names:
        dials = [records for _, records in _dials(board, name)]
        golds = [{r.seed: r.metrics["gold"] for r in records} for records in (board.records(name), *dials)]
        common = set.intersection(*map(set, golds))
        if dials and common:
            own, *others = (sum(of[seed] for seed in common) / len(common) for of in golds)
            rows[name] = (FAMILIES[board.fact(name, "family")], own, others)
            seeds |= common
    if not rows:
        raise ValueError("no record says how a method depends on its dial")
    spread = {name: max(own, *others) - min(own, *others) for name, (_, own, others) in rows.items()}
    widest = sorted(rows, key=lambda name: -spread[name])
    present = {board.fact(name, "family") for name in rows}
    return spread_dots(
        {name: rows[name] for name in widest},
        groups={family: role for family, role in FAMILIES.items() if family in present},
        xlabel="gold",
        alt=f"Gold of {len(rows)} methods at several values of their main hyperparameter: {widest[0]} differs by "
        f"{spread[widest[0]]:.1f} from its worst to its best value, {widest[-1]} by {spread[widest[-1]]:.1f}.",
        caption=f"Full: the setting on the board; hollow: the dial's other values, which the table names. Means over seeds "
        f"{min(seeds)} to {max(seeds)}; the widest spread is on top.",
    )


def sensitivity(board: Board) -> Picture:
    """Every value of every method's dial: gold and KL, and how far gold lies from the board's own setting, seed by seed."""
    rows = []
    for name in board.names:
        for row, records in [(name, board.records(name)), *_dials(board, name)]:
            if name == row and not _dials(board, name):
                continue
            main = {record.seed: record.metrics["gold"] for record in board.records(name)}
            less = [record.metrics["gold"] - main[record.seed] for record in records if record.seed in main]
            label = records[0].metrics["label"] or "as on the board"
            rows.append(
                [
                    shown(name),
                    shown(records[0].metrics["dial"]),
                    shown(label),
                    _mean_of([record.metrics["gold"] for record in records], 2),
                    NOTHING if row == name else _mean_of(less, 2),
                    _mean_of([r.metrics["kl_k3"] for r in records if "kl_k3" in r.metrics], 1),
                ]
            )
    if not rows:
        raise ValueError("no record says how a method depends on its dial")
    headings = ["method", "dial", "value", "gold", "gold less the board's", "KL (nats)"]
    caption = "The first row of each method is its setting on the board; differences are taken seed by seed."
    return sortable_table(headings, rows, caption=caption)


def _dials(board: Board, name: str) -> list[tuple[str, list]]:
    return [(row, records) for row, records in board.dials.items() if records[0].metrics["method"] == name]


def _mean_of(values: Sequence[float], decimals: int) -> Shown:
    if not values:
        return NOTHING
    if len(values) > 1:
        return cell_of(student_interval(values), decimals=decimals)
    return Shown(Cell(values[0], None, 1).text(decimals=decimals), values[0])


def head_to_head(board: Board, names: Sequence[str]) -> Picture:
    """How often the row's answer has more gold than the column's to the same request, in per cent, ties counting half."""
    rows = []
    for name in names:
        rates = [None if name == other else 100 * board.elo.rate(name, other) for other in names]
        rows.append(
            [shown(name), *(NOTHING if rate is None else Shown(f"{rate:.0f}", rate) for rate in rates)]
        )
    seeds = len(board.common_seeds)
    caption = f"Per cent of requests, over {seeds} seed{'s' if seeds > 1 else ''}; ties count half."
    return sortable_table(["won by", *(f"against {name}" for name in names)], rows, caption=caption)
