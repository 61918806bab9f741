"""Sums with written-out steps: a world in which every step of an answer can be checked by a program.

A problem is ``27+58``. Its worked solution goes column by column from the right, writes what each column adds
up to, the carry last, and ends in the answer:

    >>> problem = Sum((27, 58))
    >>> problem.text, problem.solution
    ('27+58', '7+8=15 2+5+1=8 =85')

``verify`` checks an answer and each of its steps. ``relabel`` says which instruction an output has fulfilled,
``right`` or ``wrong``, ``steps_relabelled`` says it of every step by itself, and ``solved_problem`` finds the
sum that an output has really solved. Held-out problems are never drawn for training, nor in another order of
their numbers.
"""

import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from typing import NamedTuple

RIGHT, WRONG = "right", "wrong"
INSTRUCTIONS = (RIGHT, WRONG)
ALPHABET = "0123456789+= abcdefghijklmnopqrstuvwxyz"  # of problems, instructions and solutions
HELD_OUT_SHARE = 0.2
SLIPS = ("copy", "carry", "adding")  # a digit is misread, a carry is forgotten, a column is added up wrongly
MOST_LISTED = 20_000

_NUMBER = r"(?:0|[1-9]\d{0,14})"
_STEP = re.compile(rf"({_NUMBER}(?:\+{_NUMBER})*)=({_NUMBER}) ")
_ANSWER = re.compile(rf"=({_NUMBER})")
_PROMPT = re.compile(rf"(?:(?P<instruction>[a-z]+) )?(?P<numbers>{_NUMBER}(?:\+{_NUMBER})+)")


@dataclass(frozen=True)
class Level:
    """Sums of `numbers` numbers of `digits` digits each."""

    numbers: int
    digits: int

    def __post_init__(self) -> None:
        if self.numbers < 2 or not 1 <= self.digits <= 12:
            raise ValueError(f"a level needs at least 2 numbers of 1 to 12 digits, got {self}")

    @property
    def range(self) -> range:
        """Which numbers occur; 0 does not.

        >>> Level(numbers=2, digits=2).range
        range(10, 100)
        """
        return range(10 ** (self.digits - 1), 10**self.digits)


LEVELS = (Level(2, 1), Level(2, 2), Level(3, 2), Level(2, 3), Level(3, 3))  # from easy to hard


@dataclass(frozen=True)
class Sum:
    """A problem: whole numbers to be added up.

    Raises ValueError for fewer than two, one below 0, or one of more than 15 digits.
    """

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.numbers) < 2 or min(self.numbers) < 0 or max(self.numbers) >= 10**15:
            raise ValueError(f"a sum needs two or more numbers of at most 15 digits, got {self.numbers}")

    @property
    def text(self) -> str:
        """The problem as a prompt."""
        return "+".join(map(str, self.numbers))

    @property
    def answer(self) -> int:
        """What the numbers add up to."""
        return sum(self.numbers)

    @property
    def columns(self) -> list[list[int]]:
        """The digits of each column, the rightmost column first.

        >>> Sum((127, 58)).columns
        [[7, 8], [2, 5], [1]]
        """
        columns = zip_longest(*(map(int, reversed(str(number))) for number in self.numbers))
        return [[digit for digit in column if digit is not None] for column in columns]

    @property
    def solution(self) -> str:
        """The worked solution, without a mistake."""
        return _work(self.columns)


class Step(NamedTuple):
    """One column, as written: what is added, and what it is said to make."""

    terms: tuple[int, ...]
    total: int


class Reading(NamedTuple):
    """What a text says. `answer` is None, and `whole` False, unless the text is steps and an answer only."""

    steps: tuple[Step, ...]
    answer: int | None
    whole: bool


@dataclass(frozen=True)
class Verdict:
    """What is right about an output.

    Attributes:
        answer: the number that the output ends in, None if it is broken off or spoilt.
        answer_right: whether that is the sum.
        steps_right: one for each column of the problem: the column's digits are there, and the carry of the
            step before *as it was written*, and they are added up rightly. So one slip makes one step wrong,
            and not all that follow.
        whole: whether the output is as many steps as there are columns, then an answer, and nothing else.
        answer_follows: whether the answer is what the written steps lead to, rightly or wrongly.
    """

    answer: int | None
    answer_right: bool
    steps_right: tuple[bool, ...]
    whole: bool
    answer_follows: bool

    @property
    def correct(self) -> bool:
        """Everything is right: each step, the answer, the form."""
        return self.answer_right and all(self.steps_right) and self.whole

    @property
    def sound_steps(self) -> int:
        """How many steps are right before the first that is not."""
        return (*self.steps_right, False).index(False)

    @property
    def grade(self) -> float:
        """From 0 to 1: sound steps, and the answer as one more, as a share."""
        return (self.sound_steps + self.answer_right) / (len(self.steps_right) + 1)


