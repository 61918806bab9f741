"""Exercises of chapter 08 on samples: a walk told otherwise, a sample without success, what smoothing spoils."""

import itertools
import math

from rlhf_mini.reader import Exercise, Mistake

# ------------------------------------------------------------------------------------------ 1 · a walk told otherwise


def as_if(walk: list[int], goal: int) -> list[tuple[int, int, float]]:
    """The steps of a walk as if `goal` had been its goal: (state, next state, reward) each; none if it never got there.

    walk holds the cells in their order, the start first. A step into the goal pays 1 and ends the walk; others pay 0.
    """
    if goal not in walk[1:]:
        return []
    end = walk.index(goal, 1)
    return [(walk[t], walk[t + 1], float(walk[t + 1] == goal)) for t in range(end)]


def _goes_on(walk: list[int], goal: int) -> list[tuple[int, int, float]]:
    if goal not in walk[1:]:
        return []
    return [(here, there, float(there == goal)) for here, there in itertools.pairwise(walk)]


def _unpaid(walk: list[int], goal: int) -> list[tuple[int, int, float]]:
    return [(here, there, 0.0) for here, there, _ in as_if(walk, goal)]


def _also_failures(walk: list[int], goal: int) -> list[tuple[int, int, float]]:
    steps = [(here, there, 0.0) for here, there in itertools.pairwise(walk)]
    return as_if(walk, goal) or steps


def _last_cell(walk: list[int], goal: int) -> list[tuple[int, int, float]]:
    last = len(walk) - 2
    steps = itertools.pairwise(walk)
    return [(here, there, float(t == last)) for t, (here, there) in enumerate(steps)]


def _start_counts(walk: list[int], goal: int) -> list[tuple[int, int, float]]:
    if goal not in walk:
        return []
    end = walk.index(goal)
    return [(walk[t], walk[t + 1], float(walk[t + 1] == goal)) for t in range(end)]


WALK = Exercise(
    title="A walk told otherwise",
    level="easy",
    minutes=10,
    hints=(
        "The walk would have ended where it first came to that cell. (A table may learn from the steps after it as well, as the library's does: any step is a step. Here we ask for the walk as it would have been.)",
        "end = walk.index(goal, 1) is the first arrival after the start. The steps are (walk[t], walk[t + 1], …) for t below "
        "end, and only the last of them is paid.",
    ),
    solution=as_if,
    cases=lambda: [
        ([0, 1, 2, 3], 2),
        ([0, 1, 0, 4, 5], 0),
        ([7, 8, 9, 8, 9, 10], 9),
        ([3, 4, 4, 5], 5),
        ([3, 4, 5], 6),
    ],
    mistakes=(
        Mistake(_goes_on, "Your walk goes on after it has arrived. With this goal it would have ended there."),
        Mistake(_unpaid, "You changed the goal and kept the old pay. Coming to the new goal pays 1: this is what is to be learned."),
        Mistake(_also_failures, "A walk that never came to the goal shows no way to it. Its steps are no success with this goal, and hindsight leaves them out."),
        Mistake(_last_cell, "You pay for the last step, whatever the goal is. It is the arrival at the goal that pays, and the walk ends there."),
        Mistake(_start_counts, "To begin at the goal is not to come to it. Look for the first arrival after the start."),
    ),
)  # fmt: skip


# ----------------------------------------------------------------------------------- 2 · a sample without a success


def without_success(share: float, samples: int, certainty: float) -> tuple[float, int]:
    """The chance that none of `samples` outputs is right, and how many samples make one right with `certainty`.

    share, between 0 and 1, is the chance that an output is right. The second is the least number of samples in which at
    least one is right with a probability of at least `certainty`.
    """
    chance = (1 - share) ** samples
    needed = math.log(1 - certainty) / math.log(1 - share)
    return chance, math.ceil(needed)


def _expected(share: float, samples: int, certainty: float) -> tuple[float, int]:
    return max(0.0, 1 - share * samples), math.ceil(certainty / share)


def _success(share: float, samples: int, certainty: float) -> tuple[float, int]:
    chance, needed = without_success(share, samples, certainty)
    return 1 - chance, needed


def _one_less(share: float, samples: int, certainty: float) -> tuple[float, int]:
    chance, needed = without_success(share, samples, certainty)
    return chance, needed - 1


