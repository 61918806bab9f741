"""Direct preference optimisation and its relatives: a policy learns from pairs, without a reward model.

Paper: Rafailov et al. 2023, arXiv 2305.18290. Three steps: `kept_reference` computes the frozen reference's
log-probabilities of all answers, once; an objective says what a batch of pairs costs, from the
log-probabilities of both models alone (`Compared`); `train_on_pairs` lowers its mean. `dpo` is the three with
the paper's objective. Every relative is another objective:

    train_on_pairs(model, pairs, kept, lambda pair: ipo_loss(*pair.log_ratios, kl_weight=0.1), …)

Simplifications: the paper trains with RMSprop and without weight decay; the library's AdamW is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.devices import autocast
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.sft import check_fits
from rlhf_mini.models import response_logp


@dataclass(frozen=True, eq=False)
class Compared:
    """What a direct objective is told about B pairs of answers.

    Attributes:
        chosen, rejected: ``(B,)``, log-probability of the whole answer under the policy in training, nats.
        chosen_ref, rejected_ref: ``(B,)``, the same under the frozen reference; constants.
        chosen_length, rejected_length: ``(B,)``, tokens that count in each answer, at least 1.
        place: ``(B,)``, which of the data set's pairs these are, for objectives that know more about each.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_ref: Tensor
    rejected_ref: Tensor
    chosen_length: Tensor
    rejected_length: Tensor
    place: Tensor

    @property
    def log_ratios(self) -> tuple[Tensor, Tensor]:
        """``log π/π_ref`` of the chosen and of the rejected answers, summed over tokens; ``(B,)`` each."""
        return self.chosen - self.chosen_ref, self.rejected - self.rejected_ref

    @property
    def mean_log_ratios(self) -> tuple[Tensor, Tensor]:
        """The same as means over each answer's tokens."""
        chosen, rejected = self.log_ratios
        return chosen / self.chosen_length, rejected / self.rejected_length

    @property
    def logps(self) -> tuple[Tensor, Tensor]:
        """``log π`` of the chosen and of the rejected answers, summed over tokens; no reference."""
        return self.chosen, self.rejected

    @property
    def mean_logps(self) -> tuple[Tensor, Tensor]:
        """The same as means over each answer's tokens."""
        return self.chosen / self.chosen_length, self.rejected / self.rejected_length


Objective = Callable[[Compared], Tensor]  # what each of the B pairs costs, (B,)


@dataclass(frozen=True, eq=False)
class KeptReference:
    """The reference's log-probabilities of a data set's answers, ``(N,)`` each, in the order of the pairs."""

    chosen: Tensor
    rejected: Tensor


@dataclass(frozen=True, kw_only=True)
class DPOConfig:
    """`epochs` passes over the pairs in batches of `batch`; a last incomplete batch is dropped."""

    epochs: int
    batch: int
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise ValueError(f"epochs and batch must be at least 1, got {self}")


def answer_logp(model: PreTrainedModel, sequences: Sequences) -> Tensor:
    """``log π(y | x)`` of each row's answer, summed over the tokens that count, ``(B,)``."""
    return response_logp(model, sequences.tokens, sequences.mask, sequences.response).sum(1)


@torch.no_grad()
def answer_logps(model: PreTrainedModel, sequences: Sequences, *, batch: int = 256) -> Tensor:
    """`answer_logp` of many rows without gradients or dropout; ``(N,)`` float32 on the CPU.

    `batch` rows are computed at a time. The model's training mode is restored.
    """
    parts, was_training = [], model.training
    by_length = sequences.lengths.argsort()
    model.eval()
    try:
        for rows in by_length.split(batch):
            part = sequences.rows(rows).to(model.device)
            with autocast(model.device):
                parts.append(answer_logp(model, part).float().cpu())
    finally:
        model.train(was_training)
    return torch.cat(parts)[by_length.argsort()]


def kept_reference(reference: PreTrainedModel, pairs: Pairs) -> KeptReference:
    """The reference never changes, so that what it says of the answers is computed once and kept."""
    return KeptReference(answer_logps(reference, pairs.chosen), answer_logps(reference, pairs.rejected))


