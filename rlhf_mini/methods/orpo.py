"""ORPO: learn to write the preferred answers, and hold their odds above those of the others.

Paper: Hong et al. 2024, arXiv 2403.07691, eqs 3 to 7:

    L = L_SFT − λ log σ(log(odds_w / odds_l)),   odds = P/(1 − P),   log P = 1/|y| Σ_t log π(y_t)

L_SFT is the preferred answer's mean −log π per token. There is no reference and no fine-tuning before it:
what keeps the policy from running away is L_SFT, a small λ and few steps.

Departure: L_SFT counts the answer's tokens, as the paper's formulas do; the released trainers count the
prompt's too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import odds_ratio_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.dpo import answer_logp
from rlhf_mini.methods.sft import check_fits


@dataclass(frozen=True, kw_only=True)
class InverseRootConfig(OptimizerConfig):
    """After the warm-up the rate falls with the inverse root of the step, ``peak · √(warmup / step)``.

    It does not depend on how many steps there are; `final_fraction` is not read. Raises ValueError without a
    warm-up, whose length is the schedule's unit.

    >>> config = InverseRootConfig(learning_rate=1.0, warmup_steps=2)
    >>> [config.rate_at(step, 100) for step in (1, 2, 8, 32)]
    [0.5, 1.0, 0.5, 0.25]
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_steps < 1:
            raise ValueError(f"the schedule needs a warm-up of at least one step, got {self.warmup_steps}")

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step number `step` (the first is 1)."""
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        return self.learning_rate * (self.warmup_steps / step) ** 0.5


@dataclass(frozen=True, kw_only=True)
class ORPOConfig:
    """`epochs` passes over the pairs in batches of `batch`; a last incomplete batch is dropped.

    - `odds_weight`: λ, at least 0; at 0 only the preferred answers are learned.
    """

    epochs: int
    batch: int
    odds_weight: float
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or not self.odds_weight >= 0:
            raise ValueError(f"epochs and batch must be at least 1 and odds_weight at least 0, got {self}")

    def steps(self, pairs: int) -> int:
        """Optimizer steps on so many pairs, at least one."""
        return max(1, self.epochs * (pairs // self.batch))


def mean_logp(model: PreTrainedModel, sequences: Sequences) -> Tensor:
    """``1/|y| Σ_t log π(y_t)`` of each row's answer, nats per token, ``(B,)``; gradients flow."""
    return answer_logp(model, sequences) / sequences.response.sum(1)


def orpo(
    model: PreTrainedModel,
    pairs: Pairs,
    *,
    config: ORPOConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place on pairs, without a reference; returns the history of `fit`.

    Its metrics, of each batch before the step: `chosen` and `rejected`, the mean log-probability per token,
    and `accuracy`, the share of pairs whose preferred answer is the likelier one per token.

    Nothing is dropped out, and the model is left in eval mode. Raises ValueError, before anything is
    trained, for a sequence longer than its context, and for pairs with margins or weights, which nothing
    here would read.
    """
    check_fits(pairs.chosen, model)
    check_fits(pairs.rejected, model)
    if pairs.margin is not None or pairs.weight is not None:
        raise ValueError("these pairs carry margins or weights, which would be ignored")

    def batches() -> Iterator[Pairs]:
        rows = shuffled_batches(pairs.lengths, batch=config.batch, epochs=config.epochs, generator=generator)
        for row in rows:
            yield pairs.rows(row).to(model.device)

    def loss_fn(batch: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        chosen = mean_logp(model, batch.chosen)
        with torch.set_grad_enabled(config.odds_weight > 0):
            rejected = mean_logp(model, batch.rejected)
        loss = (config.odds_weight * odds_ratio_loss(chosen, rejected) - chosen).mean()
        won = (chosen > rejected).float().mean()
        return loss, {"chosen": chosen.detach().mean(), "rejected": rejected.detach().mean(), "accuracy": won}

    model.eval()
    return fit(
        model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=config.steps(len(pairs)),
        hooks=hooks,
        description="ORPO",
    )
