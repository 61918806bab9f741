"""Exercises of chapter 12 on groups: advantages, two averages, silenced tokens, why the loss is 0, what is left out."""

import math

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# ----------------------------------------------------------------------------------------- 1 · GRPO's advantages


def advantages(rewards: Tensor) -> Tensor:
    """GRPO's advantages (N, G) from the rewards (N, G) of G answers to each of N prompts: less the group's mean,
    divided by the group's standard deviation, with G − 1 under the root, plus 10⁻⁴."""
    spread = rewards.std(1, keepdim=True)  # torch divides by G − 1 unless told otherwise
    return (rewards - rewards.mean(1, keepdim=True)) / (spread + 1e-4)


def _over_the_batch(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


def _batch_spread(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std() + 1e-4)


def _across_prompts(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean(0, keepdim=True)) / (rewards.std(0, keepdim=True) + 1e-4)


def _divided_by_g(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, correction=0, keepdim=True) + 1e-4)


def _variance(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.var(1, keepdim=True) + 1e-4)


def _no_floor(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean(1, keepdim=True)) / rewards.std(1, keepdim=True)


def _not_divided(rewards: Tensor) -> Tensor:
    return rewards - rewards.mean(1, keepdim=True)


ADVANTAGES = Exercise(
    title="GRPO's advantages",
    level="easy",
    minutes=5,
    hints=(
        "The answers to one prompt stand in a row: mean and spread are taken along axis 1, and kept as an axis of length one.",
        "rewards.mean(1, keepdim=True) and rewards.std(1, keepdim=True); the small number is added to the spread, not under the root.",
    ),
    solution=advantages,
    cases=lambda: [
        (torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]),),
        (torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, 6.0], [5.0, 5.0, 4.0]]),),
    ],
    mistakes=(
        Mistake(_over_the_batch, "You compare with all answers to all prompts. An answer to an easy prompt then looks good whatever it says; compare with the others to the same prompt."),
        Mistake(_batch_spread, "The mean is the group's, and your spread is the whole batch's. GRPO divides each group by its own."),
        Mistake(_across_prompts, "You compare the first answers to all prompts with each other, then the second ones, and so on. Groups stand in rows: axis 1."),
        Mistake(_divided_by_g, "You divide by G under the root, as torch.var does with correction=0. All advantages are then √(G/(G − 1)) times as large; the code that others run divides by G − 1."),
        Mistake(_variance, "You divide by the variance. The unit of an advantage would then be one over the reward's."),
        Mistake(_no_floor, "Where all rewards of a group are equal you compute 0/0, which is NaN and spoils every weight of the model. Add 10⁻⁴ to the spread."),
        Mistake(_not_divided, "That is Dr. GRPO's advantage: it leaves the spread out. GRPO's divides by it."),
    ),
)  # fmt: skip


# ----------------------------------------------------------------------------------------- 2 · why the loss is 0


def first_losses(rewards: Tensor, lengths: Tensor, longest: int) -> tuple[float, float, float]:
    """The policy loss on the first step after a draw, averaged in three ways, of one group with rewards (G,) and
    lengths (G,): over each answer's tokens and then over answers; over all tokens; and as the sum of tokens by
    `longest` and G.

    The advantages are Dr. GRPO's, rewards less their mean. At ratio one the loss of each token is −A.
    """
    losses = -(rewards - rewards.mean())
    return (
        float(losses.mean()),
        float((losses * lengths).sum() / lengths.sum()),
        float((losses * lengths).sum() / (longest * len(rewards))),
    )


def _all_zero(rewards: Tensor, lengths: Tensor, longest: int) -> tuple[float, float, float]:
    return (0.0, 0.0, 0.0)


def _turned(rewards: Tensor, lengths: Tensor, longest: int) -> tuple[float, float, float]:
    one, two, three = first_losses(-rewards, lengths, longest)
    return (one, two, three)


