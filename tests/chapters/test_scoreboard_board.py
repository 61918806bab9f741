"""Chapter 14's board from made-up records: means, ranks, prices, matched points, tables and figures."""

import math
import re

import pytest

from rlhf_mini.chapters.scoreboard import figures, matched
from rlhf_mini.chapters.scoreboard.board import Board, Point, work_of
from rlhf_mini.chapters.scoreboard.work import Work
from rlhf_mini.evaluation.records import Record, write_records

PRICES = {"drawn": 0.01, "read": 0.002, "learned": 0.005}
GOLDS = {"SFT": [1.0, 2.0, 3.0, 4.0], "PPO": [2.0, 3.0, 3.0, 5.0], "best of 4": [1.5, 1.0, 4.0, 4.5]}


def record(name, seed=0, experiment="methods", method=None, profile="quick", **metrics):
    golds = metrics.pop("golds", None) or [
        gold + 0.1 * seed for gold in GOLDS.get(name, [2.0, 2.0, 2.0, 2.0])
    ]
    usual = {
        "method": method or name,
        "family": "start" if name == "SFT" else "sampling" if "best" in name else "policy gradient",
        "from_chapter": "05",
        "dial": "β",
        "label": "",
        "gold": sum(golds) / len(golds),
        "helpfulness": 1.0 + len(name) / 10,
        "safety": 0.5 - len(name) / 20,
        "golds": golds,
        **dict.fromkeys(("own_drawn", "own_read", "own_learned", "own_labels", "own_judge_labels"), 0.0),
        **dict.fromkeys(
            ("before_drawn", "before_read", "before_learned", "before_labels", "before_judge_labels"), 0.0
        ),
    }
    return Record(
        chapter="14", experiment=experiment, method=name, seed=seed, profile=profile, device="cpu", threads=1,
        seconds=1.0, version="0", metrics={**usual, **metrics},
    )  # fmt: skip


def price(seed=0, **changes):
    found = record("an answer", seed, "prices")
    return Record(**{**vars(found), "metrics": {**PRICES, **changes}})


def _other(name, seed, experiment, **metrics):
    return record(name, seed, experiment, "PPO", **metrics)


def whole(seeds=(0, 1)):
    """Two seeds of three methods, PPO's dial at 0.2 and at 0.01, and half of its budget."""
    rows = []
    for seed in seeds:
        ppo = {"own_drawn": 1000.0, "own_read": 3000.0, "own_learned": 2000.0}
        before = {"before_drawn": 100.0, "before_labels": 50.0}
        rows += [
            price(seed),
            record("SFT", seed, kl_k3=0.0),
            record("PPO", seed, kl_k3=9.0, label="0.05", **ppo, **before),
            record("best of 4", seed, kl_bound=0.64, before_labels=50.0),
            _other("PPO, β 0.2", seed, "dials", kl_k3=4.0, label="0.2", golds=[2.5] * 4, **ppo, **before),
            _other("PPO", seed, "colder", kl_k1=7.0, distinct_2=0.2, golds=[3.0 + seed, 3.0, 3.0, 3.0]),
            _other("PPO, a half", seed, "budgets", kl_k3=1.0, golds=[2.6] * 4, own_drawn=1000.0, **before),
        ]  # fmt: skip
    return rows


@pytest.fixture
def board():
    return Board(whole())


def test_means_over_seeds_with_student_s_interval(board):
    """PPO's golds have the mean 3.25 on seed 0 and 3.35 on seed 1; t at 0.975 with one degree of freedom is
    12.706.
    """
    interval = board.interval("PPO", "gold")
    assert interval.mean == pytest.approx(3.30)
    assert interval.half_width == pytest.approx(12.706 * 0.05, rel=1e-3)
    assert board.interval("PPO", "proxy") is None
    one = Board(whole([3])).interval("PPO", "gold")
    assert one.low == one.high == one.mean == pytest.approx(3.55)
    assert one.count == 1


def test_a_share_of_requests_won_against_sft_of_the_same_seed(board):
    """PPO wins the first, second and fourth of four and ties the third: 3.5 of 4; both seeds alike."""
    assert board.values("PPO", "beats_sft") == [0.875, 0.875]
    assert board.values("best of 4", "beats_sft") == [0.75, 0.75]
    assert board.values("SFT", "beats_sft") == [0.5, 0.5]
    assert board.elo.rate("PPO", "SFT") == pytest.approx(0.875)
    assert board.elo.rate("PPO", "best of 4") == pytest.approx(0.75)  # won, won, lost, won


