"""The ladder of chapter 10, whose rungs fall for planted bugs."""

from types import SimpleNamespace

import pytest
import torch

from rlhf_mini.chapters.rlaif import family, ladder, measures, toy, toy_labels
from rlhf_mini.losses import soft_preference_loss
from rlhf_mini.methods import judge as judge_module
from rlhf_mini.methods import soft_labels as soft_module
from rlhf_mini.methods.judge import Verdicts
from rlhf_mini.methods.soft_labels import Labelled
from rlhf_mini.pipeline import Pipeline

EXACT = {"error soft": 1e-12, "lead likelier 100": 20.0, "lead likelier 1000": 60.0, "lead clamped": 4.0}
CURES = {
    "distance place listed": 0.5,
    "distance place both": 0.1,
    "distance place logits": 0.0,
    "wrong place both": 0.0,
}


class Told(Pipeline):
    """A pipeline whose measurements are given."""

    def __init__(self, **numbers):
        self.numbers = numbers

    def measured(self, experiment, **settings):
        return self.numbers[experiment.__name__]


def test_the_exact_rung_holds_and_falls(monkeypatch):
    held, seen = ladder.exact(Told(calibrated=EXACT))
    assert held, seen
    assert not ladder.exact(Told(calibrated={**EXACT, "error soft": 0.1}))[0]

    def turned_round(first, second, *, preference):
        return soft_preference_loss(first, second, preference=1 - preference)

    monkeypatch.setattr(ladder, "soft_preference_loss", turned_round)
    assert not ladder.exact(Told(calibrated=EXACT))[0]


def test_the_letters_rung_holds(built):
    held, seen = ladder.letters(built)
    assert held, seen


def test_the_letters_rung_falls_where_padding_is_read(built, monkeypatch):
    monkeypatch.setattr(
        judge_module, "last_true_index", lambda mask: torch.full((len(mask),), mask.shape[1] - 1)
    )
    assert not ladder.letters(built)[0]


def test_the_letters_rung_falls_where_another_token_is_read(built, monkeypatch):
    """The letter with a space before it, which no reply begins with."""
    usual = judge_module.encode_text

    def spaced(tokenizer, text):
        return usual(tokenizer, " " + text)

    monkeypatch.setattr(judge_module, "encode_text", spaced)
    assert not ladder.letters(built)[0]


def test_the_orders_rung_holds_and_falls_where_the_second_is_not_turned_back(built, monkeypatch):
    held, seen = ladder.orders(built)
    assert held, seen
    monkeypatch.setattr(Verdicts, "preference", property(lambda self: (self.as_given + self.swapped) / 2))
    assert not ladder.orders(built)[0]


def test_the_labels_rung_holds(built):
    held, seen = ladder.labels(built)
    assert held, seen


@pytest.mark.parametrize("bug", ["other order", "other rows"])
def test_the_labels_rung_falls(built, monkeypatch, bug):
    def mislabelled(ask, prompts, first, second, *, principles, rng):
        rows = soft_module.label(ask, prompts, first, second, principles=principles, rng=rng)
        if bug == "other order":
            return [Labelled(row.prompt, row.second, row.first, row.preference) for row in rows]
        preferences = [row.preference for row in rows[1:] + rows[:1]]
        return [
            Labelled(row.prompt, row.first, row.second, value)
            for row, value in zip(rows, preferences, strict=True)
        ]

    monkeypatch.setattr(ladder, "label", mislabelled)
    assert not ladder.labels(built)[0]


def test_the_one_pair_rung_holds_and_falls_for_a_hard_label(built, monkeypatch):
    held, seen = ladder.one_pair(built)
    assert held, seen

    def hard(first, second, *, preference):
        return soft_preference_loss(first, second, preference=(preference > 0.5).float())

    monkeypatch.setattr(soft_module, "soft_preference_loss", hard)
    assert not ladder.one_pair(built)[0]


def test_the_clamp_rung_holds_and_falls(monkeypatch):
    held, seen = ladder.clamp(Told(calibrated=EXACT))
    assert held, seen
    assert not ladder.clamp(Told(calibrated={**EXACT, "lead likelier 1000": 20.5}))[0]
    monkeypatch.setattr(ladder, "clamped", lambda labels: labels.clamp(0.6, 0.6))
    assert not ladder.clamp(Told(calibrated=EXACT))[0]


def test_the_known_end_rung_reads_its_measurement():
    held, seen = ladder.known_end(Told(cures=CURES))
    assert held, seen
    for change in ({"distance place logits": 0.01}, {"distance place both": 0.6}, {"wrong place both": 0.1}):
        assert not ladder.known_end(Told(cures={**CURES, **change}))[0]


def test_the_keys_that_the_rungs_read_are_measured():
    assert EXACT.keys() <= toy_labels.calibrated(Pipeline("quick", seed=0)).keys()
    assert CURES.keys() <= toy.cures(Pipeline("quick", seed=0)).keys()


def test_the_real_rung_asks_for_both(built):
    good = {"right": 0.7, "gold_right": 0.7}
    held, seen = ladder.real(Told(quality=good))
    assert held, seen
    for name in good:
        assert not ladder.real(Told(quality={**good, name: 0.55}))[0]


def test_the_band_is_that_of_the_recorded_judges(monkeypatch):
    asked = {}

    def kept(here, metrics, **where):
        asked.update(where, here=here, metrics=metrics)
        return True, "seen"

    monkeypatch.setattr(ladder, "in_the_band", kept)
    told = Told(quality={"right": 0.7})
    told.profile = SimpleNamespace(name="quick")
    assert ladder.band(told) == (True, "seen")
    assert asked["here"] == {"right": 0.7}
    assert (asked["chapter"], asked["experiment"], asked["method"]) == (
        "10",
        "judges",
        family.judge(ladder.TAUGHT).name,
    )
    assert set(asked["metrics"]) <= set(measures.JUDGES_TOLD)


def test_there_are_nine_rungs_and_those_with_a_judge_come_last(built):
    names = [rung.name for rung in ladder.rungs(built)]
    assert len(names) == len(set(names)) == 9
    assert names[-2:] == ["band of good seeds", "real run"]
