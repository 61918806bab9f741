"""Quizzes that answer at once, with or without a kernel: the page's own radio buttons, and nothing else."""

import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_mini.reader.picture import Picture


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question with its options, each a pair of the option and why it is right or wrong.

    Args:
        right: the number of the right option, from 0.

    Raises:
        ValueError: on fewer than three options, an option without a reason, or a `right` that is none.
    """

    ask: str
    options: tuple[tuple[str, str], ...]
    right: int

    def __post_init__(self) -> None:
        explained = all(len(option) == 2 and all(option) for option in self.options)
        if len(self.options) < 3 or not explained or not 0 <= self.right < len(self.options):
            raise ValueError(
                f"question {self.ask!r}: give three or more options as (option, why) and the number of the "
                f"right one; got {len(self.options)} options and right={self.right}"
            )


def quiz(questions: Sequence[Question]) -> Picture:
    """The questions as a form: choosing an option shows at once whether it is right, and why.

    Below stand all answers, folded away, for print and for viewers that drop form elements.

    Raises:
        ValueError: on no questions.
    """
    if not questions:
        raise ValueError("a quiz needs at least one question")
    salt = hashlib.sha256(repr(questions).encode()).hexdigest()[:6]
    asked = "".join(_asked(question, number, f"q{salt}") for number, question in enumerate(questions, 1))
    answers = "".join(
        f"<li><b>{html.escape(q.options[q.right][0])}</b> {html.escape(q.options[q.right][1])}</li>"
        for q in questions
    )
    fold = f"<details><summary>All answers</summary><ol>{answers}</ol></details>"
    return Picture(f'<div class="rm-quiz">{asked}{fold}</div>', _text(questions))


def _asked(question: Question, number: int, salt: str) -> str:
    parts = []
    for index, (option, why) in enumerate(question.options):
        key, right = f"{salt}-{number}-{index}", index == question.right
        verdict = "✓ Right." if right else "✗ No."
        parts.append(
            f'<input type="radio" name="{salt}-{number}" id="{key}" autocomplete="off">'
            f'<label for="{key}">{html.escape(option)}</label>'
            f'<p class="rm-{"yes" if right else "no"}" role="status">'
            f"<b>{verdict}</b> {html.escape(why)}</p>"
        )
    legend = f"<legend>{number}. {html.escape(question.ask)}</legend>"
    return f"<fieldset>{legend}{''.join(parts)}</fieldset>"


def _text(questions: Sequence[Question]) -> str:
    lines = []
    for number, question in enumerate(questions, 1):
        lines.append(f"{number}. {question.ask}")
        lines += [
            f"   {letter}) {option}" for letter, (option, _) in zip("abcdef", question.options, strict=False)
        ]
    return "\n".join(lines)
