"""Finite Markov decision processes, small enough that every expectation is a sum over states."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from rlhf_mini.shapes import Bool, Float, Tensor

SUM_TOLERANCE = 1e-9  # probabilities that are written down, not sampled, add up to 1 this closely


@dataclass(frozen=True, eq=False, kw_only=True)
class FiniteMDP:
    """A Markov decision process as tables.

    ``p(s' | s, a)``, ``r(s, a, s')``, the set of terminal states, the distribution of the first state, and
    γ. A terminal state is left by no action and pays nothing, so that it is worth 0; what is paid for
    entering it stands at the move that enters.

    Attributes:
        transitions: ``(S, A, S)`` float64, probabilities of the next state; each row adds up to 1.
        rewards: ``(S, A, S)`` float64, what is paid when action ``a`` leads from ``s`` to ``s'``. Where a
            move cannot happen the entry has no effect.
        terminal: ``(S,)``, true for states that end the episode.
        start: ``(S,)`` float64, the distribution of the first state.
        discount: γ, from 0 to 1.

    Raises:
        ValueError: on shapes or types that do not fit, a row that is no distribution, rewards that are not
            finite, a terminal state that can be left or pays, or a discount outside [0, 1].

    Example:
        >>> move = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]], dtype=torch.float64)  # 0 goes to 1 and ends
        >>> mdp = FiniteMDP(
        ...     transitions=move,
        ...     rewards=torch.tensor([[[0.0, 3.0]], [[0.0, 0.0]]], dtype=torch.float64),
        ...     terminal=torch.tensor([False, True]),
        ...     start=torch.tensor([1.0, 0.0], dtype=torch.float64),
        ...     discount=0.9,
        ... )
        >>> mdp.expected_rewards.tolist()
        [[3.0], [0.0]]
    """

    transitions: Float[Tensor, "S A S"]
    rewards: Float[Tensor, "S A S"]
    terminal: Bool[Tensor, " S"]
    start: Float[Tensor, " S"]
    discount: float

    def __post_init__(self) -> None:
        """Check everything before anything is solved."""
        if self.transitions.ndim != 3 or self.transitions.shape[0] != self.transitions.shape[2]:
            raise ValueError(f"transitions must be (S, A, S); received {tuple(self.transitions.shape)}.")
        states, actions = self.transitions.shape[:2]
        wanted = {
            "transitions": ((states, actions, states), torch.float64),
            "rewards": ((states, actions, states), torch.float64),
            "terminal": ((states,), torch.bool),
            "start": ((states,), torch.float64),
        }
        for name, (shape, dtype) in wanted.items():
            table = getattr(self, name)
            if tuple(table.shape) != shape or table.dtype != dtype:
                raise ValueError(
                    f"{name} must be {shape} of {dtype}; received {tuple(table.shape)} of {table.dtype}."
                )
        require_rows(transitions=self.transitions, start=self.start)
        if not torch.isfinite(self.rewards).all():
            raise ValueError(f"rewards must be finite; received {self.rewards[~self.rewards.isfinite()][0]}.")
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must lie between 0 and 1; received {self.discount}.")
        self._check_terminal_states()

    def _check_terminal_states(self) -> None:
        stays = torch.diagonal(self.transitions, dim1=0, dim2=2).T  # (S, A)
        for name, bad in (
            ("can be left", (stays != 1).any(1)),
            ("pays", (self.expected_rewards != 0).any(1)),
        ):
            wrong = (bad & self.terminal).nonzero().flatten().tolist()
            if wrong:
                raise ValueError(f"A terminal state stays where it is and pays 0; state {wrong[0]} {name}.")

    @property
    def states(self) -> int:
        """S, the number of states, terminal ones among them."""
        return self.transitions.shape[0]

    @property
    def actions(self) -> int:
        """A, the number of actions."""
        return self.transitions.shape[1]

    @property
    def expected_rewards(self) -> Float[Tensor, "S A"]:
        """``r(s, a) = Σ_s' p(s' | s, a) r(s, a, s')``, ``(S, A)``."""
        return (self.transitions * self.rewards).sum(2)


class Values(NamedTuple):
    """What states and actions are worth under a policy: ``state (S,)`` is V, ``action (S, A)`` is Q."""

    state: Tensor
    action: Tensor


def require_rows(**tables: Tensor) -> None:
    """Raise ValueError, naming it, for a table whose last axis holds anything but distributions."""
    for name, table in tables.items():
        totals = table.sum(-1)
        if not (table >= 0).all() or not ((totals - 1).abs() <= SUM_TOLERANCE).all():
            worst = totals.flatten()[(totals - 1).abs().argmax()].item()
            raise ValueError(
                f"{name} must hold probabilities that add up to 1; received a smallest entry of "
                f"{table.min().item():g} and a sum of {worst:g}."
            )


def require_policy(mdp: FiniteMDP, policy: Tensor) -> None:
    """Raise ValueError unless ``policy`` is ``(S, A)`` with a distribution over actions in every row."""
    if tuple(policy.shape) != (mdp.states, mdp.actions) or policy.dtype != torch.float64:
        raise ValueError(
            f"A policy of this MDP is {(mdp.states, mdp.actions)} of torch.float64; "
            f"received {tuple(policy.shape)} of {policy.dtype}."
        )
    require_rows(policy=policy)


def action_values(mdp: FiniteMDP, values: Float[Tensor, " S"]) -> Float[Tensor, "S A"]:
    """One look ahead: ``Q(s, a) = r(s, a) + γ Σ_s' p(s' | s, a) V(s')``; 0 at terminal states.

    Args:
        mdp: the process.
        values: ``(S,)``, what states are held to be worth. The entries of terminal states are not read.

    Returns:
        ``(S, A)``. Gradients flow to ``values``.

    Paper: Sutton and Barto, *Reinforcement Learning*, the inside of eq. 4.1.
    """
    to_come = torch.where(mdp.terminal, 0.0, values)
    return mdp.expected_rewards + mdp.discount * (mdp.transitions @ to_come)


def bellman_expectation(
    mdp: FiniteMDP, values: Float[Tensor, " S"], policy: Float[Tensor, "S A"]
) -> Float[Tensor, " S"]:
    """The backup whose fixed point is the value of a policy: ``(T_π V)(s) = Σ_a π(a | s) Q(s, a)``.

    Raises:
        ValueError: if ``policy`` is no table of distributions.

    Paper: Sutton and Barto, *Reinforcement Learning*, eq. 4.5.
    """
    require_policy(mdp, policy)
    return (policy * action_values(mdp, values)).sum(1)


def bellman_optimality(mdp: FiniteMDP, values: Float[Tensor, " S"]) -> Float[Tensor, " S"]:
    """The backup whose fixed point is the best possible value: ``(T V)(s) = max_a Q(s, a)``.

    Paper: Sutton and Barto, *Reinforcement Learning*, eq. 4.10.
    """
    return action_values(mdp, values).amax(1)


def _matrix(mdp: FiniteMDP, policy: Tensor) -> Tensor:
    """``I − γ P_π`` among the states that are not terminal, ``(N, N)``."""
    require_policy(mdp, policy)
    live = ~mdp.terminal
    moves = torch.einsum("sa,sat->st", policy, mdp.transitions)
    if mdp.discount == 1:
        _require_an_end(moves.detach(), mdp.terminal)
    inner = moves[live][:, live]
    return torch.eye(len(inner), dtype=inner.dtype) - mdp.discount * inner


def _require_an_end(moves: Tensor, terminal: Tensor) -> None:
    """Raise ValueError for a state from which the policy never reaches a terminal one."""
    ends = terminal
    for _ in range(len(terminal)):
        ends = ends | (moves[:, ends] > 0).any(1)
    if not ends.all():
        raise ValueError(
            f"With a discount of 1 every state must reach a terminal one under the policy; "
            f"state {(~ends).nonzero()[0].item()} never does, so that its return has no limit."
        )


def evaluate_policy(mdp: FiniteMDP, policy: Float[Tensor, "S A"]) -> Values:
    """What every state and action is worth under a policy, by solving the Bellman equation.

    ``V = (I − γ P_π)⁻¹ r_π`` over the states that are not terminal, ``Q(s, a)`` by one look ahead.

    Args:
        mdp: the process.
        policy: ``(S, A)`` float64, ``π(a | s)``. Rows of terminal states must be distributions, and have no
            effect.

    Returns:
        ``Values``: V ``(S,)`` and Q ``(S, A)``, 0 at terminal states. Gradients flow to the policy.

    Raises:
        ValueError: if ``policy`` is no table of distributions, or γ = 1 and it can go on for ever.

    Paper: Sutton and Barto, *Reinforcement Learning*, eqs. 4.4 and 4.6.
    """
    live, matrix = ~mdp.terminal, _matrix(mdp, policy)
    inner = torch.linalg.solve(matrix, (policy * mdp.expected_rewards).sum(1)[live])
    values = torch.zeros(mdp.states, dtype=torch.float64).index_put((live,), inner)
    return Values(values, action_values(mdp, values))


def state_visits(mdp: FiniteMDP, policy: Float[Tensor, "S A"]) -> Float[Tensor, " S"]:
    """How often each state is visited in an episode, later visits counting for less.

    ``d(s) = Σ_t γ^t P(s_t = s)``, that is ``d = start + γ P_πᵀ d``; with γ = 1, expected counts. Terminal
    states, where nothing is decided, count 0.

    Returns:
        ``(S,)``, not normalised. Gradients flow to the policy.

    Raises:
        ValueError: as ``evaluate_policy``.

    Paper: Sutton et al. 2000, *Policy gradient methods*, above eq. 2.
    """
    live = ~mdp.terminal
    inner = torch.linalg.solve(_matrix(mdp, policy).T, mdp.start[live])
    return torch.zeros(mdp.states, dtype=torch.float64).index_put((live,), inner)


def exact_policy_gradient(mdp: FiniteMDP, logits: Float[Tensor, "S A"]) -> Float[Tensor, "S A"]:
    """The gradient of ``J = Σ_s start(s) V(s)`` for the policy ``π(· | s) = softmax(logits[s])``.

    ``∂J/∂logits[s, a] = d(s) π(a | s) (Q(s, a) − V(s))``, with the discounted visits ``d`` of
    ``state_visits``. A sum over all states and actions: nothing is sampled.

    Args:
        mdp: the process.
        logits: ``(S, A)`` float64, finite.

    Returns:
        ``(S, A)``, 0 at terminal states and at states that are never reached. It points uphill. No gradient
        flows.

    Raises:
        ValueError: as ``evaluate_policy``.

    Paper: Sutton et al. 2000, *Policy gradient methods*, theorem 1. Departure: many implementations leave
    ``γ^t`` out of ``d``, which is then the gradient of no objective (Nota and Thomas 2020, arXiv 1906.07073).
    """
    policy = logits.detach().softmax(1)
    values = evaluate_policy(mdp, policy)
    return state_visits(mdp, policy)[:, None] * policy * (values.action - values.state[:, None])
