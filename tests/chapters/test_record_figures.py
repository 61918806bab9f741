"""What figures read of the records: one chapter's, of the quick profile, by seed; and differences by seed."""

import pytest

from rlhf_mini.chapters import record_figures
from rlhf_mini.chapters.record_figures import gold_differences, numbers_in, recorded_in
from rlhf_mini.evaluation.records import Record
from rlhf_mini.reader import seed_dots

SOME = {
    "chapter": "08", "experiment": "sums", "method": "ours", "profile": "quick", "device": "cpu",
    "threads": 1, "seconds": 1.0, "version": "0",
}  # fmt: skip


@pytest.fixture
def on_record(monkeypatch):
    """Records of two seeds in the wrong order; returns what was asked for."""
    asked = []

    def read_records(name, **which):
        asked.append((name, which))
        return [Record(**SOME, seed=seed, metrics={"gold": 2.0 + seed}) for seed in (1, 0)]

    monkeypatch.setattr(record_figures, "read_records", read_records)
    return asked


def test_records_come_by_seed_and_of_the_quick_profile(on_record):
    assert [one.seed for one in recorded_in("08", "sums", method="ours")] == [0, 1]
    assert numbers_in("09", "runs", "ReST") == {0: {"gold": 2.0}, 1: {"gold": 3.0}}
    assert on_record == [
        ("chapter_08", {"experiment": "sums", "profile": "quick", "method": "ours"}),
        ("chapter_09", {"experiment": "runs", "profile": "quick", "method": "ReST"}),
    ]


def test_gold_is_compared_seed_by_seed(monkeypatch):
    drawn = {}

    def draw(groups, **told):
        drawn.update(told, groups=groups)
        return seed_dots(groups, **told)

    monkeypatch.setattr(record_figures, "seed_dots", draw)
    golds = {"ours": (2.0, 3.0), "other": (2.5, 2.0), "control": (2.25, 3.0)}

    def by_seed(name):
        return {seed: {"gold": gold} for seed, gold in enumerate(golds[name])}

    gold_differences(
        by_seed, {"group": ["other"]}, ours="ours", controls=["control"], alt="Other less ours, by seed."
    )
    assert drawn["groups"] == {"group": {"other": [0.5, -1.0]}}
    assert drawn["luck"] == [0.0, 0.25, 0.0]
    assert drawn["xlabel"] == "gold less that of ours"
