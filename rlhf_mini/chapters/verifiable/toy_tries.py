"""Several tries at one problem, exactly: pass@k and the majority vote of a known distribution of answers.

A problem is a list of chances, the truth's first. What k fresh tries bring is a sum over how often each answer comes;
so is the mean of an estimate that is made from n tries.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rlhf_mini.evaluation.pass_at_k import majority_at_k, majority_vote, pass_at_k

TRUTH = 0  # the number of the right answer
PROBLEMS: Mapping[str, tuple[float, ...]] = {
    "in front": (0.40, 0.30, 0.20, 0.10),  # the truth is the likeliest answer
    "behind": (0.30, 0.40, 0.20, 0.10),  # a wrong one is
    "rare": (0.05, 0.35, 0.30, 0.30),
}
NUMBERS = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # k of what is exact
TRIES = 8  # n from which is estimated


def over_tries(chances: Sequence[float], count: int, value: Callable[[list[int]], float]) -> float:
    """The mean of a number over `count` tries, each of which gives answer i with the chance at place i.

    Raises ValueError unless the chances add up to 1, or for a count below 1.
    """
    if abs(sum(chances) - 1) > 1e-9 or min(chances) < 0 or count < 1:
        raise ValueError(f"need chances that add up to 1 and a count of at least 1, got {chances}, {count}")
    mean = 0.0
    for tries in itertools.combinations_with_replacement(range(len(chances)), count):
        counts = [tries.count(answer) for answer in range(len(chances))]
        orders = math.factorial(count) // math.prod(map(math.factorial, counts))
        mean += orders * math.prod(p**n for p, n in zip(chances, counts, strict=True)) * value(list(tries))
    return mean


def exact_pass(chances: Sequence[float], *, k: int) -> float:
    """The chance that one of k tries is right, 1 − (1 − p)^k."""
    return 1 - (1 - chances[TRUTH]) ** k


def exact_majority(chances: Sequence[float], *, k: int) -> float:
    """The chance that most of k tries say the truth, ties broken at random."""
    return over_tries(chances, k, lambda tries: majority_vote(tries).chance_of(TRUTH))


def plugged_in(right: int, tries: int, *, k: int) -> float:
    """1 − (1 − c/n)^k, the estimate that puts the share of right tries for their chance."""
    return 1 - (1 - right / tries) ** k


def curves(problem: str) -> dict[str, list[float]]:
    """`pass` and `majority` of one of `PROBLEMS`, exactly, for each k of `NUMBERS`."""
    chances = PROBLEMS[problem]
    return {
        "k": [float(k) for k in NUMBERS],
        "pass": [exact_pass(chances, k=k) for k in NUMBERS],
        "majority": [exact_majority(chances, k=k) for k in NUMBERS],
    }


def estimates(problem: str, *, tries: int = TRIES) -> dict[str, list[float]]:
    """The means of what is estimated from so many tries at a problem, over all that these may be, for each k up to them.

    `pass` and `majority` by the library's estimators; `plugged in` by the share of right tries; and what is exact,
    `exact pass` and `exact majority`.
    """
    chances, sizes = PROBLEMS[problem], range(1, tries + 1)
    estimators: dict[str, Callable[[int, list[int]], float]] = {
        "pass": lambda k, drawn: pass_at_k(drawn.count(TRUTH), tries, k=k),
        "plugged in": lambda k, drawn: plugged_in(drawn.count(TRUTH), tries, k=k),
        "majority": lambda k, drawn: majority_at_k(drawn, TRUTH, k=k),
    }
    found = {
        name: [over_tries(chances, tries, partial(estimate, k)) for k in sizes]
        for name, estimate in estimators.items()
    }
    return {
        "k": [float(k) for k in sizes],
        **found,
        "exact pass": [exact_pass(chances, k=k) for k in sizes],
        "exact majority": [exact_majority(chances, k=k) for k in sizes],
    }
