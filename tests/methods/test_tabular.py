"""Tabular learning: single updates by hand, convergence to exact values, and where an episode is cut off."""

from dataclasses import replace
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from rlhf_mini.exact import (
    FiniteMDP,
    evaluate_policy,
    exploring_mdp,
    greedy_policy,
    optimal_values,
    state_visits,
)
from rlhf_mini.methods.tabular import (
    ControlConfig,
    PredictionConfig,
    epsilon_greedy,
    monte_carlo_prediction,
    td_prediction,
)
from rlhf_mini.methods.tabular_control import choose, expected_sarsa, q_learning, sarsa
from rlhf_mini.worlds.gridworld import RobotGrid, parse_layout

F64 = torch.float64
PREDICT = [monte_carlo_prediction, td_prediction]
CONTROL = [sarsa, expected_sarsa, q_learning]
SMALL = parse_layout("""
    .PG
    ...
    S.E
""")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Script(gymnasium.Env):
    """One episode after another, as written: states with the rewards between them; the last is terminal."""

    def __init__(self, *episodes, states=4, actions=1):
        self.observation_space, self.action_space = spaces.Discrete(states), spaces.Discrete(actions)
        self.episodes, self.seeds, self.taken = list(episodes), [], []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.steps = list(self.episodes.pop(0))
        return self.steps.pop(0), {}

    def step(self, action):
        self.taken.append(action)
        reward, state = self.steps.pop(0), self.steps.pop(0)
        return state, reward, not self.steps, False, {}


def prediction(**fields) -> PredictionConfig:
    return PredictionConfig(**{"episodes": 1, "discount": 0.5, "step_size": 0.5, **fields})


def control(**fields) -> ControlConfig:
    return ControlConfig(**{"episodes": 1, "discount": 0.5, "step_size": 0.5, "epsilon": 0.0, **fields})


ONE = torch.ones(4, 1, dtype=F64)


# ---- by hand


def test_monte_carlo_by_hand():
    # State 0 is visited twice; only the first visit counts. Returns: 2: 8; 0 (second): 4 + 4 = 8;
    # 1: 2 + 4 = 6; 0 (first): 1 + 3 = 4. Half way from 0.
    env = Script([0, 1.0, 1, 2.0, 0, 4.0, 2, 8.0, 3])
    values, log = monte_carlo_prediction(env, ONE, config=prediction(), generator=rng())
    assert values.tolist() == [2.0, 3.0, 4.0, 0.0]
    assert log == [{"return": 15.0, "steps": 4.0, "terminated": 1.0}]


def test_td_by_hand():
    # V(0) ← ½(1 + ½·0); V(1) ← ½(2 + ½·½); V(0) ← ½ + ½(4 + ½·0 − ½); V(2) ← ½·8
    env = Script([0, 1.0, 1, 2.0, 0, 4.0, 2, 8.0, 3])
    values, log = td_prediction(env, ONE, config=prediction(), generator=rng())
    assert values.tolist() == [2.25, 1.125, 4.0, 0.0]
    assert log == [{"return": 15.0, "steps": 4.0, "terminated": 1.0}]


def test_step_sizes_shrink_with_the_visits_of_an_entry():
    env = Script([0, 4.0, 3], [1, 1.0, 3], [0, 8.0, 3], [0, 0.0, 3])
    config = prediction(episodes=4, step_size=1.0, step_size_decay=1.0)
    values, _ = td_prediction(env, ONE, config=config, generator=rng())
    assert values.tolist() == [4.0, 1.0, 0.0, 0.0]  # means of 4, 8, 0 and of 1
    env = Script([0, 4.0, 3], [0, 8.0, 3])
    config = prediction(episodes=2, step_size=0.5, step_size_decay=0.5)
    values, _ = td_prediction(env, ONE, config=config, generator=rng())
    assert values[0].item() == pytest.approx(2 + 0.5 / 2**0.5 * 6)


