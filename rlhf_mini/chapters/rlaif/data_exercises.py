"""Exercises of chapter 10 on data and results: two kinds of labels, which revision is learned, a head-to-head."""

import math

from rlhf_mini.reader import Exercise, Mistake

# --------------------------------------------------------------------------------- 5 · labels of a judge and of people


def how_many(from_judge: int, from_people: int, people_share: float) -> tuple[int, int]:
    """How many labels of each kind to take, so that people's make up `people_share` and as few as can be are left out.

    There are `from_judge` and `from_people` labels. The share lies strictly between 0 and 1.
    """
    total = min(from_judge / (1 - people_share), from_people / people_share)
    total = math.floor(total + 1e-9)
    return round(total * (1 - people_share)), round(total * people_share)


def _of_all(from_judge: int, from_people: int, people_share: float) -> tuple[int, int]:
    total = from_judge + from_people
    return round(total * (1 - people_share)), round(total * people_share)


def _to_each_other(from_judge: int, from_people: int, people_share: float) -> tuple[int, int]:
    judge = min(from_judge, from_people / people_share)
    return round(judge), round(judge * people_share)


def _all_of_the_judge(from_judge: int, from_people: int, people_share: float) -> tuple[int, int]:
    people = from_judge * people_share / (1 - people_share)
    return from_judge, min(from_people, round(people))


def _by_the_scarcer(from_judge: int, from_people: int, people_share: float) -> tuple[int, int]:
    total = min(from_judge, from_people)
    return round(total * (1 - people_share)), round(total * people_share)


def _other_share(from_judge: int, from_people: int, people_share: float) -> tuple[int, int]:
    return how_many(from_judge, from_people, 1 - people_share)


