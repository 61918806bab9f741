"""A rubric as an extra reward: a classifier reads the answer, and its class is worth something.

Paper: OpenAI 2023 (GPT-4), arXiv 2303.08774, on rule-based reward models (RBRM). A model that was not trained
for it is shown the prompt, the answer and a rubric with classes, and picks one; on a part of the prompts the
class is rewarded besides the reward model's score: refusals where the prompt should be refused, answers where
it should not.

Simplification: the class's worth is its mean over the classifier's probabilities, a smoother reward than that
of the likeliest class.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.methods.judge import LanguageJudge, Rate, as_score, choose
from rlhf_mini.methods.rollouts import Score

Classify = Callable[[Sequence[str], Sequence[str]], Tensor]  # prompts, answers → class probabilities, (N, K)
Select = Callable[[str], bool]  # prompt → does it belong to this part?


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """The classes that an answer may be in, and how a classifier is asked.

    - `classes`: what the classifier says → what it means, as the question explains.
    - `question`: the user's turn, with `{prompt}`, `{answer}` and `{classes}` in it.

    Raises ValueError for fewer than two classes, or other fields in the question.
    """

    classes: Mapping[str, str]
    question: str = (
        "Request: {prompt}\n\nAnswer: {answer}\n\nThe answer is one of these:\n{classes}\n\n"
        "Reply with one letter and nothing else."
    )

    def __post_init__(self) -> None:
        found = {name for _, name, _, _ in Formatter().parse(self.question) if name is not None}
        if len(self.classes) < 2 or found != {"prompt", "answer", "classes"}:
            raise ValueError(
                f"need at least two classes and a question with the fields prompt, answer and classes; got "
                f"{len(self.classes)} classes and the fields {sorted(found)}"
            )

    def ask(self, prompt: str, answer: str) -> str:
        """The question in words."""
        listed = "\n".join(f"({name}) {meaning}" for name, meaning in self.classes.items())
        return self.question.format(prompt=prompt, answer=answer, classes=listed)


def classifying(judge: LanguageJudge, rubric: Rubric) -> Classify:
    """The judge as a classifier: a probability for each class, in the rubric's order."""

    def classify(prompts: Sequence[str], answers: Sequence[str]) -> Tensor:
        questions = [rubric.ask(*row) for row in zip(prompts, answers, strict=True)]
        return choose(judge, questions, choices=tuple(rubric.classes)).logp.exp()

    return classify


def worth(classify: Classify, rubric: Rubric, *, parts: Sequence[tuple[Select, Mapping[str, float]]]) -> Rate:
    """What an answer's class is worth: its expected value on the prompts of a part, 0 on all others.

    - `parts`: which prompts, and the value of each class on them; the first part that a prompt belongs to
      counts. Prompts of no part get no extra reward.

    Raises ValueError for values that do not name the rubric's classes, or are not finite.
    """
    for _, values in parts:
        if set(values) != set(rubric.classes) or not all(math.isfinite(value) for value in values.values()):
            raise ValueError(
                f"each part needs a finite value for each of the classes {list(rubric.classes)}, got "
                f"{dict(values)}"
            )

    def rate(prompts: Sequence[str], answers: Sequence[str]) -> Tensor:
        values_of: dict[int, Mapping[str, float]] = {}
        for row, prompt in enumerate(prompts):
            for takes, values in parts:
                if takes(prompt):
                    values_of[row] = values
                    break
        rewards, rows = torch.zeros(len(prompts)), list(values_of)
        if rows:
            chances = classify([prompts[row] for row in rows], [answers[row] for row in rows])
            table = torch.tensor([[values[name] for name in rubric.classes] for values in values_of.values()])
            rewards[rows] = (chances * table).sum(1)
        return rewards

    return rate


def with_rate(score: Score, rate: Rate, tokenizer: PreTrainedTokenizerBase, *, weight: float) -> Score:
    """The score plus `weight` times a rating of the words, such as `worth`; `tokenizer` is the policy's.

    Raises ValueError for a weight that is not finite.
    """
    if not math.isfinite(weight):
        raise ValueError(f"weight must be finite, got {weight}")
    extra = as_score(rate, tokenizer)

    def shaped(sequences: Sequences) -> Tensor:
        scores = score(sequences)
        return scores + weight * extra(sequences).to(scores)

    return shaped
