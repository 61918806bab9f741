"""The ladder of chapter 12: its rungs hold where all is well, and each falls for a planted bug."""

from types import SimpleNamespace

import pytest
import torch

from rlhf_mini.chapters.verifiable import ladder, toy
from rlhf_mini.estimators import batch_mean_advantages, group_scaled_advantages
from rlhf_mini.methods.group_methods import grpo_method
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import QUICK
from rlhf_mini.worlds.sums_verifier import GAPS, answer_mentioned


@pytest.fixture(scope="module")
def sums():
    found = ladder.SmallSums(0)
    assert not found.start.training  # taught here, once for all tests
    return found


def test_the_exact_rung_holds_and_falls_for_a_factor(monkeypatch):
    held, seen = ladder.exact()
    assert held, seen
    usual = toy.identities(seed=0)
    monkeypatch.setattr(toy, "identities", lambda seed: {**usual, "GRPO GSPO": 1e-6})
    assert not ladder.exact()[0]


def test_the_verifier_rung_holds_and_falls_for_an_open_gap(monkeypatch):
    held, seen = ladder.verifier()
    assert held, seen
    gap = SimpleNamespace(closed=answer_mentioned, exploit=GAPS["listing"].exploit)
    monkeypatch.setattr(ladder, "GAPS", {**GAPS, "listing": gap})
    assert not ladder.verifier()[0]


def test_the_verifier_rung_falls_where_slips_are_paid(monkeypatch):
    monkeypatch.setattr(ladder, "answer_right", lambda prompt, text: 1.0)
    assert not ladder.verifier()[0]


@pytest.mark.parametrize(
    "rung", [ladder.groups_fit, ladder.first_step, ladder.nothing_to_learn], ids=lambda rung: rung.__name__
)
def test_the_rungs_hold(sums, rung):
    held, seen = rung(sums)
    assert held, seen


def test_the_groups_rung_falls_for_one_baseline_for_all(sums, monkeypatch):
    method = ladder.replace(grpo_method(), advantage=batch_mean_advantages)
    monkeypatch.setattr(ladder, "grpo_method", lambda: method)
    assert not ladder.groups_fit(sums)[0]


def test_the_first_step_rung_falls_where_another_distribution_was_sampled(sums, monkeypatch):
    usual = ladder.drawn

    def cooler(which):
        groups = usual(which)
        groups.answers.logp_old.mul_(0.9)
        return groups

    monkeypatch.setattr(ladder, "drawn", cooler)
    assert not ladder.first_step(sums)[0]


def test_the_first_step_rung_falls_where_nothing_is_compared(sums, monkeypatch):
    method = ladder.replace(grpo_method(), advantage=torch.zeros_like)
    monkeypatch.setattr(ladder, "grpo_method", lambda: method)
    assert not ladder.first_step(sums)[0]


def test_the_nothing_to_learn_rung_falls_where_rewards_are_taken_as_they_are(sums, monkeypatch):
    method = ladder.replace(grpo_method(), advantage=lambda rewards: rewards)
    monkeypatch.setattr(ladder, "grpo_method", lambda: method)
    assert not ladder.nothing_to_learn(sums)[0]


@pytest.mark.slow  # 36 iterations of GRPO on a small model
@pytest.mark.parametrize("rung", [ladder.one_sum, ladder.small_run], ids=lambda rung: rung.__name__)
def test_the_trainings_hold(sums, rung):
    held, seen = rung(sums)
    assert held, seen


@pytest.mark.slow  # the shorter of them again, with a bug
def test_one_sum_is_not_learned_with_the_sign_turned_round(sums, monkeypatch):
    method = ladder.replace(grpo_method(), advantage=lambda rewards: -group_scaled_advantages(rewards))
    monkeypatch.setattr(ladder, "grpo_method", lambda: method)
    assert not ladder.one_sum(sums)[0]


def test_the_band_and_the_real_run_are_asked_of_the_chapter_s_outcomes(monkeypatch, tmp_path):
    asked = {}

    def kept(here, metrics, **where):
        asked.update(where, here=here, metrics=metrics)
        return True, "seen"

    monkeypatch.setattr(ladder, "in_the_band", kept)
    pipeline = Pipeline(QUICK, seed=0, cache=tmp_path)
    before, after = {"answer_right": 0.3, "length": 10.0}, {"answer_right": 0.6, "length": 12.0}
    climbed = ladder.rungs(pipeline, start=lambda: before, end=lambda: after)
    assert [rung.name for rung in climbed] == [
        "exact test", "verifier", "groups", "first step", "nothing to learn", "one sum", "small run",
        "band of good seeds", "real run",
    ]  # fmt: skip
    assert climbed[-2].check() == (True, "seen")
    assert asked["here"] is after
    assert (asked["chapter"], asked["profile"]) == ("12", "quick")
    assert climbed[-1].check()[0]
    assert not ladder.real(before, {**after, "answer_right": 0.35})[0]
    assert len(ladder.rungs(pipeline)) == 7