MIXED = Exercise(
    title="Labels of a judge and of people",
    level="easy",
    minutes=10,
    hints=(
        "Each kind sets a limit to the total: people's labels are enough for from_people / share of both.",
        "The total is the lesser of from_judge / (1 − share) and from_people / share, rounded down, and is then divided.",
    ),
    solution=how_many,
    cases=lambda: [(8000, 1000, 0.5), (1000, 8000, 0.25), (135_296, 182_831, 0.4), (300, 100, 0.1)],
    mistakes=(
        Mistake(_of_all, "So many there are not: of one of the kinds you take more than there is. The one that runs out first sets the total."),
        Mistake(_to_each_other, "You take the share as people's labels for each of the judge's. It is their part of all that is learned."),
        Mistake(_all_of_the_judge, "You always take all of the judge's. Where people's run out, the share is then smaller than was asked for."),
        Mistake(_by_the_scarcer, "You leave out too much: the scarcer kind need not make up the whole, only its share of it."),
        Mistake(_other_share, "The share is that of people's labels, not of the judge's."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------ 6 · which revision is learned


def learned(first: str, revisions: list[str], scores: list[float]) -> int:
    """Which answer of a chain of revisions is learned: 0 the first answer, 1 the first revision, …; −1 none.

    scores has a number for the first answer and for each revision, the higher the better. An empty revision is not
    taken. Of the others the last is learned that scores at least as high as the first answer; the chain is left out,
    −1, if there is none, or if what would be learned is the first answer word for word.
    """
    for place in range(len(revisions), 0, -1):
        text = revisions[place - 1]
        if text.strip() and scores[place] >= scores[0]:
            return -1 if text == first else place
    return -1


def _last(first: str, revisions: list[str], scores: list[float]) -> int:
    return len(revisions)


def _last_written(first: str, revisions: list[str], scores: list[float]) -> int:
    written = [place for place, text in enumerate(revisions, 1) if text.strip()]
    return -1 if not written or revisions[written[-1] - 1] == first else written[-1]


def _best(first: str, revisions: list[str], scores: list[float]) -> int:
    best = max(range(len(scores)), key=lambda place: scores[place])
    return -1 if best == 0 else best


def _better_than_before(first: str, revisions: list[str], scores: list[float]) -> int:
    for place in range(len(revisions), 0, -1):
        text = revisions[place - 1]
        if text.strip() and scores[place] >= scores[place - 1]:
            return -1 if text == first else place
    return -1


def _unchanged_too(first: str, revisions: list[str], scores: list[float]) -> int:
    for place in range(len(revisions), 0, -1):
        if revisions[place - 1].strip() and scores[place] >= scores[0]:
            return place
    return 0


def _strictly(first: str, revisions: list[str], scores: list[float]) -> int:
    for place in range(len(revisions), 0, -1):
        text = revisions[place - 1]
        if text.strip() and scores[place] > scores[0]:
            return -1 if text == first else place
    return -1


LEARNED = Exercise(
    title="Which revision is learned",
    level="medium",
    minutes=15,
    hints=(
        "Go through the revisions from the last to the first, and stop at the one that may be learned.",
        "It may be if it is not empty and scores[place] >= scores[0], for scores[0] belongs to the first answer. If it "
        "is the first answer again, word for word, there is nothing to learn from this chain: −1.",
    ),
    solution=learned,
    cases=lambda: [
        ("a", ["b", "c", "d"], [0.0, 1.0, 3.0, 2.0]),
        ("a", ["b", "", "c"], [1.0, 1.0, 0.0, 0.5]),
        ("a", ["b", "a", " "], [1.0, 2.0, 1.0, 5.0]),
        ("a", ["b"], [2.0, 1.0]),
        ("a", ["b", "c"], [0.0, 3.0, 1.0]),
    ],
    mistakes=(
        Mistake(_last, "Not every last revision is one: it may be empty, or have become worse than the answer it began with."),
        Mistake(_last_written, "You leave the scores out. A chain can end below its beginning, and would then teach to get worse."),
        Mistake(_best, "You take the one of the highest score. The judge that scores has errors, and the highest of several is where they are largest; besides, an empty text can score high."),
        Mistake(_better_than_before, "You compare with the revision before. A little recovery after a great fall is then learned; compare with the first answer."),
        Mistake(_unchanged_too, "A chain that ends where it began has shown nothing to be learned, and one that only fell should be left out: −1."),
        Mistake(_strictly, "As good is good enough: a revision under a principle that was kept already may only say it in other words. Use ≥."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------ 7 · a head-to-head

Z95 = 1.959963984540054  # the normal quantile of a 95% interval with two sides


def head_to_head(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    """The win rate, a tie counting half, and the ends of its 95% interval by Wilson's formula.

    centre ± width, with centre = (p + z²/2n)/(1 + z²/n) and width = z √(p(1 − p)/n + z²/4n²)/(1 + z²/n), n being all
    comparisons and z = Z95.
    """
    n = wins + ties + losses
    p = (wins + ties / 2) / n
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    width = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    return p, centre - width, centre + width


def _wald(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    n = wins + ties + losses
    p = (wins + ties / 2) / n
    width = Z95 * math.sqrt(p * (1 - p) / n)
    return p, p - width, p + width


def _no_ties(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    return head_to_head(wins, 0, losses)


def _ties_lost(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    return head_to_head(wins, 0, losses + ties)


def _ties_won(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    return head_to_head(wins + ties, 0, losses)


def _around_p(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    p, low, high = head_to_head(wins, ties, losses)
    return p, p - (high - low) / 2, p + (high - low) / 2


def _centre_told(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    _, low, high = head_to_head(wins, ties, losses)
    return (low + high) / 2, low, high


HEAD_TO_HEAD = Exercise(
    title="A head-to-head",
    level="medium",
    minutes=15,
    hints=(
        "All comparisons count in n, ties too; of the wins a tie is half a one.",
        "The interval is not centred at p but a little towards ½. The rate that is told is p all the same.",
    ),
    solution=head_to_head,
    cases=lambda: [(50, 0, 50), (60, 30, 10), (12, 0, 0), (3, 1, 6)],
    mistakes=(
        Mistake(_wald, "That is p ± z √(p(1 − p)/n). With 12 wins of 12 it says that defeat is impossible. Wilson's formula asks which rates would explain what was seen."),
        Mistake(_no_ties, "You leave ties out, and so tell a rate among decided comparisons, from fewer of them. Two policies that mostly tie are then as far apart as two that never do."),
        Mistake(_ties_lost, "You count a tie as lost. Seen from the other side, all ties would be lost too, and the two rates would not add up to 1."),
        Mistake(_ties_won, "You count a tie as won. Seen from the other side, all ties would be won too, and the two rates would add up to more than 1."),
        Mistake(_around_p, "The width is right, but the interval is not centred at p: near 0 and 1 it would leave the unit interval."),
        Mistake(_centre_told, "You tell the interval's centre for the rate. The rate is what was seen, (wins + ties/2)/n."),
    ),
    tolerance=1e-9,
)  # fmt: skip
