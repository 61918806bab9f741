"""Chapter 01's tabular experiments: the exact ones in full, the sampled ones short."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlhf_mini.chapters.grid_world import tabular as chapter
from rlhf_mini.exact import evaluate_policy, greedy_policy, optimal_values, state_visits
from rlhf_mini.methods.tabular import ControlConfig, PredictionConfig
from rlhf_mini.worlds.gridworld import LEFT, RIGHT, ROOM, TWO_DOORS, grid_mdp


def test_the_choice_flips_at_the_root_of_its_polynomial():
    """20 γ¹¹ − 6 − ½ (γ⁶ + … + γ¹⁰), by numpy's polynomial roots."""
    coefficients = np.zeros(12)
    coefficients[0], coefficients[6:11], coefficients[11] = -6.0, -0.5, 20.0
    roots = np.polynomial.polynomial.polyroots(coefficients)
    (root,) = [r.real for r in roots if abs(r.imag) < 1e-9 and 0 < r.real < 1]
    assert chapter.discount_of_the_flip() == pytest.approx(root, abs=1e-9)
    assert root == pytest.approx(0.9113, abs=5e-5)
    for discount, first in ((root - 1e-6, "right"), (root + 1e-6, "up")):
        worth = chapter.first_choice(discount)
        assert max(worth, key=worth.get) == first


def test_a_slippery_floor_asks_for_more_foresight():
    worth = chapter.first_choice(0.93, slip=0.1)  # on the dry grid up is best from 0.9113
    assert worth["right"] > worth["up"]
    worth = chapter.first_choice(0.95, slip=0.1)
    assert worth["up"] > worth["right"]


def test_no_flip_is_said():
    with pytest.raises(ValueError, match="nothing flips between"):
        chapter.discount_of_the_flip(slip=0.6)
    assert chapter.bisect(lambda x: x - 0.3, 0.0, 1.0) == pytest.approx(0.3, abs=1e-11)
    assert chapter.bisect(lambda x: 0.3 - x, 0.0, 1.0) == pytest.approx(0.3, abs=1e-11)


def test_sweeps_are_those_of_value_iteration():
    found = chapter.sweeps_of_value_iteration(slip=0.1, sweeps=15)
    assert [entry["sweep"] for entry in found] == list(range(16))
    assert (found[0]["values"] == 0).all()
    # After the first sweep only what is one move from an end has felt it.
    goal = TWO_DOORS.cells("G")[0]
    assert found[1]["values"][goal + TWO_DOORS.width] == pytest.approx(0.9 * 20 - 0.1 * 0.5)
    short = chapter.sweeps_of_value_iteration(sweeps=100)
    assert len(short) == 14  # the dry grid converges in 13
    best = optimal_values(grid_mdp(TWO_DOORS)).amax(1)
    np.testing.assert_allclose(short[-1]["values"], best, atol=1e-10)
    np.testing.assert_array_equal(short[-1]["policy"], greedy_policy(optimal_values(grid_mdp(TWO_DOORS))))


def test_the_route_of_the_dry_grid_by_hand():
    (row,) = chapter.route_against_slip([0.0])
    assert row["steps"] == pytest.approx(12)
    assert row["goal"] == row["goes_up"] == pytest.approx(1)
    assert row["ledge"] == pytest.approx(4)
    assert row["pit"] == pytest.approx(0)
    assert (
        row["value"]
        == row["up"]
        == pytest.approx(-1 - sum(0.5 * 0.99**t for t in range(1, 11)) + 20 * 0.99**11)
    )
    assert row["right"] == pytest.approx(5 - sum(0.5 * 0.99**t for t in range(1, 6)))


def test_the_route_turns_away_from_the_pits_and_then_from_the_door():
    rows = chapter.route_against_slip([0.0, 0.01, 0.03, 0.1, 0.3, 0.45])
    assert [row["ledge"] > 2 for row in rows] == [True, True, False, False, False, False]
    assert [row["up"] > row["right"] for row in rows] == [True] * 5 + [False]
    for row in rows:
        assert row["value"] == pytest.approx(max(row["up"], row["right"]))
        assert row["goal"] + row["pit"] <= 1 + 1e-9
    flip = chapter.slip_of_the_detour()
    assert 0.01 < flip < 0.03