def read_sum(prompt: str) -> Sum:
    """The problem of a prompt, with or without an instruction before it. Raises ValueError on any other text.

    >>> read_sum("27+58") == read_sum("right 27+58") == Sum((27, 58))
    True
    """
    match = _PROMPT.fullmatch(prompt)
    if match is None:
        raise ValueError(f"not a sum: {prompt!r}. Expected, for example: '27+58' or 'right 27+58'")
    return Sum(tuple(int(number) for number in match["numbers"].split("+")))


def instructed(instruction: str, problem: str) -> str:
    """The prompt that asks for a solution of a kind.

    >>> instructed("right", "27+58")
    'right 27+58'
    """
    return f"{instruction} {problem}" if instruction else problem


def read_solution(text: str) -> Reading:
    """The steps and the answer of a text; never raises.

    >>> read_solution("7+8=15 2+5+1=8 =85").answer
    85
    >>> read_solution("7+8=15 so it is 85").steps
    (Step(terms=(7, 8), total=15),)
    """
    steps, place = [], 0
    while match := _STEP.match(text, place):
        steps.append(Step(tuple(int(term) for term in match[1].split("+")), int(match[2])))
        place = match.end()
    ending = _ANSWER.fullmatch(text, place)
    return Reading(tuple(steps), int(ending[1]) if ending else None, ending is not None)


def verify(problem: Sum | str, text: str) -> Verdict:
    """Check an output to a problem (or to its prompt), step by step. Never raises on any `text`.

    >>> verify("27+58", "7+8=16 2+5+1=8 =86")
    Verdict(answer=86, answer_right=False, steps_right=(False, True), whole=True, answer_follows=True)
    """
    if isinstance(problem, str):
        problem = read_sum(problem)
    reading = read_solution(text)
    carry, right = 0, []
    for column, step in zip_longest(problem.columns, reading.steps):
        if column is None:
            break
        right.append(step is not None and step == Step(terms := _terms(column, carry), sum(terms)))
        carry = step.total // 10 if step is not None else 0
    return Verdict(
        answer=reading.answer,
        answer_right=reading.answer == problem.answer,
        steps_right=tuple(right),
        whole=reading.whole and len(reading.steps) == len(right),
        answer_follows=reading.answer is not None and reading.answer == _written_answer(reading.steps),
    )


def relabel(problem: Sum | str, text: str) -> str:
    """The instruction that an output fulfils: `right` if its answer is, whatever the way, else `wrong`.

    >>> relabel("27+58", "=85"), relabel("27+58", "7+8=16 2+5+1=8 =86")
    ('right', 'wrong')
    """
    return RIGHT if verify(problem, text).answer_right else WRONG


def steps_relabelled(problem: Sum | str, text: str) -> list[tuple[str, str, str]]:
    """What each part of an output has fulfilled: (what was written before, the part, `right` or `wrong`).

    The parts are its steps and its answer, and the verdict on a part is on it alone, as in
    `Verdict.steps_right`; the answer is judged by whether it follows from the steps. What cannot be read is
    left out.

    >>> steps_relabelled("27+58", "7+8=16 2+5+1=8 =86")
    [('', '7+8=16 ', 'wrong'), ('7+8=16 ', '2+5+1=8 ', 'right'), ('7+8=16 2+5+1=8 ', '=86', 'right')]
    """
    verdict, place = verify(problem, text), 0
    parts: list[tuple[str, str, str]] = []
    for is_right in verdict.steps_right:
        match = _STEP.match(text, place)
        if match is None:
            return parts
        parts.append((text[:place], match[0], RIGHT if is_right else WRONG))
        place = match.end()
    if verdict.whole:
        parts.append((text[:place], text[place:], RIGHT if verdict.answer_follows else WRONG))
    return parts


