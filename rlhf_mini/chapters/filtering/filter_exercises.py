"""Exercises of chapter 09 on filtering: what is kept, what it costs, in which order, and how variety drains away."""

import math

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# ----------------------------------------------------------------------------------------------- 1 · what is kept


def kept(rewards: Tensor, threshold: float, low: float, high: float) -> Tensor:
    """Which of the answers (N, K) an Improve keeps: those whose reward, scaled so that `low` is 0 and `high` is 1 and
    cut off there, lies above the threshold; a mask (N, K)."""
    return ((rewards - low) / (high - low)).clamp(0, 1) > threshold


def _at_least(rewards: Tensor, threshold: float, low: float, high: float) -> Tensor:
    return ((rewards - low) / (high - low)).clamp(0, 1) >= threshold


def _own_range(rewards: Tensor, threshold: float, low: float, high: float) -> Tensor:
    return kept(rewards, threshold, float(rewards.min()), float(rewards.max()))


def _by_prompt(rewards: Tensor, threshold: float, low: float, high: float) -> Tensor:
    lowest, highest = rewards.amin(1, keepdim=True), rewards.amax(1, keepdim=True)
    return (rewards - lowest) / (highest - lowest) > threshold


def _not_scaled(rewards: Tensor, threshold: float, low: float, high: float) -> Tensor:
    return rewards > threshold


def _divided_only(rewards: Tensor, threshold: float, low: float, high: float) -> Tensor:
    return rewards / (high - low) > threshold


def _below(rewards: Tensor, threshold: float, low: float, high: float) -> Tensor:
    return ~kept(rewards, threshold, low, high)