def test_a_circle_that_is_never_entered_does_not_count():
    """The best policy, but for two cells far from its way between which it would walk to and fro for ever."""
    mdp = grid_mdp(TWO_DOORS, slip=0.0, discount=0.99)
    best = greedy_policy(optimal_values(mdp))
    circling = best.clone()
    visited = state_visits(replace(mdp, discount=1.0), best) > 0
    pairs = [
        (cell, TWO_DOORS.neighbour(cell, RIGHT))
        for cell in range(TWO_DOORS.size)
        if TWO_DOORS.neighbour(cell, RIGHT) == cell + 1
    ]
    left, right = next((a, b) for a, b in pairs if not (visited[[a, b]].any() or mdp.terminal[[a, b]].any()))
    circling[[left, right]] = 0.0
    circling[left, RIGHT] = circling[right, LEFT] = 1.0
    assert chapter.route(mdp, circling, TWO_DOORS) == chapter.route(mdp, best, TWO_DOORS)


def test_a_circle_from_the_start_ends_nowhere():
    mdp = grid_mdp(TWO_DOORS, slip=0.0, discount=0.99)
    waiting = torch.zeros(mdp.states, 4, dtype=torch.float64)
    waiting[:, LEFT] = 1.0
    walked = chapter.route(mdp, waiting, TWO_DOORS)
    assert walked.steps is None
    assert (walked.goal, walked.pit) == (0.0, 0.0)
    assert walked.value == pytest.approx(float(evaluate_policy(mdp, waiting).state[TWO_DOORS.start]))


def test_route_against_a_simulation():
    """1,000 walks of the uniform policy: five standard deviations at most, a false alarm in a million."""
    mdp = grid_mdp(ROOM, slip=0.1)
    policy = torch.full((mdp.states, 4), 0.25, dtype=torch.float64)
    exact = chapter.route(mdp, policy, ROOM)
    generator = np.random.default_rng(0)
    moves = torch.einsum("sa,sat->st", policy, mdp.transitions).numpy().cumsum(1)
    ends = []
    for _ in range(1000):
        cell = ROOM.start
        while not mdp.terminal[cell]:
            cell = min(int(moves[cell].searchsorted(generator.random(), side="right")), mdp.states - 1)
        ends.append(ROOM.marks[cell])
    share = ends.count("G") / 1000
    assert exact.goal == pytest.approx(share, abs=5 * (0.25 / 1000) ** 0.5)
    assert exact.goal + exact.pit == pytest.approx(1)


SHORT = ControlConfig(episodes=30, discount=0.99, step_size=0.1, epsilon=0.2)


@pytest.mark.parametrize("method", chapter.CONTROL)
def test_control_is_seeded_and_judged(method):
    one, again = (chapter.learn_control(method, 0, config=SHORT) for _ in range(2))
    assert one["returns"].shape == (30,)
    np.testing.assert_array_equal(one["action_values"], again["action_values"])
    assert one["value_exploring"] <= one["best_exploring"] < one["best"]


def test_sarsa_keeps_away_from_the_pits_and_q_learning_walks_along_them():
    config = ControlConfig(episodes=2000, discount=0.99, step_size=0.1, epsilon=0.2)
    careful, bold = (chapter.learn_control(method, 0, config=config) for method in ("SARSA", "Q-learning"))
    assert careful["ledge"] < 2 < 3.9 < bold["ledge"]
    assert bold["value"] == pytest.approx(bold["best"])
    assert careful["value"] < bold["value"]
    assert careful["returns"][-500:].mean() > bold["returns"][-500:].mean() + 2
    assert careful["value_exploring"] > bold["value_exploring"]


@pytest.mark.parametrize("method", chapter.PREDICTION)
def test_prediction_errors_begin_at_nothing_known_and_fall(method):
    config = PredictionConfig(episodes=300, discount=0.99, step_size=0.2)
    errors = chapter.prediction_errors(method, 0, config=config)
    assert errors.shape == (301,)
    assert errors[0] == pytest.approx(13.76, abs=0.01)
    assert errors[-1] < 0.2 * errors[0]
