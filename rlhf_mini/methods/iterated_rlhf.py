"""Reward model and policy in alternation: fresh pairs of the policy, a new reward model, the policy.

A reward model knows the answers that it was shown. The better a policy becomes, the less its answers are like
these, until it is paid for mistakes that nobody has labelled; fresh pairs of its own answers show them.
Papers: Ziegler et al. 2019, arXiv 1909.08593 (online collection); Gemini Team 2023, arXiv 2312.11805, §6.3.

What is a pair, a reward model and a step of the policy is the caller's: three functions.
"""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import PreTrainedModel

Row = Mapping[str, Any]  # a judged pair
PairsOf = Callable[[PreTrainedModel, int], list[Row]]  # the policy now, the round → fresh judged pairs
RewardModelOn = Callable[[list[Row], int], PreTrainedModel]  # all pairs so far, the round → a reward model
Improve = Callable[
    [PreTrainedModel, PreTrainedModel, int], list[dict[str, float]]
]  # policy, reward model, round
OnRound = Callable[[int, list[Row], PreTrainedModel], None]  # round, its fresh pairs, its reward model


def alternate(
    policy: PreTrainedModel,
    *,
    rounds: int,
    pairs_of: PairsOf,
    reward_model_on: RewardModelOn,
    improve: Improve,
    on_round: OnRound = lambda number, fresh, reward_model: None,
) -> list[list[dict[str, float]]]:
    """Improve `policy` in place, round after round; returns what `improve` logged in each. The first is 1.

    A round: (1) `pairs_of` the policy that the round before left; (2) `reward_model_on` the pairs of all
    rounds so far, in the order in which they came; (3) `improve` the policy against it, in place; (4)
    `on_round`, when the policy is as the round leaves it.

    Raises ValueError for fewer rounds than one, or a round without a pair.
    """
    if rounds < 1:
        raise ValueError(f"need at least one round, got {rounds}")
    pairs: list[Row] = []
    logs: list[list[dict[str, float]]] = []
    for number in range(1, rounds + 1):
        fresh = list(pairs_of(policy, number))
        if not fresh:
            raise ValueError(f"round {number} has no fresh pairs: its reward model would not be renewed")
        pairs += fresh
        reward_model = reward_model_on(list(pairs), number)
        logs.append(improve(policy, reward_model, number))
        on_round(number, fresh, reward_model)
    return logs
