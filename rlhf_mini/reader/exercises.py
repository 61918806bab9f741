"""Exercises that check themselves: the reader writes a function, and its check answers with a hint that fits.

A mistake is stored as a *program*: where the reader's results equal those of a known wrong program on every
case, the hint for that program is given. Where they equal none, the check says in what they differ. The
solution stands in one place, from which the page shows its source, folded away.
"""

import copy
import dis
import html
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rlhf_mini.reader.comparing import difference, pattern, same
from rlhf_mini.reader.picture import Picture
from rlhf_mini.reader.source import show_source
from rlhf_mini.reader.style import css_colour

LEVELS = ("easy", "medium", "hard")


@dataclass(frozen=True)
class Mistake:
    """A wrong program that readers write, and the hint for whoever wrote it."""

    program: Callable
    hint: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check found: `state` is "unfilled", "wrong" or "right"; `words` and `detail` tell the reader."""

    state: str
    words: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An exercise whose answer is a function.

    Args:
        title: its name, as in the chapter.
        level: "easy", "medium" or "hard". minutes: about how long it takes.
        hints: two, the second nearly the answer.
        solution: the right function; its source is shown, folded away.
        cases: makes the list of argument tuples that the reader's function is called with, fresh each time.
        mistakes: wrong programs, each with its hint, the likeliest first.
        tolerance: absolute and relative, for numbers.

    Raises:
        ValueError: on an unknown level, minutes below 1 or not two hints.
    """

    title: str
    level: str
    minutes: int
    hints: tuple[str, ...]
    solution: Callable
    cases: Callable[[], Sequence[tuple]]
    mistakes: tuple[Mistake, ...] = ()
    tolerance: float | int = 1e-5

    def __post_init__(self) -> None:
        _check_card(self.title, self.level, self.minutes, self.hints)

    def judge(self, function: object) -> Verdict:
        """What is to be said of the reader's function, without displaying it."""
        if not callable(function):
            return Verdict(state="wrong", words=f"Pass the function itself, not {function!r}.")
        if is_unfilled(function):
            words = "Not attempted yet. Write the function above and run the cell again."
            return Verdict(state="unfilled", words=words)
        for number, arguments in enumerate(self.cases(), start=1):
            if fault := self._fault(function, arguments):
                detail = f"Case {number}, {_call(function, arguments)}: {fault}"
                return Verdict(state="wrong", words=self._hint(function), detail=detail)
        return Verdict(state="right", words=f"Right, on all {len(self.cases())} cases.")

    def check(self, function: object) -> Picture:
        """The verdict on the reader's function, with the hints and the solution folded away under it."""
        return _card(self, self.judge(function), _solution(self.solution))

    def _fault(self, function: Callable, arguments: tuple) -> str:
        """What is wrong on one case; empty if nothing is."""
        given = copy.deepcopy(arguments)
        try:
            got = function(*given)
        except Exception as error:  # whatever the reader's code raises is for the reader to read
            return f"it raises {type(error).__name__}: {error}"
        if got is None:
            return "it returns None. Does every way through it end in a return?"
        if not same([_seen(item) for item in given], [_seen(item) for item in arguments], tolerance=0):
            return "it changes its arguments. Work on a copy."
        expected = self.solution(*copy.deepcopy(arguments))
        return difference(got, expected, tolerance=self.tolerance)

    def _hint(self, function: Callable) -> str:
        """The hint of the mistake whose program gives the reader's very results, or what they share."""
        results, *others = (
            [_outcome(program, arguments) for arguments in self.cases()]
            for program in (function, self.solution, *(mistake.program for mistake in self.mistakes))
        )
        for mistake, theirs in zip(self.mistakes, others[1:], strict=True):
            if same(results, theirs, tolerance=self.tolerance):
                return mistake.hint
        return pattern(results, others[0], tolerance=self.tolerance) or "Not right yet."


