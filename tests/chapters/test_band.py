"""The band of good seeds: a value inside holds, one outside falls, and what is not on record is said."""

import math

import pytest

from rlhf_mini.chapters import band
from rlhf_mini.evaluation.records import Record

SOME = {
    "chapter": "10", "experiment": "judges", "method": "ours", "profile": "quick", "device": "cpu",
    "threads": 1, "seconds": 1.0, "version": "0",
}  # fmt: skip
GOLDS = (2.0, 2.2, 2.4)
# Student's 97.5% point for two degrees of freedom, the standard deviation, the root of 1 + 1/3.
HALF = 4.302653 * 0.2 * math.sqrt(1 + 1 / 3)


@pytest.fixture
def recorded(monkeypatch):
    def read(name, **asked):
        assert name == "chapter_10"
        assert asked == {"experiment": "judges", "method": "ours", "profile": "quick"}
        return [
            Record(**{**SOME, "seed": seed, "metrics": {"gold": gold}}) for seed, gold in enumerate(GOLDS)
        ]

    monkeypatch.setattr(band, "read_records", read)


WHERE = {"chapter": "10", "experiment": "judges", "method": "ours", "profile": "quick"}


@pytest.mark.parametrize(
    ("gold", "held"),
    [(2.2, True), (2.2 + 0.99 * HALF, True), (2.2 + 1.01 * HALF, False), (2.2 - 1.01 * HALF, False)],
)
def test_the_band_is_that_of_one_more_value(recorded, gold, held):
    found, seen = band.in_the_band({"gold": gold}, ("gold",), **WHERE)
    assert found is held
    assert "3 seeds" in seen


def test_what_is_not_on_record_is_said(monkeypatch):
    monkeypatch.setattr(band, "read_records", lambda name, **asked: [])
    held, seen = band.in_the_band({"gold": -1.0}, ("gold",), **WHERE)
    assert held
    assert "no seeds of the profile quick" in seen
    assert "−1.00" in seen
