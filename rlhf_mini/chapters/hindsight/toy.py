"""Where the three terms lead if everything can be counted: a table with one row of logits for each instruction.

There are `OUTPUTS` outputs to one query, of which a few are right. A policy is two distributions over them, one for
each instruction, and what is learned under one instruction leaves the other's row as it is, but for the contrast.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rlhf_mini.exact import filtered_optimum, kl_divergence
from rlhf_mini.losses import instruction_contrast_loss, smoothed_token_loss
from rlhf_mini.pipeline import Pipeline

OUTPUTS, RIGHT_ONES = 24, 3
RIGHT, WRONG = 0, 1  # rows of the table
STEPS, RATE = 1600, 2.0
FEW, MANY, WORLDS = 8, 64, 20  # failures in a sample; tables that are averaged over


@dataclass(frozen=True)
class Table:
    """The start: one distribution for both instructions, and which outputs are right."""

    seed: int

    @property
    def logits(self) -> Tensor:
        """(OUTPUTS,) float64, normalised."""
        draw = torch.Generator().manual_seed(self.seed)
        return torch.randn(OUTPUTS, generator=draw, dtype=torch.float64).log_softmax(0)

    @property
    def right(self) -> Tensor:
        """(OUTPUTS,) bool."""
        return torch.arange(OUTPUTS) < RIGHT_ONES

    def chance(self, logits: Tensor) -> float:
        """The probability of a right output if a right one is asked for."""
        return float(logits[RIGHT].softmax(0)[self.right].sum())


def terms(
    logits: Tensor, shares: Tensor, right: Tensor, *, contrast_weight: float, label_smoothing: float = 0.0
) -> Tensor:
    """HIR's likelihood and contrast, expected over outputs that come with probabilities `shares` (OUTPUTS,)."""
    logp, own = logits.log_softmax(1), (~right).long()
    places = torch.arange(OUTPUTS)
    surprise = smoothed_token_loss(
        logp[own, places][:, None],
        logp.mean(1)[own][:, None],
        label_smoothing=label_smoothing,
    )[:, 0]
    told_apart = instruction_contrast_loss(logp.T, own, label_smoothing=label_smoothing)
    return (shares * (surprise + contrast_weight * told_apart)).sum()


def filtered(logits: Tensor, shares: Tensor, right: Tensor) -> Tensor:
    """Filtered behaviour cloning on the same outputs: the surprise at the right ones, asked for right ones."""
    return -(shares * right * logits[RIGHT].log_softmax(0)).sum()


def _descended(start: Tensor, loss_of: Callable[[Tensor], Tensor], *, steps: int = STEPS) -> list[Tensor]:
    """The table after each step of plain gradient descent, the start included."""
    logits = start.clone().requires_grad_()
    way = [start.clone()]
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(loss_of(logits), [logits])
        with torch.no_grad():
            logits -= RATE * gradient
        way.append(logits.detach().clone())
    return way


def same_end(pipeline: Pipeline) -> dict[str, float]:
    """Likelihood on relabelled outputs and filtered behaviour cloning, from one start on endlessly many outputs.

    - `gap_on_the_way`: the largest difference of their log-probabilities, asked for right ones, after any step.
    - `to_filtered`: KL(π_τ ‖ π) in nats at the end, π_τ being `exact.filtered_optimum`; `at_first` before any step.
    - `chance_at_first`, `chance`: of a right output, before and after.
    - `with_contrast`: the same chance if the contrast is added.
    """
    world = Table(pipeline.seed)
    start, shares = world.logits.repeat(2, 1), world.logits.exp()
    ways = {
        weight: _descended(start, partial(terms, shares=shares, right=world.right, contrast_weight=weight))
        for weight in (0.0, 1.0)
    }
    other = _descended(start, lambda logits: filtered(logits, shares, world.right))
    gaps = [
        float((a[RIGHT].log_softmax(0) - b[RIGHT].log_softmax(0)).abs().max())
        for a, b in zip(ways[0.0], other, strict=True)
    ]
    goal = filtered_optimum(world.logits, world.right.double(), threshold=0.5).logp
    return {
        "gap_on_the_way": max(gaps),
        "at_first": float(kl_divergence(goal, world.logits)),
        "to_filtered": float(kl_divergence(goal, ways[0.0][-1][RIGHT].log_softmax(0))),
        "chance_at_first": world.chance(start),
        "chance": world.chance(ways[0.0][-1]),
        "with_contrast": world.chance(ways[1.0][-1]),
    }


