"""Exercises of chapter 12 on answers: a verifier for a form, pass@k of a benchmark, the majority's vote."""

import math
import re
from collections import Counter

from rlhf_mini.reader import Exercise, Mistake

# ----------------------------------------------------------------------------------------- 5 · a verifier for a form

FORM = r"<think>(.*?)</think>\s*<answer>\s*(-?\d+)\s*</answer>"


def reward(text: str, truth: int) -> float:
    """1 for a right answer in the right form, 0.1 for the form alone, else 0.

    The form: thoughts between <think> and </think>, over one line or several, then a whole number between <answer> and
    </answer>; spaces and new lines may stand between the two parts and around the number, and nothing else anywhere.
    Each of the four tags comes once.
    """
    found = re.fullmatch(FORM, text, flags=re.DOTALL)
    if found is None or re.search(r"</?(?:think|answer)>", found[1]):
        return 0.0
    return 1.0 if int(found[2]) == truth else 0.1


def _anywhere(text: str, truth: int) -> float:
    found = re.search(FORM, text, flags=re.DOTALL)
    if found is None or re.search(r"</?(?:think|answer)>", found[1]):
        return 0.0
    return 1.0 if int(found[2]) == truth else 0.1


def _mentioned(text: str, truth: int) -> float:
    return float(str(truth) in text)


def _as_text(text: str, truth: int) -> float:
    found = re.fullmatch(FORM, text, flags=re.DOTALL)
    if found is None or re.search(r"</?(?:think|answer)>", found[1]):
        return 0.0
    return 1.0 if found[2] == str(truth) else 0.1


def _one_line(text: str, truth: int) -> float:
    return reward(text, truth) if "\n" not in text else 0.0


def _any_thought(text: str, truth: int) -> float:
    found = re.fullmatch(FORM, text, flags=re.DOTALL)
    return 0.0 if found is None else 1.0 if int(found[2]) == truth else 0.1


def _answer_alone(text: str, truth: int) -> float:
    found = re.findall(r"<answer>\s*(-?\d+)\s*</answer>", text)
    return 1.0 if found and int(found[-1]) == truth else reward(text, truth)


def _added(text: str, truth: int) -> float:
    paid = reward(text, truth)
    return paid + 0.1 if paid == 1.0 else paid


