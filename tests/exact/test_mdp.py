"""Finite MDPs: by hand, against loops and a linear program, by gradients; and what is refused."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from rlhf_mini.exact import (
    FiniteMDP,
    action_values,
    bellman_expectation,
    bellman_optimality,
    evaluate_policy,
    exact_policy_gradient,
    exploring_mdp,
    greedy_policy,
    optimal_values,
    policy_iteration,
    state_visits,
    value_iteration,
)
from rlhf_mini.exact import planning as planning_module
from rlhf_mini.worlds.gridworld import TWO_DOORS, grid_mdp

F64 = torch.float64
CLOSE = {"rtol": 1e-10, "atol": 1e-11}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_mdp(seed: int = 0, *, states: int = 6, actions: int = 3, discount: float = 0.9) -> FiniteMDP:
    """Every state can follow every other; the last one is terminal."""
    g = generator(seed)
    transitions = torch.rand(states, actions, states, generator=g, dtype=F64) ** 3
    transitions = transitions / transitions.sum(2, keepdim=True)
    rewards = torch.randn(states, actions, states, generator=g, dtype=F64)
    transitions[-1], rewards[-1] = 0.0, 0.0
    transitions[-1, :, -1] = 1.0
    start = torch.rand(states, generator=g, dtype=F64)
    return FiniteMDP(
        transitions=transitions,
        rewards=rewards,
        terminal=torch.arange(states) == states - 1,
        start=start / start.sum(),
        discount=discount,
    )


def random_policy(mdp: FiniteMDP, seed: int = 0) -> torch.Tensor:
    return torch.randn(mdp.states, mdp.actions, generator=generator(seed), dtype=F64).softmax(1)


def two_steps(discount: float = 0.5) -> FiniteMDP:
    """State 0: "on" pays 1 and leads to state 1; "out" pays 4 and ends. State 1: both pay 8 and end."""
    transitions = torch.zeros(3, 2, 3, dtype=F64)
    rewards = torch.zeros(3, 2, 3, dtype=F64)
    transitions[0, 0, 1] = transitions[0, 1, 2] = 1.0
    transitions[1:, :, 2] = 1.0
    rewards[0, 0, 1], rewards[0, 1, 2], rewards[1, :, 2] = 1.0, 4.0, 8.0
    start = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    return FiniteMDP(
        transitions=transitions,
        rewards=rewards,
        terminal=torch.tensor([False, False, True]),
        start=start,
        discount=discount,
    )


# ---- by hand


def test_two_steps_by_hand():
    mdp = two_steps()
    policy = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]], dtype=F64)
    # Q(0, on) = 1 + 8/2 = 5, Q(0, out) = 4, V(0) = 5/4 + 3 = 4.25; V(1) = 8
    values = evaluate_policy(mdp, policy)
    assert values.state.tolist() == [4.25, 8.0, 0.0]
    assert values.action.tolist() == [[5.0, 4.0], [8.0, 8.0], [0.0, 0.0]]
    assert state_visits(mdp, policy).tolist() == [1.0, 0.125, 0.0]  # γ π(on) = 1/8
    assert state_visits(replace(mdp, discount=1.0), policy).tolist() == [1.0, 0.25, 0.0]
    # d(0) π(on) (Q − V) = 0.25 · 0.75, and the same downwards for "out"
    expected = torch.tensor([[0.1875, -0.1875], [0, 0], [0, 0]], dtype=F64)
    torch.testing.assert_close(exact_policy_gradient(mdp, policy.log()), expected, **CLOSE)
    assert value_iteration(mdp).sweeps.tolist() == [[0, 0, 0], [4, 8, 0], [5, 8, 0], [5, 8, 0]]
    assert value_iteration(mdp).error_bound == 0.0
    assert greedy_policy(optimal_values(mdp)).tolist() == [[1, 0], [0.5, 0.5], [0.5, 0.5]]
    # The shortsighted take the 4: 1 + 8γ < 4 for γ < 3/8.
    assert greedy_policy(optimal_values(two_steps(0.3)))[0].tolist() == [0, 1]
    assert greedy_policy(optimal_values(two_steps(0.4)))[0].tolist() == [1, 0]


def test_terminal_entries_of_values_are_not_read():
    mdp = random_mdp()
    values = torch.randn(mdp.states, generator=generator(), dtype=F64)
    junk = values.clone()
    junk[-1] = float("nan")
    assert torch.equal(bellman_optimality(mdp, junk), bellman_optimality(mdp, values))
    assert bellman_optimality(mdp, junk)[-1] == 0


# ---- independently


def plain_evaluation(mdp: FiniteMDP, policy: torch.Tensor, sweeps: int = 600) -> list[float]:
    """Loops over states, actions and next states."""
    p, r, pi = mdp.transitions.tolist(), mdp.rewards.tolist(), policy.tolist()
    values = [0.0] * mdp.states
    for _ in range(sweeps):
        values = [
            0.0
            if mdp.terminal[s]
            else sum(
                pi[s][a] * p[s][a][t] * (r[s][a][t] + mdp.discount * values[t])
                for a in range(mdp.actions)
                for t in range(mdp.states)
            )
            for s in range(mdp.states)
        ]
    return values


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_evaluation_against_plain_loops(discount):
    mdp = random_mdp(1, discount=discount)
    policy = random_policy(mdp)
    found = evaluate_policy(mdp, policy)
    expected = torch.tensor(plain_evaluation(mdp, policy), dtype=F64)
    torch.testing.assert_close(found.state, expected, **CLOSE)
    torch.testing.assert_close(bellman_expectation(mdp, found.state, policy), found.state, **CLOSE)
    torch.testing.assert_close((policy * found.action).sum(1), found.state, **CLOSE)


def linear_program(mdp: FiniteMDP) -> torch.Tensor:
    """min Σ V(s) with V(s) ≥ r(s, a) + γ Σ p V for every s and a: its solution is V*."""
    live = (~mdp.terminal).nonzero().flatten().tolist()
    inner = mdp.transitions[live][:, :, live].numpy()
    rewards = (mdp.transitions * mdp.rewards).sum(2)[live].numpy()
    rows, bounds = [], []
    for s, a in itertools.product(range(len(live)), range(mdp.actions)):
        row = mdp.discount * inner[s, a]
        row[s] -= 1.0
        rows.append(row)
        bounds.append(-rewards[s, a])
    solved = linprog([1.0] * len(live), A_ub=rows, b_ub=bounds, bounds=(None, None), method="highs")
    assert solved.status == 0
    values = torch.zeros(mdp.states, dtype=F64)
    values[live] = torch.tensor(solved.x, dtype=F64)
    return values


PROCESSES = {
    "random": random_mdp(2),
    "random, γ = 1": random_mdp(3, discount=1.0),
    "grid, dry": grid_mdp(TWO_DOORS, discount=0.95),
    "grid, slippery": grid_mdp(TWO_DOORS, slip=0.2, discount=0.99),
    "grid, γ = 1": grid_mdp(TWO_DOORS, slip=0.1, discount=1.0),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_both_iterations_against_a_linear_program(name):
    mdp = PROCESSES[name]
    expected = linear_program(mdp)
    # HiGHS solves to about 1e-9.
    for found in (value_iteration(mdp).values, policy_iteration(mdp).values[-1]):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    best = policy_iteration(mdp).values[-1]
    torch.testing.assert_close(bellman_optimality(mdp, best), best, **CLOSE)


def test_the_best_of_all_deterministic_policies():
    mdp = random_mdp(4, states=5, actions=2)
    values = []
    for actions in itertools.product(range(2), repeat=5):
        policy = torch.nn.functional.one_hot(torch.tensor(actions), 2).double()
        values.append(evaluate_policy(mdp, policy).state)
    best = torch.stack(values).amax(0)
    torch.testing.assert_close(policy_iteration(mdp).values[-1], best, **CLOSE)


def test_visits_against_a_sum_over_time():
    mdp = random_mdp(5)
    policy = random_policy(mdp)
    moves = torch.einsum("sa,sat->st", policy, mdp.transitions)
    here, expected = mdp.start.clone(), torch.zeros(mdp.states, dtype=F64)
    for step in range(3000):
        expected += mdp.discount**step * here * ~mdp.terminal
        here = here @ moves
    torch.testing.assert_close(state_visits(mdp, policy), expected, **CLOSE)
    # J is the mean value of the start, and the sum over visits of what is paid there.
    paid = (state_visits(mdp, policy) * (policy * mdp.expected_rewards).sum(1)).sum()
    torch.testing.assert_close(mdp.start @ evaluate_policy(mdp, policy).state, paid, **CLOSE)


# ---- gradients


@pytest.mark.parametrize("discount", [0.8, 1.0])
def test_policy_gradient_against_autograd_and_finite_differences(discount):
    mdp = random_mdp(6, discount=discount)
    logits = torch.randn(mdp.states, mdp.actions, generator=generator(7), dtype=F64).requires_grad_()

    def objective(table: torch.Tensor) -> torch.Tensor:
        return mdp.start @ evaluate_policy(mdp, table.softmax(1)).state

    found = exact_policy_gradient(mdp, logits)
    torch.testing.assert_close(found, torch.autograd.grad(objective(logits), logits)[0], **CLOSE)
    torch.autograd.gradcheck(objective, logits)
    with torch.no_grad():
        for s, a in itertools.product(range(mdp.states), range(mdp.actions)):
            nudge = torch.zeros_like(logits)
            nudge[s, a] = 1e-5
            slope = (objective(logits + nudge) - objective(logits - nudge)) / 2e-5
            assert float(found[s, a]) == pytest.approx(float(slope), abs=1e-8)
        assert objective(logits + 0.1 * found) > objective(logits)
    assert not found.requires_grad


# ---- value iteration and policy iteration, as processes


def test_every_sweep_is_a_backup_and_the_bound_holds():
    mdp = random_mdp(8)
    best = policy_iteration(mdp).values[-1]
    for tolerance in (1.0, 1e-2, 1e-6):
        found = value_iteration(mdp, tolerance=tolerance)
        error = float((found.values - best).abs().max())
        assert error <= found.error_bound <= tolerance
        change = float((found.sweeps[-1] - found.sweeps[-2]).abs().max())
        assert found.error_bound == pytest.approx(9 * change)  # γ / (1 − γ)
        for before, after in itertools.pairwise(found.sweeps):
            assert torch.equal(bellman_optimality(mdp, before), after)
    # It stops at once when it may: a sweep before, the bound was above the tolerance.
    sweeps = value_iteration(mdp, tolerance=1e-6).sweeps
    assert 9 * float((sweeps[-2] - sweeps[-3]).abs().max()) > 1e-6


def test_at_discount_one_sweeps_stop_by_their_change():
    """There the bound says nothing: it is infinite while values change, and 0 once they do not."""
    slippery = value_iteration(grid_mdp(TWO_DOORS, slip=0.1, discount=1.0), tolerance=1e-6)
    assert 10 < len(slippery.sweeps) < 500
    assert slippery.error_bound == float("inf")
    dry = value_iteration(grid_mdp(TWO_DOORS, discount=1.0))
    assert dry.error_bound == 0.0
    assert torch.equal(dry.sweeps[-1], dry.sweeps[-2])


def test_values_are_those_of_the_last_sweep():
    coarse = value_iteration(grid_mdp(TWO_DOORS, slip=0.1, discount=0.9), tolerance=1.0)
    assert not torch.equal(coarse.sweeps[-1], coarse.sweeps[-2])
    assert torch.equal(coarse.values, coarse.sweeps[-1])


def test_policy_iteration_only_improves():
    mdp = grid_mdp(TWO_DOORS, slip=0.1, discount=0.99)
    found = policy_iteration(mdp)
    assert torch.equal(found.policies[0], torch.full((48, 4), 0.25, dtype=F64))
    assert 3 < len(found.policies) == len(found.values) < 12
    for before, after in itertools.pairwise(found.values):
        assert (after >= before - 1e-9).all()
    for before, after in itertools.pairwise(found.values[:-1]):  # the last may only confirm
        assert (after > before + 1e-9).any()
    for policy, values in zip(found.policies, found.values, strict=True):
        assert torch.equal(evaluate_policy(mdp, policy).state, values)
    for before, policy in itertools.pairwise(zip(found.values, found.policies, strict=True)):
        assert torch.equal(policy[1], greedy_policy(action_values(mdp, before[0])))


@given(seed=st.integers(0, 1000), discount=st.floats(0.0, 0.99))
@settings(max_examples=25, deadline=None)
def test_the_optimality_backup_contracts_and_is_monotone(seed, discount):
    mdp = random_mdp(seed, discount=discount)
    one, other = torch.randn(2, mdp.states, generator=generator(seed), dtype=F64)
    gap = (one - other)[~mdp.terminal].abs().max()
    backed = bellman_optimality(mdp, one) - bellman_optimality(mdp, other)
    assert backed.abs().max() <= discount * gap + 1e-12
    assert (bellman_optimality(mdp, torch.maximum(one, other)) >= bellman_optimality(mdp, one)).all()


def test_ties_within_the_tolerance_share():
    q = torch.tensor([[1.0, 1.0 - 1e-12, 0.0], [0.0, 0.5, 0.4]], dtype=F64)
    assert greedy_policy(q).tolist() == [[0.5, 0.5, 0], [0, 1, 0]]
    assert greedy_policy(q, tolerance=0.0).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert greedy_policy(q, tolerance=0.1).tolist() == [[0.5, 0.5, 0], [0, 0.5, 0.5]]


# ---- the process as an explorer sees it


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_a_policy_in_the_exploring_mdp_is_its_mixture_in_the_mdp(epsilon):
    mdp = random_mdp(9)
    policy = random_policy(mdp, 1)
    mixture = (1 - epsilon) * policy + epsilon / mdp.actions
    found = evaluate_policy(exploring_mdp(mdp, epsilon=epsilon), policy).state
    torch.testing.assert_close(found, evaluate_policy(mdp, mixture).state, **CLOSE)


def test_the_exploring_grid_is_a_valid_process():
    mdp = exploring_mdp(grid_mdp(TWO_DOORS, slip=0.1), epsilon=0.1)
    assert torch.equal(mdp.terminal, grid_mdp(TWO_DOORS).terminal)
    q = optimal_values(exploring_mdp(grid_mdp(TWO_DOORS), epsilon=1.0))
    torch.testing.assert_close(q, q[:, :1].expand(-1, 4), **CLOSE)  # choosing changes nothing


# ---- refused


@pytest.fixture
def pieces() -> dict:
    mdp = two_steps()
    names = ("transitions", "rewards", "terminal", "start", "discount")
    return {name: getattr(mdp, name) for name in names}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("transitions", torch.zeros(3, 2, 4, dtype=F64), r"\(S, A, S\); received \(3, 2, 4\)"),
        ("transitions", torch.zeros(3, 2, dtype=F64), r"received \(3, 2\)"),
        ("transitions", torch.full((3, 2, 3), 0.5, dtype=F64), "sum of 1.5"),
        ("transitions", torch.tensor([[[2.0, -1.0, 0.0]] * 2] * 3, dtype=F64), "smallest entry of -1"),
        ("transitions", torch.full((3, 2, 3), float("nan"), dtype=F64), "nan"),
        ("rewards", torch.zeros(3, 2, dtype=F64), r"rewards must be \(3, 2, 3\).*received \(3, 2\)"),
        ("rewards", torch.zeros(3, 2, 3), "torch.float64; received .* torch.float32"),
        ("rewards", torch.full((3, 2, 3), float("inf"), dtype=F64), "finite; received inf"),
        ("rewards", torch.ones(3, 2, 3, dtype=F64), "state 2 pays"),
        ("terminal", torch.tensor([0, 0, 1]), "torch.bool; received"),
        ("terminal", torch.tensor([True, False, True]), "state 0 can be left"),
        ("start", torch.tensor([0.5, 0.0, 0.0], dtype=F64), "start must hold .* sum of 0.5"),
        ("discount", 1.1, "received 1.1"),
        ("discount", -0.1, "received -0.1"),
        ("discount", float("nan"), "received nan"),
    ],
)
def test_a_wrong_process_is_refused(pieces, name, wrong, message):
    with pytest.raises(ValueError, match=message):
        FiniteMDP(**{**pieces, name: wrong})


@pytest.mark.usefixtures("unchecked")
def test_one_wrong_entry_among_right_ones_is_found(pieces):
    def refused(message, **wrong):
        with pytest.raises(ValueError, match=message):
            FiniteMDP(**{**pieces, **wrong})

    infinite = pieces["rewards"].clone()
    infinite[0, 0, 0] = float("inf")
    refused("finite; received inf", rewards=infinite)
    pays_once = pieces["rewards"].clone()
    pays_once[2, 0, 2] = 1.0  # by one of two actions
    refused("state 2 pays", rewards=pays_once)
    left_once = pieces["transitions"].clone()
    left_once[2, 1] = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    refused("state 2 can be left", transitions=left_once)
    one_row = pieces["transitions"].clone()
    one_row[0, 0] *= 0.75
    refused("sum of 0.75", transitions=one_row)


def test_states_and_actions_are_counted():
    mdp = grid_mdp(TWO_DOORS)
    assert (mdp.states, mdp.actions) == (48, 4)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "solve",
    [evaluate_policy, state_visits, lambda mdp, policy: bellman_expectation(mdp, torch.zeros(3), policy)],
)
def test_a_wrong_policy_is_refused(solve):
    mdp = two_steps()
    with pytest.raises(ValueError, match=r"\(3, 2\) of torch.float64; received \(2, 2\)"):
        solve(mdp, torch.full((2, 2), 0.5, dtype=F64))
    with pytest.raises(ValueError, match=r"policy must hold .* sum of 1.2"):
        solve(mdp, torch.full((3, 2), 0.6, dtype=F64))


def test_what_never_ends_has_no_value_at_discount_one():
    mdp = grid_mdp(TWO_DOORS, discount=1.0)
    left = torch.zeros(48, 4, dtype=F64)
    left[:, 3] = 1.0
    with pytest.raises(ValueError, match=r"state 0 never does"):
        evaluate_policy(mdp, left)
    # With γ < 1 it pays 0.5 for ever: −0.5 / (1 − 0.9).
    found = evaluate_policy(grid_mdp(TWO_DOORS, discount=0.9), left).state
    assert found[TWO_DOORS.start] == pytest.approx(-5.0)


def test_numbers_out_of_range_are_refused(monkeypatch):
    mdp = random_mdp()
    with pytest.raises(ValueError, match=r"above 0; received 0\.0"):
        value_iteration(mdp, tolerance=0.0)
    with pytest.raises(ValueError, match="or above; received -1"):
        greedy_policy(torch.zeros(2, 2), tolerance=-1.0)
    with pytest.raises(ValueError, match="NaN"):
        greedy_policy(torch.tensor([[float("nan"), 0.0]]))
    for epsilon in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"received {epsilon}"):
            exploring_mdp(mdp, epsilon=epsilon)
    monkeypatch.setattr(planning_module, "MOST_SWEEPS", 3)
    with pytest.raises(ValueError, match="after 3 sweeps"):
        value_iteration(mdp)
