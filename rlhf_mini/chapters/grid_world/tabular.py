"""Chapter 01, the tabular half: what planning knows about the grid, and what walking learns of it.

Each function takes what it varies, a seed where something is random, and returns plain numbers and arrays.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import gymnasium
import numpy as np
import torch
from torch import Tensor

from rlhf_mini.exact import (
    FiniteMDP,
    action_values,
    evaluate_policy,
    exploring_mdp,
    greedy_policy,
    optimal_values,
    policy_iteration,
    state_visits,
    value_iteration,
)
from rlhf_mini.methods.tabular import (
    ControlConfig,
    Log,
    PredictionConfig,
    epsilon_greedy,
    monte_carlo_prediction,
    td_prediction,
)
from rlhf_mini.methods.tabular_control import expected_sarsa, q_learning, sarsa
from rlhf_mini.worlds.gridworld import PIT, RIGHT, ROBOT_GRID, ROOM, TWO_DOORS, UP, Layout, grid_mdp

CONTROL: dict[str, Callable[..., tuple[Tensor, Log]]] = {
    "SARSA": sarsa,
    "expected SARSA": expected_sarsa,
    "Q-learning": q_learning,
}
PREDICTION: dict[str, Callable[..., tuple[Tensor, Log]]] = {
    "TD(0)": td_prediction,
    "Monte Carlo": monte_carlo_prediction,
}


# ---- planning: no seed, nothing is sampled


def first_choice(discount: float, *, slip: float = 0.0) -> dict[str, float]:
    """What the two first moves are worth to one who acts best afterwards: ``up`` and ``right``."""
    q = optimal_values(grid_mdp(TWO_DOORS, slip=slip, discount=discount))[TWO_DOORS.start]
    return {"up": float(q[UP]), "right": float(q[RIGHT])}


def discount_of_the_flip(*, slip: float = 0.0) -> float:
    """The γ at which both first moves are worth the same: below it the robot goes right, above it up.

    Found by bisection of the exact solution, to 1e-12. On the dry grid it is the root of
    ``20 γ¹¹ − 6 − ½ (γ⁶ + γ⁷ + γ⁸ + γ⁹ + γ¹⁰) = 0``: up pays −1, ten steps of −½ and the goal's 20 at the
    twelfth move; right pays 5 and five steps of −½, which cancel against the first five of the other way.

    Raises ValueError where the choice does not flip between γ = 0 and γ = 0.999.
    """

    def advantage_of_up(discount: float) -> float:
        worth = first_choice(discount, slip=slip)
        return worth["up"] - worth["right"]

    return bisect(advantage_of_up, 0.0, 0.999)


def bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """Where the function changes its sign, to 1e-12; raises ValueError if it has one sign at both ends."""
    sign_low, sign_high = function(low) > 0, function(high) > 0
    if sign_low == sign_high:
        raise ValueError(
            f"nothing flips between {low} and {high}: {function(low):.3g} and {function(high):.3g}"
        )
    while high - low > 1e-12:
        middle = (low + high) / 2
        if (function(middle) > 0) == sign_low:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def sweeps_of_value_iteration(*, slip: float = 0.0, discount: float = 0.99, sweeps: int = 15) -> list[dict]:
    """The first sweeps: ``sweep``, ``values (S,)`` and the ``policy (S, A)`` that is greedy to them.

    The last entry is the converged one if it comes within so many sweeps.
    """
    mdp = grid_mdp(TWO_DOORS, slip=slip, discount=discount)
    found = value_iteration(mdp).sweeps[: sweeps + 1]
    return [
        {
            "sweep": number,
            "values": values.numpy(),
            "policy": greedy_policy(action_values(mdp, values)).numpy(),
        }
        for number, values in enumerate(found)
    ]


@dataclass(frozen=True)
class Route:
    """How a policy walks the grid, exactly.

    Attributes:
        value: discounted value of the start.
        goes_up: the chance that the robot's first way out is the upper door.
        ledge: expected number of visits of cells beside a pit.
        goal, pit: the chance to end there; what is left ends at the exit.
        steps: expected number of moves; None if the walk never ends.
    """

    value: float
    goes_up: float
    ledge: float
    goal: float
    pit: float
    steps: float | None


def route(mdp: FiniteMDP, policy: Tensor, layout: Layout) -> Route:
    """Follow a policy from the start through an MDP on a layout, as sums over states.

    What it would do in states that it never comes to does not count, not even walking in a circle there. If it
    circles for ever after the start, it ends nowhere: ``goal`` and ``pit`` are 0 and ``steps`` is None.
    """
    worth = float(mdp.start @ evaluate_policy(mdp, policy).state)
    uniform = torch.full_like(policy, 1 / policy.shape[1])
    policy = torch.where(_reached(mdp, policy)[:, None], policy, uniform)
    try:
        visits = state_visits(replace(mdp, discount=1.0), policy)
    except ValueError:
        return Route(worth, goes_up=0.0, ledge=0.0, goal=0.0, pit=0.0, steps=None)
    enters = torch.einsum("s,sa,sat->t", visits, policy, mdp.transitions)
    beside = [cell for cell in range(layout.size) if not mdp.terminal[cell] and _beside_a_pit(layout, cell)]
    upper = layout.neighbour(layout.start, UP)
    leaves = (
        torch.einsum("a,at->t", policy[layout.start], mdp.transitions[layout.start]) * visits[layout.start]
    )
    return Route(
        value=worth,
        goes_up=float(leaves[upper]),
        ledge=float(visits[beside].sum()),
        goal=float(sum(enters[cell] for cell in layout.cells("G"))),
        pit=float(sum(enters[cell] for cell in layout.cells(PIT))),
        steps=float(visits.sum()),
    )


def _reached(mdp: FiniteMDP, policy: Tensor) -> Tensor:
    """The states that the policy can come to from the start: (S,) bool."""
    leads = torch.einsum("sa,sat->st", policy, mdp.transitions) > 0
    reached = mdp.start > 0
    for _ in range(mdp.states):
        reached = reached | leads[reached].any(0)
    return reached


def _beside_a_pit(layout: Layout, cell: int) -> bool:
    return any(layout.marks[layout.neighbour(cell, action)] == PIT for action in range(4))


def route_against_slip(slips: Sequence[float], *, discount: float = 0.99) -> list[dict[str, float]]:
    """The best policy's `Route` at each slip, and what up and right are worth there, one dict a slip."""
    rows = []
    for slip in slips:
        mdp = grid_mdp(TWO_DOORS, slip=slip, discount=discount)
        best = greedy_policy(optimal_values(mdp))
        worth = first_choice(discount, slip=slip)
        rows.append({"slip": float(slip), **asdict(route(mdp, best, TWO_DOORS)), **worth})
    return rows


