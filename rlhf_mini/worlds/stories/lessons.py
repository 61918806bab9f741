"""What a small model is fine-tuned on to become a helper: questions about stories, with the true replies.

Each lesson is a row with `prompt`, a user's turn, and `completion`, as demonstrations are: choosing between
two answers, thinking aloud before the choice, rating one answer, criticising one, and revising it.
"""

import random
from collections.abc import Sequence

from rlhf_mini.data.judging import PairTemplate, RatingTemplate
from rlhf_mini.data.revising import RevisionTemplate
from rlhf_mini.worlds.stories.comparisons import Judged, Rated
from rlhf_mini.worlds.stories.critiques import critique, revise
from rlhf_mini.worlds.stories.principles import CONSTITUTION, Principle

Lesson = dict[str, str]


def choosing_lessons(judged: Sequence[Judged], template: PairTemplate) -> list[Lesson]:
    """Comparisons with the right choice."""
    return [
        {"prompt": template.ask(one.comparison), "completion": template.reply(first_better=one.first_better)}
        for one in judged
    ]


def thinking_lessons(judged: Sequence[Judged], template: PairTemplate) -> list[Lesson]:
    """Comparisons with the reason and then the right choice."""
    return [
        {
            "prompt": template.ask(one.comparison),
            "completion": template.reply(first_better=one.first_better, reason=one.reason),
        }
        for one in judged
    ]


def rating_lessons(rated: Sequence[Rated], template: RatingTemplate, *, principle: str) -> list[Lesson]:
    """Answers with their true rating, asked for under a principle in words."""
    return [
        {"prompt": template.ask(principle, one.prompt, one.answer), "completion": template.reply(one.rating)}
        for one in rated
    ]


def revising_lessons(
    rows: Sequence[dict[str, str]],
    template: RevisionTemplate,
    *,
    principles: Sequence[Principle] = CONSTITUTION,
    seed: int,
) -> list[Lesson]:
    """Two lessons a row of `prompt` and `completion`: the critique under a drawn principle, and the revision.

    Half of the rows, as far as they can, get a principle that the answer breaks; where it keeps the one
    drawn, the revision is the answer itself. Raises ValueError without principles.
    """
    if not principles:
        raise ValueError("need at least one principle to revise under, got none")
    rng = random.Random(f"revising {seed}")
    lessons = []
    for row in rows:
        prompt, answer = row["prompt"], row["completion"]
        broken = [principle for principle in principles if not principle.kept(prompt, answer)]
        principle = rng.choice(broken if broken and rng.random() < 0.5 else principles)
        wording, said = rng.choice(principle.wordings), critique(principle, prompt, answer)
        lessons += [
            {"prompt": template.ask_critique(wording, prompt, answer), "completion": said},
            {
                "prompt": template.ask_revision(wording, prompt, answer, said),
                "completion": revise(principle, prompt, answer, rng),
            },
        ]
    return lessons
