"""The exercises of chapter 04: solutions, and the wrong programs that readers write.

Those on comparisons, rankings and judges stand in `comparing_exercises`.
"""

import torch
from torch import Tensor

from rlhf_mini.chapters.reward_models.comparing_exercises import (
    CEILING,
    JUDGES,
    PAIR,
    PLACKETT_LUCE,
    RANKING,
    STRENGTHS,
)
from rlhf_mini.reader import Exercise, Mistake, OpenExercise

# ------------------------------------------------------------------------------- 3 · where the score is read


def end_scores(values: Tensor, tokens: Tensor, end_token: int) -> Tensor:
    """The number at each text's own end token, where texts are also padded with it: two (B, T) -> (B,).

    A text that was cut off has no end token; its score stands at its last token.
    """
    ending = (tokens.flip(1) == end_token).long().cumprod(1).sum(1)  # end tokens with nothing behind them
    last = tokens.shape[1] - ending.clamp(min=1)
    return values[torch.arange(len(values)), last]


def _last_column(values: Tensor, tokens: Tensor, end_token: int) -> Tensor:
    return values[:, -1]


def _one_too_early(values: Tensor, tokens: Tensor, end_token: int) -> Tensor:
    column = torch.arange(tokens.shape[1])
    last = (column * (tokens != end_token)).amax(1)
    return values[torch.arange(len(values)), last]


def _first_end(values: Tensor, tokens: Tensor, end_token: int) -> Tensor:
    return values[torch.arange(len(values)), (tokens == end_token).long().argmax(1)]


def _before_the_first_end(values: Tensor, tokens: Tensor, end_token: int) -> Tensor:
    return values[torch.arange(len(values)), (tokens == end_token).long().argmax(1) - 1]


def _behind_the_end(values: Tensor, tokens: Tensor, end_token: int) -> Tensor:
    column = torch.arange(tokens.shape[1])
    last = (column * (tokens != end_token)).amax(1) + 2
    return values[torch.arange(len(values)), last.clamp(max=tokens.shape[1] - 1)]


def _padded_batches() -> list[tuple]:
    two_turns = torch.tensor([[1, 5, 2, 7, 8, 2, 2, 2], [1, 5, 6, 2, 9, 7, 7, 2], [1, 2, 3, 2, 2, 2, 2, 2]])
    cut_off = torch.tensor([[1, 5, 4, 4, 4], [1, 5, 4, 2, 2]])
    draw = torch.Generator().manual_seed(0)
    return [
        (torch.randn(tokens.shape, generator=draw), tokens, 2)
        for tokens in (two_turns, cut_off, torch.tensor([[1, 9, 9]]))
    ]