def without_last_token(sequences: Sequences) -> Sequences:
    """The same rows, whose last answer token no longer counts: Llama 3's masking of the end token.

    The token stays in the text and can be attended to. Raises ValueError for an answer of a single token, of
    which nothing would be left.
    """
    counts = sequences.response
    columns = torch.arange(counts.shape[1], device=counts.device)
    last = (columns * counts).amax(1, keepdim=True)
    return Sequences(sequences.tokens, sequences.mask, counts & (columns != last))


def train_on_pairs(
    model: PreTrainedModel,
    pairs: Pairs,
    reference: KeptReference,
    objective: Objective,
    *,
    config: DPOConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place to lower the mean of `objective` over pairs; returns the history of `fit`.

    Its metrics, of each batch before the step: `chosen` and `rejected`, the mean log-ratio of policy to
    reference (the implicit reward divided by β; both 0 before the first step), `lead`, the one less the
    other, and `accuracy`, the share of pairs with a lead above 0 (one half for those without a lead).

    Nothing is dropped out, and the model is left in eval mode. Raises ValueError, before anything is trained,
    for a sequence longer than its context, for pairs with margins or weights, which no objective here would
    read, or if the reference was kept for another number of pairs.
    """
    check_fits(pairs.chosen, model)
    check_fits(pairs.rejected, model)
    if pairs.margin is not None or pairs.weight is not None:
        raise ValueError(
            "these pairs carry margins or weights, which would be ignored: give Pairs(chosen, rejected) "
            "alone, and an objective that looks its numbers up by `place`"
        )
    if not len(reference.chosen) == len(reference.rejected) == len(pairs):
        raise ValueError(
            f"the reference was kept for {len(reference.chosen)} chosen and {len(reference.rejected)} "
            f"rejected answers, but there are {len(pairs)} pairs: call kept_reference with these pairs"
        )

    def batches() -> Iterator[tuple[Tensor, Pairs]]:
        for rows in shuffled_batches(
            pairs.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        ):
            yield rows, pairs.rows(rows).to(model.device)

    def loss_fn(batch: tuple[Tensor, Pairs]) -> tuple[Tensor, dict[str, Tensor]]:
        compared = compare(model, *batch, reference)
        chosen, rejected = (ratio.detach() for ratio in compared.log_ratios)
        lead = chosen - rejected
        won = (lead > 0).float() + 0.5 * (lead == 0).float()
        return objective(compared).mean(), {
            "chosen": chosen.mean(),
            "rejected": rejected.mean(),
            "lead": lead.mean(),
            "accuracy": won.mean(),
        }

    model.eval()  # no dropout: policy and reference are to differ in their weights only
    history = fit(
        model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(1, config.epochs * (len(pairs) // config.batch)),
        hooks=hooks,
        description="preferences",
    )
    return history


def require_apart(model: PreTrainedModel, reference: PreTrainedModel) -> None:
    """Raise ValueError if the two share a parameter: such a reference moves along with the model."""
    own = {id(parameter) for parameter in model.parameters()}
    if any(id(parameter) in own for parameter in reference.parameters()):
        raise ValueError(
            "the reference shares its weights with the model in training, and would move with it: train "
            "copy_of(reference)"
        )


def compare(model: PreTrainedModel, rows: Tensor, pairs: Pairs, reference: KeptReference) -> Compared:
    """Both models' log-probabilities of some pairs: `rows` of the data set, already on the model's device."""
    return Compared(
        chosen=answer_logp(model, pairs.chosen),
        rejected=answer_logp(model, pairs.rejected),
        chosen_ref=reference.chosen[rows].to(model.device),
        rejected_ref=reference.rejected[rows].to(model.device),
        chosen_length=pairs.chosen.response.sum(1),
        rejected_length=pairs.rejected.response.sum(1),
        place=rows,
    )


def dpo(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    pairs: Pairs,
    *,
    kl_weight: float,
    config: DPOConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """DPO: train `model` in place on pairs, `reference` being its start; returns the history of `fit`.

    `kl_weight` is β of ``losses.dpo_loss``. Errors are those of `train_on_pairs`.

    Paper: Rafailov et al. 2023, arXiv 2305.18290, eq. 7, with β = 0.1.
    """

    def objective(pair: Compared) -> Tensor:
        return dpo_loss(*pair.log_ratios, kl_weight=kl_weight)

    kept = kept_reference(reference, pairs)
    return train_on_pairs(model, pairs, kept, objective, config=config, generator=generator, hooks=hooks)
