"""Toy languages small enough to list: every expectation here is a sum, not a sample.

A ``ToyLanguage`` has a few tokens, one of which ends a text, and a few steps. All its texts form one batch
``(B, T)`` in the library's own convention, so whatever works on a batch works on the whole language: give
each row its probability and the sum over rows is the exact expectation. Losses and estimators are held
against these sums.

Three kinds of numbers occur:

- *per text* ``(B,)``: log-probabilities of whole texts, rewards;
- *per token* ``(B, T)``, aligned with the tokens: log-probabilities, rewards, values, advantages of tokens;
- *per state and token* ``(S, V)``, with one row for each beginning that can go on: logits, action values.

A policy is anything that maps tokens ``(B, T)`` to logits ``(B, T, V)``, as a causal language model does: a
``TablePolicy``, or ``lambda tokens: model(tokens).logits``. Everything is differentiable, and float64.
"""

from rlhf_mini.exact.distributions import (
    expectation,
    kl_divergence,
    policy_gradient,
    sample_rows,
    sequence_entropy,
)
from rlhf_mini.exact.language import ToyLanguage
from rlhf_mini.exact.optimum import Optimum, best_of_n, best_of_n_kl_bound, kl_objective, kl_optimum
from rlhf_mini.exact.policy import TablePolicy, values_and_advantages

__all__ = [
    "Optimum",
    "TablePolicy",
    "ToyLanguage",
    "best_of_n",
    "best_of_n_kl_bound",
    "expectation",
    "kl_divergence",
    "kl_objective",
    "kl_optimum",
    "policy_gradient",
    "sample_rows",
    "sequence_entropy",
    "values_and_advantages",
]
