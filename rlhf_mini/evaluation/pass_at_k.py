"""What several tries are worth: the chance that one of k is right, and whether most of k agree on it.

Both are estimated from n tries at each problem, n at least k, without bias: as the average over all ways to
choose k of the n. pass@k needs a verifier to pick the right one; the majority picks by itself.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


def pass_at_k(right: int, tries: int, *, k: int) -> float:
    """The chance that at least one of k tries is right, from n tries of which c were.

    ``1 − C(n − c, k) / C(n, k)``: the share of the choices of k tries that hold a right one. For a solver
    that is right with chance p its mean is exactly ``1 − (1 − p)^k``. Putting the share ``c/n`` for p in that
    formula instead gives too little on average, the more so the nearer k is to n.

    Args:
        right: c, from 0 to n.
        tries: n, at least k.
        k: at least 1.

    Returns:
        From 0 to 1, for one problem; average over problems.

    Raises:
        ValueError: on numbers out of range.

    Paper: Chen et al. 2021 (Codex), arXiv 2107.03374, eq. 1.

    Example:
        >>> pass_at_k(1, 4, k=1), pass_at_k(1, 4, k=2), pass_at_k(3, 4, k=2)
        (0.25, 0.5, 1.0)
    """
    if not (1 <= k <= tries and 0 <= right <= tries):
        raise ValueError(f"need 1 <= k <= tries and 0 <= right <= tries, got {right=}, {tries=}, {k=}")
    return 1 - math.comb(tries - right, k) / math.comb(tries, k)


def mean_pass_at_k(passed: Sequence[Sequence[bool]], *, k: int) -> float:
    """`pass_at_k`, averaged over problems.

    Args:
        passed: for each problem, which of its tries were right; at least k tries each, not necessarily as
            many. A boolean array or `tensor.tolist()` of one will do.
        k: at least 1.

    Raises:
        ValueError: if there are no problems, or one has fewer than k tries.

    Example:
        >>> mean_pass_at_k([[True, False], [False, False]], k=1)
        0.25
    """
    if not len(passed):
        raise ValueError("there are no problems to average over")
    return sum(pass_at_k(int(sum(map(bool, tries))), len(tries), k=k) for tries in passed) / len(passed)


@dataclass(frozen=True)
class Vote:
    """What most tries say.

    Attributes:
        winners: the answers with the most votes, in the order of their first vote: one, or several that tie;
            none if nobody voted.
        votes: how many each of them has.
        voters: how many tries voted; None is no vote.
    """

    winners: tuple[Hashable, ...]
    votes: int
    voters: int

    @property
    def tied(self) -> bool:
        """Whether several answers have the most votes."""
        return len(self.winners) > 1

    def chance_of(self, answer: Hashable) -> float:
        """The chance that this answer is returned, ties broken at random: 0, 1, or 1 by how many tie."""
        return 1 / len(self.winners) if answer in self.winners else 0.0


def majority_vote(answers: Sequence[Hashable | None]) -> Vote:
    """The answer that most tries give, with all that tie for it.

    Args:
        answers: one a try; None for a try without a readable answer, which does not vote.

    Paper: Wang et al. 2022 (self-consistency), arXiv 2203.11171.

    Example:
        >>> majority_vote([85, 84, 85, None])
        Vote(winners=(85,), votes=2, voters=3)
        >>> majority_vote([85, 84]).tied
        True
    """
    counts = Counter(answer for answer in answers if answer is not None)
    most = max(counts.values(), default=0)
    winners = tuple(answer for answer, votes in counts.items() if votes == most)
    return Vote(winners=winners, votes=most, voters=sum(counts.values()))


def majority_at_k(answers: Sequence[Hashable | None], truth: Hashable, *, k: int) -> float:
    """The chance that most of k tries say the truth, from n tries at one problem; ties are broken at random.

    The average over all ``C(n, k)`` choices of k tries of `Vote.chance_of` the truth, summed by how many
    votes everyone has and not choice by choice. Without bias for k fresh tries.

    Args:
        answers: one a try, at least k; None for a try that does not vote.
        truth: the right answer, not None.
        k: at least 1.

    Returns:
        From 0 to 1, for one problem; average over problems. At ``k = n`` the vote itself.

    Raises:
        ValueError: if k is out of range, or the truth is None.

    Example:
        >>> majority_at_k([85, 85, 84], 85, k=1) == 2 / 3
        True
        >>> majority_at_k([85, 85, 84], 85, k=2) == (1 + 1 / 2 + 1 / 2) / 3
        True
    """
    if not 1 <= k <= len(answers) or truth is None:
        raise ValueError(f"need 1 <= k <= {len(answers)} tries and a truth, got k={k}, truth={truth!r}")
    counts = Counter(answers)
    abstained, right = counts.pop(None, 0), counts.pop(truth, 0)
    wins = 0.0
    for votes in range(1, min(k, right) + 1):
        # ways[(chosen, ties)]: how the others can be chosen, nobody with more votes than the truth
        ways = {(taken, 0): math.comb(abstained, taken) for taken in range(min(abstained, k - votes) + 1)}
        for rival in counts.values():
            ways = _with_rival(ways, rival, most=votes, room=k - votes)
        wins += math.comb(right, votes) * sum(
            number / (ties + 1) for (chosen, ties), number in ways.items() if chosen == k - votes
        )
    return wins / math.comb(len(answers), k)


def _with_rival(
    ways: dict[tuple[int, int], int], rival: int, *, most: int, room: int
) -> dict[tuple[int, int], int]:
    """The ways to choose, when an answer that was given `rival` times may be among what is chosen."""
    extended: dict[tuple[int, int], int] = {}
    for (chosen, ties), number in ways.items():
        for votes in range(min(rival, most, room - chosen) + 1):
            key = (chosen + votes, ties + (votes == most))
            extended[key] = extended.get(key, 0) + number * math.comb(rival, votes)
    return extended
