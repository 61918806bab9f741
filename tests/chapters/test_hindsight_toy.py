"""Chapter 08's tables and its grid: what is counted is right, and the grid's distances are shortest ways."""

import math

import gymnasium
import numpy as np
import pytest
import torch

from rlhf_mini.chapters.hindsight import figures, flow, replay, toy
from rlhf_mini.exact import filtered_optimum
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import flow_diagram

SEEDS = [Pipeline("quick", seed=seed) for seed in range(3)]


# ------------------------------------------------------------------------------------------------- tables


def by_hand(logits, shares, right, weight):
    """The likelihood under the instruction that is fulfilled, and −log of its share among both."""
    total = 0.0
    for place in range(toy.OUTPUTS):
        of = [logits[row].log_softmax(0)[place] for row in (toy.RIGHT, toy.WRONG)]
        own, other = of if right[place] else of[::-1]
        total += shares[place] * (-own + weight * torch.log1p(torch.exp(other - own)))
    return total


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_terms_are_those_of_the_method(weight):
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(2, toy.OUTPUTS, generator=draw, dtype=torch.float64)
    world = toy.Table(0)
    found = toy.terms(logits, world.logits.exp(), world.right, contrast_weight=weight)
    torch.testing.assert_close(found, by_hand(logits, world.logits.exp(), world.right, weight))


def test_the_table_is_a_distribution_and_its_chance_a_sum():
    world = toy.Table(3)
    assert float(world.logits.exp().sum()) == pytest.approx(1.0)
    start = world.logits.repeat(2, 1)
    assert world.chance(start) == pytest.approx(float(world.logits.exp()[: toy.RIGHT_ONES].sum()))


def test_relabelled_likelihood_goes_the_filter_s_way_to_the_filtered_start():
    found = toy.same_end(SEEDS[0])
    assert found["gap_on_the_way"] < 1e-12
    assert found["to_filtered"] < found["at_first"] / 10
    # the filter's optimum leaves the right ones and costs −log of their share
    assert found["at_first"] == pytest.approx(-math.log(found["chance_at_first"]))
    assert found["chance"] > 0.9 > 3 * found["chance_at_first"]


def test_at_the_filtered_start_the_likelihood_has_no_slope_left():
    world = toy.Table(1)
    shares = world.logits.exp()
    best = filtered_optimum(world.logits, world.right.double(), threshold=0.5).logp.clamp(min=-60)
    wrong = filtered_optimum(world.logits, (~world.right).double(), threshold=0.5).logp.clamp(min=-60)
    logits = torch.stack([best, wrong]).requires_grad_()
    (slope,) = torch.autograd.grad(toy.terms(logits, shares, world.right, contrast_weight=0.0), [logits])
    assert float(slope.abs().max()) < 1e-12


def test_failures_teach_nothing_but_by_the_contrast():
    found = toy.from_failures(SEEDS[0])
    assert found["likelihood"] < 1e-12
    assert found["filtered"] < 1e-12
    assert found[f"contrast {toy.MANY}"] > 2 * found["start"]


def test_what_smoothing_leaves():
    found = toy.smoothing(SEEDS[0])
    assert found["whole 0.2"] == pytest.approx((1 - 0.2 * 43 / 44) ** 12)
    assert found["whole 0"] == 1
    assert max(value for name, value in found.items() if name.startswith("gradient")) < 1e-12
    target = toy.smoothed_target(4, 0.4)
    assert target.tolist() == pytest.approx([0.7, 0.1, 0.1, 0.1])


# ------------------------------------------------------------------------------------------ three tokens


def test_the_drawing_s_numbers_by_hand():
    """The means differ by log 1.6 over 3: 0.4 · 0.6 · 0.5 = 0.12 against 0.5 · 0.6 · 0.25 = 0.075."""
    found = flow.hir_numbers()
    lead = math.log(1.6) / 3
    share = 1 / (1 + math.exp(-lead))
    assert float(found["lead"]) == pytest.approx(lead, abs=1e-6)
    assert float(found["contrast"]) == pytest.approx(
        -0.8 * math.log(share) - 0.2 * math.log(1 - share), abs=1e-6
    )
    expected = [-math.log(p) for p in (0.4, 0.6, 0.5)]
    assert found["likelihood"].flatten().tolist() == pytest.approx(expected, abs=1e-6)
    shown = {box.key: box.detail for box in flow.hir_example().boxes}
    assert "0.92\u20020.51\u20020.69" in shown["likelihood"]
    assert "u 0.16" in shown["contrast"]
    assert flow_diagram(flow.hir_example(), alt="Hindsight relabelling on three tokens, in a drawing.").body


