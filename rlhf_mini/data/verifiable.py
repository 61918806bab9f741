"""Prompts whose answer a program can check: a question and a number, in the format of GSM8K.

GSM8K's column `answer` holds a written solution whose last line is `#### 72`. A policy trained with such
prompts is asked to end the same way. Two checks are offered, because they reward different things: `matches`
wants the answer stated after ####, `matches_last_number` takes the last number in the text, whatever stands
around it. They follow the two that are in common use ("strict" and "flexible" in the evaluation harness of
EleutherAI and in verl), and depart from them in one point: where several numbers stand after ####, nothing is
stated, so that listing guesses does not pay.

Numbers are compared exactly, as decimals: 1,450 is 1450, $0.50 is .5, −3 is -3. A fraction such as 3/4, a
power such as 1e3 and a comma that does not separate thousands are no numbers here.

Paper: Cobbe et al. 2021, arXiv 2110.14168.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import datasets

from rlhf_mini.data.load import Source, each_row
from rlhf_mini.data.preferences import prompt_text

MARK = "####"
PROMPT_COLUMNS = ("question", "prompt", "problem")

_NUMBER = re.compile(
    r"(?<![\w.,/)\]])"  # not inside a word, a number or a fraction; "10-3" holds 10 and 3, not -3
    r"(?:(?P<sign>[-+−])?(?:[$£€¥] ?)?|[$£€¥](?P<inner>[-+−]))"
    r"(?P<digits>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?![0-9]|[.,/][0-9]|[eE][-+]?[0-9])"
)


class Problem(NamedTuple):
    """A prompt and its right answer.

    Attributes:
        prompt: the question.
        answer: the number in plain digits, such as ``-1450.5``.
        solution: all that the data set says of the answer, the way to it included.
    """

    prompt: str
    answer: str
    solution: str


def load_verifiable(source: Source, *, split: str = "train", config: str | None = None) -> datasets.Dataset:
    """The problems of a source as a data set with the text columns `prompt`, `answer` and `solution`.

    Sources are those of `load.load_preferences`; GSM8K on the hub has the configuration "main". Raises
    ValueError, naming file, row and column, for a row that `read_verifiable` refuses.
    """
    return datasets.Dataset.from_list(
        [row._asdict() for row in each_row(source, split, config, read_verifiable)]
    )


def read_verifiable(row: Mapping[str, Any]) -> Problem:
    """The problem that a row states, its prompt from the first of the columns question, prompt or problem.

    The column `answer` is a number, or text that states one: after its last #### if there is one, otherwise
    alone. Raises ValueError, naming the column, if it is missing, empty, or does not state one number.

    >>> read_verifiable({"question": "24 and twice as many?", "answer": "24+48=<<24+48=72>>72\\n#### 72"})
    Problem(prompt='24 and twice as many?', answer='72', solution='24+48=<<24+48=72>>72\\n#### 72')
    >>> read_verifiable({"question": "A half?", "answer": "#### 1/2"})
    Traceback (most recent call last):
    ValueError: column 'answer' must state one number, got '#### 1/2'
    """
    column = next((name for name in PROMPT_COLUMNS if row.get(name) is not None), None)
    if column is None:
        raise ValueError(
            f"column 'question' is missing (or 'prompt', or 'problem'); the columns are {sorted(row)}"
        )
    prompt = prompt_text(row[column], column)
    if "answer" not in row:
        raise ValueError(f"column 'answer' is missing; the columns are {sorted(row)}")
    solution = row["answer"]
    if isinstance(solution, int | float | Decimal) and not isinstance(solution, bool):
        solution = str(solution)
    if not isinstance(solution, str) or not solution.strip():
        raise ValueError(f"column 'answer' must be a number or a text that states one, got {solution!r:.60}")
    number = stated_answer(solution) if MARK in solution else _only_number(solution)
    if number is None:
        raise ValueError(f"column 'answer' must state one number, got {_ending(solution)!r}")
    return Problem(prompt, plain_number(number), solution.strip())


def stated_answer(text: str) -> Decimal | None:
    """The number on the line after the last ####; None without one, or where that line holds several.

    >>> stated_answer("6 · 12 = 72, so\\n#### $1,072.50"), stated_answer("72"), stated_answer("#### 7 or 8")
    (Decimal('1072.50'), None, None)
    """
    _, mark, after = text.rpartition(MARK)
    return _only_number(after.split("\n", 1)[0]) if mark else None


def last_number(text: str) -> Decimal | None:
    """The last number in a text, None where there is none.

    >>> last_number("3 boxes of 4 are 12."), last_number("twelve")
    (Decimal('12'), None)
    """
    found = [*_NUMBER.finditer(text)]
    return _value(found[-1]) if found else None


def matches(text: str, answer: str | int | Decimal) -> bool:
    """Whether `text` states `answer` after ####.

    Raises ValueError if `answer` itself is not one number.

    >>> matches("So she pays\\n#### $1,450", "1450"), matches("She pays 1450.", "1450")
    (True, False)
    """
    return stated_answer(text) == _required(answer)


def matches_last_number(text: str, answer: str | int | Decimal) -> bool:
    """Whether the last number in `text` is `answer`. Raises ValueError as `matches` does.

    >>> matches_last_number("She pays 1450.", "1450"), matches_last_number("1450 in 2 parts", "1450")
    (True, False)
    """
    return last_number(text) == _required(answer)


def answer_reward(
    problems: Iterable[Mapping[str, str]], *, check: Callable[[str, str], bool] = matches
) -> Callable[[str, str], float]:
    """A reward for `methods.answers.text_score`: prompt and answer in words → 1 if right, else 0.

    `problems` have a `prompt` and an `answer`, as the rows of `load_verifiable` do. Raises ValueError if the
    same prompt stands there with two answers, and when asked about a prompt that is none of them.

    >>> reward = answer_reward([{"prompt": "2 + 2?", "answer": "4"}])
    >>> reward("2 + 2?", "#### 4"), reward("2 + 2?", "#### 5")
    (1.0, 0.0)
    """
    answers: dict[str, str] = {}
    for problem in problems:
        prompt, answer = problem["prompt"], problem["answer"]
        if answers.setdefault(prompt, answer) != answer:
            raise ValueError(f"{prompt!r:.60} stands there with two answers, {answers[prompt]} and {answer}")

    def reward(prompt: str, text: str) -> float:
        if prompt not in answers:
            raise ValueError(f"{prompt!r:.60} is none of the {len(answers)} prompts with a known answer")
        return float(check(text, answers[prompt]))

    return reward


def plain_number(number: Decimal) -> str:
    """The shortest way to write a number in digits, without exponent.

    >>> plain_number(Decimal("1450.50")), plain_number(Decimal("-0.0")), plain_number(Decimal("100"))
    ('1450.5', '0', '100')
    """
    digits = format(number, "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return "0" if digits in ("-0", "") else digits


def _only_number(text: str) -> Decimal | None:
    """The number in `text` if it holds one, and no other digits."""
    found = [*_NUMBER.finditer(text)]
    if len(found) != 1 or any(letter.isdigit() for letter in _NUMBER.sub("", text)):
        return None
    return _value(found[0])


def _value(found: re.Match[str]) -> Decimal:
    negative = (found["sign"] or found["inner"]) in ("-", "−")
    value = Decimal(found["digits"].replace(",", ""))
    return value.copy_negate() if negative else value


def _required(answer: str | int | Decimal) -> Decimal:
    number = _only_number(str(answer))
    if number is None:
        raise ValueError(f"the right answer must be one number, got {answer!r:.60}")
    return number


def _ending(text: str) -> str:
    return text if len(text) <= 60 else "…" + text[-59:]
