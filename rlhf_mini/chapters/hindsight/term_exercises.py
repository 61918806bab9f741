"""Exercises of chapter 08 on the terms of the loss: the smoothed likelihood, the two contrasts, where they rest."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.reader import Exercise, Mistake


def _numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------------------------------------ 4 · a smoothed likelihood


def smoothed(logits: Tensor, token: int, smoothing: float) -> Tensor:
    """The smoothed surprise at one token, a scalar: 1 − ε of the target on the token, ε on all V alike.

    logits (V,) are not normalised.
    """
    logp = logits.log_softmax(0)
    return -(1 - smoothing) * logp[token] - smoothing * logp.mean()


def _unnormalised(logits: Tensor, token: int, smoothing: float) -> Tensor:
    return -(1 - smoothing) * logits[token] - smoothing * logits.mean()


def _shrunk(logits: Tensor, token: int, smoothing: float) -> Tensor:
    return -(1 - smoothing) * logits.log_softmax(0)[token]


def _summed(logits: Tensor, token: int, smoothing: float) -> Tensor:
    logp = logits.log_softmax(0)
    return -(1 - smoothing) * logp[token] - smoothing * logp.sum()


def _over_others(logits: Tensor, token: int, smoothing: float) -> Tensor:
    logp = logits.log_softmax(0)
    others = (logp.sum() - logp[token]) / (len(logits) - 1)
    return -(1 - smoothing) * logp[token] - smoothing * others


def _with_entropy(logits: Tensor, token: int, smoothing: float) -> Tensor:
    logp = logits.log_softmax(0)
    return -(1 - smoothing) * logp[token] - smoothing * (logp.exp() * logp).sum()


SMOOTHED = Exercise(
    title="A smoothed likelihood",
    level="easy",
    minutes=10,
    hints=(
        "A cross-entropy with a soft target: every token's −log p, at the weight that the target gives it.",
        "The token's own −log p counts (1 − ε); the mean of −log p over the whole vocabulary, the token among it, counts ε.",
    ),
    solution=smoothed,
    cases=lambda: [(_numbers(5), 2, 0.2), (3 * _numbers(8, seed=1), 0, 0.1), (_numbers(4, seed=2), 3, 0.0)],
    mistakes=(
        Mistake(_unnormalised, "Logits are not log-probabilities yet: log_softmax first."),
        Mistake(_shrunk, "You only make the loss smaller. The ε that was taken away goes to the other tokens of the target."),
        Mistake(_summed, "ε is spread: each of the V tokens gets ε/V. Take the mean, not the sum."),
        Mistake(_over_others, "You leave the token itself out of the spread. Then ε has another meaning, and the library's is the usual one: all V share it."),
        Mistake(_with_entropy, "That adds an entropy, which weighs each token with the model's own probability. The smoothed target weighs all alike."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# --------------------------------------------------------------------------------------------- 5 · a two-way contrast


def contrast(own: Tensor, other: Tensor, smoothing: float) -> Tensor:
    """The two-way contrast of one output, a scalar, as the released program has it.

    own and other (T,) are its tokens' log-probabilities under the instruction that it fulfils, and under another.
    """
    lead = own.mean() - other.mean()
    return -(1 - smoothing) * logsigmoid(lead) - smoothing * logsigmoid(-lead)


def _sums(own: Tensor, other: Tensor, smoothing: float) -> Tensor:
    lead = own.sum() - other.sum()
    return -(1 - smoothing) * logsigmoid(lead) - smoothing * logsigmoid(-lead)


def _swapped(own: Tensor, other: Tensor, smoothing: float) -> Tensor:
    return contrast(other, own, smoothing)


def _not_smoothed(own: Tensor, other: Tensor, smoothing: float) -> Tensor:
    return -logsigmoid(own.mean() - other.mean())


def _by_token(own: Tensor, other: Tensor, smoothing: float) -> Tensor:
    lead = own - other
    return (-(1 - smoothing) * logsigmoid(lead) - smoothing * logsigmoid(-lead)).mean()


CONTRAST = Exercise(
    title="A two-way contrast",
    level="medium",
    minutes=15,
    hints=(
        "Two instructions that are equally likely beforehand: how surprising is the right one, given the output?",
        "u is the difference of the two *means* over tokens. The loss is −(1 − ε) log σ(u) − ε log σ(−u); torch's logsigmoid "
        "does not overflow.",
    ),
    solution=contrast,
    cases=lambda: [
        (-_numbers(6).abs(), -_numbers(6, seed=1).abs(), 0.2),
        (-_numbers(3, seed=2).abs(), -2 * _numbers(3, seed=3).abs(), 0.0),
        (-_numbers(40, seed=4).abs() / 10, -_numbers(40, seed=5).abs(), 0.1),
    ],
    mistakes=(
        Mistake(_sums, "You compare whole log-probabilities, as the paper's equation does. The released program takes means over tokens, so that long outputs are not told apart too easily."),
        Mistake(_swapped, "Your instructions are exchanged: the loss must fall as the output becomes likelier under its own."),
        Mistake(_not_smoothed, "Where is ε? With it the loss is least at a finite lead, and does not push beyond."),
        Mistake(_by_token, "You tell instructions apart by each token alone. It is the output as a whole that fulfils one: first the means, then σ."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# -------------------------------------------------------------------------------------------- 6 · a contrast in a batch


def in_batch(logp: Tensor, instruction: Tensor) -> Tensor:
    """The contrast of a batch, (B,): how surprising each output's own instruction is among those of the batch.

    logp (B, B): entry (i, j) is output i's mean log-probability under row j's instruction, whose number is
    instruction[j]. The same instruction may stand in several rows; it is one instruction, and counts once.
    """
    numbers = instruction.unique()
    first = torch.stack([(instruction == number).int().argmax() for number in numbers])
    own = (instruction[:, None] == numbers).int().argmax(1)
    return -logp[:, first].log_softmax(1).gather(1, own[:, None]).squeeze(1)


def _as_printed(logp: Tensor, instruction: Tensor) -> Tensor:
    return -logp.log_softmax(1).diagonal()


def _over_outputs(logp: Tensor, instruction: Tensor) -> Tensor:
    return -logp.log_softmax(0).diagonal()


def _all_alike_right(logp: Tensor, instruction: Tensor) -> Tensor:
    same = instruction[:, None] == instruction
    return -(logp.log_softmax(1).masked_fill(~same, -math.inf)).logsumexp(1)


def _mean_loss(logp: Tensor, instruction: Tensor) -> Tensor:
    return in_batch(logp, instruction).mean()


def _batch(instructions: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Columns of one instruction are equal, as they are in a real batch."""
    numbers = torch.tensor(instructions)
    return _numbers(len(instructions), max(instructions) + 1, seed=seed)[:, numbers], numbers