KEPT = Exercise(
    title="What an Improve keeps",
    level="easy",
    minutes=5,
    hints=(
        "First the scale: (r − low) / (high − low), and what lies outside 0 to 1 becomes the nearer end.",
        "Then a comparison, strictly above: of rewards that are 0 or 1, a threshold of 0 must keep the ones alone.",
    ),
    solution=kept,
    cases=lambda: [
        (torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 0.0, 0.0, 1.0),
        (torch.tensor([[-2.0, 0.5, 3.0], [1.0, 1.0, 9.0]]), 0.5, -1.0, 3.0),
        (torch.tensor([[0.2, 0.4], [0.1, 0.3], [0.8, 0.6]]), 0.5, -1.0, 1.0),
    ],
    mistakes=(
        Mistake(_at_least, "You keep what lies at the threshold, too. The filter is 1[R > τ]: with rewards of 0 and 1 a threshold of 0 would keep everything."),
        Mistake(_own_range, "Your scale is made of these rewards. It would change with every Grow: as the policy improves the same threshold would ask for ever more. Use low and high."),
        Mistake(_by_prompt, "You scale each prompt's answers by themselves. That keeps something of every prompt, as RAFT does; ReST has one scale for all, and a hard prompt may keep nothing."),
        Mistake(_not_scaled, "You compare the raw reward. The threshold is a number on the scale from low to high."),
        Mistake(_divided_only, "You divide by the width of the range and forget where it begins: take low off first."),
        Mistake(_below, "You keep what should be left out."),
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------- 2 · the policy after a filter


def filtered(probabilities: Tensor, rewards: Tensor, threshold: float) -> tuple[Tensor, float]:
    """Where an Improve leads: the new probabilities of B texts (B,), and KL(new ‖ old) in nats."""
    good = rewards > threshold
    share = probabilities[good].sum()
    return torch.where(good, probabilities / share, 0.0), -math.log(float(share))


def _uniform(probabilities: Tensor, rewards: Tensor, threshold: float) -> tuple[Tensor, float]:
    good = (rewards > threshold).to(probabilities)
    new = good / good.sum()
    return new, float((new[good > 0] * (new / probabilities)[good > 0].log()).sum())


def _share_of_texts(probabilities: Tensor, rewards: Tensor, threshold: float) -> tuple[Tensor, float]:
    new, _ = filtered(probabilities, rewards, threshold)
    return new, -math.log(float((rewards > threshold).double().mean()))


def _in_bits(probabilities: Tensor, rewards: Tensor, threshold: float) -> tuple[Tensor, float]:
    new, price = filtered(probabilities, rewards, threshold)
    return new, price / math.log(2)


def _not_divided(probabilities: Tensor, rewards: Tensor, threshold: float) -> tuple[Tensor, float]:
    new, price = filtered(probabilities, rewards, threshold)
    return torch.where(new > 0, probabilities, 0.0), price


def _other_direction(probabilities: Tensor, rewards: Tensor, threshold: float) -> tuple[Tensor, float]:
    new, price = filtered(probabilities, rewards, threshold)
    return new, price if bool((new > 0).all()) else math.inf


def _negative(probabilities: Tensor, rewards: Tensor, threshold: float) -> tuple[Tensor, float]:
    new, price = filtered(probabilities, rewards, threshold)
    return new, -price


FILTERED = Exercise(
    title="Where an Improve leads, and what it costs",
    level="medium",
    minutes=10,
    hints=(
        "Learning without end from endlessly many kept samples reproduces how often they were drawn, given that they were kept.",
        "Divide the probabilities of the good texts by their sum, the kept share s. Each became 1/s times as likely, so that "
        "log(new/old) is −log s for every text that the new policy can write, and the KL is that number.",
    ),
    solution=filtered,
    cases=lambda: [
        (torch.tensor([0.5, 0.25, 0.125, 0.125]), torch.tensor([0.0, 1.0, 2.0, 3.0]), 0.5),
        (torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([3.0, 1.0, 2.0, 0.0]), 1.0),
        (torch.tensor([0.6, 0.4]), torch.tensor([1.0, 2.0]), 0.0),
    ],
    mistakes=(
        Mistake(_uniform, "You make all good texts equally likely. Filtering does not flatten: among what is kept, a text is as much likelier than another as it was before."),
        Mistake(_share_of_texts, "Your price is made of the share of *texts* that are kept. What counts is the share of samples, their probability."),
        Mistake(_in_bits, "Your KL is in bits. The book counts in nats: the natural logarithm."),
        Mistake(_not_divided, "The kept probabilities must add up to 1: divide by their sum."),
        Mistake(_other_direction, "You took KL(old ‖ new), which is infinite as soon as anything is left out. The price of drifting is KL(new ‖ old)."),
        Mistake(_negative, "A divergence is never negative. The kept share is below 1 and its logarithm below 0."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------- 3 · ReST's timetable


def timetable(
    grows: int, thresholds: list[float], rate: float, decay: float
) -> list[tuple[int, float, float]]:
    """All Improves of a ReST run in order: (number of the Grow, from 1; threshold; learning rate).

    Each Improve of a Grow has `decay` times the learning rate of the one before, and a new Grow begins with `rate`.
    """
    return [
        (grow, threshold, rate * decay**number)
        for grow in range(1, grows + 1)
        for number, threshold in enumerate(thresholds)
    ]


def _never_restarts(
    grows: int, thresholds: list[float], rate: float, decay: float
) -> list[tuple[int, float, float]]:
    return [
        (grow, threshold, rate * decay ** (number + (grow - 1) * len(thresholds)))
        for grow in range(1, grows + 1)
        for number, threshold in enumerate(thresholds)
    ]


def _decays_by_grow(
    grows: int, thresholds: list[float], rate: float, decay: float
) -> list[tuple[int, float, float]]:
    return [
        (grow, threshold, rate * decay ** (grow - 1))
        for grow in range(1, grows + 1)
        for threshold in thresholds
    ]


def _decays_at_once(
    grows: int, thresholds: list[float], rate: float, decay: float
) -> list[tuple[int, float, float]]:
    return timetable(grows, thresholds, rate * decay, decay)


def _one_threshold_a_grow(
    grows: int, thresholds: list[float], rate: float, decay: float
) -> list[tuple[int, float, float]]:
    return [(grow, threshold, rate) for grow, threshold in zip(range(1, grows + 1), thresholds, strict=False)]


def _grows_inside(
    grows: int, thresholds: list[float], rate: float, decay: float
) -> list[tuple[int, float, float]]:
    return [
        (grow, threshold, rate * decay**number)
        for number, threshold in enumerate(thresholds)
        for grow in range(1, grows + 1)
    ]


TIMETABLE = Exercise(
    title="ReST's timetable",
    level="easy",
    minutes=10,
    hints=(
        "Two loops, the outer one over Grows: a Grow's answers are used for all thresholds before anything is drawn again.",
        "The Improve numbered i of a Grow, from 0, has the rate times decay to the power i. The next Grow starts with the rate.",
    ),
    solution=timetable,
    cases=lambda: [
        (2, [0.5, 0.7, 0.9], 1.0, 0.5),
        (3, [0.2, 0.4], 1e-3, 0.9),
        (1, [0.0], 2.0, 0.1),
    ],
    mistakes=(
        Mistake(_never_restarts, "Your rate goes on falling over the Grows. A new Grow brings new answers, and begins with the full rate."),
        Mistake(_decays_by_grow, "Your rate falls from Grow to Grow. It falls from Improve to Improve, because later Improves go on with fewer, often seen answers."),
        Mistake(_decays_at_once, "The first Improve of a Grow has the full rate: decay to the power 0."),
        Mistake(_one_threshold_a_grow, "You draw anew for every threshold. That is expert iteration; ReST uses a Grow's answers several times, which is the point of it."),
        Mistake(_grows_inside, "Your loops are exchanged: all thresholds of the first Grow come before the second Grow."),
    ),
)  # fmt: skip


# -------------------------------------------------------------------------------------- 4 · how fast variety drains


def rounds_to_half(kept_texts: int) -> int:
    """After how many rounds of fitting a table to k kept samples of itself, chosen at random, the chance that two draws
    differ is at most half of what it was: the smallest whole number, for k of at least 2."""
    left, rounds = 1.0, 0
    while left > 0.5:
        left *= 1 - 1 / kept_texts
        rounds += 1
    return rounds


def _half_of_k(kept_texts: int) -> int:
    return math.ceil(kept_texts / 2)


def _rounded_down(kept_texts: int) -> int:
    return max(1, rounds_to_half(kept_texts) - 1)


def _log_two(kept_texts: int) -> int:
    return math.ceil(math.log2(kept_texts))


def _first_order(kept_texts: int) -> int:
    return round(kept_texts * math.log(2))


def _all_of_k(kept_texts: int) -> int:
    return kept_texts


HALF = Exercise(
    title="How fast variety drains",
    level="medium",
    minutes=15,
    hints=(
        "Two draws from the new table are the same kept sample with probability 1/k. If they are not, they are two draws from "
        "the old one. So each round leaves 1 − 1/k of the chance that two draws differ.",
        "The smallest G with (1 − 1/k)^G ≤ ½. A loop is enough; beware of rounding if you take logarithms.",
    ),
    solution=rounds_to_half,
    cases=lambda: [(2,), (5,), (10,), (100,), (1280,)],
    mistakes=(
        Mistake(_half_of_k, "You take off 1/k of the *first* chance each round. It is 1/k of what is left."),
        Mistake(_rounded_down, "One round too early: there it is still above one half."),
        Mistake(_log_two, "You halve something each round. A round leaves 1 − 1/k, which is nearly all for a large k."),
        Mistake(_first_order, "k log 2 is what it comes to for a large k. Rounded, it is off by one for some."),
        Mistake(_all_of_k, "After k rounds about 1/e is left, less than half."),
    ),
    tolerance=0,
)  # fmt: skip
