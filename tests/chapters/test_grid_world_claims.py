"""Chapter 01's claims: what stands in the records comes out again."""

import pytest

from rlhf_mini.chapters.grid_world.claims import CLAIMS, METHODS, over_seeds
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.pipeline import Pipeline

BY_NAME = {claim.name: claim for claim in CLAIMS}


@pytest.mark.parametrize("name", ["planning", "SARSA, Q-learning", "TD(0), Monte Carlo", "token world"])
def test_claims_are_measured_anew_as_recorded(name, miniature, tmp_path):
    """The cheap ones, on seed 1: what stands in the records comes out again."""
    (record,) = read_records("chapter_01", experiment="claims", method=name, seed=1, profile="quick")
    measured = BY_NAME[name].measure(Pipeline(miniature, seed=1, cache=tmp_path))
    assert BY_NAME[name].holds(measured)
    for metric, value in measured.items():
        assert record.metrics[metric] == pytest.approx(value, rel=1e-3, abs=1e-6), metric


def test_the_scoreboard_s_methods_are_recorded_on_the_same_seeds():
    rows = read_records("chapter_01", experiment="scoreboard")
    seeds = {method: {row.seed for row in rows if row.method == method} for method in METHODS}
    assert {row.method for row in rows} == set(METHODS)
    assert all(found == seeds["PPO"] for found in seeds.values())


def test_over_seeds_asks_seed_after_seed(miniature, tmp_path):
    def seed_of(pipeline):
        return pipeline.seed

    seed_of.__module__ = "rlhf_mini.chapters.grid_world.claims"
    assert over_seeds(Pipeline(miniature, seed=4, cache=tmp_path), seed_of, seeds=3) == [0, 1, 2]