@pytest.mark.parametrize(
    ("method", "expected"),
    # Two actions; ε = ½. The first move 0 → 1 is an update towards 1 + ½·worth(1), when Q(1) is [a, b].
    [(q_learning, 6.0), (expected_sarsa, 5.0)],
)
def test_what_the_next_state_is_worth(method, expected):
    # First 1 → 3 until one action of state 1 has been tried and has become 10 (step size 1); then 0 → 1 → 3.
    env = Script([1, 10.0, 3], [0, 1.0, 1, 0.0, 3], actions=2)
    config = control(episodes=2, step_size=1.0, epsilon=0.4)
    tables = []
    method(env, config=config, generator=rng(1), hooks=[lambda _, table: tables.append(table)])
    assert sorted(tables[0][1].tolist()) == [0.0, 10.0]
    found = tables[1][0].max().item()
    # greedy: 1 + ½·10 = 6; mean at ε = 0.4: 0.6·10 + 0.4·5 = 8, 1 + 4 = 5
    assert found == pytest.approx(expected)


def test_sarsa_uses_the_action_that_it_then_takes():
    episodes = [[1, 10.0, 3], *([[0, 1.0, 1, 0.0, 3]] * 30)]
    env = Script(*episodes, actions=2)
    config = control(episodes=31, step_size=1.0, epsilon=0.9)
    tables = []
    sarsa(env, config=config, generator=rng(), hooks=[lambda _, table: tables.append(table)])
    taken = env.taken[1:]
    seen = set()
    for (before, after), first, second in zip(pairwise(tables), taken[::2], taken[1::2], strict=True):
        assert after[0, first] == pytest.approx(1 + 0.5 * float(before[1, second]))
        seen.add((second, float(before[1, second])))
    assert {worth for _, worth in seen} == {0.0, 10.0}


@pytest.mark.parametrize("method", CONTROL)
def test_a_terminal_state_is_worth_nothing_whatever_the_table_says(method):
    # State 3 is left once and so has a value; later it ends an episode.
    env = Script([3, 100.0, 2], [0, 1.0, 3])
    q, _ = method(env, config=control(episodes=2), generator=rng())
    assert q[3].item() == 50.0
    assert q[0].item() == 0.5


# ---- cut off is not ended


def cut(steps: int, *episodes) -> TimeLimit:
    return TimeLimit(Script(*episodes), steps)


@pytest.mark.parametrize("predict", PREDICT)
def test_prediction_goes_on_behind_a_time_limit(predict):
    # The first episode teaches V(1) = ½·8 = 4. The second is cut off in state 1: V(0) ← ½(2 + ½·4).
    env = cut(1, [1, 8.0, 3], [0, 2.0, 1, 99.0, 3])
    values, log = predict(env, ONE, config=prediction(episodes=2), generator=rng())
    assert values.tolist() == [2.0, 4.0, 0.0, 0.0]
    assert [entry["terminated"] for entry in log] == [1.0, 0.0]
    assert log[1]["steps"] == 1.0
    # Where the same move ends the episode, nothing follows.
    env = Script([1, 8.0, 3], [0, 2.0, 1])
    values, _ = predict(env, ONE, config=prediction(episodes=2), generator=rng())
    assert values.tolist() == [1.0, 4.0, 0.0, 0.0]


@pytest.mark.parametrize("method", CONTROL)
def test_control_goes_on_behind_a_time_limit(method):
    env = cut(1, [1, 8.0, 3], [0, 2.0, 1, 99.0, 3])
    q, log = method(env, config=control(episodes=2), generator=rng())
    assert q.flatten().tolist() == [2.0, 4.0, 0.0, 0.0]
    assert [entry["terminated"] for entry in log] == [1.0, 0.0]


@pytest.mark.parametrize("predict", PREDICT)
def test_a_walk_without_end_is_valued_right(predict):
    """One state, 1 a step for ever, γ = 0.9: worth 10, however short the episodes are cut."""

    class ForEver(gymnasium.Env):
        observation_space = action_space = spaces.Discrete(1)

        def reset(self, *, seed=None, options=None):
            return 0, {}

        def step(self, action):
            return 0, 1.0, False, False, {}

    policy = torch.ones(1, 1, dtype=F64)
    config = PredictionConfig(episodes=200, discount=0.9, step_size=0.5)
    values, _ = predict(TimeLimit(ForEver(), 5), policy, config=config, generator=rng())
    assert values.item() == pytest.approx(10.0, abs=1e-6)
    for method in CONTROL:
        q, _ = method(
            TimeLimit(ForEver(), 5),
            config=ControlConfig(episodes=200, discount=0.9, step_size=0.5, epsilon=0.1),
            generator=rng(),
        )
        assert q.item() == pytest.approx(10.0, abs=1e-6)


