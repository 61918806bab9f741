"""Marks in a plane and in a list: names, shapes, intervals, the frontier, and what is refused."""

import re

import pytest

from rlhf_mini.evaluation.intervals import Interval
from rlhf_mini.reader.marks import SHAPES, Mark, frontier, interval_dots, marked_plane, spread_dots
from rlhf_mini.reader.style import ROLES

ALT = "Gold against KL of two methods."


def around(mean, half=0.5):
    return Interval(mean=mean, low=mean - half, high=mean + half, confidence=0.95, count=5)


MARKS = {
    "DPO": Mark("reward", 2.0, around(3.0), named=True),
    "PPO": Mark("policy", 10.0, around(3.1), named=True),
    "silent": Mark("policy", 5.0, around(1.0)),
}
GROUPS = {"preference loss": "reward", "policy gradient": "policy"}


def test_every_role_has_a_shape_of_its_own():
    assert set(SHAPES) == set(ROLES)
    assert len({*SHAPES.values()}) == len(SHAPES)


def test_named_marks_and_groups_are_written_and_others_are_not():
    body = marked_plane(
        MARKS, GROUPS, xlabel="KL (nats)", ylabel="gold", alt=ALT, caption="Bars are 95%."
    ).body
    for word in ("DPO", "PPO", "preference loss", "policy gradient", "KL (nats)", "gold", "Bars are 95%."):
        assert f">{word}<" in body
    assert "silent" not in body


def test_names_at_one_place_are_moved_apart():
    marks = {name: Mark("policy", 1.0, around(2.0), named=True) for name in ("first", "second")}
    marks["far"] = Mark("policy", 9.0, around(0.0))
    body = marked_plane(marks, GROUPS, xlabel="x", ylabel="y", alt=ALT).body
    heights = [re.search(rf'y="([\d.]+)"[^>]*>{name}<|translate\([\d.]+ ([\d.]+)\)[^>]*>\s*{name}<', body)
               for name in ("first", "second")]  # fmt: skip
    found = [next(float(part) for part in match.groups() if part) for match in heights]
    assert abs(found[0] - found[1]) > 8


def test_a_long_bar_is_cut_and_does_not_squeeze_the_marks():
    """Means of 1 to 3.1 decide what is shown, whether a bar is 0.5 long or 50."""
    usual = marked_plane(MARKS, GROUPS, xlabel="x", ylabel="gold", alt=ALT).body
    wild = {**MARKS, "silent": Mark("policy", 5.0, around(1.0, half=50.0))}
    cut = marked_plane(wild, GROUPS, xlabel="x", ylabel="gold", alt=ALT).body
    for body in (usual, cut):
        assert ">3<" in body
        assert ">50<" not in body


def test_a_plane_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="marks is empty"):
        marked_plane({}, GROUPS, xlabel="x", ylabel="y", alt=ALT)
    with pytest.raises(ValueError, match=r"roles \['policy'\] belong to no group"):
        marked_plane(MARKS, {"preference loss": "reward"}, xlabel="x", ylabel="y", alt=ALT)
    with pytest.raises(ValueError, match=r"not so \['here'\]"):
        marked_plane(
            {"here": Mark("policy", 0.0, around(1.0))}, GROUPS, xlabel="x", ylabel="y", alt=ALT, log_x=True
        )
    with pytest.raises(ValueError, match="unknown role"):
        Mark("hero", 1.0, around(1.0))
    with pytest.raises(ValueError, match="alt must say"):
        marked_plane(MARKS, GROUPS, xlabel="x", ylabel="y", alt="short")


def test_a_logarithmic_plane_writes_plain_numbers():
    marks = {"a": Mark("policy", 10.0, around(1.0)), "b": Mark("policy", 2000.0, around(2.0))}
    body = marked_plane(marks, GROUPS, xlabel="seconds", ylabel="y", alt=ALT, log_x=True).body
    assert ">1,000<" in body


def test_dots_stand_in_the_given_order_from_the_top():
    body = interval_dots(
        {"best": ("policy", around(90.0)), "worst": ("loss", around(-40.0))}, xlabel="Elo", alt=ALT
    ).body
    assert body.index(">best<") < body.index(">worst<")
    assert ">policy gradient<" not in body
    told = interval_dots(
        {"best": ("policy", around(90.0))}, xlabel="Elo", alt=ALT, groups={"policy gradient": "policy"}
    )
    assert ">policy gradient<" in told.body
    with pytest.raises(ValueError, match="rows is empty"):
        interval_dots({}, xlabel="Elo", alt=ALT)


def test_the_frontier_by_hand():
    """Here b costs more than a for the same, and c as much as d for less; equals stand beside each other."""
    points = {"a": (1.0, 2.0), "b": (2.0, 2.0), "c": (3.0, 3.0), "d": (3.0, 4.0), "e": (1.0, 2.0)}
    assert frontier(points) == ["a", "d", "e"]
    assert frontier({}) == []


def test_a_spread_has_a_full_mark_and_hollow_ones_and_a_line_through_all():
    rows = {"PPO": ("policy", 3.0, [1.0, 2.0]), "DPO": ("reward", 2.5, [2.6])}
    body = spread_dots(rows, groups=GROUPS, xlabel="gold", alt=ALT, caption="Hollow: others.").body
    for word in ("PPO", "DPO", "gold", "policy gradient", "preference loss", "Hollow: others."):
        assert f">{word}<" in body
    hollow = re.findall(r"<use [^>]*fill: (?:#ffffff|white)", body)
    assert len(hollow) == 3
    with pytest.raises(ValueError, match="rows is empty"):
        spread_dots({}, groups=GROUPS, xlabel="gold", alt=ALT)
