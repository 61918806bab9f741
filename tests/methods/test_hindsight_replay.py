"""Hindsight replay in the grid: every cell becomes a goal that was reached, and shortest ways are found."""

import dataclasses
import math

import gymnasium
import numpy as np
import pytest
import torch

from rlhf_mini.methods.hindsight_replay import HindsightConfig, _learn, _reached, hindsight_q_learning
from rlhf_mini.worlds.gridworld import PIT, ROBOT_GRID, parse_layout

GRID = parse_layout("""
    ......G
    .#.#.#.
    .......
    .#.#.#.
    S......
""")
GOAL = GRID.cells("G")[0]
CONFIG = HindsightConfig(
    episodes=150, discount=0.9, step_size=1.0, epsilon=0.3, relabels=8
)  # nothing is random in a step, so that a step size of 1 is right


def grid(limit=40, layout=GRID, **settings):
    return gymnasium.make(ROBOT_GRID, layout=layout, max_episode_steps=limit, **settings)


def distances(layout, goal):
    """Steps to the goal from every cell, by breadth-first search from the goal's side; ends are not left."""
    found, frontier = {goal: 0}, [goal]
    while frontier:
        there = frontier.pop(0)
        for cell in range(layout.size):
            walkable = layout.marks[cell] != "#" and not layout.ends(cell)
            if walkable and cell not in found and there in {layout.neighbour(cell, a) for a in range(4)}:
                found[cell] = found[there] + 1
                frontier.append(cell)
    return found


@pytest.fixture(scope="module")
def learned():
    return hindsight_q_learning(grid(), [GOAL], config=CONFIG, generator=np.random.default_rng(0))


def test_what_is_learned_is_the_discounted_distance_and_never_more(learned):
    """Q(g, s, a) rises from 0 to γ^(d − 1), d the length of the shortest way that begins with a."""
    q, _ = learned
    exact = 0
    for goal in range(GRID.size):
        steps = distances(GRID, goal)
        for cell in steps:
            for action in range(4):
                after = GRID.neighbour(cell, action)
                reaches = after in steps and (after == goal or not GRID.ends(after))
                best = 0.9 ** steps[after] if reaches and cell != goal else 0.0
                assert q[goal, cell, action] <= best + 1e-12
                exact += best > 0 and math.isclose(q[goal, cell, action], best, rel_tol=1e-12)
    assert exact > 500  # most of what there is to know, of goals that were never asked for


def test_the_asked_goal_is_reached_by_the_shortest_way(learned):
    q, log = learned
    cell, steps = GRID.start, 0
    while cell != GOAL and steps < 50:
        cell, steps = GRID.neighbour(cell, int(q[GOAL, cell].argmax())), steps + 1
    assert steps == distances(GRID, GOAL)[GRID.start]
    assert sum(entry["reached"] for entry in log[-50:]) > 40


def test_an_entry_says_how_long_a_walk_was_and_how_it_was_drawn():
    config = dataclasses.replace(CONFIG, episodes=40, epsilon=1.0, epsilon_final=0.0)
    _, log = hindsight_q_learning(grid(), [GOAL], config=config, generator=np.random.default_rng(2))
    assert [entry["epsilon"] for entry in log] == pytest.approx([1 - number / 39 for number in range(40)])
    assert {entry["reached"] for entry in log} == {0.0, 1.0}
    for entry in log:  # 10 steps at least, and a walk that is not cut off is one that has come to its goal
        assert 10 <= entry["steps"] <= 40
        assert entry["reached"] or entry["steps"] == 40


def test_one_walk_teaches_the_whole_way_back_from_its_goal():
    """0 → 1 → 2 → 0 → 3, at γ = 0.9 and step size 1: backwards, each step sees what the next has learned."""
    walk = [(0, 0, 0.0, 1, False), (1, 0, 0.0, 2, False), (2, 0, 0.0, 0, False), (0, 1, 1.0, 3, False)]
    q = np.zeros((4, 2))
    _learn(q, walk, 3, CONFIG)
    # into 3: 1; from 2 to 0, then there: 0.9; then 0.81; from 0 to 1, the long way: 0.729
    np.testing.assert_allclose(q, [[0.729, 1.0], [0.81, 0.0], [0.9, 0.0], [0.0, 0.0]], rtol=1e-12)
    q = np.zeros((4, 2))
    _learn(q, walk, 0, CONFIG)  # as a goal, 0 was reached by the third step, and its own steps teach nothing
    np.testing.assert_allclose(q, [[0.0, 0.0], [0.9, 0.0], [1.0, 0.0], [0.0, 0.0]], rtol=1e-12)


