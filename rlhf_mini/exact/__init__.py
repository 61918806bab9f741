"""Toy languages and decision processes small enough to list: every expectation is a sum, not a sample.

A ``ToyLanguage`` has a few tokens, one of which ends a text, and a few steps. All its texts form one batch
``(B, T)`` in the library's own convention, so whatever works on a batch works on the whole language: give
each row its probability and the sum over rows is the exact expectation. Losses and estimators are held
against these sums.

Three kinds of numbers occur:

- *per text* ``(B,)``: log-probabilities of whole texts, rewards;
- *per token* ``(B, T)``, aligned with the tokens: log-probabilities, rewards, values, advantages of tokens;
- *per state and token* ``(S, V)``, with one row for each beginning that can go on: logits, action values.

Of a toy language, a policy is anything that maps tokens ``(B, T)`` to logits ``(B, T, V)``, as a causal
language model does: a ``TablePolicy``, or ``lambda tokens: model(tokens).logits``. Everything is
differentiable, and float64.

A ``FiniteMDP`` is any small Markov decision process, as tables. Its policies are tables too, ``(S, A)``.
Their values, visits and gradients are solutions of linear equations, its best policy the end of a few
iterations.
"""

from rlhf_mini.exact.distributions import (
    expectation,
    kl_divergence,
    policy_gradient,
    sample_rows,
    sequence_entropy,
)
from rlhf_mini.exact.groups import expected_in_group
from rlhf_mini.exact.language import ToyLanguage
from rlhf_mini.exact.mdp import (
    FiniteMDP,
    Values,
    action_values,
    bellman_expectation,
    bellman_optimality,
    evaluate_policy,
    exact_policy_gradient,
    state_visits,
)
from rlhf_mini.exact.offline import (
    Reweighted,
    advantage_weighted_optimum,
    filtered_optimum,
    grow_and_improve,
    weighted_optimum,
)
from rlhf_mini.exact.optimum import Optimum, best_of_n, best_of_n_kl_bound, kl_objective, kl_optimum
from rlhf_mini.exact.planning import (
    PolicyIteration,
    ValueIteration,
    exploring_mdp,
    greedy_policy,
    optimal_values,
    policy_iteration,
    value_iteration,
)
from rlhf_mini.exact.policy import TablePolicy, values_and_advantages

__all__ = [
    "FiniteMDP",
    "Optimum",
    "PolicyIteration",
    "Reweighted",
    "TablePolicy",
    "ToyLanguage",
    "ValueIteration",
    "Values",
    "action_values",
    "advantage_weighted_optimum",
    "bellman_expectation",
    "bellman_optimality",
    "best_of_n",
    "best_of_n_kl_bound",
    "evaluate_policy",
    "exact_policy_gradient",
    "expectation",
    "expected_in_group",
    "exploring_mdp",
    "filtered_optimum",
    "greedy_policy",
    "grow_and_improve",
    "kl_divergence",
    "kl_objective",
    "kl_optimum",
    "optimal_values",
    "policy_gradient",
    "policy_iteration",
    "sample_rows",
    "sequence_entropy",
    "state_visits",
    "value_iteration",
    "values_and_advantages",
    "weighted_optimum",
]
