"""Chapter 12's measures, claims, records and figures, on numbers that can be told apart."""

from dataclasses import replace

import pytest

from rlhf_mini.chapters.claims import measure
from rlhf_mini.chapters.verifiable import claims, family, figures, measures, taste
from rlhf_mini.chapters.verifiable.choices import METHODS, REWARDS
from rlhf_mini.chapters.verifiable.starts import READER
from rlhf_mini.evaluation.records import write_records
from rlhf_mini.pipeline import Pipeline
from tests.chapters.verdicts import verifiable as verdicts

TRIES = [1, 4, 16, 64]


def place_of(name):
    return [one.name for one in family.ALL].index(name)


def told_of(place, *, untrained):
    """What is said of the run at this place: its shares are its place in per cent."""
    looked = dict.fromkeys(claims.OF_LOOKS, place / 100)
    return looked if untrained else {**looked, **dict.fromkeys(claims.OF_LOGS, float(place))}


def log_of(place):
    """Twelve iterations: every number rises from the run's place by one an iteration."""
    return [dict.fromkeys(("reward", *claims.OF_ITERATIONS), float(place + number)) for number in range(12)]


@pytest.fixture
def told(monkeypatch):
    """Every run is measured as its place in the family says."""
    monkeypatch.setattr(
        family.Run,
        "measured",
        lambda self, pipeline, **how: told_of(place_of(self.name), untrained=self.untrained),
    )
    monkeypatch.setattr(family.Run, "log", lambda self, pipeline: log_of(place_of(self.name)))
    monkeypatch.setattr(
        family.Run,
        "curves",
        lambda self, pipeline, **how: {
            "tries": TRIES,
            "pass": [0.1 + place_of(self.name) / 100] * len(TRIES),
            "majority": [0.2 + place_of(self.name) / 100] * len(TRIES),
            "length": 10.0,
            "never": 0.0,
        },
    )
    monkeypatch.setattr(taste, "accuracy", lambda pipeline: 0.9)


@pytest.fixture
def light(miniature, tmp_path):
    return Pipeline(miniature, cache=tmp_path)


# --------------------------------------------------------------------------------- measures and claims


def test_numbers_are_named_by_metric_and_run(told, light):
    found = measures.methods(light)
    assert found["answer_right RLOO"] == place_of("RLOO") / 100
    assert found["entropy_last GSPO, reused"] == place_of("GSPO, reused")
    assert {f"answer_right {name}" for name in METHODS} <= found.keys()
    tries = measures.tries(light)
    assert tries[f"pass 4 {family.OURS}"] == pytest.approx(0.1 + place_of(family.OURS) / 100)
    assert tries[f"majority 64 {measures.BEFORE}"] == pytest.approx(0.2 + place_of(measures.BEFORE) / 100)


def test_a_loss_is_told_beside_what_was_learned(told, light):
    found = measures.loss(light)
    place = place_of(family.OURS)
    assert (found["first"], found["last"]) == (
        place + 2,
        place + 9,
    )  # the means of five entries at either end
    assert found["loss_largest"] == place


def test_a_gap_is_told_by_its_own_reward(told, light, monkeypatch):
    asked = []

    class Entry(dict):
        def __getitem__(self, name):
            asked.append(name)
            return super().__getitem__(name)

    monkeypatch.setattr(family.Run, "log", lambda self, pipeline: [Entry(log_of(3)[0])])
    measures.gaps(light)
    rewards = [reward for pair in family.GAP_REWARDS.values() for reward in pair]
    assert asked == [f"score_{reward}" for reward in rewards]
    assert set(rewards) <= set(REWARDS)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.name)
def test_every_claim_finds_its_numbers(told, light, claim, monkeypatch):
    record = measure(claim, light, chapter=claims.CHAPTER)
    assert isinstance(record.metrics["holds"], bool)
    assert claim.sentence.endswith(".")
    assert not claim.live


def test_verdicts_are_what_the_sentences_say():
    by_name = {claim.name: claim for claim in claims.CLAIMS}
    assert verdicts.GOOD.keys() == by_name.keys() == {name for name, _ in verdicts.SPOILED}
    for name, numbers in verdicts.GOOD.items():
        assert by_name[name].holds(numbers), name
    for name, changed in verdicts.SPOILED:
        assert changed.keys() <= verdicts.GOOD[name].keys()
        assert not by_name[name].holds({**verdicts.GOOD[name], **changed}), (name, changed)


# --------------------------------------------------------------------------------- records and figures


def test_records_hold_every_table(told, light):
    rows = claims.extra_records(light)
    assert {row.experiment for row in rows} == {"runs", "tries", "logs"}
    assert {row.method for row in rows if row.experiment == "runs"} == {one.name for one in family.ALL}
    assert {row.method for row in rows if row.experiment == "tries"} == set(family.CURVES)
    assert set(claims.LOGS) <= {one.name for one in family.ALL if not one.untrained}


@pytest.fixture
def on_record(told, light, monkeypatch, tmp_path):
    """Records of two seeds at the quick profile."""
    monkeypatch.setenv("RLHF_MINI_RESULTS", str(tmp_path))
    rows = claims.extra_records(light)
    write_records("chapter_12", [replace(row, seed=seed, profile="quick") for row in rows for seed in (1, 0)])


def test_tables_are_in_the_given_order_and_in_per_cent(on_record):
    text = figures.method_table().text
    places = [text.index(f"| {name} |") for name in (measures.BEFORE, *METHODS)]
    assert places == sorted(places)
    assert f"| {place_of('RLOO')}.0 " in text  # the share is its place in per cent
    assert "reused" not in text
    assert all(family.reused_name(name) in figures.method_table(reused=True).text for name in METHODS)
    for columns in (
        figures.KL_COLUMNS, figures.STEP_COLUMNS, figures.FORMAT_COLUMNS, figures.GAP_COLUMNS,
        figures.STAGE_COLUMNS, figures.SIZE_COLUMNS,
    ):  # fmt: skip
        assert "| RLOO |" in figures.table(["RLOO"], columns).text


def test_curves_say_where_they_end(on_record):
    ours = place_of(family.OURS)
    assert f"GRPO from {ours}.00 to {ours + 11}.00" in figures.loss_and_reward().text
    sparse = place_of(family.from_name(family.SPARSE))
    assert f"right from {sparse}.00 to {sparse + 11}.00" in figures.steps_curves().text
    for gap in ("padding", "listing"):
        for side in ("open", "closed"):
            place = place_of(family.gap_name(gap, side))
            assert (
                f"The gap {side}: reward from {place}.00 to {place + 11}.00" in figures.gap_curves(gap).text
            )
    share = 0.1 + ours / 100
    assert f"GRPO from {share:.2f} to {share:.2f}" in figures.tries_curves(READER).text
    begun = 0.1 + place_of(family.start_name(family.SPARSE)) / 100
    assert f"start from {begun:.2f} to {begun:.2f}" in figures.tries_curves(family.SPARSE).text
    assert f"GRPO from {share + 0.1:.2f}" in figures.token_curves().text
