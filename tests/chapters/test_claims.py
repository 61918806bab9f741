"""Claims: a record holds the machine and the verdict; a summary shows this run and the records, or fails."""

import dataclasses
from types import SimpleNamespace

import pytest

import rlhf_mini.chapters.claims as module
from rlhf_mini.chapters import ROOMS, part
from rlhf_mini.chapters.claims import Claim, chapter_summary, judge, measure, on_record
from rlhf_mini.evaluation.records import write_records
from rlhf_mini.pipeline import Pipeline


def rises(pipeline):
    return {"start": 1, "curve": [1.0, 2.0], "end": 2.0 + pipeline.seed}


CLAIM = Claim("rises", "It <rises>.", rises, lambda m: m["end"] < 4)


@pytest.fixture
def room(monkeypatch, tmp_path):
    monkeypatch.setenv("RLHF_MINI_RESULTS", str(tmp_path))
    monkeypatch.setattr(module, "part", lambda chapter, name: SimpleNamespace(CLAIMS=(CLAIM,)))


def test_a_record_holds_numbers_machine_and_verdict(built):
    record = measure(CLAIM, built, chapter="07")
    assert (record.chapter, record.experiment, record.method) == ("07", "claims", "rises")
    assert record.metrics == {"start": 1.0, "curve": [1.0, 2.0], "end": 2.0, "holds": True}
    assert isinstance(record.metrics["start"], float)
    assert (record.profile, record.seed) == ("miniature", 0)
    assert record.seconds >= 0


def test_a_summary_counts_the_seeds_on_record(built, room):
    records = [measure(CLAIM, built, chapter="07")]
    miniature, other = built.profile, dataclasses.replace(built.profile, name="other")
    others = [
        module.record_of(
            chapter="07",
            experiment="claims",
            method="rises",
            pipeline=Pipeline(profile, seed=seed, cache=built.store.root),
            seconds=1.0,
            metrics={"end": 1.0, "holds": seed != 2},
        )
        for seed, profile in ((1, miniature), (2, miniature), (3, other))
    ]
    write_records("chapter_07", [*records, *others])
    shown = chapter_summary("07", built)
    assert shown.text == "- It <rises>. [✓ here (seed 0); on record 2 of 3 seeds]"
    assert "It &lt;rises&gt;." in shown.body
    (verdict,) = judge((CLAIM,), built, [*records, *others])
    assert (verdict.seeds, verdict.seeds_held, verdict.holds) == (3, 2, True)


def test_a_summary_works_without_records_and_fails_with_a_claim(built, room, monkeypatch):
    assert chapter_summary("07", built).text == "- It <rises>. [✓ here (seed 0)]"
    monkeypatch.setattr(
        module,
        "part",
        lambda *_: SimpleNamespace(CLAIMS=(CLAIM, Claim("falls", "It falls.", rises, lambda m: False))),
    )
    with pytest.raises(AssertionError, match="this run does not show: falls"):
        chapter_summary("07", built)


def test_every_room_can_be_entered_and_an_unknown_one_is_refused():
    for chapter in ROOMS:
        assert part(chapter, "claims").CLAIMS
    with pytest.raises(ValueError, match="unknown chapter '77': choose from 00"):
        part("77", "claims")


def test_an_expensive_claim_is_judged_by_its_records_alone(built, room, monkeypatch):
    def never(pipeline):
        raise AssertionError("measured anew")

    claim = Claim("rises", "It rises.", never, lambda m: True, live=False)
    monkeypatch.setattr(module, "part", lambda *_: SimpleNamespace(CLAIMS=(claim,)))
    with pytest.raises(AssertionError, match="does not show: rises"):
        chapter_summary("07", built)  # nothing on record shows nothing
    write_records("chapter_07", [measure(CLAIM, built, chapter="07")])
    assert chapter_summary("07", built).text == "- It rises. [✓ on record 1 of 1 seeds]"
    failed = measure(dataclasses.replace(CLAIM, holds=lambda m: False), built, chapter="07")
    write_records("chapter_07", [failed])
    with pytest.raises(AssertionError, match="does not show: rises"):
        chapter_summary("07", built)


def test_a_record_that_is_not_there_is_said():
    with pytest.raises(
        ValueError, match=r"no record with method in \['no such claim'\]; there: .*'planning'"
    ):
        on_record("01", "no such claim")