# --------------------------------------------------------------------------------------------------- grid


def test_distances_are_shortest_ways_by_relaxing_every_step():
    """Bellman and Ford instead of breadth first."""
    layout, far = replay.WAREHOUSE, 10**6
    for goal in (replay.GOAL, layout.start + 2, 0):
        steps = dict.fromkeys(range(layout.size), far)
        steps[goal] = 0
        for _ in range(layout.size):
            for cell in range(layout.size):
                if layout.marks[cell] == "#" or layout.ends(cell) or cell == goal:
                    continue
                steps[cell] = min(
                    steps[cell], 1 + min(steps[layout.neighbour(cell, action)] for action in range(4))
                )
        expected = {cell: count for cell, count in steps.items() if count < far}
        assert replay.distances(layout, goal) == expected


def test_every_goal_that_is_asked_can_be_reached_in_time():
    steps = [
        replay.distances(replay.WAREHOUSE, goal)[replay.WAREHOUSE.start] for goal in replay.goals_asked()
    ]
    assert len(steps) > 30
    assert min(steps) >= 1
    assert (
        max(steps) == replay.distances(replay.WAREHOUSE, replay.GOAL)[replay.WAREHOUSE.start] < replay.LIMIT
    )


def test_a_table_that_knows_all_distances_knows_all_goals_and_an_empty_one_none():
    layout = replay.WAREHOUSE
    q = torch.zeros(layout.size, layout.size, 4, dtype=torch.float64)
    assert (
        replay.known_goals(q) == 0
    )  # though the first of four worthless moves goes up, as to cells above the start
    for goal in replay.goals_asked():
        steps = replay.distances(layout, goal)
        for cell in steps:
            for action in range(4):
                after = layout.neighbour(cell, action)
                if after in steps and cell != goal:
                    q[goal, cell, action] = replay.DISCOUNT ** steps[after]
    assert replay.known_goals(q) == 1


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(replay, "EPISODES", 200)
    monkeypatch.setattr(replay, "RUNS", 1)


def test_hindsight_comes_to_more_of_what_is_asked(short):
    found = replay.curves(SEEDS[0])
    assert set(found) == {f"{name} {k}" for name in ("reached", "known", "one goal") for k in replay.RELABELS}
    assert len(found["reached 4"]) == 200 / replay.BLOCK
    means = {k: sum(found[f"reached {k}"]) for k in replay.RELABELS}
    assert means[4] > means[0]
    assert found["known 4"] > found["known 0"]
    # A table shares nothing between goals: where one alone is asked for, the others' rows do not help.
    assert found["one goal 0"] == found["one goal 1"] == found["one goal 4"]


def test_what_is_known_grows_with_the_walks(short, monkeypatch):
    monkeypatch.setattr(replay, "LOOKS", (20, 200))
    found = replay.known_cells(SEEDS[0])
    assert set(found) == {"0", "4"}
    for rows in found.values():
        assert [len(row) for row in rows] == [replay.WAREHOUSE.size] * 2
        assert sum(rows[0]) < sum(rows[1])
    q, _ = replay.learned(relabels=4, seed=SEEDS[0].seed * replay.RUNS)
    share = replay.known_goals(q)
    assert sum(found["4"][1]) / len(replay.goals_asked()) == pytest.approx(share)
    assert all(
        not found["4"][1][cell] for cell in range(replay.WAREHOUSE.size) if cell not in replay.goals_asked()
    )
    monkeypatch.setattr(figures, "LOOKS", (20, 200))
    text = figures.known_cells(found).text
    assert "after 200 walks" in text
    assert f"a shortest way to {share:.0%} of the cells" in text


def test_a_walk_ends_at_its_goal(short):
    env = gymnasium.make(replay.ROBOT_GRID, layout=replay.WAREHOUSE, max_episode_steps=replay.LIMIT)
    assert env.observation_space.n == replay.WAREHOUSE.size
    q, reached = replay.learned(relabels=0, seed=0, goals=[replay.goals_asked()[0]])
    assert len(reached) == 200
    assert set(reached) <= {0.0, 1.0}
    assert np.isfinite(q.numpy()).all()
