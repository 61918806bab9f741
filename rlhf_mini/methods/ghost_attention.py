"""Ghost attention (GAtt): an instruction given once is followed for the rest of the conversation.

Paper: Touvron et al. 2023, arXiv 2307.09288, §3.3.
Three steps. Attach the instruction to every question and sample the answers (`attach_to_every_question`);
keep it in the first question only (`keep_in_first_question`); fine-tune with the loss on the last answer
alone (`rlhf_mini.data.dialogue.last_answers`), because in the paper only the last answer of a given dialogue
is sampled under the instruction: the answers before it would teach the model to ignore it.
"""

from collections.abc import Callable, Sequence

from rlhf_mini.data.dialogue import Turn

Attach = Callable[[str], str]  # a question -> the same with the instruction


def attach_to_every_question(attach: Attach, questions: Sequence[str]) -> list[str]:
    """What the sampling model is asked.

    >>> attach_to_every_question(lambda question: f"Be brief. {question}", ["Who?", "Why?"])
    ['Be brief. Who?', 'Be brief. Why?']
    """
    return [attach(question) for question in questions]


def keep_in_first_question(attach: Attach, questions: Sequence[str], answers: Sequence[str]) -> list[Turn]:
    """What the model is trained on: the instruction once, then plain questions, and answers that obey it.

    Raises ValueError if there are not as many answers as questions, or none.

    >>> keep_in_first_question(lambda question: f"Be brief. {question}", ["Who?", "Why?"], ["I.", "So."])
    [('Be brief. Who?', 'I.'), ('Why?', 'So.')]
    """
    if len(questions) != len(answers) or not questions:
        raise ValueError(
            f"need as many answers as questions, at least one; got {len(answers)} and {len(questions)}"
        )
    first, *rest = questions
    return list(zip([attach(first), *rest], answers, strict=True))
