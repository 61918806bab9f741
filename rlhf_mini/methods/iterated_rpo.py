"""Reward-aware preference optimisation in rounds, each of which starts a new reference.

Paper: Adler et al. 2024 (Nemotron-4 340B), arXiv 2406.11704. The policy that a round ends with is the next
round's start and its reference, while the pairs and their scores stay. Each round fits the log-ratio of
policy to reference to the scores, and so multiplies the policy by ``exp(η r/β)``: k rounds without an error
end at

    π_k ∝ π_0 exp(k η r / β),

which one round with β/k would reach too. With a reference that stays, the second round has nothing to do.

Departure: the unit of the paper's SFT term, a sum or a mean over tokens, was not found; here it is a mean.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs
from rlhf_mini.loop import Hook
from rlhf_mini.losses import rpo_backward_kl_loss
from rlhf_mini.methods.dpo import Compared, DPOConfig, Objective, kept_reference, train_on_pairs
from rlhf_mini.models import copy_of, freeze


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """Pairs with a score for each answer, ``(B,)``, higher for better; raises ValueError on other shapes."""

    pairs: Pairs
    chosen: Tensor
    rejected: Tensor

    def __post_init__(self) -> None:
        if not self.chosen.shape == self.rejected.shape == (len(self.pairs),):
            raise ValueError(
                f"{len(self.pairs)} pairs need as many scores of chosen and of rejected answers, got shapes "
                f"{tuple(self.chosen.shape)} and {tuple(self.rejected.shape)}"
            )


@dataclass(frozen=True, kw_only=True)
class RPOConfig:
    """`rounds` rounds of `training` on the same pairs.

    - `kl_weight`: β; `reward_scale`: η, what one unit of score is worth in log-odds; both above 0.
    - `sft_weight`: of the chosen answer's −log π in nats per token, 0 or above.
    """

    rounds: int
    training: DPOConfig
    kl_weight: float
    reward_scale: float = 1.0
    sft_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if not (self.kl_weight > 0 and self.reward_scale > 0 and 0 <= self.sft_weight < math.inf):
            raise ValueError(
                "kl_weight and reward_scale must be above 0 and sft_weight 0 or above, got "
                f"{self.kl_weight}, {self.reward_scale} and {self.sft_weight}"
            )


def rpo_objective(scored: ScoredPairs, *, config: RPOConfig) -> Objective:
    """What a batch of these pairs costs, ``(B,)``: RPO's backward form, and the SFT term."""

    def objective(pair: Compared) -> Tensor:
        chosen, rejected = (scores.to(pair.chosen)[pair.place] for scores in (scored.chosen, scored.rejected))
        fitted = rpo_backward_kl_loss(
            *pair.log_ratios,
            chosen,
            rejected,
            kl_weight=config.kl_weight,
            reward_scale=config.reward_scale,
        )
        return fitted - config.sft_weight * pair.mean_logps[0]

    return objective


def iterated_rpo(
    policy: PreTrainedModel,
    scored: ScoredPairs,
    *,
    config: RPOConfig,
    generator: torch.Generator,
    fixed_reference: PreTrainedModel | None = None,
    objective: Objective | None = None,
    on_round: Callable[[int], None] = lambda number: None,
    hooks: tuple[Hook, ...] = (),
) -> list[list[dict[str, float]]]:
    """Train `policy` in place, round after round; returns each round's history.

    - `fixed_reference`: the reference of all rounds; None renews it, a frozen copy of the policy as each
      round finds it.
    - `objective`: another one in RPO's place, as a control; None is `rpo_objective`.
    - `on_round(number)`: called after each round, the first being 1.
    - `hooks`: of the training loop, in every round.

    Errors are those of `train_on_pairs`.
    """
    objective, histories = objective or rpo_objective(scored, config=config), []
    for number in range(1, config.rounds + 1):
        reference = freeze(copy_of(policy)) if fixed_reference is None else fixed_reference
        histories.append(
            train_on_pairs(
                policy,
                scored.pairs,
                kept_reference(reference, scored.pairs),
                objective,
                config=config.training,
                generator=generator,
                hooks=hooks,
            )
        )
        on_round(number)
    return histories
