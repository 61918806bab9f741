"""DPO on the toy language of `toy` where a known share of the labels is turned round, and two losses that are told of it."""

from functools import partial

import torch
from torch import Tensor

from rlhf_mini.chapters.direct.toy import (
    PairLoss,
    ToyWorld,
    descend,
    drawn_pairs,
    expected_loss,
    minimise,
    pair_weights,
)
from rlhf_mini.exact import kl_divergence
from rlhf_mini.losses import conservative_dpo_loss, dpo_loss, robust_dpo_loss

RATE = 0.05


def losses_of(kl_weight: float, flip_rate: float) -> dict[str, PairLoss]:
    """The three losses by name; the last two know the share."""
    return {
        "DPO": partial(dpo_loss, kl_weight=kl_weight),
        "cDPO": partial(conservative_dpo_loss, kl_weight=kl_weight, flip_rate=flip_rate),
        "robust DPO": partial(robust_dpo_loss, kl_weight=kl_weight, flip_rate=flip_rate),
    }


def turned(
    *,
    seed: int,
    kl_weight: float = 1.0,
    flip_rate: float = 0.3,
    labels: int = 1000,
    steps: int = 300,
    languages: int = 8,
) -> dict[str, float]:
    """KL(π ‖ π*) in nats, where π* is the optimum for the rewards behind the labels as they were.

    `exact NAME`: at the minimum of the loss over all pairs of two draws from π_ref, which is infinitely many labels,
    on the language `seed`. `few NAME`: after `steps` of Adam on `labels` labels, a mean over `languages` languages;
    `few not turned` is DPO on labels without flips, which says what so few labels cost by themselves, and `few untrained`
    the reference.
    """
    found = {}
    world = ToyWorld(seed)
    weights = pair_weights(world.logp_ref, flipped(world.chances, flip_rate))
    for name, loss in losses_of(kl_weight, flip_rate).items():
        logits = world.logp_ref.clone().requires_grad_()
        minimise(partial(_cost, loss, logits, world, weights), logits)
        found[f"exact {name}"] = _distance(logits, world, kl_weight)
    few = {**losses_of(kl_weight, flip_rate), "not turned": losses_of(kl_weight, flip_rate)["DPO"]}
    for name, loss in few.items():
        share = 0.0 if name == "not turned" else flip_rate
        ends = [
            _after(loss, ToyWorld(1000 * seed + number), share, kl_weight, labels=labels, steps=steps)
            for number in range(languages)
        ]
        found[f"few {name}"] = sum(ends) / languages
    starts = [ToyWorld(1000 * seed + number) for number in range(languages)]
    found["few untrained"] = (
        sum(float(kl_divergence(one.logp_ref, one.best(kl_weight))) for one in starts) / languages
    )
    return found


def flipped(chances: Tensor, flip_rate: float) -> Tensor:
    """The chance that i is *called* the better of i and j, if a label is turned round with probability `flip_rate`."""
    return chances * (1 - flip_rate) + (1 - chances) * flip_rate


def _after(
    loss: PairLoss, world: ToyWorld, flip_rate: float, kl_weight: float, *, labels: int, steps: int
) -> float:
    generator = torch.Generator().manual_seed(world.seed)  # the same pairs for every loss
    weights = drawn_pairs(world.logp_ref, flipped(world.chances, flip_rate), labels, generator=generator)
    logits = world.logp_ref.clone().requires_grad_()
    for _ in descend(lambda: _cost(loss, logits, world, weights / labels), logits, rate=RATE, looks=(steps,)):
        pass
    return _distance(logits, world, kl_weight)


def _cost(loss: PairLoss, logits: Tensor, world: ToyWorld, weights: Tensor) -> Tensor:
    return expected_loss(loss, logits.log_softmax(0) - world.logp_ref, weights)


def _distance(logits: Tensor, world: ToyWorld, kl_weight: float) -> float:
    return float(kl_divergence(logits.detach().log_softmax(0), world.best(kl_weight)))