@dataclass(frozen=True, kw_only=True)
class OpenExercise:
    """An exercise without one right answer: what a good answer has takes the place of a check."""

    title: str
    level: str
    minutes: int
    hints: tuple[str, ...]
    good_answer: str

    def __post_init__(self) -> None:
        _check_card(self.title, self.level, self.minutes, self.hints)

    def show(self) -> Picture:
        """Level, minutes, hints, and what a good answer has, folded away."""
        body = f"<p>{html.escape(self.good_answer)}</p>"
        verdict = Verdict(state="unfilled", words="Open: there is no single right answer.")
        return _card(self, verdict, ("What a good answer has", body, self.good_answer))


def is_unfilled(function: Callable) -> bool:
    """Whether the body is still empty: `...`, `pass` or a docstring.

    >>> def later(x):
    ...     ...
    >>> is_unfilled(later), is_unfilled(lambda x: x)
    (True, False)
    """
    if not hasattr(function, "__code__"):
        return False
    steps = {step.opname for step in dis.get_instructions(function)}
    constants = set(function.__code__.co_consts) - {None, function.__doc__}
    return steps <= {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"} and not constants


def _check_card(title: str, level: str, minutes: int, hints: tuple) -> None:
    if level not in LEVELS or minutes < 1 or len(hints) != 2 or not all(hints):
        raise ValueError(
            f"exercise {title!r}: the level is one of {', '.join(LEVELS)}, minutes are at least 1, and there "
            f"are two hints; got {level!r}, {minutes!r} and {len(hints)} hints"
        )


def _seen(argument: object) -> object:
    """What of an argument a function could change without the check's knowing; models and the like are left
    out.
    """
    kinds = (torch.Tensor, np.ndarray, int, float, str, list, tuple, dict)
    return argument if isinstance(argument, kinds) else type(argument).__name__


def _outcome(function: Callable, arguments: tuple) -> object:
    """What the function returns, or the kind of error it raises: what two programs are compared by."""
    try:
        return function(*copy.deepcopy(arguments))
    except Exception as error:
        return type(error).__name__


def _call(function: Callable, arguments: tuple) -> str:
    """The call in short: `returns([1, 2], 0.5)`; long arguments by their type and shape."""
    shown = []
    for argument in arguments:
        words = " ".join(repr(argument).split())
        shape = getattr(argument, "shape", None)
        kind = type(argument).__name__
        if len(words) > 40:
            words = f"<{kind} {tuple(shape)}>" if shape is not None else f"<{kind}>"
        shown.append(words)
    return f"{getattr(function, '__name__', 'it')}({', '.join(shown)})"


def _solution(solution: Callable) -> tuple[str, str, str]:
    source = show_source(solution)
    return ("Solution", source.body, inspect.getsource(solution))


_SIGNS = {"unfilled": ("○", "reference"), "wrong": ("✗", "loss"), "right": ("✓", "data")}


def _card(exercise: Exercise | OpenExercise, verdict: Verdict, last: tuple[str, str, str]) -> Picture:
    """The card under an exercise: verdict, level and minutes, and three folds."""
    sign, role = _SIGNS[verdict.state]
    title, body, _ = last
    folds = [(f"Hint {i}", f"<p>{html.escape(hint)}</p>") for i, hint in enumerate(exercise.hints, start=1)]
    folds.append((title, body))
    inner = "".join(f"<details><summary>{name}</summary>{inside}</details>" for name, inside in folds)
    detail = f"<p>{html.escape(verdict.detail)}</p>" if verdict.detail else ""
    told = f"{exercise.title} · {exercise.level} · {exercise.minutes} minutes"
    return Picture(
        f'<div class="rm-exercise rm-card" style="--rm-role:{css_colour(role)}">'
        f"<h4>{sign} {html.escape(verdict.words)}</h4>{detail}"
        f'<div class="rm-meta">{html.escape(told)}</div>{inner}</div>',
        "\n".join(filter(None, (f"{sign} {verdict.words}", verdict.detail, told))),
    )
