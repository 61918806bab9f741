"""Kahneman–Tversky optimisation: a policy learns from single answers, each called desirable or not.

Paper: Ethayarajh et al. 2024, arXiv 2402.01306. No pairs are needed. What an answer's log-ratio is compared
with is not another answer but the policy's mean log-ratio, an estimate of KL(π ‖ π_ref): the paper reads it
off answers that belong to *other* prompts of the batch, which costs no sampling. Here as there the answers of
a batch are moved on by one, the mean is not let below 0, and no gradient flows through it.

Simplifications: λ_D is 1; a batch holds answers of similar length, so that those moved on are of similar
length too; the optimiser is the library's AdamW.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Sequences, pack_rows
from rlhf_mini.loop import Hook, fit
from rlhf_mini.losses import kto_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.dpo import DPOConfig, answer_logp, answer_logps, require_apart


@dataclass(frozen=True, eq=False)
class Labelled:
    """Answers, each with a verdict of its own.

    Attributes:
        answers: the sequences.
        desirable: ``(N,)`` bool, whether the answer was called good.

    Raises:
        ValueError: if there is not one boolean verdict a sequence.
    """

    answers: Sequences
    desirable: Tensor

    def __post_init__(self) -> None:
        """Check that every answer has its verdict."""
        if self.desirable.shape != (len(self.answers),) or self.desirable.dtype != torch.bool:
            raise ValueError(
                f"desirable must be ({len(self.answers)},) and boolean, one verdict a sequence; received "
                f"{tuple(self.desirable.shape)} of {self.desirable.dtype}."
            )

    def __len__(self) -> int:
        """The number of answers, N."""
        return len(self.answers)


def taken_apart(pairs: Pairs) -> Labelled:
    """The answers of pairs as single ones: every chosen one desirable, every rejected one not."""
    sides = (pairs.chosen, pairs.rejected)
    width = max(side.tokens.shape[1] for side in sides)

    def stacked(name: str) -> Tensor:
        """Both sides' tokens or masks, the narrower filled up with 0 or false."""
        parts = [getattr(side, name) for side in sides]
        return torch.cat([pad(part, (0, width - part.shape[1])) for part in parts])

    answers = Sequences(stacked("tokens"), stacked("mask"), stacked("response"))
    return Labelled(answers, torch.arange(2 * len(pairs)) < len(pairs))


def moved_on(sequences: Sequences) -> Sequences:
    """Each prompt with the answer of the row before it, the first with the last row's.

    An answer is all from its first token that counts on; the same of its tokens count as did before. Raises
    ValueError for a single row, whose answer would come back to its own prompt.
    """
    if len(sequences) < 2:
        raise ValueError("a batch of one answer has no other prompt to move it to: use batches of 2 or more")
    begins = answers_begin(sequences).tolist()
    prompts = [row[:begin] for row, begin in zip(sequences.tokens.tolist(), begins, strict=True)]

    def from_the_row_before(rows: Tensor) -> list[list[int]]:
        places = zip(rows.long().tolist(), begins, sequences.lengths.tolist(), strict=True)
        answers = [row[begin:end] for row, begin, end in places]
        return [answers[-1], *answers[:-1]]

    moved = pack_rows(prompts, from_the_row_before(sequences.tokens), pad_token=0)
    counts = pack_rows(prompts, from_the_row_before(sequences.response), pad_token=0).tokens.bool()
    return Sequences(moved.tokens, moved.mask, moved.response & counts).to(sequences.tokens.device)


def answers_begin(sequences: Sequences) -> Tensor:
    """(B,), the place of each row's first token that counts: how long its prompt is."""
    return sequences.response.long().argmax(1)


@torch.no_grad()
def mean_log_ratio(model: PreTrainedModel, reference: PreTrainedModel, sequences: Sequences) -> Tensor:
    """z₀, the mean of ``log π/π_ref`` of answers under prompts not theirs, at least 0; a scalar."""
    apart = moved_on(sequences)
    return (answer_logp(model, apart) - answer_logp(reference, apart)).mean().clamp(min=0)


def kto(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    labelled: Labelled,
    *,
    kl_weight: float,
    undesirable_weight: float = 1.0,
    config: DPOConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place on labelled answers, `reference` being its start; returns `fit`'s history.

    `kl_weight` is β of ``losses.kto_loss``; λ_D is 1 and `undesirable_weight` is λ_U. The paper asks for λ_D
    n_D / (λ_U n_U) between 1 and 3/2, with n_D and n_U the numbers of either kind. The metrics of each batch:
    `baseline` (z₀), and `chosen` and `rejected`, the mean log-ratio of the desirable and of the undesirable
    (0 where a batch has none).

    Nothing is dropped out, and the model is left in eval mode. Raises ValueError, before anything is trained,
    where the longest prompt with the longest answer is longer than the context, for batches of one answer, or
    if the reference shares its weights with the model.
    """
    require_apart(model, reference)
    _check_fits_moved(labelled.answers, model)
    if config.batch < 2:
        raise ValueError(f"the baseline needs batches of at least 2 answers, got batch={config.batch}")
    kept = answer_logps(reference, labelled.answers)

    def batches() -> Iterator[tuple[Tensor, Sequences]]:
        for rows in shuffled_batches(
            labelled.answers.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        ):
            yield rows, labelled.answers.rows(rows).to(model.device)

    def loss_fn(batch: tuple[Tensor, Sequences]) -> tuple[Tensor, dict[str, Tensor]]:
        rows, answers = batch
        desirable = labelled.desirable[rows].to(model.device)
        baseline = mean_log_ratio(model, reference, answers)
        ratios = answer_logp(model, answers) - kept[rows].to(model.device)
        losses = kto_loss(
            ratios, desirable, baseline, kl_weight=kl_weight, undesirable_weight=undesirable_weight
        )
        seen = ratios.detach()
        return losses.mean(), {
            "baseline": baseline,
            "chosen": seen[desirable].sum() / desirable.sum().clamp(min=1),
            "rejected": seen[~desirable].sum() / (~desirable).sum().clamp(min=1),
        }

    model.eval()  # no dropout: policy and reference are to differ in their weights only
    reference.eval()
    history = fit(
        model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(1, config.epochs * (len(labelled) // config.batch)),
        hooks=hooks,
        description="verdicts",
    )
    return history


def _check_fits_moved(answers: Sequences, model: PreTrainedModel) -> None:
    """Raise ValueError unless every prompt can be followed by every answer."""
    begins, context = answers_begin(answers), model.config.max_position_embeddings
    prompt, answer = int(begins.max()), int((answers.lengths - begins).max())
    if prompt + answer > context:
        raise ValueError(
            f"the longest prompt has {prompt} tokens and the longest answer {answer}: KTO puts answers "
            f"behind other prompts, and these two exceed the context of {context}. Shorten them, leave them "
            "out, or use a model with a longer context"
        )