END = Exercise(
    title="Where the score is read",
    level="medium",
    minutes=15,
    hints=(
        "Which end tokens are padding? Those that have nothing but end tokens behind them, except for the first of them.",
        "Read the rows backwards: (tokens.flip(1) == end_token).long().cumprod(1) is 1 for as long as there are only end "
        "tokens. Their number, n, gives the column T − n, and T − 1 where n is 0.",
    ),
    solution=end_scores,
    cases=_padded_batches,
    mistakes=(
        Mistake(_last_column, "You read the last column. For all texts but the longest, padding stands there."),
        Mistake(_one_too_early, "You read the last token that is no end token: one too early. That score cannot know whether the text ended there or was cut off."),
        Mistake(_first_end, "You read the first end token of the row. In the first batch that is the end of the prompt, and every answer to it gets the same score."),
        Mistake(_before_the_first_end, "You read what stands before the first end token. It need not be the answer's, and where the row has none, your index becomes −1, which is right by luck."),
        Mistake(_behind_the_end, "You read one column behind the end token: the first padding, where there is any."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------ 4 · normalisation


def normalised(scores: Tensor, reference: Tensor) -> Tensor:
    """The scores (B,) in the unit and from the zero that give the reference scores (N,) mean 0, deviation 1."""
    return (scores - reference.mean()) / reference.std()


def _by_themselves(scores: Tensor, reference: Tensor) -> Tensor:
    return (scores - scores.mean()) / scores.std()


def _by_variance(scores: Tensor, reference: Tensor) -> Tensor:
    return (scores - reference.mean()) / reference.var()


def _shifted_only(scores: Tensor, reference: Tensor) -> Tensor:
    return scores - reference.mean()


def _scaled_first(scores: Tensor, reference: Tensor) -> Tensor:
    return scores / reference.std() - reference.mean()


def _by_n(scores: Tensor, reference: Tensor) -> Tensor:
    return (scores - reference.mean()) / reference.std(correction=0)


NORMALISED = Exercise(
    title="Zero and unit",
    level="easy",
    minutes=5,
    hints=(
        "Two numbers are taken from the reference scores, and used on all others for as long as the model lives.",
        "Subtract the references' mean, then divide by their standard deviation (torch's own, which divides by N − 1).",
    ),
    solution=normalised,
    cases=lambda: [
        (torch.tensor([3.0, 5.0, 9.0]), torch.tensor([1.0, 3.0, 5.0])),
        (torch.tensor([-1.0, 0.5]), torch.tensor([-1.0, 0.5, 0.25, 4.0])),
        (torch.tensor([2.0, 2.0]), torch.tensor([10.0, 20.0])),
    ],
    mistakes=(
        Mistake(_by_themselves, "You normalise the scores by themselves. Then the mean of every batch is 0, and no policy could ever be seen to improve."),
        Mistake(_by_variance, "You divide by the variance. Its unit is the score's squared."),
        Mistake(_shifted_only, "The zero is right. The unit is missing: divide by the references' standard deviation."),
        Mistake(_scaled_first, "You scale, and then subtract a mean in the old unit. Subtract first."),
        Mistake(_by_n, "Right but for the divisor: you divide the squares by N. torch's std divides by N − 1, and so does the library."),
    ),
)  # fmt: skip


# -------------------------------------------------------------------------------------------- 8 · calibration


def calibration_error(probabilities: Tensor, won: Tensor, bins: int) -> float:
    """The expected calibration error: how far predicted and observed shares lie apart, bin by bin.

    probabilities (N,) in [0, 1], won (N,) 0 or 1; bins of equal width, the last including 1.
    """
    bin_of = (probabilities * bins).long().clamp(max=bins - 1)
    total = 0.0
    for number in range(bins):
        inside = bin_of == number
        if inside.any():
            gap = probabilities[inside].mean() - won[inside].float().mean()
            total += float(gap.abs() * inside.sum() / len(won))
    return total


def _gaps(probabilities: Tensor, won: Tensor, bins: int) -> list[tuple[float, float]]:
    """For each bin that is not empty, the share of rows in it and its signed gap."""
    bin_of = (probabilities * bins).long().clamp(max=bins - 1)
    kept = [bin_of == number for number in range(bins) if (bin_of == number).any()]
    return [
        (float(inside.float().mean()), float((probabilities[inside] - won[inside].float()).mean()))
        for inside in kept
    ]


def _bins_alike(probabilities: Tensor, won: Tensor, bins: int) -> float:
    gaps = _gaps(probabilities, won, bins)
    return sum(abs(gap) for _, gap in gaps) / len(gaps)


def _signed(probabilities: Tensor, won: Tensor, bins: int) -> float:
    return sum(share * gap for share, gap in _gaps(probabilities, won, bins))


def _row_by_row(probabilities: Tensor, won: Tensor, bins: int) -> float:
    return float((probabilities - won.float()).abs().mean())


def _middles(probabilities: Tensor, won: Tensor, bins: int) -> float:
    bin_of = (probabilities * bins).long().clamp(max=bins - 1)
    total = 0.0
    for number in range(bins):
        inside = bin_of == number
        if inside.any():
            gap = abs((number + 0.5) / bins - float(won[inside].float().mean()))
            total += gap * float(inside.float().mean())
    return total


def _squared(probabilities: Tensor, won: Tensor, bins: int) -> float:
    return sum(share * gap**2 for share, gap in _gaps(probabilities, won, bins))


def _predictions() -> list[tuple]:
    draw = torch.Generator().manual_seed(0)
    chance = torch.rand(60, generator=draw)
    return [
        (torch.tensor([0.9, 0.9, 0.9, 0.3]), torch.tensor([1, 1, 0, 1]), 5),
        (chance, (torch.rand(60, generator=draw) < chance**2).long(), 10),
        (torch.tensor([1.0, 0.0]), torch.tensor([1, 0]), 4),
        (torch.tensor([0.6, 0.7, 0.8]), torch.tensor([0, 0, 1]), 1),
    ]


CALIBRATION = Exercise(
    title="Calibration error",
    level="medium",
    minutes=15,
    hints=(
        "Sort the predictions into bins of equal width. In each bin compare the mean prediction with the share that won.",
        "The bin's number is (probabilities * bins).long(), at most bins − 1. Weigh each absolute gap with the bin's share of "
        "the rows, and pass over empty bins.",
    ),
    solution=calibration_error,
    cases=_predictions,
    mistakes=(
        Mistake(_bins_alike, "Every bin weighs the same in yours, however few predictions lie in it."),
        Mistake(_signed, "Your gaps have signs and cancel: too sure in one bin, too unsure in another, and the sum looks calibrated."),
        Mistake(_row_by_row, "You compare each prediction with its own outcome. A calibrated 70% is wrong three times in ten; only shares can be compared."),
        Mistake(_middles, "You compare with the middle of each bin. Compare with the mean of the predictions in it, which may lie to one side."),
        Mistake(_squared, "You square the gaps. The expected calibration error takes their absolute value."),
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- 10 · open

LENGTH = OpenExercise(
    title="A reward model that does not count sentences",
    level="hard",
    minutes=60,
    hints=(
        "Where could the bias be removed: in the pairs (drop or weigh those whose longer answer won), in the loss (a term "
        "for the correlation of score and length), or in the finished scores (subtract a fitted slope)?",
        "Judge by two numbers at once: the accuracy against gold, and how much the score rises with a sentence that adds "
        "nothing, at the same gold. A rule that lowers only the first has found the part of length that was quality.",
    ),
    good_answer=(
        "A good answer states its measure of the bias before training, and one that holds the quality fixed: some stories "
        "are better for being longer, so that a score without any correlation with length is biased, too. It compares, on "
        "at least three seeds and the same pairs, accuracy against labels, accuracy against gold, and the bias, with an "
        "unchanged model and with a control that drops as many pairs at random. It expects accuracy against the labels to "
        "fall, since the labels are biased, and says what accuracy against gold does. And it lets best of n show "
        "whether the answers that are chosen have become shorter, and better."
    ),
)

EXERCISES = (
    PAIR,
    STRENGTHS,
    END,
    NORMALISED,
    RANKING,
    PLACKETT_LUCE,
    CEILING,
    CALIBRATION,
    JUDGES,
    LENGTH,
)