# ---- they reach the exact values


# The largest error of any method below was 1.03 on seeds 0 to 7; returns lie between −20 and 25.
BOUND = 1.5


def error(found: torch.Tensor, exact: torch.Tensor, mdp: FiniteMDP) -> float:
    """Root-mean-square over states, weighted by how often a random walk comes by."""
    visits = state_visits(replace(mdp, discount=1.0), torch.full((mdp.states, 4), 0.25, dtype=F64))
    squares = ((found - exact) ** 2).reshape(mdp.states, -1).mean(1)
    return float((visits * squares).sum() / visits.sum()) ** 0.5


def small_grid(slip: float = 0.2) -> gymnasium.Env:
    return TimeLimit(RobotGrid(SMALL, slip=slip, discount=0.9), 50)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("predict", PREDICT)
def test_prediction_reaches_the_exact_values(predict, seed):
    env = small_grid()
    mdp = env.unwrapped.model
    policy = epsilon_greedy(greedy_policy(optimal_values(mdp)), epsilon=0.3)
    config = PredictionConfig(episodes=2000, discount=0.9, step_size=1.0, step_size_decay=0.8)
    values, _ = predict(env, policy, config=config, generator=rng(seed))
    assert error(values, evaluate_policy(mdp, policy).state, mdp) < BOUND


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_q_learning_reaches_the_optimum_while_it_explores(seed):
    env = small_grid()
    exact = optimal_values(env.unwrapped.model)
    config = ControlConfig(episodes=3000, discount=0.9, step_size=1.0, step_size_decay=0.7, epsilon=0.5)
    q, _ = q_learning(env, config=config, generator=rng(seed))
    assert error(q, exact, env.unwrapped.model) < BOUND
    assert torch.equal(greedy_policy(q)[6], greedy_policy(exact)[6])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("method", [sarsa, expected_sarsa])
def test_sarsa_reaches_the_best_that_explores(method, seed):
    """Not the optimum: it is off by more than that, and the test would see it."""
    env = small_grid()
    mdp = env.unwrapped.model
    epsilon = 0.5
    explorer = exploring_mdp(mdp, epsilon=epsilon)
    best = optimal_values(explorer)
    # Q(s, a) of the explorer is that of an action chosen but not sure to be taken; SARSA's is of one taken.
    worth = best.amax(1)
    exact = mdp.expected_rewards + mdp.discount * (mdp.transitions @ worth)
    config = ControlConfig(episodes=3000, discount=0.9, step_size=1.0, step_size_decay=0.7, epsilon=epsilon)
    q, _ = method(env, config=config, generator=rng(seed))
    assert error(q, exact, mdp) < BOUND
    assert error(q, optimal_values(mdp), mdp) > 5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_q_learning_is_exact_where_nothing_is_random(seed):
    env = small_grid(slip=0.0)
    config = ControlConfig(episodes=500, discount=0.9, step_size=1.0, epsilon=1.0)
    q, _ = q_learning(env, config=config, generator=rng(seed))
    torch.testing.assert_close(q, optimal_values(env.unwrapped.model), rtol=0, atol=1e-12)


# ---- chance, schedules, logs


@pytest.mark.parametrize("method", CONTROL)
def test_one_generator_settles_everything(method):
    config = ControlConfig(episodes=20, discount=0.9, step_size=0.1, epsilon=0.3)
    first = method(small_grid(), config=config, generator=rng(1))
    again = method(small_grid(), config=config, generator=rng(1))
    other = method(small_grid(), config=config, generator=rng(2))
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("method", CONTROL)
def test_the_environment_is_seeded_once(method):
    env = Script(*[[0, 1.0, 3]] * 3)
    method(env, config=control(episodes=3), generator=rng())
    assert isinstance(env.seeds[0], int)
    assert env.seeds[1:] == [None, None]


