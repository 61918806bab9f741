"""The rungs that ladders share: the band of good seeds, and the rise of gold; and how rooms ask for them."""

import math
from types import SimpleNamespace

import pytest

from rlhf_mini.chapters import band
from rlhf_mini.chapters.direct import claims as direct_claims
from rlhf_mini.chapters.direct import ladder as direct_ladder
from rlhf_mini.chapters.filtering import claims as filtering_claims
from rlhf_mini.chapters.filtering import ladder as filtering_ladder
from rlhf_mini.chapters.hindsight import ladder as hindsight_ladder
from rlhf_mini.chapters.hindsight import measures as hindsight_measures
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

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


@pytest.mark.parametrize("missing", [None, FileNotFoundError, ValueError])
def test_what_is_not_on_record_is_said(monkeypatch, missing):
    """No file, no such rows, or none of them: nothing can be compared."""

    def read(name, **asked):
        if missing is not None:
            raise missing
        return []

    monkeypatch.setattr(band, "read_records", read)
    held, seen = band.in_the_band({"gold": -1.0}, ("gold",), **WHERE)
    assert held
    assert "no seeds of the profile quick" in seen
    assert "−1.00" in seen


def test_every_metric_must_lie_in_its_band(monkeypatch):
    rows = [SimpleNamespace(metrics={"gold": gold, "kl": 10 * gold}) for gold in GOLDS]
    monkeypatch.setattr(band, "read_records", lambda name, **asked: rows)
    assert band.in_the_band({"gold": 2.2, "kl": 22.0}, ("gold", "kl"), **WHERE)[0]
    assert not band.in_the_band({"gold": 2.2, "kl": 2.2}, ("gold", "kl"), **WHERE)[0]
    assert not band.in_the_band({"gold": 22.0, "kl": 22.0}, ("gold", "kl"), **WHERE)[0]


@pytest.mark.parametrize(("after", "held"), [(-0.69, True), (-0.71, False), (-2.0, False)])
def test_gold_must_rise_by_more_than_was_asked(after, held):
    found, seen = band.gold_rises({"gold": -1.0}, {"gold": after, "kl_k1": 3.14}, by=0.3)
    assert found is held
    assert seen == f"gold −1.00 before, −{-after:.2f} after, 3.1 nats away"


# ------------------------------------------------------------------------------------------- the rooms' rungs

# chapter, its ladder, the experiment on record, what the records hold, by how much gold must rise
ROOMS = pytest.mark.parametrize(
    ("chapter", "ladder", "experiment", "on_record", "rise"),
    [
        ("07", direct_ladder, "runs", direct_claims.TOLD, 0.3),
        ("08", hindsight_ladder, "stories", hindsight_measures.STORIES_TOLD, 0.5),
        ("09", filtering_ladder, "runs", filtering_claims.TOLD, 0.2),
    ],
    ids=["07", "08", "09"],
)


def put_runs(monkeypatch, ladder, *, gold, before=2.0):
    """Numbers in the place of a ladder's runs: all but gold are 1."""
    told = {"SFT": {"gold": before}, ladder.family.OURS: {**dict.fromkeys(ladder.BAND, 1.0), "gold": gold}}
    monkeypatch.setattr(
        ladder.family, "run", lambda name: SimpleNamespace(measured=lambda pipeline: told[name])
    )
    return Pipeline("quick", seed=0)


@ROOMS
@pytest.mark.parametrize(("gold", "held"), [(2.6, True), (2.9, True), (4.0, False), (1.0, False)])
def test_a_room_asks_for_the_band_of_its_own_run(
    monkeypatch, chapter, ladder, experiment, on_record, rise, gold, held
):
    """Of 2.5, 2.6, 2.7: the mean 2.6 and 4.303 · 0.1 · √(1 + 1/3) = 0.497 on either side."""

    def read(name, **asked):
        assert name == f"chapter_{chapter}"
        assert asked == {"experiment": experiment, "method": ladder.family.OURS, "profile": "quick"}
        return [
            SimpleNamespace(metrics={**dict.fromkeys(ladder.BAND, 0.9 + seed / 10), "gold": found})
            for seed, found in enumerate((2.5, 2.6, 2.7))
        ]

    assert "gold" in ladder.BAND
    assert set(ladder.BAND) <= set(on_record)
    monkeypatch.setattr(band, "read_records", read)
    found, seen = ladder.band(put_runs(monkeypatch, ladder, gold=gold))
    assert found is held, seen
    assert "in 2.10 to 3.10" in seen


@ROOMS
def test_a_room_s_real_rung_asks_gold(monkeypatch, chapter, ladder, experiment, on_record, rise):
    for extra, held in ((0.01, True), (-0.01, False), (-1.5, False)):
        assert ladder.real(put_runs(monkeypatch, ladder, gold=2.0 + rise + extra))[0] is held