FORM_REWARD = Exercise(
    title="A verifier for a form",
    level="medium",
    minutes=20,
    hints=(
        "re.fullmatch asks for the whole text; re.DOTALL lets . stand for a new line. Then read the number as a number.",
        "A pattern whose thoughts may be anything accepts thoughts that hold a whole first answer. Look for the four tags in what the thoughts matched.",
    ),
    solution=reward,
    cases=lambda: [
        ("<think>7+8=15</think><answer>85</answer>", 85),
        ("<think>7+8=15\n2+5+1=8</think>\n<answer> 85 </answer>", 85),
        ("<think>x</think><answer>84</answer>", 85),
        ("<answer>85</answer>", 85),
        ("<think>x</think><answer>84</answer><answer>85</answer>", 85),
        ("<think>x</think><answer>85</answer> or 86", 85),
        ("<think>x</think><answer>085</answer>", 85),
        ("<think>85</think><answer>no idea</answer>", 85),
        ("<think>x</think><answer>84</answer><think>y</think><answer>85</answer>", 85),
        ("<think></think><answer>-3</answer>", -3),
    ],
    mistakes=(
        Mistake(_anywhere, "You look for the form anywhere in the text. What stands before or after it then costs nothing: an answer may go on, name other numbers, or begin again."),
        Mistake(_mentioned, "A number that is mentioned is not an answer. Who writes many numbers is right more often."),
        Mistake(_as_text, "You compare texts: 085 is 85, too. Read both as numbers."),
        Mistake(_one_line, "A point stands for anything but a new line, unless you pass re.DOTALL. Thoughts may go over several lines."),
        Mistake(_any_thought, "Your pattern lets the thoughts hold a whole answer, so that two tries in a row pass as thoughts and one answer. Refuse tags inside the thoughts."),
        Mistake(_answer_alone, "A right number without the form earns 0 here. Otherwise nothing asks for the thoughts, and they will go."),
        Mistake(_added, "The form's 0.1 is for the form alone. A right answer in the right form earns 1 in all."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# ----------------------------------------------------------------------------------------- 6 · pass@k of a benchmark


def benchmark(tried: list[tuple[int, int]], k: int) -> float:
    """pass@k of a benchmark without bias, from (tries, right ones) of each problem; every problem counts the same, and
    has at least k tries."""
    return sum(1 - math.comb(n - c, k) / math.comb(n, k) for n, c in tried) / len(tried)


def _pooled(tried: list[tuple[int, int]], k: int) -> float:
    n, c = (sum(column) for column in zip(*tried, strict=True))
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def _of_the_mean(tried: list[tuple[int, int]], k: int) -> float:
    return 1 - (1 - sum(c / n for n, c in tried) / len(tried)) ** k


def _plugged_in(tried: list[tuple[int, int]], k: int) -> float:
    return sum(1 - (1 - c / n) ** k for n, c in tried) / len(tried)


def _first_k_only(tried: list[tuple[int, int]], k: int) -> float:
    return sum(c > 0 for n, c in tried) / len(tried)


def _by_tries(tried: list[tuple[int, int]], k: int) -> float:
    found = sum(n * (1 - math.comb(n - c, k) / math.comb(n, k)) for n, c in tried)
    return found / sum(n for n, _ in tried)


def _all_of_k(tried: list[tuple[int, int]], k: int) -> float:
    return sum(math.comb(c, k) / math.comb(n, k) for n, c in tried) / len(tried)


BENCHMARK = Exercise(
    title="pass@k of a benchmark",
    level="easy",
    minutes=10,
    hints=(
        "One problem first: of all ways to choose k of its n tries, which hold a right one?",
        "1 − C(n − c, k)/C(n, k) of each problem, and then the mean over problems. math.comb(a, k) is 0 where k > a.",
    ),
    solution=benchmark,
    cases=lambda: [
        ([(8, 0), (8, 8), (8, 2)], 4),
        ([(16, 3), (4, 1)], 2),
        ([(10, 1), (6, 5), (7, 0), (12, 4)], 5),
        ([(5, 2), (9, 1)], 1),
    ],
    mistakes=(
        Mistake(_pooled, "You put all problems into one. A benchmark of problems that are always and never solved is then as good as one of even chances, which k tries lift far more."),
        Mistake(_of_the_mean, "You lift the mean of pass@1 to the kth power. A curved function of a mean is not the mean of the function: hard problems gain little from k tries."),
        Mistake(_plugged_in, "You put the share c/n for the chance. Its power is curved, so that this is too low on average."),
        Mistake(_first_k_only, "That is whether any of *all* n tries was right, pass@n, and unequal where n is."),
        Mistake(_by_tries, "You count a problem with more tries for more. Tries make the estimate better; the problem is one problem."),
        Mistake(_all_of_k, "You return the chance that all k are right. One is enough."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# ----------------------------------------------------------------------------------------- 7 · the majority's vote


def vote(answers: list[int | None], truth: int) -> float:
    """The chance that the answer which most tries give is the truth, ties broken at random; None is a try without a
    readable answer, which does not vote."""
    counts = Counter(answer for answer in answers if answer is not None)
    most = max(counts.values(), default=0)
    winners = [answer for answer, votes in counts.items() if votes == most]
    return winners.count(truth) / len(winners) if winners else 0.0


def _none_votes(answers: list[int | None], truth: int) -> float:
    counts = Counter(answers)
    winners = [answer for answer, votes in counts.items() if votes == max(counts.values())]
    return winners.count(truth) / len(winners)


def _first_of_a_tie(answers: list[int | None], truth: int) -> float:
    counts = Counter(answer for answer in answers if answer is not None)
    return float(bool(counts) and counts.most_common(1)[0][0] == truth)


def _ties_won(answers: list[int | None], truth: int) -> float:
    return float(vote(answers, truth) > 0)


def _ties_lost(answers: list[int | None], truth: int) -> float:
    return float(vote(answers, truth) == 1)


def _share(answers: list[int | None], truth: int) -> float:
    return answers.count(truth) / len(answers)


def _more_than_half(answers: list[int | None], truth: int) -> float:
    voted = [answer for answer in answers if answer is not None]
    return float(2 * voted.count(truth) > len(voted))


VOTE = Exercise(
    title="The majority's vote",
    level="easy",
    minutes=10,
    hints=(
        "Count the answers that are not None. Which have the most votes? There may be several, or none.",
        "With w winners that tie, the truth is returned with chance 1/w if it is one of them, else never.",
    ),
    solution=vote,
    cases=lambda: [
        ([85, 84, 85, None], 85),
        ([84, 85], 85),
        ([85, 84, 83], 85),
        ([None, None, None, 85, 84, 85], 85),
        ([84, 84, 85], 85),
        ([85, 85, 84, 83, 82], 85),
        ([None, None], 85),
    ],
    mistakes=(
        Mistake(_none_votes, "You let tries without an answer vote. Where many are unreadable, None then wins."),
        Mistake(_first_of_a_tie, "Of several that tie you take the first. It depends on the order of the tries alone; break ties at random, and say how likely the truth is."),
        Mistake(_ties_won, "You count a tie as won. With as many different answers as tries every vote would then be right."),
        Mistake(_ties_lost, "You count a tie as lost. Broken at random, it is won by one of the w that tie."),
        Mistake(_share, "That is the share of right tries, pass@1. The vote is won or lost as a whole."),
        Mistake(_more_than_half, "More than half is not asked for: the answer with the most votes wins, even with two of five."),
    ),
    tolerance=1e-9,
)  # fmt: skip
