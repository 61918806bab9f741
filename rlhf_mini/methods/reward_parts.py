"""A reward made of parts: what a verifier says, what the form is worth, what length costs; a weighted sum.

The parts stay apart in the log, because a sum that rises does not say which of them did. A part may be any
`Score`, a function from sequences to one number each; `methods.answers.text_score` makes one of a program
that reads a prompt and an answer in words.

Papers: DeepSeek-AI 2025 (R1), arXiv 2501.12948, §2.2.2 (accuracy and format); Yu et al. 2025 (DAPO), arXiv
2503.14476, §3.4 (the price of length); Lambert et al. 2024 (Tülu 3), arXiv 2411.15124 (verifiable rewards, a
price for not ending).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.methods.rollouts import Score, scored, unfinished

PASSES = 0.5  # a verifier's score above this counts as passed


@dataclass(frozen=True)
class Part:
    """One part of a reward: a score, and what a point of it is worth. Raises ValueError unless finite."""

    score: Score
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ValueError(f"the weight of a part must be finite, got {self.weight}")


def score_parts(parts: Mapping[str, Part], sequences: Sequences) -> dict[str, Tensor]:
    """What each part says of each answer, without its weight; (B,) each, in the order of the parts.

    Raises ValueError if there is no part, or one does not return one finite number for each answer.
    """
    if not parts:
        raise ValueError("a reward needs at least one part; there is none")
    return {name: scored(part.score, sequences) for name, part in parts.items()}


def weighted_sum(parts: Mapping[str, Part], scores: Mapping[str, Tensor]) -> Tensor:
    """The reward of each answer, ``Σ_k w_k score_k``; (B,).

    >>> import torch
    >>> parts = {"answer": Part(lambda sequences: torch.ones(2)), "steps": Part(lambda sequences: ..., 0.25)}
    >>> weighted_sum(parts, {"answer": torch.tensor([1.0, 0.0]), "steps": torch.tensor([1.0, 1.0])})
    tensor([1.2500, 0.2500])
    """
    rewards = [part.weight * scores[name] for name, part in parts.items()]
    return sum(rewards[1:], start=rewards[0])


def overlong_penalty(*, longest: int, buffer: int) -> Score:
    """DAPO's soft price of length: 0 up to ``longest − buffer`` tokens, then down in equal steps to −1.

    ``(longest − buffer − |y|) / buffer`` within the buffer, −1 beyond `longest`; the end token counts.

    Raises ValueError unless 0 < buffer ≤ longest.

    >>> from rlhf_mini.batch import pack_rows
    >>> answers = pack_rows([[1]] * 3, [[5, 2], [5, 5, 2], [5, 5, 5, 5, 2]], pad_token=0)
    >>> overlong_penalty(longest=4, buffer=2)(answers)
    tensor([ 0.0000, -0.5000, -1.0000])
    """
    if not 0 < buffer <= longest:
        raise ValueError(f"need 0 < buffer <= longest, got buffer={buffer}, longest={longest}")

    def score(sequences: Sequences) -> Tensor:
        over = sequences.response.sum(1).float() - (longest - buffer)
        return -(over / buffer).clamp(0, 1) + 0.0  # + 0.0: no negative zero in the log

    return score


def cut_off_penalty(*, end_token: int) -> Score:
    """−1 for an answer that did not end in time, else 0.

    >>> from rlhf_mini.batch import pack_rows
    >>> cut_off_penalty(end_token=2)(pack_rows([[1], [1]], [[5, 2], [5, 5]], pad_token=0))
    tensor([ 0., -1.])
    """
    return lambda sequences: -unfinished(sequences, end_token=end_token).float() + 0.0
