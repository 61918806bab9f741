"""Rewards for sums that a program can check, some of them with a gap that a policy can find.

Each is a function of a prompt and an answer in words to a number, as `methods.answers.text_score` wants it.
The strict ones are those of `worlds.sums`: the answer's number, each of its steps, its form. `GAPS` names
three rewards that look as sensible and can be had for something else: what is wrong, what a policy would
write, and what closes the gap.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlhf_mini.worlds.sums import Sum, read_solution, read_sum, verify

TextReward = Callable[[str, str], float]  # a prompt and an answer → a number

_NUMBER = re.compile(r"\d+")
STEP_PAY = 0.25  # of `steps_counted`, for each step


def answer_right(prompt: str, text: str) -> float:
    """1 if the answer ends in the sum, in the form of steps and an answer; how it came to it does not count.

    >>> answer_right("27+58", "7+8=15 2+5+1=8 =85"), answer_right("27+58", "=85"), answer_right("27+58", "85")
    (1.0, 1.0, 0.0)
    """
    return float(verify(prompt, text).answer_right)


def all_right(prompt: str, text: str) -> float:
    """1 if everything is right: each step, as many as there are columns, the answer, and nothing else.

    >>> all_right("27+58", "7+8=15 2+5+1=8 =85"), all_right("27+58", "0=0 0=0 =85"), all_right("27+58", "=85")
    (1.0, 0.0, 0.0)
    """
    return float(verify(prompt, text).correct)


def steps_written(prompt: str, text: str) -> float:
    """A format reward: 1 if as many steps as there are columns are written, then an answer, right or wrong.

    >>> steps_written("27+58", "7+8=16 2+5+1=8 =86"), steps_written("27+58", "=85")
    (1.0, 0.0)
    """
    return float(verify(prompt, text).whole)


def steps_share(prompt: str, text: str) -> float:
    """A reward for the way: the share of the columns whose step is right, from 0 to 1.

    >>> steps_share("27+58", "7+8=15 2+5=7 =75")
    0.5
    """
    right = verify(prompt, text).steps_right
    return sum(right) / len(right)


def answer_mentioned(prompt: str, text: str) -> float:
    """1 if the sum occurs anywhere as a number. The gap: one may write several numbers.

    >>> answer_mentioned("27+58", "=83 =84 =85"), answer_mentioned("27+58", "=185")
    (1.0, 0.0)
    """
    return float(str(read_sum(prompt).answer) in _NUMBER.findall(text))


def steps_counted(prompt: str, text: str) -> float:
    """A quarter for each step that is written, whatever it says. The gap: more steps than columns pay more.

    >>> steps_counted("27+58", "7+8=15 2+5+1=8 =85"), steps_counted("27+58", "0=0 0=0 0=0 0=0 =0")
    (0.5, 1.0)
    """
    return STEP_PAY * len(read_solution(text).steps)


@dataclass(frozen=True)
class Gap:
    """A reward that can be had without what it was meant for.

    Attributes:
        reward: the one with the gap.
        closed: one that was meant the same way and does not have it.
        fault: what is wrong, in a sentence.
        exploit: what a policy would write to a problem: it earns as much as a whole right solution of it, or
            more, though `all_right` refuses it.
        needs_answer: whether the exploit must know the sum; where not, nothing is learned of adding up.
    """

    reward: TextReward
    closed: TextReward
    fault: str
    exploit: Callable[[Sum], str]
    needs_answer: bool


def _bare(problem: Sum) -> str:
    return f"={problem.answer}"


def _listed(problem: Sum) -> str:
    """Every number that two or more numbers of these lengths can add up to."""
    least = sum(10 ** (len(str(number)) - 1) for number in problem.numbers)
    most = sum(10 ** len(str(number)) - 1 for number in problem.numbers)
    return "".join(f"={number} " for number in range(least, most + 1)).strip()


def _padded(problem: Sum) -> str:
    return "0=0 " * (len(problem.columns) + 1) + "=0"


GAPS: Mapping[str, Gap] = {
    "steps unchecked": Gap(
        reward=answer_right,
        closed=all_right,
        fault="Only the answer is checked: steps may be left out, or say something else.",
        exploit=_bare,
        needs_answer=True,
    ),
    "listing": Gap(
        reward=answer_mentioned,
        closed=answer_right,
        fault="The sum may stand anywhere: who writes many numbers is right more often.",
        exploit=_listed,
        needs_answer=False,
    ),
    "padding": Gap(
        reward=steps_counted,
        closed=steps_share,
        fault="Steps are counted and not read: who writes more of them earns more.",
        exploit=_padded,
        needs_answer=False,
    ),
}
