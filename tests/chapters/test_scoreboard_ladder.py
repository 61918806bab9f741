"""The ladder of chapter 14: its rungs hold where all is well, and each falls for a planted bug."""

from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rlhf_mini.chapters.scoreboard import ladder
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.evaluation.bradley_terry_ranking import bradley_terry, elo_table
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import QUICK
from rlhf_mini.worlds import stories

# --------------------------------------------------------------------------------- on made-up numbers


def test_the_first_rung_holds():
    held, seen = ladder.first_rung()
    assert held, seen
    assert "of 450 intervals" in seen


def test_the_exact_rung_falls_for_losses_and_for_other_units(monkeypatch):
    monkeypatch.setattr(ladder, "bradley_terry", lambda wins: bradley_terry(wins.T))
    assert not ladder.exact()[0]
    monkeypatch.setattr(ladder, "bradley_terry", lambda wins: bradley_terry(wins) / np.log(2))
    assert not ladder.exact()[0]


def test_the_exact_rung_falls_for_too_few_of_hunter_s_steps(monkeypatch):
    usual = ladder.strengths
    monkeypatch.setattr(ladder, "strengths", lambda wins, steps: usual(wins, 5))
    assert not ladder.exact()[0]


@pytest.mark.parametrize("confidence", [0.6, 0.9999])
def test_the_first_rung_falls_for_intervals_that_are_too_narrow_or_too_wide(monkeypatch, confidence):
    monkeypatch.setattr(ladder, "elo_table", partial(elo_table, confidence=confidence))
    assert not ladder.covers()[0]
    assert not ladder.first_rung()[0]


def test_the_first_rung_falls_where_another_player_is_the_anchor(monkeypatch):
    def elsewhere(scores, *, anchor, **more):
        return elo_table(scores, anchor=next(name for name in scores if name != anchor), **more)

    monkeypatch.setattr(ladder, "elo_table", elsewhere)
    assert not ladder.covers()[0]


# ------------------------------------------------------------------------------------- on a pipeline


@dataclass
class Told:
    """A policy of which everything is known."""

    numbers: dict = field(default_factory=dict)

    def measured(self, pipeline):
        return self.numbers

    def is_there(self, pipeline):
        return True

    is_measured = is_there

    def folder(self, pipeline):
        return None


class Knows(Pipeline):
    """A pipeline whose measurements are given."""

    def __init__(self, found, device="cpu"):
        self.found, self.device = found, torch.device(device)
        self.profile = SimpleNamespace(name="quick")

    def measured(self, experiment, **settings):
        return self.found


@pytest.mark.parametrize(
    "rung",
    [
        ladder.twice,
        ladder.start_is_at_zero,
        ladder.same_prompts,
        ladder.reference_answers,
        ladder.seeds_differ,
    ],
    ids=lambda rung: rung.__name__,
)
def test_the_rungs_hold(built, rung):
    held, seen = rung(built)
    assert held, seen


def test_the_reference_rung_holds_on_as_many_requests_as_a_profile_has(tmp_path, monkeypatch):
    """Enough unkind requests among them for a writer who declines nine in ten to be found out."""
    pipeline = Pipeline(QUICK, seed=0, cache=tmp_path)
    held, seen = ladder.reference_answers(pipeline)
    assert held, seen
    monkeypatch.setattr(ladder, "replace", lambda writer, **changes: writer)
    assert not ladder.reference_answers(pipeline)[0]


def test_two_draws_are_of_the_same_requests_and_one_is_the_judge_s(built):
    found = ladder.drawn_twice(built)
    assert found["golds"] == pytest.approx(ladder.START.measured(built)["golds"], abs=1e-4)
    assert len(found["golds"]) == len(found["again"]) == built.profile.test_prompts


def test_the_twice_rung_falls_for_a_lead_and_for_one_draw_read_twice():
    rng = np.random.default_rng(0)
    golds = rng.normal(size=200)
    tie = {"golds": golds.tolist(), "again": rng.permutation(golds).tolist(), "same": 0.1}
    assert ladder.twice(Knows(tie))[0]
    assert not ladder.twice(Knows({**tie, "again": (golds - 0.7).tolist()}))[0]
    assert not ladder.twice(Knows({**tie, "golds": (golds - 3).tolist()}))[0]
    assert not ladder.twice(Knows({**tie, "same": 1.0}))[0]


def kl_of(k1, k3, error=0.1):
    return Told({"kl_k1": k1, "kl_k3": k3, "kl_k1_standard_error": error, "kl_k3_standard_error": error})