def test_a_walk_reached_its_last_state_and_others_each_once():
    walk = [(0, 0, 0.0, after, False) for after in (1, 2, 1, 3, 4, 2, 5)]
    rng = np.random.default_rng(0)
    assert _reached(walk, 0, rng) == []
    assert _reached(walk, 1, rng) == [5]
    drawn = [_reached(walk, 3, rng) for _ in range(200)]
    assert {goals[0] for goals in drawn} == {5}
    assert all(len(goals) == len(set(goals)) == 3 for goals in drawn)
    assert {goal for goals in drawn for goal in goals} == {1, 2, 3, 4, 5}
    assert sorted(_reached(walk, 9, rng)) == [1, 2, 3, 4, 5]


def test_the_first_cell_is_a_goal_like_any_other_and_four_goals_are_the_default():
    config = HindsightConfig(episodes=60, discount=0.9, step_size=1.0, epsilon=1.0)
    assert config.relabels == 4
    q, log = hindsight_q_learning(grid(), [0], config=config, generator=np.random.default_rng(0))
    assert q[0].max() == 1.0
    assert any(entry["reached"] for entry in log)


def test_so_are_goals_that_nobody_asked_for(learned):
    q, _ = learned
    steps = {goal: distances(GRID, goal).get(GRID.start) for goal in range(GRID.size)}
    reachable = {goal: d for goal, d in steps.items() if d and not GRID.ends(goal)}
    right = sum(math.isclose(q[goal, GRID.start].max(), 0.9 ** (d - 1)) for goal, d in reachable.items())
    assert len(reachable) > 20
    assert right > 0.7 * len(reachable)


def test_without_hindsight_nothing_is_learned_from_failures():
    """The goal is ten steps away, and a random walk of fifteen finds it once in a thousand (summed exactly:
    0.00108). Sixty such walks miss it in 94 of 100 runs, this one among them.
    """
    short = {"episodes": 60, "relabels": 0}
    without, log = hindsight_q_learning(
        grid(15), [GOAL], config=dataclasses.replace(CONFIG, **short), generator=np.random.default_rng(1)
    )
    assert not any(entry["reached"] for entry in log)
    assert not without.any()
    with_it, _ = hindsight_q_learning(
        grid(15),
        [GOAL],
        config=dataclasses.replace(CONFIG, episodes=60),
        generator=np.random.default_rng(1),
    )
    assert (with_it > 0).sum() > 200


def test_a_pit_ends_a_walk_and_is_no_way():
    layout = parse_layout("""
        .P.G
        S...
    """)
    q, _ = hindsight_q_learning(
        grid(layout=layout),
        [layout.cells("G")[0], 6],
        config=dataclasses.replace(CONFIG, epsilon=1.0),
        generator=np.random.default_rng(1),
    )
    pit = layout.cells(PIT)[0]
    assert not q[:, pit].any()  # nobody goes on from there
    steps = distances(layout, 2)
    assert q[2, layout.start].max() == pytest.approx(0.9 ** (steps[layout.start] - 1))  # round the pit
    assert q[pit, 0].max() == pytest.approx(1.0)  # as a goal it is one like any other


def test_runs_repeat_and_hooks_see_every_episode(learned):
    seen = []
    again, log = hindsight_q_learning(
        grid(),
        [GOAL],
        config=CONFIG,
        generator=np.random.default_rng(0),
        hooks=[lambda episode, table: seen.append((episode, table.shape))],
    )
    assert torch.equal(again, learned[0])
    assert log == learned[1]
    assert seen == [(number, (GRID.size, GRID.size, 4)) for number in range(1, 151)]


def test_bad_input():
    for goals in ([], [-1], [GRID.size]):
        with pytest.raises(ValueError, match=f"goals must be states from 0 to {GRID.size - 1}"):
            hindsight_q_learning(grid(), goals, config=CONFIG, generator=np.random.default_rng(0))
    for changes in ({"relabels": -1}, {"step_size_decay": 0.5}):
        with pytest.raises(ValueError, match="relabels must be at least 0 and step_size_decay 0"):
            dataclasses.replace(CONFIG, **changes)
    with pytest.raises(ValueError, match="epsilon must be"):
        dataclasses.replace(CONFIG, epsilon=2.0)
