"""Scores with something added: a reward or a price for length, and a constant.

Each takes a score, as PPO asks it, and returns another, so that they can be put one into the other.
Starling-7B (Zhu et al. 2024) is reported to have held long answers back by shifting the mean of its rewards.
"""

import math

from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.methods.rollouts import Score


def with_length_reward(score: Score, *, per_token: float) -> Score:
    """The score, and `per_token` for every token of the answer, its end token included; below 0, a price.

    Raises ValueError on a `per_token` that is not finite.

    >>> import torch
    >>> from rlhf_mini.batch import pack_rows
    >>> answers = pack_rows([[1], [1]], [[5, 6, 2], [2]], pad_token=0)
    >>> with_length_reward(lambda answers: torch.ones(2), per_token=-0.25)(answers)
    tensor([0.2500, 0.7500])
    """
    _require_finite(per_token=per_token)

    def shaped(sequences: Sequences) -> Tensor:
        scores = score(sequences)
        return scores + per_token * sequences.response.sum(1).to(scores)

    return shaped


def with_constant(score: Score, *, constant: float) -> Score:
    """The score plus a constant, which changes no comparison of two answers and no optimum.

    It does change how PPO begins: until the value model has learned it, it comes as a surprise, and with
    λ < 1 a surprise is credited to the tokens near the end most, so that a positive one makes ending
    likelier. With λ = 1 every token of every answer gets the same, and whitening takes it away.

    Raises ValueError on a constant that is not finite.
    """
    _require_finite(constant=constant)
    return lambda sequences: score(sequences) + constant


def _require_finite(**numbers: float) -> None:
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"{name} must be finite, got {number}")