def test_actions_are_drawn_from_the_policy():
    policy = torch.tensor([[0.1, 0.6, 0.3]] * 4, dtype=F64)
    env = Script(*[[0, 1.0, 3]] * 3000, actions=3)
    td_prediction(env, policy, config=prediction(episodes=3000), generator=rng())
    share = np.bincount(env.taken, minlength=3) / 3000
    # Standard deviations below 0.009; five of them: a false alarm in a million.
    assert share == pytest.approx([0.1, 0.6, 0.3], abs=0.045)


def test_epsilon_greedy_as_policy_and_as_choice_agree():
    row = np.array([1.0, 3.0, 3.0, 0.0])
    policy = epsilon_greedy(torch.from_numpy(row)[None], epsilon=0.4)[0]
    assert policy.tolist() == pytest.approx([0.1, 0.4, 0.4, 0.1])
    generator = rng()
    share = np.bincount([choose(row, 0.4, generator) for _ in range(5000)], minlength=4) / 5000
    assert share == pytest.approx(policy.numpy(), abs=0.035)  # five standard deviations


def test_epsilon_follows_its_schedule_and_is_logged():
    env = Script(*[[0, 1.0, 3]] * 3)
    config = control(episodes=3, epsilon=0.8, epsilon_final=0.2)
    for method in CONTROL:
        env.episodes = [[0, 1.0, 3]] * 3
        _, log = method(env, config=config, generator=rng())
        assert [entry["epsilon"] for entry in log] == pytest.approx([0.8, 0.5, 0.2])
    assert control(episodes=1, epsilon=0.8, epsilon_final=0.2).epsilon_at(1) == 0.8
    assert control(episodes=9, epsilon=0.8).epsilon_at(9) == 0.8


@pytest.mark.parametrize("method", [*PREDICT, *CONTROL])
def test_hooks_see_a_copy_of_the_table_after_every_episode(method):
    seen = []

    def hook(episode, table):
        seen.append((episode, table.clone()))
        table.fill_(1e9)

    config = control(episodes=3)
    policy = [ONE] if method in PREDICT else []
    table, _ = method(Script(*[[0, 4.0, 3]] * 3), *policy, config=config, generator=rng(), hooks=[hook])
    assert [(episode, values.flatten()[0].item()) for episode, values in seen] == [
        (1, 2.0),
        (2, 3.0),
        (3, 3.5),
    ]
    assert table.flatten()[0] == 3.5


# ---- refused


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("episodes", 0), ("discount", 1.5), ("discount", -0.1), ("step_size", 0.0), ("step_size", 1.5),
        ("step_size_decay", 1.1), ("step_size_decay", -0.1), ("epsilon", 1.1), ("epsilon", -0.1),
        ("epsilon_final", 1.1), ("epsilon_final", -0.1),
    ],
)  # fmt: skip
def test_a_wrong_config_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"ControlConfig: {field} must be .* got {value}"):
        control(**{field: value})


@pytest.mark.parametrize(
    "policy",
    [torch.ones(3, 1, dtype=F64), 0.5 * torch.ones(4, 1, dtype=F64), -torch.ones(4, 1, dtype=F64)],
)
@pytest.mark.parametrize("predict", PREDICT)
def test_a_wrong_policy_is_refused(predict, policy):
    with pytest.raises(ValueError, match=r"a policy for this environment is \(4, 1\)"):
        predict(Script(), policy, config=prediction(), generator=rng())


def test_other_spaces_and_epsilons_are_refused():
    env = Script()
    env.observation_space = spaces.Box(0, 1)
    with pytest.raises(ValueError, match=r"Discrete spaces .* got Box"):
        q_learning(env, config=control(), generator=rng())
    env.observation_space = spaces.Discrete(4, start=1)
    with pytest.raises(ValueError, match="begin at 0"):
        sarsa(env, config=control(), generator=rng())
    with pytest.raises(ValueError, match="must be in"):
        epsilon_greedy(torch.zeros(1, 2), epsilon=1.5)
