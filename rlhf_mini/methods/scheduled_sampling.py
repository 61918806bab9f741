"""Scheduled sampling: while training, replace some of the demonstrator's tokens by the model's own.

The model reads a prefix in which each answer token is the demonstrator's with probability ε and otherwise one
that the model itself would have written there; what it must predict stays the demonstrator's next token. ε
falls from 1 as training goes on (Bengio et al. 2015, arXiv 1506.03099, section 2.4).

Departure: the paper samples token by token, in a recurrent network. A transformer would need one forward a
token, so we take the model's own tokens from one pass over the demonstration (Mihaylova and Martins 2019,
arXiv 1906.07651), and each of them is sampled given the demonstrator's prefix, not the mixed one.

It does not estimate the distribution of the demonstrations: where a token was replaced, the target no longer
belongs to the prefix (Huszár 2015, arXiv 1511.05101).
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.loop import Hook, fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.sft import SFTConfig, check_fits
from rlhf_mini.models import token_logits
from rlhf_mini.split import by_rows
from rlhf_mini.tensors import align_to_tokens, masked_mean, token_logp

Schedule = Callable[[int], float]  # step, the first being 0 -> ε, the chance to keep the demonstrator's token


def linear_schedule(*, slope: float, least: float) -> Schedule:
    """ε = max(least, 1 − slope · step).

    >>> linear_schedule(slope=0.1, least=0.25)(5), linear_schedule(slope=0.1, least=0.25)(50)
    (0.5, 0.25)
    """
    return lambda step: max(least, 1 - slope * step)


def exponential_schedule(*, base: float) -> Schedule:
    """ε = base ** step, with base below 1.

    >>> exponential_schedule(base=0.5)(3)
    0.125
    """
    if not 0 <= base < 1:
        raise ValueError(f"base must be in [0, 1), got {base}")
    return lambda step: base**step


def inverse_sigmoid_schedule(*, pace: float) -> Schedule:
    """ε = pace / (pace + exp(step / pace)), with pace at least 1; nearly 1 for long, then a fall.

    >>> inverse_sigmoid_schedule(pace=1.0)(0)
    0.5
    """
    if not pace >= 1:
        raise ValueError(f"pace must be at least 1, got {pace}")
    return lambda step: pace / (pace + math.exp(min(step / pace, 700.0)))


@torch.no_grad()
def own_tokens(model: PreTrainedModel, batch: Sequences, *, generator: torch.Generator) -> Tensor:
    """What the model would write at each place, sampled given the tokens before it: ``(B, T)``.

    Column 0, which nothing predicts, is any token; it is never used, for it is never a part of a response.
    """
    logits = align_to_tokens(token_logits(model, batch.tokens, batch.mask).float())
    drawn = torch.multinomial(logits.softmax(-1).flatten(0, 1).cpu(), 1, generator=generator)
    return drawn.view(batch.tokens.shape).to(batch.tokens.device)


def mixed_prefix(batch: Sequences, own: Tensor, *, keep: float, generator: torch.Generator) -> Tensor:
    """The batch's tokens with each response token replaced by the model's own with chance 1 − keep.

    Prompts and padding are never touched. ``(B, T)``.
    """
    if not 0 <= keep <= 1:
        raise ValueError(f"keep must be a probability, got {keep}")
    replaced = torch.rand(batch.tokens.shape, generator=generator).to(own.device) >= keep
    return torch.where(replaced & batch.response, own, batch.tokens)


def sft_with_scheduled_sampling(
    model: PreTrainedModel,
    demonstrations: Sequences,
    *,
    config: SFTConfig,
    schedule: Schedule,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """As `sft`, on mixed prefixes; the history also holds `keep`, the step's ε. Two forwards a step."""
    check_fits(demonstrations, model)
    done = 0

    def batches() -> Iterator[Sequences]:
        for rows in shuffled_batches(
            demonstrations.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        ):
            yield demonstrations.rows(rows).to(model.device)

    def loss_fn(batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        nonlocal done
        keep, done = schedule(done), done + 1
        read = mixed_prefix(
            batch, own_tokens(model, batch, generator=generator), keep=keep, generator=generator
        )
        logp = by_rows(
            lambda read, mask, wanted: token_logp(token_logits(model, read, mask).float(), wanted),
            read,
            batch.mask,
            batch.tokens,
        )
        return masked_mean(next_token_loss(logp), batch.response), {"keep": keep}

    model.train()
    return fit(
        model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(config.epochs * (len(demonstrations) // config.batch), 1),
        hooks=hooks,
        description="fine-tuning with scheduled sampling",
    )
