"""The best policy of a known finite MDP: value iteration, policy iteration, and the best that explores."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch

from rlhf_mini.exact.mdp import FiniteMDP, action_values, evaluate_policy
from rlhf_mini.shapes import Float, Tensor

MOST_SWEEPS = 100_000


class ValueIteration(NamedTuple):
    """Every sweep of value iteration, and how far from the optimum the last one can be.

    Attributes:
        sweeps: ``(K + 1, S)``, the values before the first sweep (0) and after each.
        error_bound: ``γ/(1 − γ)`` times the last sweep's largest change; no value is further than this from
            the optimum. Infinite for γ = 1, where the change bounds nothing.
    """

    sweeps: Tensor
    error_bound: float

    @property
    def values(self) -> Tensor:
        """``(S,)``, the values after the last sweep."""
        return self.sweeps[-1]


class PolicyIteration(NamedTuple):
    """Every round of policy iteration.

    Attributes:
        policies: ``(K, S, A)``, the uniform policy first, each other greedy to the values before it.
        values: ``(K, S)``, the exact values of each. The last is the optimum.
    """

    policies: Tensor
    values: Tensor


def greedy_policy(action_values: Float[Tensor, "S A"], *, tolerance: float = 1e-9) -> Float[Tensor, "S A"]:
    """The policy that takes the best action; actions that tie share the probability equally.

    Args:
        action_values: ``(S, A)``, Q.
        tolerance: actions at most so far below the best tie with it, in units of the reward. It absorbs
            rounding, so that two ways of equal worth are both kept.

    Returns:
        ``(S, A)`` float64.

    Raises:
        ValueError: on a tolerance below 0, or a Q that is not finite.

    Example:
        >>> greedy_policy(torch.tensor([[1.0, 3.0, 3.0, 0.0]])).tolist()
        [[0.0, 0.5, 0.5, 0.0]]
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or above; received {tolerance}.")
    if not torch.isfinite(action_values).all():
        raise ValueError("action_values must be finite; received NaN or infinity.")
    best = action_values >= action_values.amax(1, keepdim=True) - tolerance
    return best.double() / best.sum(1, keepdim=True)


def value_iteration(mdp: FiniteMDP, *, tolerance: float = 1e-10) -> ValueIteration:
    """Apply the optimality backup again and again, to all states at once, beginning with 0.

    ``V_{k+1}(s) = max_a [r(s, a) + γ Σ_s' p(s' | s, a) V_k(s')]``.

    A sweep is a contraction: ``max|V_k − V*| <= γ/(1 − γ) max|V_k − V_{k−1}|``. It stops once this bound is
    within the tolerance; for γ = 1, where there is no bound, once the change itself is.

    Args:
        mdp: the process.
        tolerance: above 0, in units of the reward.

    Returns:
        All sweeps and the bound.

    Raises:
        ValueError: on a tolerance that is not above 0, or if 100,000 sweeps do not suffice, as where γ = 1
            and the return has no limit.

    Paper: Sutton and Barto, *Reinforcement Learning*, section 4.4; the bound, Puterman, *Markov Decision
    Processes*, theorem 6.3.1.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0; received {tolerance}.")
    factor = mdp.discount / (1 - mdp.discount) if mdp.discount < 1 else math.inf
    sweeps = [torch.zeros(mdp.states, dtype=torch.float64)]
    rewards = mdp.expected_rewards  # once, not in every sweep
    for _ in range(MOST_SWEEPS):
        sweeps.append((rewards + mdp.discount * (mdp.transitions @ sweeps[-1])).amax(1))
        change = float((sweeps[-1] - sweeps[-2]).abs().max())
        bound = factor * change if change > 0 else 0.0
        if (bound if mdp.discount < 1 else change) <= tolerance:
            return ValueIteration(torch.stack(sweeps), bound)
    raise ValueError(f"Values still change by {change:g} after {MOST_SWEEPS} sweeps; received {tolerance=}.")


def policy_iteration(mdp: FiniteMDP) -> PolicyIteration:
    """Evaluate the policy exactly, make it greedy, and again, until its values rise no more.

    It begins with the uniform policy. Actions that tie share the probability.

    Args:
        mdp: the process.

    Returns:
        Every policy and its values. The values of the last one solve the optimality equation, to rounding.

    Raises:
        ValueError: if γ = 1 and some policy on the way can go on for ever.

    Paper: Howard 1960; Sutton and Barto, *Reinforcement Learning*, section 4.3.
    """
    policy = torch.full((mdp.states, mdp.actions), 1 / mdp.actions, dtype=torch.float64)
    policies, values = [policy], [evaluate_policy(mdp, policy)]
    while True:
        policy = greedy_policy(values[-1].action)
        found = evaluate_policy(mdp, policy)
        # A tie within the tolerance may lower a value by that much; a real improvement is larger.
        if not (found.state > values[-1].state + 1e-9).any():
            if (found.state >= values[-1].state).all():
                policies, values = [*policies, policy], [*values, found]
            return PolicyIteration(torch.stack(policies), torch.stack([one.state for one in values]))
        policies.append(policy)
        values.append(found)


def exploring_mdp(mdp: FiniteMDP, *, epsilon: float) -> FiniteMDP:
    """The process as it looks to one who takes a random action with probability ε, whatever was chosen.

    ``p_ε(s' | s, a) = (1 − ε) p(s' | s, a) + ε/A Σ_b p(s' | s, b)``, rewards accordingly. Its optimum is
    the best ε-greedy policy of ``mdp``, which is what SARSA can at best learn while it explores.

    Args:
        mdp: the process.
        epsilon: ε, from 0 to 1.

    Returns:
        The other process. Its ``rewards`` are expectations, given the state that follows.

    Raises:
        ValueError: on an ε outside [0, 1].

    Example: with ε = 1 all actions are the same.

    Paper: Sutton and Barto, *Reinforcement Learning*, section 5.4, which builds the same environment.
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon must lie between 0 and 1; received {epsilon}.")

    def mixed(table: Tensor) -> Tensor:
        return (1 - epsilon) * table + epsilon * table.mean(1, keepdim=True)

    transitions, paid = mixed(mdp.transitions), mixed(mdp.transitions * mdp.rewards)
    transitions = transitions.where(~mdp.terminal[:, None, None], mdp.transitions)  # exactly 1 stays 1
    rewards = torch.where(transitions > 0, paid / transitions.where(transitions > 0, 1.0), 0.0)
    return replace(mdp, transitions=transitions, rewards=rewards)


def optimal_values(mdp: FiniteMDP) -> Float[Tensor, "S A"]:
    """The best possible action values ``Q*(s, a)``, ``(S, A)``, to rounding, by policy iteration.

    Raises:
        ValueError: as ``policy_iteration``.
    """
    return action_values(mdp, policy_iteration(mdp).values[-1])
