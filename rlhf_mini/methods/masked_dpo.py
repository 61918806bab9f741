"""DPO with some tokens kept out of the contrast, and the chosen answer's likelihood beside it.

Papers: Grattafiori et al. 2024 (Llama 3), arXiv 2407.21783, §4.1.4; the second term after Pang et al. 2024,
arXiv 2404.19733.

    L = −log σ(β h) + w · (−1/|y_w| log π(y_w | x))

``h`` is DPO's difference of log-ratios without the tokens that format an answer: both answers have them,
the loss would push the same token up in one and down in the other, and the policy ends too early or does
not end. The second term reads whole answers. It keeps the formatting that the first no longer teaches, and
the chosen answer likely.

Departure: the paper does not say whether the second term is a sum or a mean over tokens; here it is a mean.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.loop import Hook, fit
from rlhf_mini.losses import dpo_loss, next_token_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.dpo import DPOConfig, KeptReference, kept_reference, require_apart, without_last_token
from rlhf_mini.methods.sft import check_fits
from rlhf_mini.models import response_logp
from rlhf_mini.tensors import masked_mean, masked_sum

Contrasted = Callable[[Sequences], Sequences]  # the same rows, of whose tokens fewer count


def every_token(sequences: Sequences) -> Sequences:
    """Nothing is kept out of the contrast: DPO as it was published."""
    return sequences


def masked_dpo_losses(
    model: PreTrainedModel,
    pairs: Pairs,
    reference: KeptReference,
    *,
    contrasted: Contrasted,
    kl_weight: float,
    nll_weight: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of each pair, and its two log-ratios without the masked tokens; ``(B,)`` each, with gradients.

    `reference` holds, row by row, the log-probabilities of the contrasted tokens alone. Each answer goes
    through the model once.
    """
    chosen_logp, rejected_logp = (
        response_logp(model, part.tokens, part.mask, part.response) for part in (pairs.chosen, pairs.rejected)
    )
    chosen = masked_sum(chosen_logp, contrasted(pairs.chosen).response, dim=1)
    rejected = masked_sum(rejected_logp, contrasted(pairs.rejected).response, dim=1)
    chosen = chosen - reference.chosen.to(chosen)
    rejected = rejected - reference.rejected.to(rejected)
    nll = masked_mean(next_token_loss(chosen_logp), pairs.chosen.response, dim=1)
    return dpo_loss(chosen, rejected, kl_weight=kl_weight) + nll_weight * nll, chosen, rejected


def masked_dpo(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    pairs: Pairs,
    *,
    kl_weight: float,
    nll_weight: float,
    config: DPOConfig,
    generator: torch.Generator,
    contrasted: Contrasted = without_last_token,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `model` in place; returns the history of `fit`, with `chosen` and `rejected`, the mean
    log-ratios.

    - `kl_weight`: β, above 0; `nll_weight`: w, 0 or above, of the chosen answer's −log π in nats per token.
    - `contrasted`: which tokens the contrast sees; all but the end token by default, `every_token` for all.

    Nothing is dropped out, and the model is left in eval mode. Raises ValueError, before anything is
    trained, for a sequence longer than the context, a negative `nll_weight`, a reference that shares its
    weights with the model, or an answer of which `contrasted` leaves nothing.
    """
    for part in (pairs.chosen, pairs.rejected):
        check_fits(part, model)
    if not 0 <= nll_weight < math.inf:
        raise ValueError(f"nll_weight must be finite and not negative, got {nll_weight}")
    require_apart(model, reference)
    kept = kept_reference(reference, Pairs(contrasted(pairs.chosen), contrasted(pairs.rejected)))

    def batches() -> Iterator[tuple[Pairs, KeptReference]]:
        for rows in shuffled_batches(
            pairs.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        ):
            yield pairs.rows(rows).to(model.device), KeptReference(kept.chosen[rows], kept.rejected[rows])

    def loss_fn(batch: tuple[Pairs, KeptReference]) -> tuple[Tensor, dict[str, Tensor]]:
        losses, chosen, rejected = masked_dpo_losses(
            model, *batch, contrasted=contrasted, kl_weight=kl_weight, nll_weight=nll_weight
        )
        return losses.mean(), {"chosen": chosen.detach().mean(), "rejected": rejected.detach().mean()}

    model.eval()
    return fit(
        model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(1, config.epochs * (len(pairs) // config.batch)),
        hooks=hooks,
        description="preferences",
    )