IN_BATCH = Exercise(
    title="A contrast in a batch",
    level="hard",
    minutes=20,
    hints=(
        "With each instruction once, it is a softmax over instructions, one row an output, and the loss is −log of the own one's "
        "share. In a batch of right and wrong there are two columns, however many rows.",
        "instruction.unique() gives the numbers; take for each of them one column of logp, then log_softmax(1), and gather each "
        "row's own column.",
    ),
    solution=in_batch,
    cases=lambda: [_batch([0, 1, 0, 1, 1], 0), _batch([2, 0, 1], 1), _batch([1, 0, 0, 2, 0, 1], 2)],
    mistakes=(
        Mistake(_as_printed, "So the equation is printed: an instruction that three rows share stands in the sum three times, and two of the three count as wrong. The loss can then not fall below log 3."),
        Mistake(_over_outputs, "Your softmax runs over outputs. Asked is which instruction an output belongs to: over the columns of its row."),
        Mistake(_all_alike_right, "You count equal instructions as right, which is well meant; but their number still weighs them more than those that stand in one row. Each instruction once."),
        Mistake(_mean_loss, "Return one loss for each output, not their mean."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# ----------------------------------------------------------------------------------------- 7 · where the contrast rests


def resting_leads(smoothing: float, instructions: int) -> tuple[float, float]:
    """The lead at which the two-way contrast is least, and that of a contrast among several instructions.

    A lead is the own instruction's (mean) log-probability less that of any other, the others being alike. smoothing, ε,
    is above 0; with several instructions it is spread over the others in equal parts.
    """
    return (
        math.log((1 - smoothing) / smoothing),
        math.log((1 - smoothing) * (instructions - 1) / smoothing),
    )


def _without_bound(smoothing: float, instructions: int) -> tuple[float, float]:
    return math.inf, math.inf


def _same_for_all(smoothing: float, instructions: int) -> tuple[float, float]:
    return (math.log((1 - smoothing) / smoothing),) * 2


def _divided(smoothing: float, instructions: int) -> tuple[float, float]:
    return math.log((1 - smoothing) / smoothing), math.log((1 - smoothing) / (smoothing * (instructions - 1)))


def _share(smoothing: float, instructions: int) -> tuple[float, float]:
    return 1 - smoothing, 1 - smoothing


def _spread_over_all(smoothing: float, instructions: int) -> tuple[float, float]:
    def lead(count: int) -> float:
        other = smoothing / count
        return math.log((1 - smoothing + other) / other)

    return lead(2), lead(instructions)


RESTS = Exercise(
    title="Where the contrast rests",
    level="medium",
    minutes=15,
    hints=(
        "A cross-entropy is least where the model's shares are the target's: 1 − ε for the own instruction.",
        "Among K, each other instruction has the share ε/(K − 1). The lead is the logarithm of the ratio of the two shares.",
    ),
    solution=resting_leads,
    cases=lambda: [(0.2, 4), (0.05, 32), (0.5, 3), (0.1, 2)],
    mistakes=(
        Mistake(_without_bound, "Without smoothing there is no end to it. With ε the target gives the other instruction a share, and beyond it the loss rises again."),
        Mistake(_same_for_all, "The second is that of two instructions. Among K, ε is shared by K − 1 others, and each has less."),
        Mistake(_divided, "K − 1 is on the wrong side: the more others there are, the less each of them has, and the larger the lead."),
        Mistake(_share, "That is the share of the own instruction. The lead is the logarithm of its ratio to another's share."),
        Mistake(_spread_over_all, "You spread ε over all instructions, the own one among them. In this contrast all of it lies on the others (in the likelihood it is as you have it)."),
    ),
    tolerance=1e-9,
)  # fmt: skip
