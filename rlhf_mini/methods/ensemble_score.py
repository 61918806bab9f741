"""The score of several reward models put together, as best-of-n and PPO ask for a score.

Papers: Coste et al. 2023, arXiv 2310.02743; Eisenstein et al. 2023, arXiv 2312.09244. How the members' scores
become one is a function of `estimators.ensembles`: `mean_score`, `worst_score`, or
`uncertainty_weighted_score` with its weight. Every member is asked in the unit of its own `normalise`, so
that none of them speaks louder.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.estimators.ensembles import disagreement
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.rollouts import Score

Combine = Callable[[Tensor], Tensor]  # the members' scores (M, B) -> (B,)


def member_scores(members: Sequence[PreTrainedModel], sequences: Sequences) -> Tensor:
    """The normalised scores of every member, (M, B) on the CPU. Raises ValueError if there is none."""
    if not members:
        raise ValueError("an ensemble needs at least one member, got none")
    return torch.stack([scores(member, sequences) for member in members])


def ensemble_score(members: Sequence[PreTrainedModel], *, combine: Combine) -> Score:
    """A score, sequences -> (B,), of all members' scores put together by `combine`.

    Raises ValueError if there is no member; and, when it is asked, if `combine` does not give one number a
    sequence.
    """
    if not members:
        raise ValueError("an ensemble needs at least one member, got none")

    def score(sequences: Sequences) -> Tensor:
        combined = combine(member_scores(members, sequences))
        if combined.shape != (len(sequences),):
            raise ValueError(
                f"combine must make (B,) of (M, B), here ({len(sequences)},) of ({len(members)}, "
                f"{len(sequences)}); it made {tuple(combined.shape)}"
            )
        return combined

    return score


def doubt(members: Sequence[PreTrainedModel], sequences: Sequences) -> Tensor:
    """How far the members disagree about each sequence, (B,): the standard deviation of their scores."""
    return disagreement(member_scores(members, sequences))
