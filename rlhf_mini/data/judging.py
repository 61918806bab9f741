"""What a judge is asked, in words: two answers to compare, or one to rate, under a principle.

A template turns the question into the text of a user's turn and names the choices. The same template writes
the training data of a small judge and asks the questions of a large one, so that a judge of one's own and any
model of the hub are asked through one door.
"""

from dataclasses import dataclass
from string import Formatter


@dataclass(frozen=True)
class Comparison:
    """Two answers to one prompt, in the order in which they are shown, and the principle to judge them by."""

    principle: str
    prompt: str
    first: str
    second: str

    def swapped(self) -> "Comparison":
        """The same two answers, shown in the other order.

        >>> Comparison("Be kind.", "Who?", "a fox", "an owl").swapped().first
        'an owl'
        """
        return Comparison(self.principle, self.prompt, self.second, self.first)


@dataclass(frozen=True, kw_only=True)
class PairTemplate:
    """How two answers are shown and what may be said of them.

    - `question`: the user's turn, with `{principle}`, `{prompt}`, `{first}` and `{second}` in it.
    - `choices`: what the judge says if the first, or the second, answer is better.
    - `opening`: what the judge's turn begins with before the choice, as "(" in "(A)"; after a chain of
      thought it stands between the thoughts and the choice.

    Raises ValueError for a question that lacks a field or has another, and unless there are two choices.
    """

    question: str
    choices: tuple[str, str] = ("A", "B")
    opening: str = ""

    def __post_init__(self) -> None:
        _require_fields(self.question, {"principle", "prompt", "first", "second"})
        _require_choices(self.choices, exactly=2)

    def ask(self, comparison: Comparison) -> str:
        """The question in words."""
        return self.question.format(
            principle=comparison.principle,
            prompt=comparison.prompt,
            first=comparison.first,
            second=comparison.second,
        )

    def reply(self, *, first_better: bool, reason: str = "") -> str:
        """What a judge should say: the reason, if one is to be given first, the opening, the choice."""
        return reason + self.opening + self.choices[0 if first_better else 1]


@dataclass(frozen=True, kw_only=True)
class RatingTemplate:
    """How one answer is shown and which ratings, from the lowest to the highest, it may get.

    `question` has `{principle}`, `{prompt}` and `{answer}` in it; `opening` is as in `PairTemplate`. Raises
    ValueError for a question that lacks a field or has another, and for fewer than two ratings.
    """

    question: str
    choices: tuple[str, ...] = ("1", "2", "3", "4", "5")
    opening: str = ""

    def __post_init__(self) -> None:
        _require_fields(self.question, {"principle", "prompt", "answer"})
        _require_choices(self.choices)

    def ask(self, principle: str, prompt: str, answer: str) -> str:
        """The question in words."""
        return self.question.format(principle=principle, prompt=prompt, answer=answer)

    def reply(self, rating: int) -> str:
        """What a judge should say that gives this rating, from 1. Raises ValueError for one out of range.

        >>> STORY_RATINGS.reply(4)
        '4'
        """
        if not 1 <= rating <= len(self.choices):
            raise ValueError(f"the rating must be from 1 to {len(self.choices)}, got {rating}")
        return self.opening + self.choices[rating - 1]


def _require_fields(question: str, fields: set[str]) -> None:
    found = {name for _, name, _, _ in Formatter().parse(question) if name is not None}
    if found != fields:
        raise ValueError(
            f"the question must have the fields {sorted(fields)} in braces, and no others; {question!r} has "
            f"{sorted(found)}"
        )


def _require_choices(choices: tuple[str, ...], *, exactly: int | None = None) -> None:
    wrong_number = len(choices) < 2 if exactly is None else len(choices) != exactly
    if wrong_number or len(set(choices)) != len(choices) or "" in choices:
        raise ValueError(
            f"need {exactly or 'at least 2'} different choices, none of them empty; got {choices}"
        )


# For small models of the story world: few words, and the labels close to what they name.
STORY_PAIRS = PairTemplate(question="{principle} {prompt} A: {first} B: {second}")
STORY_THOUGHTS = PairTemplate(question="{principle} {prompt} A: {first} B: {second}", opening=" Better: ")
STORY_RATINGS = RatingTemplate(question="{principle} {prompt} Answer: {answer}")

# For models of the hub that follow instructions.
CHAT_PAIRS = PairTemplate(
    question=(
        "Here are a request and two answers to it.\n\nRequest: {prompt}\n\nAnswer A: {first}\n\n"
        "Answer B: {second}\n\nJudge the answers by this principle: {principle} Which answer is better? "
        "Reply with one letter, A or B, and nothing else."
    )
)
CHAT_THOUGHTS = PairTemplate(
    question=(
        "Here are a request and two answers to it.\n\nRequest: {prompt}\n\nAnswer A: {first}\n\n"
        "Answer B: {second}\n\nJudge the answers by this principle: {principle} Explain in a few sentences "
        "which answer is better, and then finish with the line 'The better answer is: ' and its letter."
    ),
    opening="\nThe better answer is: ",
)
CHAT_RATINGS = RatingTemplate(
    question=(
        "Here are a request and an answer to it.\n\nRequest: {prompt}\n\nAnswer: {answer}\n\nRate the answer "
        "by this principle: {principle} Reply with one digit from 1 (bad) to 5 (excellent) and nothing else."
    )
)