def _own_rewards(rewards: Tensor, lengths: Tensor, longest: int) -> tuple[float, float, float]:
    losses = -rewards
    return (
        float(losses.mean()),
        float((losses * lengths).sum() / lengths.sum()),
        float((losses * lengths).sum() / (longest * len(rewards))),
    )


def _by_the_group_only(rewards: Tensor, lengths: Tensor, longest: int) -> tuple[float, float, float]:
    one, two, three = first_losses(rewards, lengths, longest)
    return (one, two, three * longest)


def _divided_by_length(rewards: Tensor, lengths: Tensor, longest: int) -> tuple[float, float, float]:
    _, two, three = first_losses(rewards, lengths, longest)
    losses = -(rewards - rewards.mean())
    return (float((losses / lengths).mean()), two, three)


FIRST_LOSSES = Exercise(
    title="Why the loss reads 0",
    level="medium",
    minutes=10,
    hints=(
        "Every token of an answer has the same loss, −A. So the mean over an answer's tokens is −A, and their sum is −A times the length.",
        "First −mean(A); then −Σ A·length / Σ length; then −Σ A·length / (longest · G). Only the first is 0 for every group.",
    ),
    solution=first_losses,
    cases=lambda: [
        (torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([2.0, 8.0, 4.0, 6.0]), 10),
        (torch.tensor([1.0, 1.0, 0.0]), torch.tensor([5.0, 5.0, 5.0]), 5),
        (torch.tensor([0.5, 2.0]), torch.tensor([1.0, 3.0]), 4),
    ],
    mistakes=(
        Mistake(_all_zero, "The advantages add up to 0, but in two of the averages a long answer's advantage counts once for each of its tokens."),
        Mistake(_turned, "Your sign is turned round: the loss of a token is −A, so that going down makes a good answer likelier."),
        Mistake(_own_rewards, "You forgot to take off the group's mean: it is this that makes the first number 0."),
        Mistake(_by_the_group_only, "The third average divides by the longest length, too: Dr. GRPO's is a sum over tokens in the units of a mean."),
        Mistake(_divided_by_length, "The mean over an answer's tokens is −A already, since each of its tokens has −A. You divide by the length once more."),
    ),
    tolerance=1e-6,
)  # fmt: skip


# ----------------------------------------------------------------------------------------- 3 · silenced tokens