def test_elo_is_of_the_common_seeds_and_stands_on_sft():
    rows = [one for one in whole((0, 1, 2)) if not (one.method == "best of 4" and one.seed == 1)]
    board = Board(rows)
    assert board.common_seeds == [0, 2]
    assert board.elo.elo["SFT"].mean == 0
    assert board.elo.elo["PPO"].mean > board.elo.elo["best of 4"].mean > 0
    assert board.elo.elo["PPO"].count == 2
    apart = [one for one in whole() if (one.method == "PPO") == (one.seed == 1) or one.method == "SFT"]
    with pytest.raises(ValueError, match="no seed has all methods"):
        _ = Board(apart).elo


def test_seconds_are_work_at_measured_prices(board):
    """1,000 · 0.01 + 3,000 · 0.002 + 2,000 · 0.005 = 26, and 100 · 0.01 = 1 before."""
    assert board.values("PPO", "own_seconds") == pytest.approx([26, 26])
    assert board.values("PPO", "seconds") == pytest.approx([27, 27])
    assert board.values("PPO", "labels") == [50, 50]
    assert board.values("PPO", "samples") == [1100, 1100]
    dearer = Board([*whole()[1:], price(0, drawn=0.03)])
    assert dearer.prices["drawn"] == pytest.approx(0.02)  # the mean of both seeds'
    unpriced = Board([one for one in whole() if one.experiment != "prices"])
    assert unpriced.values("PPO", "seconds") == []
    assert work_of(board.records("PPO")[0], "before") == Work(drawn=100, labels=50)


def test_points_are_a_method_s_own(board):
    points = board.points("PPO", 1)
    assert [point.label for point in points] == ["PPO", "PPO, β 0.2", "PPO, a half"]
    assert [point.kl for point in points] == [9, 4, 1]
    assert [point.seconds for point in points] == pytest.approx([27, 27, 11])
    assert [point.label for point in board.points("best of 4", 0)] == ["best of 4"]
    assert board.points("best of 4", 0)[0].kl is None


def test_boards_that_compare_nothing_are_refused():
    with pytest.raises(ValueError, match=r"runs of one profile, got \['full', 'quick'\]"):
        Board([*whole(), record("PPO", 4, profile="full")])
    with pytest.raises(ValueError, match="compares with 'SFT', which is not among"):
        Board([record("PPO")])
    with pytest.raises(ValueError, match=r"'PPO' is on record twice for a seed: \[0, 0\]"):
        Board([record("SFT"), record("PPO"), record("PPO")])
    with pytest.raises(ValueError, match="no method is called 'GRPO'"):
        Board(whole()).seeds("GRPO")
    assert Board(whole()).profile == "quick"
    assert Board([record("SFT", profile="full")]).profile == "full"


def test_it_is_read_from_its_file(tmp_path):
    path = tmp_path / "board.json"
    write_records(path, whole())
    assert sorted(Board.read(path).names) == ["PPO", "SFT", "best of 4"]
    with pytest.raises(ValueError, match="full"):
        Board.read(path, profile="full")


# --------------------------------------------------------------------------------------------- matched


def way(*places):
    return [Point("", kl, seconds, gold) for kl, seconds, gold in places]


def test_gold_at_a_kl_is_linear_in_its_root():
    """Between √1 = 1 and √9 = 3 with gold 2 and 4, √4 = 2 lies in the middle; between 0 and 1, √0.25 = ½."""
    points = way((9.0, None, 4.0), (1.0, None, 2.0))
    assert matched.at_kl(points, 4.0, start=1.0) == pytest.approx(3.0)
    assert matched.at_kl(points, 0.25, start=1.0) == pytest.approx(1.5)
    assert matched.at_kl(points, 9.0, start=1.0) == 4.0
    assert matched.at_kl(points, 9.1, start=1.0) is None  # nothing was run beyond


def test_one_point_is_no_way():
    assert matched.at_kl(way((9.0, None, 4.0)), 4.0, start=1.0) is None
    assert matched.at_kl(way((9.0, None, 4.0), (None, None, 2.0)), 4.0, start=1.0) is None


