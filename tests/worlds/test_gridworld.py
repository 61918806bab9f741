"""The robot in the grid: the map, the tables, the environment that samples from them, and its pictures."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from rlhf_mini.exact import greedy_policy, optimal_values
from rlhf_mini.worlds.gridworld import (
    DOWN,
    GOAL,
    LEFT,
    PIT,
    RIGHT,
    ROBOT_GRID,
    ROOM,
    STEP_LIMIT,
    TWO_DOORS,
    UP,
    Prizes,
    RobotGrid,
    draw_grid,
    grid_mdp,
    parse_layout,
)

SMALL = parse_layout("""
    .PG
    .#.
    S..
""")


# ---- the map


def test_the_start_is_bottom_left_and_the_goal_top_right():
    assert TWO_DOORS.position(TWO_DOORS.start) == (TWO_DOORS.height - 1, 0)
    assert [TWO_DOORS.position(cell) for cell in TWO_DOORS.cells(GOAL)] == [(0, TWO_DOORS.width - 1)]
    assert (TWO_DOORS.height, TWO_DOORS.width) == (6, 8)
    assert ROOM.rows[:4] == TWO_DOORS.rows[:4]


def test_neighbours_walls_border_and_the_shut_door():
    # Cells of SMALL: 0 1 2 / 3 4 5 / 6 7 8; 4 is a wall, 6 the start.
    assert [SMALL.neighbour(6, a) for a in (UP, RIGHT, DOWN, LEFT)] == [3, 7, 6, 6]
    assert [SMALL.neighbour(3, a) for a in (UP, RIGHT, DOWN, LEFT)] == [0, 3, 3, 3]  # down is the door
    assert [SMALL.neighbour(7, a) for a in (UP, RIGHT, DOWN, LEFT)] == [7, 8, 7, 7]  # left is the door


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty map"),
        ("S.\n.G.", "row 0 has 2 marks, row 1 has 3"),
        ("S?G", r"Unknown mark '\?' in row 0, column 1"),
        ("..G", "one start 'S'; received 0"),
        ("S.S\n..G", "received 2"),
        ("S..", "goal 'G'; received none"),
        ("S#G", "no way from 'S' to 'G'"),
        ("SPG", "no way"),  # a pit ends the walk
    ],
)
def test_a_wrong_map_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_layout(text)


# ---- the tables


def test_the_first_move_pays_once():
    mdp = grid_mdp(SMALL, slip=0.2, step_cost=0.5)
    assert mdp.rewards[6, UP, 3] == -1 == mdp.rewards[6, RIGHT, 3]  # whichever way it came about
    assert mdp.rewards[6, RIGHT, 7] == 5 == mdp.rewards[6, UP, 7]
    assert mdp.rewards[6, UP, 6] == -0.5  # a bump, the choice is still to come
    assert mdp.transitions[:6, :, 6].sum() == mdp.transitions[7:, :, 6].sum() == 0  # nobody comes back
    others = torch.tensor([cell != 6 for cell in range(9)])
    assert set(mdp.rewards[others].unique().tolist()) == {-20.0, -0.5, 0.0, 20.0}


def test_slipping_turns_by_a_right_angle():
    mdp = grid_mdp(SMALL, slip=0.2)
    assert mdp.transitions[5, UP, [2, 5]].tolist() == pytest.approx([0.8, 0.2])  # wall and border beside
    assert mdp.transitions[5, RIGHT, [5, 2, 8]].tolist() == pytest.approx([0.8, 0.1, 0.1])
    assert mdp.transitions[0, UP, [0, 1]].tolist() == pytest.approx([0.9, 0.1])
    assert mdp.transitions[0, LEFT, [0, 3]].tolist() == pytest.approx([0.9, 0.1])
    assert (grid_mdp(SMALL).transitions.max(2).values == 1).all()


def test_prizes_are_paid_on_entering():
    prizes = Prizes(goal=7.0, pit=-8.0, exit=3.0, first_right=1.5, first_up=2.5)
    mdp = grid_mdp(SMALL, step_cost=0.25, prizes=prizes)
    r = mdp.expected_rewards
    assert [r[5, UP], r[0, RIGHT], r[6, RIGHT], r[6, UP], r[3, UP]] == [7, -8, 1.5, 2.5, -0.25]
    leaving = parse_layout("SE\nG.")
    assert grid_mdp(leaving, prizes=prizes).expected_rewards[0, RIGHT] == 3
    assert mdp.terminal.nonzero().flatten().tolist() == [1, 2, 4]  # walls too, which nobody enters
    assert mdp.start[6] == 1


def test_a_door_into_a_wall_or_an_end_pays_no_toll():
    blocked = parse_layout("G.\n.#\nS#")
    assert grid_mdp(blocked).rewards[4, RIGHT, 4] == -0.5
    beside = parse_layout("GE\nSE")
    assert grid_mdp(beside).expected_rewards[2].tolist() == [20.0, 0.0, -0.5, -0.5]


def test_the_world_teaches_what_it_promises():
    """Greedy at γ = 0.9 takes the 5, at 0.95 the goal; the ledge when dry, the way round when slippery."""

    def first(**world):
        q = optimal_values(grid_mdp(TWO_DOORS, **world))
        return int(greedy_policy(q)[TWO_DOORS.start].argmax())

    assert [first(discount=discount) for discount in (0.5, 0.9, 0.95, 0.99, 1.0)] == [1, 1, 0, 0, 0]
    assert [first(slip=slip) for slip in (0.0, 0.1, 0.3, 0.45)] == [UP, UP, UP, RIGHT]
    under_the_first_pit = TWO_DOORS.cells(PIT)[0] + TWO_DOORS.width
    for slip, action in ((0.0, RIGHT), (0.01, RIGHT), (0.03, DOWN), (0.1, DOWN)):
        q = optimal_values(grid_mdp(TWO_DOORS, slip=slip))
        assert int(q[under_the_first_pit].argmax()) == action, slip


@pytest.mark.parametrize("slip", [-0.1, 1.1, float("nan")])
def test_a_wrong_slip_is_refused(slip):
    with pytest.raises(ValueError, match=f"slip must lie between 0 and 1; received {slip}"):
        grid_mdp(SMALL, slip=slip)


# ---- the environment


@pytest.mark.parametrize("render_mode", [None, "ansi", "rgb_array"])
def test_gymnasiums_checker_is_content(render_mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(ROBOT_GRID, slip=0.2, render_mode=render_mode).unwrapped)


def test_registered_with_a_time_limit_and_keywords():
    env = gymnasium.make(ROBOT_GRID, layout="S.G", slip=0.5, step_cost=2.0, discount=0.5)
    assert env.spec.max_episode_steps == STEP_LIMIT == 200
    assert env.unwrapped.model.discount == 0.5
    assert env.unwrapped.model.rewards[1, UP, 1] == -2.0
    env.reset(seed=0)
    for step in range(1, STEP_LIMIT + 1):
        _, _, terminated, truncated, _ = gymnasium_bump(env)
        assert (terminated, truncated) == (False, step == STEP_LIMIT)


def gymnasium_bump(env):
    env.unwrapped.state = env.unwrapped.layout.start
    return env.step(LEFT)  # never sideways here: there is one row


def test_it_samples_from_its_model():
    """Every state and action 2,000 times: a chi-squared test each, at 1e-6 for all of them together."""
    from scipy.stats import chisquare

    env = RobotGrid(SMALL, slip=0.3)
    env.reset(seed=0)
    live = (~env.model.terminal).nonzero().flatten().tolist()
    pairs = [(state, action) for state in live for action in range(4)]
    for state, action in pairs:
        counts = np.zeros(env.model.states)
        for _ in range(2000):
            env.state = state
            after, reward, terminated, _, info = env.step(action)
            counts[after] += 1
            assert reward == env.model.rewards[state, action, after]
            assert terminated == env.model.terminal[after]
            assert info["probability"] == env.model.transitions[state, action, after]
        expected = 2000 * env.model.transitions[state, action].numpy()
        assert counts[expected == 0].sum() == 0
        possible = expected > 0
        if possible.sum() > 1:
            assert chisquare(counts[possible], expected[possible]).pvalue > 1e-6 / len(pairs)


def test_a_seed_settles_everything():
    def walk(seed):
        env = gymnasium.make(ROBOT_GRID, slip=0.5)
        state, _ = env.reset(seed=seed)
        return [state, *(env.step(UP)[0] for _ in range(30))]

    assert walk(3) == walk(3)
    assert walk(3) != walk(4)


def test_after_the_end_nothing_happens():
    env = RobotGrid("SG")
    env.reset(seed=0)
    assert env.step(RIGHT)[:3] == (1, 20.0, True)
    assert env.step(LEFT)[:3] == (1, 0.0, True)


def test_wrong_actions_and_render_modes_are_refused():
    env = RobotGrid()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"0, 1, 2 or 3 .*received 4"):
        env.step(4)
    with pytest.raises(ValueError, match="received 'human'"):
        RobotGrid(render_mode="human")


# ---- pictures


def test_text_shows_the_robot():
    env = RobotGrid(SMALL, render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == ".PG\n.#.\nR.."
    env.step(UP)
    assert env.render() == ".PG\nR#.\nS.."
    assert RobotGrid(SMALL).render() is None


def test_pixels_show_every_cell_in_its_colour_and_the_robot():
    env = RobotGrid(SMALL, render_mode="rgb_array")
    env.reset(seed=0)
    image = env.render()
    assert image.shape == (3 * 48, 3 * 48, 3)
    assert image.dtype == np.uint8
    corners = [tuple(image[48 * (c // 3) + 3, 48 * (c % 3) + 3]) for c in range(9)]
    assert len(set(corners)) == 5  # floor, pit, goal, wall, start
    assert corners[0] == corners[3] == corners[5] == corners[7] == corners[8]
    env.step(UP)
    changed = (env.render() != image).any(2)
    assert changed[48:96, :48].any()
    assert changed[96:, :48].any()
    changed[48:, :48] = False
    assert not changed.any()


def test_the_prizes_of_the_first_move_are_written():
    plain, priced = draw_grid(SMALL), draw_grid(SMALL, prizes=Prizes())
    other = draw_grid(SMALL, prizes=Prizes(first_right=-3.25))
    changed = (plain != priced).any(2)
    assert changed[48:96, :48].any()  # −1, above the start
    assert changed[96:, 48:96].any()  # +5, to its right
    assert changed.sum() == changed[48:96, :48].sum() + changed[96:, 48:96].sum()
    assert (other != priced).any()
