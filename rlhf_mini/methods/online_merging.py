"""Online merging: every step of the optimizer is merged with what fine-tuning once taught.

Paper: Lu et al. 2024, arXiv 2405.17931; Qwen2's report (2407.10671) names it as its cure for the alignment
tax. With the step ``Δ`` that AdamW has just made and the task vector ``τ = θ_SFT − θ_base``,

    θ ← θ + (1 − α) F(Δ) + α F(τ),

where ``F`` keeps a share p of the entries. Two ways to choose them: `ondare` keeps each at random, and
`onties` keeps the largest and, of the two that meet in one entry, only those with the sign of their sum.

It is no pull back to the SFT weights: nothing in it vanishes at ``θ = θ_SFT``. It goes on in the direction
in which SFT went, by ``T α F(τ)`` in T steps, and makes the steps of the optimizer sparse.

Both are hooks of the loop, which are called when a step is done:

    merging = ondare(model, base, sft, merge_rate=1e-4, keep=0.5, generator=generator)
    train_on_pairs(model, pairs, kept, objective, hooks=[merging], …)

Details after the authors' code: the share of τ is drawn, or chosen, once at the start, that of Δ anew in
every step, within each tensor of weights, and what is kept is not scaled up. Departures: weight decay,
which the library's AdamW makes a part of its step, is merged with it; their option to merge only every k-th
step is left out.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.loop import Hook

Sparsify = Callable[[Tensor], Tensor]  # a tensor of weights → the same with entries set to 0
Agree = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # F(Δ), F(τ) → what of them counts


def random_share(weights: Tensor, *, keep: float, generator: torch.Generator) -> Tensor:
    """The same tensor, of which each entry is kept with probability `keep` and else 0; nothing is scaled up.

    With `keep` = 1 it is the tensor itself, and nothing is drawn. `generator` is on the CPU.
    """
    _require_share(keep)
    if keep == 1:
        return weights
    kept = torch.rand(weights.shape, generator=generator) < keep
    return torch.where(kept.to(weights.device), weights, 0.0)


def largest_share(weights: Tensor, *, keep: float) -> Tensor:
    """The same tensor with 0 in place of all but its ``⌊keep · n⌋`` entries of largest magnitude, at least
    one.

    >>> largest_share(torch.tensor([0.1, -3.0, 2.0, -0.2]), keep=0.5)
    tensor([ 0., -3.,  2.,  0.])
    """
    _require_share(keep)
    count = max(1, int(keep * weights.numel()))
    places = weights.abs().flatten().topk(count).indices
    kept = torch.zeros(weights.numel(), dtype=torch.bool, device=weights.device)
    kept[places] = True
    return torch.where(kept.view(weights.shape), weights, 0.0)


def agreed(step: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
    """Of each, the entries that have the sign of the two's sum; the others are 0.

    >>> agreed(torch.tensor([1.0, -1.0, 0.0]), torch.tensor([2.0, 3.0, -4.0]))
    (tensor([1., 0., 0.]), tensor([ 2.,  3., -4.]))
    """
    sign = (step + task).sign()
    return torch.where(step.sign() == sign, step, 0.0), torch.where(task.sign() == sign, task, 0.0)


def ondare(
    model: PreTrainedModel,
    base: PreTrainedModel,
    tuned: PreTrainedModel,
    *,
    merge_rate: float,
    keep: float,
    generator: torch.Generator,
) -> Hook:
    """OnDARE as a hook for a training of `model`, made before its first step.

    - `base`, `tuned`: the two models whose difference is τ; of `model`'s architecture.
    - `merge_rate`: α, from 0 to 1. - `keep`: p, above 0 and at most 1.
    - `generator`: draws the entries, on the CPU. Give it one of its own.

    With α = 0 and p = 1 the training is what it is without the hook, to the last bit. Raises ValueError on
    numbers out of range, or models whose weights differ in name or shape.
    """

    def sparsify(weights: Tensor) -> Tensor:
        return random_share(weights, keep=keep, generator=generator)

    return _merging(model, base, tuned, merge_rate=merge_rate, sparsify=sparsify, agree=_as_they_are)


def onties(
    model: PreTrainedModel,
    base: PreTrainedModel,
    tuned: PreTrainedModel,
    *,
    merge_rate: float,
    keep: float,
) -> Hook:
    """OnTIES as a hook: the largest entries of Δ and of τ, and of these those that agree; else as `ondare`.

    τ decides about the signs, since its entries are far larger than those of one step. So with α = 0 and p
    = 1 this is not AdamW: steps against τ are left out.
    """

    def sparsify(weights: Tensor) -> Tensor:
        return largest_share(weights, keep=keep)

    return _merging(model, base, tuned, merge_rate=merge_rate, sparsify=sparsify, agree=agreed)


def _as_they_are(step: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
    return step, task


@torch.no_grad()
def _merging(
    model: PreTrainedModel,
    base: PreTrainedModel,
    tuned: PreTrainedModel,
    *,
    merge_rate: float,
    sparsify: Sparsify,
    agree: Agree,
) -> Hook:
    if not 0 <= merge_rate <= 1:
        raise ValueError(f"merge_rate must lie between 0 and 1, got {merge_rate}")
    weights, first, last = (dict(one.named_parameters()) for one in (model, base, tuned))
    for other in (first, last):
        if {name: w.shape for name, w in other.items()} != {name: w.shape for name, w in weights.items()}:
            raise ValueError(
                "the model, the base and the tuned model must have weights of the same names and shapes"
            )
    task = {name: sparsify((last[name] - first[name]).to(weight)) for name, weight in weights.items()}
    before = {name: weight.clone() for name, weight in weights.items()}

    @torch.no_grad()
    def merge(step: int, entry: dict[str, float]) -> None:
        for name, weight in weights.items():
            made = weight - before[name]
            own, other = agree(sparsify(made), task[name])
            # added to where the step led, not to where it began: what is kept whole stays bit for bit
            weight += (1 - merge_rate) * own + merge_rate * other - made
            before[name].copy_(weight)

    return merge


def _require_share(keep: float) -> None:
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be above 0 and at most 1, the share of entries to keep, got {keep}")
