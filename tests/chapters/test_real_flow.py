"""The drawing of chapter 15, by hand."""

import math

import pytest

from rlhf_mini.chapters.real import flow
from rlhf_mini.reader import flow_diagram

FIRST, SECOND = (0.4, 0.6, 0.5), (0.2, 0.8)


def test_the_numbers_by_hand():
    found = flow.numbers()
    rows = [[-math.log(p) for p in row] for row in (FIRST, SECOND)]
    assert found["first"][0].tolist() == pytest.approx(rows[0])
    assert found["second"][0].tolist() == pytest.approx(rows[1])
    means = [sum(row) / len(row) for row in rows]
    assert float(found["mean of first"]) == pytest.approx(means[0])
    assert float(found["mean of all"]) == pytest.approx(sum(map(sum, rows)) / 5)
    assert float(found["mean of means"]) == pytest.approx(sum(means) / 2)
    assert abs(float(found["mean of means"] - found["mean of all"])) > 0.01  # to be seen at two decimals


def test_the_drawing_shows_these_numbers():
    drawn = flow.two_processes_example()
    box = {one.key: one.detail for one in drawn.boxes}
    rows = [flow.GAP.join(f"{-math.log(p):.2f}" for p in row) for row in (FIRST, SECOND)]
    assert box["gathered"].split("\n") == rows
    assert box["loss"].split("\n")[0].endswith(f"{flow.GAP}{-math.log(0.4 * 0.6 * 0.5 * 0.2 * 0.8) / 5:.2f}")
    gradients = {(one.source, one.target) for one in drawn.arrows if one.kind == "gradient"}
    own = {"own first": "first", "own second": "second"}
    assert gradients == {*(("loss", key) for key in own), *own.items()}
    assert {one.source for one in drawn.arrows if one.target == "gathered"} == {"first", "second"}
    assert flow_diagram(drawn, alt="One batch on two processes, drawn for a test of its numbers.").body
