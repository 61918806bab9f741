"""Chapter 01's claims: each verdict is what its sentence says, and the records are what it was drawn from."""

import pytest

from rlhf_mini.chapters.grid_world.claims import CLAIMS, METHODS, over_seeds
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.pipeline import Pipeline

BY_NAME = {claim.name: claim for claim in CLAIMS}

GOOD = {
    "planning": {"largest_difference": 1e-12, "flip": 0.9113, "ledge_dry": 4.0, "ledge_slip": 0.3},
    "SARSA, Q-learning": {
        "online_sarsa": 12.0, "online_q_learning": 10.0, "greedy_sarsa": 11.5, "greedy_q_learning": 12.8,
        "ledge_sarsa": 0.0, "ledge_q_learning": 4.0,
    },
    "TD(0), Monte Carlo": {
        "td_0": 13.8, "td_30": 6.0, "td_300": 1.0,
        "monte_carlo_0": 13.8, "monte_carlo_30": 1.0, "monte_carlo_300": 0.3,
    },
    "baseline": {
        "none_1": 4000.0, "exact_value_1": 1400.0, "none_15": 400.0, "exact_value_15": 390.0,
        "none_40": 60.0, "exact_value_40": 40.0, "largest_bias": 1.2,
    },
    "GAE": {"best_lambda": 0.25, "squared_bias": [3.0, 1.0, 0.1], "variance": [1.0, 5.0, 70.0]},
    "clipping": {
        "first_kl_clipped": 0.04, "first_kl_not_clipped": 0.4,
        "found_clipped": 17.0, "found_not_clipped": 9.0,
    },
    "bait": {"baseline": 12.0, "ppo": 10.0, "bait": 5.2, "actor_critic": 4.8},
    "token world": {"kl_before": 0.57, "kl_after": 0.001, "objective_missing": 0.0005},
}  # fmt: skip

SPOILED = [
    ("planning", {"flip": 0.92}),
    ("planning", {"largest_difference": 1e-6}),
    ("planning", {"ledge_slip": 2.0}),
    ("SARSA, Q-learning", {"online_sarsa": 9.9}),
    ("SARSA, Q-learning", {"greedy_sarsa": 12.9}),
    ("SARSA, Q-learning", {"ledge_q_learning": 0.5}),
    ("TD(0), Monte Carlo", {"td_30": 1.5}),
    ("TD(0), Monte Carlo", {"td_300": 1.5}),
    ("TD(0), Monte Carlo", {"monte_carlo_300": 1.5}),
    ("baseline", {"exact_value_1": 2001.0}),
    ("baseline", {"exact_value_40": 61.0}),
    ("baseline", {"exact_value_15": 200.0}),
    ("baseline", {"largest_bias": 3.0}),
    ("GAE", {"best_lambda": 0.0}),
    ("GAE", {"best_lambda": 1.0}),
    ("GAE", {"squared_bias": [3.0, 1.0, 0.5]}),
    ("GAE", {"variance": [10.0, 20.0, 70.0]}),
    ("clipping", {"first_kl_clipped": 0.2}),
    ("clipping", {"found_clipped": 9.0}),
    ("bait", {"ppo": 7.0}),
    ("bait", {"actor_critic": 12.0}),
    ("token world", {"kl_after": 0.01}),
    ("token world", {"objective_missing": -0.1}),
]


def test_there_are_numbers_for_every_claim():
    assert GOOD.keys() == BY_NAME.keys() == {name for name, _ in SPOILED}


@pytest.mark.parametrize("name", GOOD)
def test_numbers_that_show_it_are_seen(name):
    assert BY_NAME[name].holds(GOOD[name])


@pytest.mark.parametrize(("name", "spoiled"), SPOILED)
def test_one_number_that_does_not_show_it_spoils_the_claim(name, spoiled):
    assert not BY_NAME[name].holds({**GOOD[name], **spoiled})


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
