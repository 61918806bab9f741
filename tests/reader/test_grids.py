"""The grid as a figure: what is drawn is what was given, labelled, the same bytes, legible on every page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from rlhf_mini.reader import frames, grid_picture, grids
from rlhf_mini.reader.style import DARK, INK, LIGHT, MIDDLE
from rlhf_mini.worlds.gridworld import TWO_DOORS, parse_layout

ALT = "A robot's grid with values and arrows."
ROW = parse_layout("S.G#PE")
WIDTH, HEIGHT = 0.6 * 72, 0.6 * 72  # a cell in points


def _svg(one):
    (svg,) = re.findall(r"<svg.*?</svg>", one.body, flags=re.DOTALL)
    return svg


def _arrows(policy):
    """The strokes of the arrows of cell 0, as differences in parts of a cell, the heads' strokes left out."""
    table = np.zeros((6, 4))
    table[0] = policy
    strokes = grids._arrows(0.0, 0.0, table[0])
    return [
        (round(tip[0] - tail[0], 6), round(tip[1] - tail[1], 6))
        for tail, tip in zip(strokes[::9], strokes[1::9], strict=True)
    ]


def test_values_are_written_where_the_robot_can_stand():
    values = torch.tensor([1.25, -3.04, 77.7, 88.8, 99.9, 66.6])
    texts = re.findall(r">([^<>]+)</text>", _svg(grid_picture(ROW, values=values, alt=ALT)))
    assert sorted(texts) == sorted(["1.2", "−3.0", "pit", "exit", "goal"])
    zero = _svg(grid_picture(ROW, values=torch.full((6,), -0.01), alt=ALT))
    assert "−0.0" not in zero
    assert not re.findall(r">[^<>]*\d[^<>]*</text>", _svg(grid_picture(ROW, alt=ALT)))


def _tints(svg):
    """Role and strength of every tinted cell, in the order drawn."""
    return [
        (role, float(strength))
        for role, strength in re.findall(r"style=\"fill: var\(--rm-(\w+),#\w+\); opacity: ([\d.]+)\"", svg)
    ]


def test_tints_say_sign_and_size():
    values = [10.0, -5.0, 0, 0, 50.0, 0]  # the pit's value is not drawn and does not set the scale
    assert _tints(_svg(grid_picture(ROW, values=values, alt=ALT))) == [("policy", 0.5), ("loss", 0.25)]
    assert _tints(_svg(grid_picture(ROW, values=values, scale=20, alt=ALT))) == [
        ("policy", 0.25), ("loss", 0.125),
    ]  # fmt: skip
    assert _tints(_svg(grid_picture(ROW, values=values, scale=1, alt=ALT))) == [
        ("policy", 0.5),
        ("loss", 0.5),
    ]
    assert _tints(_svg(grid_picture(ROW, values=np.zeros(6), alt=ALT))) == []


def test_arrows_point_where_the_policy_goes_and_are_as_long_as_it_is_sure():
    assert _arrows([1, 0, 0, 0]) == [(0, -0.432)]  # up on the page; alone it lies across the middle
    assert _arrows([0, 1, 0, 0]) == [(0.432, 0)]
    assert _arrows([0, 0, 1, 0]) == [(0, 0.432)]
    assert _arrows([0, 0, 0, 1]) == [(-0.432, 0)]
    assert _arrows([0.5, 0.5, 0, 0]) == [(0, -0.185), (0.185, 0)]  # ties are two
    long, short = _arrows([0.9, 0.1, 0, 0])
    assert abs(long[1]) > abs(short[0]) > 0
    assert len(_arrows([0.97, 0.03, 0, 0])) == 1  # too rare to draw


def test_all_arrows_are_one_path_and_only_where_the_robot_can_stand():
    policy = np.full((6, 4), 0.25)
    with_arrows, without = (_svg(grid_picture(ROW, policy=p, alt=ALT)) for p in (policy, None))
    assert with_arrows.count("<path") == without.count("<path") + 1
    new = set(re.findall(r"<path d=\"([^\"]+)", with_arrows)) - set(
        re.findall(r"<path d=\"([^\"]+)", without)
    )
    assert new.pop().count("M ") == 2 * 4 * 3  # two cells, four arrows, a shaft and two strokes


def test_notes_are_written():
    svg = _svg(grid_picture(TWO_DOORS, notes={41: "+5", 32: "-1"}, alt=ALT))
    assert {"+5", "−1"} <= set(re.findall(r">([^<>]+)</text>", svg))


def _full(values_seed=0):
    generator = np.random.default_rng(values_seed)
    return grid_picture(
        TWO_DOORS,
        values=generator.normal(0, 10, 48),
        policy=generator.dirichlet([1, 1, 1, 1], 48),
        notes={41: "+5"},
        alt=ALT,
    )


def test_same_bytes_labelled_and_follows_the_theme():
    assert _full().html() == _full().html()
    svg = _svg(_full())
    root = ElementTree.fromstring(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", ALT)
    for tone in MIDDLE.values():
        assert svg.count(tone) == svg.count(f",{tone})")
    for fixed in (INK, "#000000", "#ffffff", "white", "black"):
        assert fixed not in svg


def test_fifteen_frames_stay_small():
    pictures = [_full(seed) for seed in range(15)]
    moving = frames(pictures, [f"sweep {number}" for number in range(15)], label="value iteration")
    assert len(moving.html()) < 700_000
    ids = re.findall(r' id="([^"]+)"', moving.body)
    assert len(ids) == len(set(ids))


def _luminance(colour):
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _rgb(tone):
    return [int(tone[place : place + 2], 16) / 255 for place in (1, 3, 5)]


@pytest.mark.parametrize(
    ("tones", "page", "ink"), [(LIGHT, "#ffffff", "#323232"), (DARK, "#14181e", "#ced6dd")]
)
def test_numbers_are_legible_on_the_strongest_tint(tones, page, ink):
    """At least 4.5:1, the page's ink on a tint over the page: the book's two themes."""
    for role in (grids.HIGH, grids.LOW):
        mixed = [
            grids.MOST_TINT * t + (1 - grids.MOST_TINT) * p
            for t, p in zip(_rgb(tones[role]), _rgb(page), strict=True)
        ]
        bright, dim = sorted((_luminance(mixed), _luminance(_rgb(ink))), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) > 4.5, role


def test_bad_input_is_refused():
    for wrong, message in (
        ({"values": np.zeros(5)}, r"values of this layout must be \(6,\), got \(5,\)"),
        ({"policy": np.zeros((6, 3))}, r"policy of this layout must be \(6, 4\)"),
        ({"values": np.full(6, np.nan)}, "values must hold finite"),
        ({"policy": np.full((6, 4), -0.5)}, "probabilities, got -0.5"),
        ({"notes": {6: "x"}}, "cells 0 to 5"),
        ({"scale": 0.0}, "above 0, got 0"),
        ({"scale": float("nan")}, "above 0, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            grid_picture(ROW, alt=ALT, **wrong)
    with pytest.raises(ValueError, match="alt must say"):
        grid_picture(ROW, alt="Grid.")