def from_failures(pipeline: Pipeline) -> dict[str, float]:
    """Samples in which nothing is right, of `FEW` and of `MANY` outputs: what is then the chance of a right one?

    Means over `WORLDS` tables. `start`: before. `filtered` and `likelihood`: the largest change, after 100 steps; both
    learn nothing under the instruction that will be asked. `contrast {n}`: the chance after 100 steps with the contrast,
    which makes what failed unlikely under it; `rose {n}`: in what share of the tables it rose.
    """
    worlds = [Table(WORLDS * pipeline.seed + number) for number in range(WORLDS)]
    starts = [world.chance(world.logits.repeat(2, 1)) for world in worlds]
    found = {"start": sum(starts) / WORLDS}
    for count in (FEW, MANY):
        chances = [_after_failures(world, count, contrast_weight=1.0) for world in worlds]
        found[f"contrast {count}"] = sum(chances) / WORLDS
        found[f"rose {count}"] = sum(a > b for a, b in zip(chances, starts, strict=True)) / WORLDS
    still = [_after_failures(world, MANY, contrast_weight=0.0) for world in worlds]
    nothing = [_after_failures(world, MANY, contrast_weight=None) for world in worlds]
    for name, chances in (("likelihood", still), ("filtered", nothing)):
        found[name] = max(abs(a - b) for a, b in zip(chances, starts, strict=True))
    return found


def _after_failures(world: Table, count: int, *, contrast_weight: float | None) -> float:
    """The chance of a right output after 100 steps on failures alone; a weight of None is filtered behaviour cloning."""
    draw = torch.Generator().manual_seed(world.seed)
    wrong = world.logits.exp().masked_fill(world.right, 0.0)
    drawn = torch.multinomial(wrong, count, replacement=True, generator=draw)
    shares = torch.bincount(drawn, minlength=OUTPUTS).double() / count

    def loss(logits: Tensor) -> Tensor:
        if contrast_weight is None:
            return filtered(logits, shares, world.right)
        return terms(logits, shares, world.right, contrast_weight=contrast_weight)

    return world.chance(_descended(world.logits.repeat(2, 1), loss, steps=100)[-1])


def smoothed_target(vocabulary: int, label_smoothing: float) -> Tensor:
    """(V,) float64: the distribution at which the smoothed likelihood of token 0 is least."""
    target = torch.full((vocabulary,), label_smoothing / vocabulary, dtype=torch.float64)
    target[0] += 1 - label_smoothing
    return target


def smoothing(pipeline: Pipeline, *, vocabulary: int = 44, length: int = 12) -> dict[str, float]:
    """What a policy that has learned its smoothed targets perfectly still writes.

    - `gradient {ε}`: the largest entry of the loss's gradient at `smoothed_target`, which shows that it is the end.
    - `whole {ε}`: the chance that none of `length` tokens drawn at temperature 1 is another than the one learned.
    """
    found = {}
    for epsilon in (0.0, 0.02, 0.2):
        target = smoothed_target(vocabulary, epsilon)
        logits = (target + 1e-300).log().requires_grad_()
        logp = logits.log_softmax(0)
        loss = smoothed_token_loss(logp[None, :1], logp.mean()[None, None], label_smoothing=epsilon)
        (gradient,) = torch.autograd.grad(loss.sum(), [logits])
        found[f"gradient {epsilon:g}"] = float(gradient.abs().max())
        found[f"whole {epsilon:g}"] = float(target[0] ** length)
    return found