def slip_of_the_detour(*, discount: float = 0.99) -> float:
    """The slip above which the robot on the first ledge cell that it comes to would rather turn away.

    That is the cell below the first pit's left neighbour; on the dry grid the best way goes on to the right.
    """
    before = TWO_DOORS.cells(PIT)[0] - 1 + TWO_DOORS.width

    def advantage_of_turning(slip: float) -> float:
        q = optimal_values(grid_mdp(TWO_DOORS, slip=slip, discount=discount))
        ledge = q[before + 1]  # the first cell under a pit: on along the pits, or down
        return float(ledge[2] - ledge[RIGHT])

    return bisect(advantage_of_turning, 0.0, 0.2)


# ---- control: SARSA against Q-learning


def learn_control(
    method: str, seed: int, *, config: ControlConfig, layout: Layout = ROOM, slip: float = 0.0
) -> dict:
    """Run one method of `CONTROL` and judge what it learned, exactly.

    Returns:
        ``returns`` (episodes,): undiscounted, while exploring. ``action_values`` (S, A). ``value``: what
        the greedy policy is worth from the start (discounted). ``goes_up``, ``ledge``, ``goal``, ``pit``,
        ``steps``: its `Route`. ``value_exploring``: the worth of
        the ε-greedy policy at the last ε. ``best`` and ``best_exploring``: the optimum of each kind.
    """
    env = gymnasium.make(ROBOT_GRID, layout=layout, slip=slip, discount=config.discount)
    mdp: FiniteMDP = env.unwrapped.model
    q, log = CONTROL[method](env, config=config, generator=np.random.default_rng(seed))
    epsilon = config.epsilon_at(config.episodes)
    walked = route(mdp, epsilon_greedy(q, epsilon=0.0), layout)
    exploring = evaluate_policy(mdp, epsilon_greedy(q, epsilon=epsilon)).state[layout.start]
    return {
        "returns": np.array([entry["return"] for entry in log]),
        "action_values": q.numpy(),
        **asdict(walked),
        "value_exploring": float(exploring),
        "best": float(policy_iteration(mdp).values[-1, layout.start]),
        "best_exploring": float(
            policy_iteration(exploring_mdp(mdp, epsilon=epsilon)).values[-1, layout.start]
        ),
    }


# ---- prediction: TD(0) against Monte Carlo


def prediction_errors(method: str, seed: int, *, config: PredictionConfig, slip: float = 0.1) -> np.ndarray:
    """Root-mean-square error of a method of `PREDICTION` before the first and after every episode.

    The policy is ε-greedy (ε = 0.1) to the exact optimum of the grid with this slip. The mean runs over all
    states, each weighted by how often the policy visits it.

    Returns:
        ``(episodes + 1,)``, in units of the reward.
    """
    env = gymnasium.make(ROBOT_GRID, slip=slip, discount=config.discount)
    mdp: FiniteMDP = env.unwrapped.model
    policy = epsilon_greedy(greedy_policy(optimal_values(mdp)), epsilon=0.1)
    exact = evaluate_policy(mdp, policy).state
    weight = state_visits(replace(mdp, discount=1.0), policy)
    weight = weight / weight.sum()
    errors = [float((weight * exact**2).sum().sqrt())]

    def measure(episode: int, values: Tensor) -> None:
        errors.append(float((weight * (values - exact) ** 2).sum().sqrt()))

    PREDICTION[method](env, policy, config=config, generator=np.random.default_rng(seed), hooks=[measure])
    return np.array(errors)
