"""The drawing of chapter 11, by hand."""

import math

import pytest

from rlhf_mini.chapters.reward_scaling import flow
from rlhf_mini.reader import flow_diagram


def test_the_pair_by_hand():
    """The lead is 0.9 + 0.4 = 1.3: the loss is log(1 + e^−1.3), its slope −σ(−1.3)."""
    told = flow.pair_numbers()
    assert float(told["loss"]) == pytest.approx(math.log1p(math.exp(-1.3)), abs=1e-6)
    assert float(told["slope"]) == pytest.approx(-1 / (1 + math.exp(1.3)), abs=1e-6)


def test_the_curve_by_hand():
    """Of six pairs the best is the second lowest once, the third twice, the fourth three times."""
    told = flow.curve()
    assert told.proxy[0].tolist() == pytest.approx([2.4 / 4, (0.5 + 2 * 0.9 + 3 * 1.4) / 6, 1.4])
    assert told.gold[0].tolist() == pytest.approx([1.0 / 4, (0.6 + 2 * 1.0 + 3 * 0.0) / 6, 0.0])
    assert told.kl.tolist() == pytest.approx([0.0, math.log(2) - 1 / 2, math.log(4) - 3 / 4])
    assert told.gold[0].argmax() == 1  # gold rises and falls, and the proxy rises


def test_the_drawing_shows_these_numbers():
    drawn = flow.gao_example()
    box = {one.key: one for one in drawn.boxes}
    gap = flow.GAP
    assert box["choice"].detail.split("\n")[1:] == [
        f"mean r{gap}0.60{gap}1.08{gap}1.40",
        f"d = √KL{gap}0.00{gap}0.44{gap}0.80",
    ]
    assert box["gold"].detail == f"mean r*{gap}0.25{gap}0.43{gap}0.00"
    assert box["loss"].detail == "0.24 nats\nslope of r1: −0.21"
    assert [one.key for one in drawn.boxes if one.frozen] == ["gold"]
    assert [(arrow.source, arrow.target) for arrow in drawn.arrows if arrow.kind == "gradient"] == [
        ("loss", "proxy")
    ]
    body = flow_diagram(drawn, alt="Gao's experiment on four answers, drawn for a test of its numbers.").body
    assert f"0.25{gap}0.43{gap}0.00" in body
