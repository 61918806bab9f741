"""Fine-tuning in which an answer counts with its whole log-probability, whatever its length.

`methods.sft` puts answers of similar length into one batch, to save padding, and averages over the batch's
tokens; a token then counts in inverse proportion to the length of the answers around it, its own among them.
For demonstrations that is a choice like another. A policy that learns from its own samples is pushed by it
towards short answers, round by round, even if they are picked at random: chapter 06 measures it. Here batches
are drawn whatever the lengths, and the sum over a batch is divided by a number that is the same for all
batches. So the mean gradient over an epoch is exactly that of the log-probability of whole answers, which is
0 on average at a policy's own samples.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.loop import Hook, fit
from rlhf_mini.losses import policy_gradient_loss
from rlhf_mini.methods.sft import SFTConfig, check_fits
from rlhf_mini.models import response_logp
from rlhf_mini.tensors import masked_sum


def mixed_batches(rows: int, *, batch: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers in batches that are drawn at random; every epoch comes in a new order.

    What does not fill a last batch is left out until the next epoch. Raises ValueError if not even one batch
    can be filled.

    >>> drawn = mixed_batches(4, batch=2, epochs=1, generator=torch.Generator().manual_seed(0))
    >>> sorted(torch.cat(list(drawn)).tolist())
    [0, 1, 2, 3]
    """
    if rows < batch:
        raise ValueError(f"{rows} rows do not fill one batch of {batch}: give more rows or a smaller batch")
    for _ in range(epochs):
        yield from torch.randperm(rows, generator=generator)[: rows // batch * batch].split(batch)


def fine_tune_mixed(
    model: PreTrainedModel,
    sequences: Sequences,
    *,
    config: SFTConfig,
    generator: torch.Generator,
    weights: Tensor | None = None,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place on the answers, each at its weight; returns `fit`'s history.

    The loss of a batch of B is ``−1/(B m) Σ_i w_i log π(y_i | x_i)``, m being the mean of weight times length
    over *all* rows: it stays in nats per token, and the learning rate keeps its meaning.

    - `weights`: (rows,), 0 or above, as from `losses.advantage_weights`; None counts all rows alike.

    Raises ValueError, before anything is trained, for a row longer than the model's context, for weights that
    do not fit or are all 0, and for fewer rows than a batch.
    """
    check_fits(sequences, model)
    if weights is None:
        weights = torch.ones(len(sequences))
    mean_length = float((weights * sequences.response.sum(1)).mean()) if _usable(weights, sequences) else 0.0

    def batches() -> Iterator[tuple[Sequences, Tensor]]:
        drawn = mixed_batches(len(sequences), batch=config.batch, epochs=config.epochs, generator=generator)
        for rows in drawn:
            yield sequences.rows(rows).to(model.device), weights[rows].to(model.device)

    def loss_fn(batch: tuple[Sequences, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        answers, weight = batch
        logp = response_logp(model, answers.tokens, answers.mask, answers.response)
        losses = policy_gradient_loss(logp, weight[:, None].expand_as(logp))
        return masked_sum(losses, answers.response) / (len(answers) * mean_length), {}

    model.train()
    return fit(
        model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(config.epochs * (len(sequences) // config.batch), 1),
        hooks=hooks,
        description="fine-tuning",
    )


def _usable(weights: Tensor, sequences: Sequences) -> bool:
    if weights.shape != (len(sequences),) or not torch.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            f"weights must be {len(sequences)} finite numbers, 0 or above, one for each row; "
            f"got shape {tuple(weights.shape)}"
        )
    if not (weights > 0).any():
        raise ValueError("all weights are 0: there is nothing to learn from")
    return True