def test_a_kl_that_rounding_made_negative_is_none_at_all():
    points = way((-1e-9, None, 1.0), (4.0, None, 3.0))
    assert matched.at_kl(points, 1.0, start=1.0) == pytest.approx(2.0)


def test_gold_after_seconds_waits_for_the_first_run_and_stays_after_the_last():
    points = way((None, 40.0, 4.0), (None, 20.0, 3.0), (None, None, 9.0))
    assert matched.after_seconds(points, 19.0) is None
    assert matched.after_seconds(points, 20.0) == 3.0
    assert matched.after_seconds(points, 30.0) == pytest.approx(3.5)
    assert matched.after_seconds(points, 400.0) == 4.0
    assert matched.after_seconds([], 10.0) is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_no_distance_and_no_time_are_refused(wrong):
    with pytest.raises(ValueError, match="kl must be above 0"):
        matched.at_kl(way((9.0, None, 4.0), (1.0, None, 2.0)), wrong, start=1.0)
    with pytest.raises(ValueError, match="seconds must be above 0"):
        matched.after_seconds(way((9.0, 3.0, 4.0)), wrong)


def test_methods_matched_over_seeds(board):
    """At KL 2.25 between 1 and 4: √ = 1.5 is half way from 2.6 to 2.5. After 19 s, half way from 11 to 27."""
    assert matched.matched_kl(board, "PPO", 2.25).mean == pytest.approx(2.55)
    assert matched.matched_kl(board, "best of 4", 2.25) is None
    assert matched.matched_seconds(board, "PPO", 19.0).mean == pytest.approx((2.6 + 3.30) / 2)
    assert matched.matched_seconds(board, "PPO", 10.0) is None
    assert matched.matched_seconds(board, "PPO", 27.0).mean == pytest.approx(
        3.30
    )  # the dial's 2.5 is another run
    one = Board(whole([0]))
    assert matched.matched_kl(one, "PPO", 2.25).count == 1


# ------------------------------------------------------------------------------------------ what is shown


def lines_of(picture):
    return [
        [place.strip() for place in line.strip("|").split("|")]
        for line in picture.text.splitlines()
        if "|" in line
    ]


def test_the_table_has_a_row_a_method_by_elo_with_what_is_known(board):
    head, _, *rows = lines_of(figures.table(board))
    assert [row[0] for row in rows] == ["PPO", "best of 4", "SFT"]
    ppo, best, _ = (dict(zip(head, row, strict=True)) for row in rows)
    assert ppo["gold"] == "3.30 ± 0.64"
    assert (ppo["family"], ppo["chapter"], ppo["seeds"]) == ("policy gradient", "05", "2")
    assert (ppo["labels"], ppo["answers drawn"]) == ("50", "1,100")
    assert ppo["beats SFT (%)"] == "88 ± 0"
    assert best["KL (nats)"] == "≤ 0.6"
    assert ppo["proxy"] == best["proxy"] == "–"
    assert ppo["seconds in all"].startswith("27")
    assert "2 seeds" in figures.table(board).text


def test_of_one_seed_means_have_no_interval_but_elo_has():
    head, _, first, *_ = lines_of(figures.table(Board(whole([0]))))
    row = dict(zip(head, first, strict=True))
    assert row["gold"] == "3.25"
    assert "±" in row["Elo"]


def test_the_matched_table_says_what_is_not_known(board):
    picture = figures.matched_table(board, kls=(2.25, 16), seconds=(5, 19))
    rows = {row[0]: row[1:] for row in lines_of(picture)[2:]}
    assert rows["PPO"][0].startswith("2.55")
    assert rows["PPO"][1] == "–"
    assert rows["PPO"][2] == "–"
    assert rows["PPO"][3].startswith("2.95")
    assert rows["PPO"][4] == "3"
    assert rows["best of 4"][:2] == ["–", "–"]


def test_sensitivity_is_seed_by_seed(board):
    """The dial's gold is 2.5 on both seeds, the board's 3.25 and 3.35: −0.75 and −0.85."""
    rows = lines_of(figures.sensitivity(board))[2:]
    assert [row[:3] for row in rows] == [["PPO", "β", "0.05"], ["PPO", "β", "0.2"]]
    assert rows[0][4] == "–"
    assert rows[1][4].startswith("−0.80 ± 0.64")
    with pytest.raises(ValueError, match="no record says"):
        figures.sensitivity(Board([record("SFT")]))