def test_the_start_rung_falls_for_a_distance_and_for_an_estimate_that_is_always_zero(monkeypatch):
    pipeline = Knows({})
    for start, cold, holds in (
        (kl_of(1e-6, 1e-6), kl_of(2.0, 2.1), True),
        (kl_of(0.5, 1e-6), kl_of(2.0, 2.1), False),
        (kl_of(-0.5, 1e-6), kl_of(2.0, 2.1), False),
        (kl_of(1e-6, 0.5), kl_of(2.0, 2.1), False),
        (kl_of(0.0, 0.0), kl_of(0.0, 0.0), False),
        (kl_of(1e-6, 1e-6), kl_of(-2.0, 2.1, 2.0), False),  # k1 with its sign turned round
        (kl_of(1e-6, 1e-6), kl_of(2.0, 9.0), False),  # another direction
    ):
        monkeypatch.setattr(ladder, "START", start)
        monkeypatch.setattr(ladder, "COLDER", cold)
        assert ladder.start_is_at_zero(pipeline)[0] is holds


def test_the_prompts_rung_falls_for_a_row_of_other_requests_and_for_one_that_was_trained_on(
    built, monkeypatch
):
    short = Told({"golds": [1.0] * (built.profile.test_prompts - 1)})
    held, seen = ladder.same_prompts(built, short)
    assert not held
    assert f"{built.profile.test_prompts - 1}, {built.profile.test_prompts} golds" in seen
    asked = ladder.held_out_requests(built)[0].text
    prompts = (tuple(encode_prompt(built.tokenizer(), asked)),)
    monkeypatch.setattr(ladder, "prompts_for_ppo", lambda pipeline: (prompts, None))
    held, seen = ladder.same_prompts(built)
    assert not held
    assert "1 of them asked in training" in seen


def test_the_prompts_rung_falls_where_requests_change_between_looks(built, monkeypatch):
    rows = iter([ladder.held_out_requests(built), ladder.held_out_requests(built)[::-1]])
    monkeypatch.setattr(ladder, "held_out_requests", lambda pipeline: next(rows))
    assert not ladder.same_prompts(built)[0]


def test_the_reference_rung_falls_for_a_gold_that_misses_a_wish_or_pays_for_nothing(built, monkeypatch):
    usual = stories.gold

    def stingy(request, text):
        found = usual(request, text)
        return SimpleNamespace(total=found.total - 0.1 * (request.unkind is not None))

    monkeypatch.setattr(ladder.stories, "gold", stingy)
    assert not ladder.reference_answers(built)[0]
    monkeypatch.setattr(
        ladder.stories,
        "gold",
        lambda request, text: SimpleNamespace(total=max(usual(request, text).total, 0.5)),
    )
    assert not ladder.reference_answers(built)[0]


def test_the_seeds_rung_falls_where_a_seed_changes_nothing(built, monkeypatch):
    monkeypatch.setattr(Pipeline, "seed_for", lambda self, purpose: 7)
    held, seen = ladder.seeds_differ(built)
    assert not held
    assert "share 100%" in seen


# ------------------------------------------------------------------------------------------ PPO's row


def row_of(monkeypatch, numbers):
    policy = Told(numbers)
    monkeypatch.setattr(
        ladder,
        "entry",
        lambda name: SimpleNamespace(main=SimpleNamespace(policy=policy)) if name == "PPO" else None,
    )
    return policy


def test_the_band_is_that_of_the_seeds_on_record(monkeypatch):
    records = read_records("chapter_14", experiment="methods", method="PPO", profile="quick")
    row = row_of(monkeypatch, dict(records[0].metrics))
    held, seen = ladder.band(Knows({}))
    assert held, seen
    assert f"({len(records)} seeds)" in seen
    for metric, off in (("gold", -1.0), ("length", 60.0), ("distinct_2", 0.3)):
        row.numbers = {**records[0].metrics, metric: records[0].metrics[metric] + off}
        assert not ladder.band(Knows({}))[0], metric


def test_the_real_row_must_lead_and_have_moved(monkeypatch):
    start = [1.0, 2.0, 3.0, 2.0] * 10
    good = {"gold": 3.0, "kl_k3": 8.0, "golds": [3.0] * 40}
    monkeypatch.setattr(ladder, "START", Told({"gold": 2.0, "golds": start}))
    row = row_of(monkeypatch, good)
    held, seen = ladder.real(Knows({}))
    assert held
    assert (
        "gold 2.00, then 3.00; beats the start on 88%, 8.0 nats away" in seen
    )  # three of four won, one tied
    for spoilt in ({"gold": 1.9}, {"golds": start}, {"kl_k3": 0.0}):
        row.numbers = {**good, **spoilt}
        assert not ladder.real(Knows({}))[0], spoilt


def test_the_rungs_are_named_and_ask_others_for_their_prompts(built, monkeypatch):
    asked = []
    monkeypatch.setattr(ladder, "same_prompts", lambda pipeline, *more: asked.extend(more) or (True, ""))
    other = Told()
    climbed = ladder.rungs(built, others=[other])
    assert [rung.name for rung in climbed] == [
        "exact test", "the same twice", "start at 0", "same prompts", "reference answers", "seeds differ",
        "band of good seeds", "real row",
    ]  # fmt: skip
    assert climbed[3].check() == (True, "")
    assert asked == [other]
    assert len(ladder.rungs(built)) == 8