def _wrong_side(share: float, samples: int, certainty: float) -> tuple[float, int]:
    return (1 - share) ** samples, math.ceil(math.log(certainty) / math.log(1 - share))


NOTHING = Exercise(
    title="A sample without a success",
    level="easy",
    minutes=10,
    hints=(
        "All of them are wrong: a product of as many equal factors.",
        "(1 − p)ⁿ ≤ 1 − c gives n ≥ log(1 − c) / log(1 − p), for both logarithms are negative. Round up.",
    ),
    solution=without_success,
    cases=lambda: [(0.1, 5, 0.95), (0.01, 64, 0.5), (0.3, 1, 0.9), (0.02, 10, 0.99)],
    mistakes=(
        Mistake(_expected, "Chances of single outputs do not add up: two of them may both be right. Multiply the chances of being wrong."),
        Mistake(_success, "That is the chance of at least one success. Asked is the chance of none, in which a filter has nothing to learn from."),
        Mistake(_one_less, "One too few: with your number the certainty is not yet reached. Round up."),
        Mistake(_wrong_side, "Your number leaves a chance of `certainty` for no success at all. It is 1 − certainty that may be left."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------- 3 · what smoothing spoils


def whole(tokens: int, vocabulary: int, smoothing: float, temperature: float) -> float:
    """The chance that all tokens of an answer are those that were learned, if the smoothed target is met exactly.

    In each of `tokens` places the policy gives the learned token 1 − ε + ε/V and each of the V − 1 others ε/V, and an
    answer is drawn at `temperature`: from the probabilities to the power 1/temperature, normalised.
    """
    other = smoothing / vocabulary
    learned, others = (1 - smoothing + other) ** (1 / temperature), other ** (1 / temperature)
    return (learned / (learned + (vocabulary - 1) * others)) ** tokens


def _no_temperature(tokens: int, vocabulary: int, smoothing: float, temperature: float) -> float:
    return whole(tokens, vocabulary, smoothing, 1.0)


def _to_the_power(tokens: int, vocabulary: int, smoothing: float, temperature: float) -> float:
    return whole(tokens, vocabulary, smoothing, 1 / temperature)


def _one_token(tokens: int, vocabulary: int, smoothing: float, temperature: float) -> float:
    return whole(1, vocabulary, smoothing, temperature)


def _spread_over_others(tokens: int, vocabulary: int, smoothing: float, temperature: float) -> float:
    other = smoothing / (vocabulary - 1)
    learned, others = (1 - smoothing) ** (1 / temperature), other ** (1 / temperature)
    return (learned / (learned + (vocabulary - 1) * others)) ** tokens


def _one_other(tokens: int, vocabulary: int, smoothing: float, temperature: float) -> float:
    other = smoothing / vocabulary
    learned, others = (1 - smoothing + other) ** (1 / temperature), other ** (1 / temperature)
    return (learned / (learned + others)) ** tokens


SMOOTHED_AWAY = Exercise(
    title="What smoothing spoils",
    level="medium",
    minutes=15,
    hints=(
        "One place first: two kinds of tokens, one learned and V − 1 others, each to the power 1/temperature.",
        "The share of the learned one among them all, to the power of the number of tokens. At temperature 1 the share is "
        "1 − ε (V − 1)/V.",
    ),
    solution=whole,
    cases=lambda: [(12, 44, 0.2, 1.0), (12, 44, 0.2, 0.5), (60, 1024, 0.2, 1.0), (60, 1024, 0.02, 0.7), (3, 5, 0.5, 2.0)],
    mistakes=(
        Mistake(_no_temperature, "Where is the temperature? A low one draws the likeliest token more often than its probability says."),
        Mistake(_to_the_power, "Probabilities go to the power of one over the temperature, not of the temperature: below 1 the sharp become sharper."),
        Mistake(_one_token, "That is the chance of one token. All of them have to be right."),
        Mistake(_spread_over_others, "You spread ε over the other tokens only. In this loss it is spread over all V, the learned one among them."),
        Mistake(_one_other, "There are V − 1 other tokens, and any one of them spoils the answer."),
    ),
    tolerance=1e-9,
)  # fmt: skip