def silenced(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """On which tokens (B, T) the clipped policy loss has no gradient: `ratio` (B, T) is π/π_old of each token,
    `advantages` (B,) are those of the answers, none of them 0, and the bounds are 1 − clip_low and 1 + clip_high.

    The loss is −min(ρ A, clip(ρ) A).
    """
    good = (advantages > 0)[:, None]
    return torch.where(good, ratio > 1 + clip_high, ratio < 1 - clip_low)


def _outside(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    return (ratio > 1 + clip_high) | (ratio < 1 - clip_low)


def _other_way(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    return silenced(ratio, -advantages, clip_low, clip_high)


def _one_bound(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    return silenced(ratio, advantages, clip_low, clip_low)


def _bounds_exchanged(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    return silenced(ratio, advantages, clip_high, clip_low)


def _upper_only(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    return (ratio > 1 + clip_high).expand_as(ratio)


def _not_silenced(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    return ~silenced(ratio, advantages, clip_low, clip_high)


def _whole_answers(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    return silenced(ratio.log().mean(1, keepdim=True).exp().expand_as(ratio), advantages, clip_low, clip_high)


def _ratios() -> list[tuple]:
    ratio = torch.tensor([[1.0, 1.25, 0.7, 1.5], [1.0, 1.25, 0.7, 0.9], [0.75, 0.85, 1.3, 2.0]])
    return [
        (ratio, torch.tensor([1.0, -1.0, -0.5]), 0.2, 0.28),
        (ratio, torch.tensor([2.0, 0.3, -1.0]), 0.2, 0.2),
        (ratio, torch.tensor([-1.0, 1.0, 1.0]), 0.1, 0.4),
    ]


SILENCED = Exercise(
    title="Which tokens are silenced",
    level="medium",
    minutes=15,
    hints=(
        "Take A > 0: ρ A grows with ρ, and min(ρ A, clip(ρ) A) is the clipped one only where clip(ρ) is smaller. Then take A < 0.",
        "A token of a good answer falls silent once ρ > 1 + clip_high, a token of a bad one once ρ < 1 − clip_low. Outside on the other side, the loss still pulls it back.",
    ),
    solution=silenced,
    cases=_ratios,
    mistakes=(
        Mistake(_outside, "Outside the range is not enough. A good answer's token that has become *less* likely still has its gradient, which brings it back: the minimum takes the unclipped side there."),
        Mistake(_other_way, "You have the sides exchanged. What has gone far enough in the direction of its advantage falls silent."),
        Mistake(_one_bound, "Your upper bound is 1 + clip_low. The higher one is clip-higher's whole point: it gives rare tokens of good answers more room."),
        Mistake(_bounds_exchanged, "You have the two bounds exchanged."),
        Mistake(_upper_only, "The lower bound matters too: it silences tokens of bad answers that have become unlikely enough."),
        Mistake(_not_silenced, "You return the tokens that still have a gradient."),
        Mistake(_whole_answers, "You compare the mean ratio of each answer, as GSPO does. Here each token has its own."),
    ),
)  # fmt: skip


# ----------------------------------------------------------------------------- 4 · how large a group must be


def group_needed(pass_rate: float, share: float) -> int:
    """The smallest group, of at least 2 answers, in which at most this share of groups teaches nothing, to a prompt
    that is passed with chance `pass_rate`; both lie strictly between 0 and 1."""
    group = 2
    while pass_rate**group + (1 - pass_rate) ** group > share:
        group += 1
    return group


def _none_right(pass_rate: float, share: float) -> int:
    group = 2
    while (1 - pass_rate) ** group > share:
        group += 1
    return group


def _both_at_once(pass_rate: float, share: float) -> int:
    group = 2
    while (pass_rate * (1 - pass_rate)) ** group > share:
        group += 1
    return group


def _one_too_many(pass_rate: float, share: float) -> int:
    return group_needed(pass_rate, share) + 1


def _logarithm(pass_rate: float, share: float) -> int:
    return max(2, round(math.log(share) / math.log(1 - min(pass_rate, 1 - pass_rate))))


def _share_kept(pass_rate: float, share: float) -> int:
    return group_needed(pass_rate, 1 - share)


def _a_right_one(pass_rate: float, share: float) -> int:
    return max(2, math.ceil(1 / min(pass_rate, 1 - pass_rate)))


GROUP_NEEDED = Exercise(
    title="How large a group must be",
    level="easy",
    minutes=10,
    hints=(
        "A group teaches nothing if all of its answers are right, or all wrong. These two cannot happen together.",
        "p^G + (1 − p)^G ≤ share, for the smallest G from 2 on. A loop is enough.",
    ),
    solution=group_needed,
    cases=lambda: [(0.1, 0.25), (0.5, 0.1), (0.9, 0.25), (0.03, 0.5), (0.6, 0.4), (0.45, 0.01)],
    mistakes=(
        Mistake(_none_right, "A group in which all are right teaches as little as one in which all are wrong."),
        Mistake(_both_at_once, "Add the two chances: all right, or all wrong. You multiplied them."),
        Mistake(_one_too_many, "One too many: at most this share includes equality, and a smaller group reaches it already."),
        Mistake(_logarithm, "That leaves the smaller of the two powers out, and rounds to the nearest instead of up. Where p is near one half both count."),
        Mistake(_share_kept, "The share is that of the groups that teach nothing, not of those that teach."),
        Mistake(_a_right_one, "In a group of 1/p answers one is right *on average*; in more than a third of such groups none is."),
    ),
    tolerance=0,
)  # fmt: skip