def test_the_picture_of_dials_puts_the_widest_spread_on_top(board):
    picture = figures.dials_picture(board)
    assert "PPO differs by 0.8 from its worst to its best value" in picture.body
    with pytest.raises(ValueError, match="no record says"):
        figures.dials_picture(Board([record("SFT")]))


def test_head_to_head_reads_row_against_column(board):
    rows = {row[0]: row[1:] for row in lines_of(figures.head_to_head(board, ["SFT", "PPO"]))[2:]}
    assert rows == {"SFT": ["–", "12"], "PPO": ["88", "–"]}


def by_distance(board):
    return figures.plane(board, "distance", "gold", caption="gold against KL")


@pytest.mark.parametrize("draw", [figures.elo_picture, by_distance, figures.safety_by_helpfulness])
def test_every_figure_draws_and_names_the_best(board, draw):
    picture = draw(board)
    assert "<svg" in picture.body
    assert 'role="img"' in picture.body
    assert "PPO" in picture.text
    assert draw(Board(whole([0]))).body  # of one seed, too


def test_the_frontier_is_of_what_none_beats(board):
    """SFT has KL 0, best of 4 at most 0.64 and more gold, PPO most: none beats another. With less than SFT it
    is beaten.
    """
    text = by_distance(board).text
    assert "SFT" in text
    assert "best of 4" in text
    poor = [record("best of 4", seed, kl_bound=0.64, golds=[1.0] * 4) for seed in (0, 1)]
    worse = [*(one for one in whole() if one.method != "best of 4"), *poor]
    assert "best of 4" not in by_distance(Board(worse)).text
    with pytest.raises(ValueError, match=r"unknown metrics \['speed'\]"):
        figures.plane(board, "speed", "gold", caption="")


def test_shares_are_drawn_in_per_cent():
    """Distinct pairs of words are shares on record; the axis says per cent and must reach tens."""
    methods = {"SFT": 0.25, "PPO": 0.12}
    rows = [record(name, seed, distinct_2=share) for name, share in methods.items() for seed in (0, 1)]
    drawn = figures.plane(Board(rows), "distinct_2", "gold", caption="", low_is_good=False)
    ticks = [float(tick.replace("−", "-")) for tick in re.findall(r">(−?[\d.]+)<", drawn.body)]
    assert "distinct pairs (%)" in drawn.body
    assert max(ticks) > 5


def test_in_the_plane_of_safety_more_is_better_on_both_axes(board):
    """Made up so that a longer name is more helpful and less safe: none beats another."""
    text = figures.safety_by_helpfulness(board).text
    assert all(name in text for name in board.names)
    assert "Left out" not in text
    poor = [record("best of 4", seed, golds=[1.0] * 4) for seed in (0, 1)]
    worse = Board([*(one for one in whole() if one.method != "best of 4"), *poor])
    assert "Left out, with less gold than SFT: best of 4." in figures.safety_by_helpfulness(worse).text


def test_gold_against_every_price_under_one_slider():
    sizes = {"SFT": 1.0, "PPO": 8.0, "best of 4": 2.0}
    held = {
        name: {"held_megabytes": size, "story_nats": 0.5, "distinct_2": 0.3} for name, size in sizes.items()
    }
    rows = whole()
    for row in rows:
        row.metrics.update(held[row.method] if row.experiment == "methods" else {})
    text = figures.gold_by_prices(Board(rows)).text
    for title, _, _ in figures.PRICES.values():
        assert f"({title})" in text
    assert "where SFT with gold 2.55 would stand" in text  # of 2.5 on seed 0 and 2.6 on seed 1


def test_colder_answers_beside_warm_ones_seed_by_seed(board):
    """PPO has gold 3.25 and 3.35; colder 3.0 and 3.25: 0.25 and 0.1 less."""
    text = figures.colder_table(board).text
    (row,) = (line for line in text.splitlines() if "PPO" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert [cell.split(" ±")[0] for cell in cells] == ["PPO", "3.30", "3.12", "−0.18", "7.0", "20.0"]
    assert "SFT" not in text.split("KL is to")[0]
    with pytest.raises(ValueError, match="sampled colder"):
        figures.colder_table(Board([row for row in whole() if row.experiment != "colder"]))