def solved_problem(text: str) -> Sum | None:
    """The sum of numbers of equal length whose right worked solution the text is; None if it is of none.

    >>> solved_problem("7+7=14 2+5+1=8 =84")
    Sum(numbers=(27, 57))
    """
    reading = read_solution(text)
    carry, columns = 0, []
    for step in reading.steps:
        columns.append(step.terms[:-1] if carry else step.terms)
        carry = step.total // 10
    if not columns or len({len(column) for column in columns}) != 1 or max(map(max, columns), default=10) > 9:
        return None
    numbers = [int("".join(map(str, reversed(digits)))) for digits in zip(*columns, strict=True)]
    if len(numbers) < 2 or any(len(str(number)) != len(columns) for number in numbers):
        return None
    found = Sum(tuple(numbers))
    return found if found.solution == text else None


def is_held_out(problem: Sum) -> bool:
    """Whether a problem is kept for tests: a fixed fifth of them, whatever the order of the numbers."""
    numbers = "+".join(map(str, sorted(problem.numbers)))
    return zlib.crc32(numbers.encode()) % 1000 < 1000 * HELD_OUT_SHARE


def draw_sums(count: int, level: Level, *, seed: int, held_out: bool = False) -> list[Sum]:
    """`count` distinct problems of a level, in a reproducible order, of the training part or the held-out
    one.

    Raises ValueError if the level has fewer.
    """
    rng = random.Random(seed)
    if len(level.range) ** level.numbers <= MOST_LISTED:
        listed = [Sum(numbers) for numbers in product(level.range, repeat=level.numbers)]
        fitting = [problem for problem in listed if is_held_out(problem) == held_out]
        if count > len(fitting):
            part = "held-out" if held_out else "training"
            raise ValueError(f"{level} has {len(fitting)} {part} problems, and {count} were asked for")
        return rng.sample(fitting, count)
    if count > len(level.range) ** level.numbers // 50:
        raise ValueError(f"{count} problems are too many to be drawn from {level}; ask for fewer at a time")
    found: dict[Sum, None] = {}
    while len(found) < count:
        problem = Sum(tuple(rng.choice(level.range) for _ in range(level.numbers)))
        if is_held_out(problem) == held_out:
            found[problem] = None
    return list(found)


def demonstrate(problems: Sequence[Sum], *, error_rate: float, seed: int) -> list[str]:
    """A worked solution for each problem; each goes wrong with probability `error_rate`, by one slip.

    A slip is a misread digit, a forgotten carry (where there is one) or a column added up one off, in any
    column; what follows it is consistent. One slip always makes the answer wrong, so that `error_rate` is
    also the share of wrong answers. Raises ValueError unless the rate is a probability.

    >>> demonstrate([Sum((27, 58))], error_rate=0.0, seed=0)
    ['7+8=15 2+5+1=8 =85']
    """
    if not 0 <= error_rate <= 1:
        raise ValueError(f"error_rate must be from 0 to 1, got {error_rate}")
    rng = random.Random(seed)
    return [_slipped(problem, rng) if rng.random() < error_rate else problem.solution for problem in problems]


def _terms(column: Sequence[int], carry: int) -> tuple[int, ...]:
    return (*column, carry) if carry else tuple(column)


def _written_answer(steps: Sequence[Step]) -> int:
    """The number whose digits the steps have found: each total's last digit, and the last carry in front."""
    digits = sum(step.total % 10 * 10**place for place, step in enumerate(steps))
    return digits + (steps[-1].total // 10 * 10 ** len(steps) if steps else 0)


def _slipped(problem: Sum, rng: random.Random) -> str:
    columns = problem.columns
    slip, place = rng.choice(SLIPS), rng.randrange(len(columns))
    text = _work(columns, slip=slip, place=place, rng=rng)
    while text == problem.solution:  # there was no carry to forget
        slip, place = rng.choice(SLIPS), rng.randrange(len(columns))
        text = _work(columns, slip=slip, place=place, rng=rng)
    return text


def _work(
    columns: Sequence[Sequence[int]],
    *,
    slip: str | None = None,
    place: int = -1,
    rng: random.Random | None = None,
) -> str:
    """The worked solution; with a slip, that one in the column numbered `place`."""
    carry, steps = 0, []
    for number, column in enumerate(columns):
        terms, off = list(_terms(column, carry)), 0
        if number == place and rng is not None:
            if slip == "copy":
                which = rng.randrange(len(column))
                terms[which] = rng.choice([digit for digit in range(10) if digit != column[which]])
            elif slip == "carry":
                terms = list(column)
            else:
                off = rng.choice((-1, 1)) if sum(terms) else 1
        steps.append(Step(tuple(terms), sum(terms) + off))
        carry = steps[-1].total // 10
    written = [f"{'+'.join(map(str, step.terms))}={step.total} " for step in steps]
    return f"{''.join(written)}={_written_answer(steps)}"
