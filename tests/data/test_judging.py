"""What a judge is asked, in words."""

import pytest

from rlhf_mini.data.judging import (
    CHAT_RATINGS,
    CHAT_THOUGHTS,
    STORY_PAIRS,
    STORY_RATINGS,
    STORY_THOUGHTS,
    Comparison,
    PairTemplate,
    RatingTemplate,
)


def test_templates_write_what_they_are_given():
    one = Comparison("Be kind.", "Who {x}?", "a {y}", "an owl")  # braces in the texts are letters
    assert STORY_PAIRS.ask(one) == "Be kind. Who {x}? A: a {y} B: an owl"
    assert STORY_PAIRS.ask(one.swapped()) == "Be kind. Who {x}? A: an owl B: a {y}"
    assert STORY_PAIRS.reply(first_better=True) == "A"
    assert STORY_THOUGHTS.reply(first_better=False, reason="So.") == "So. Better: B"
    assert CHAT_THOUGHTS.reply(first_better=True, reason="Both lie.") == "Both lie.\nThe better answer is: A"
    assert CHAT_THOUGHTS.ask(one).count("a {y}") == 1
    assert "Answer: fox" in CHAT_RATINGS.ask("p", "q", "fox")
    with pytest.raises(ValueError, match="from 1 to 5, got 6"):
        STORY_RATINGS.reply(6)
    with pytest.raises(ValueError, match="from 1 to 5, got 0"):
        STORY_RATINGS.reply(0)
    assert [STORY_RATINGS.reply(rating) for rating in range(1, 6)] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    "question", ["{principle} {prompt} {first}", "{principle}{prompt}{first}{second}{more}"]
)
def test_a_template_needs_its_fields_and_no_others(question):
    with pytest.raises(
        ValueError, match=r"must have the fields \['first', 'principle', 'prompt', 'second'\]"
    ):
        PairTemplate(question=question)


def test_templates_need_different_choices(unchecked):
    with pytest.raises(ValueError, match="need 2 different choices"):
        PairTemplate(question=STORY_PAIRS.question, choices=("A", "A"))
    with pytest.raises(ValueError, match="need at least 2 different choices"):
        RatingTemplate(question=STORY_RATINGS.question, choices=("1",))
    for choices in (("A", "B", "C"), ("A", "")):
        with pytest.raises(ValueError, match="need 2 different choices, none of them empty"):
            PairTemplate(question=STORY_PAIRS.question, choices=choices)
    assert RatingTemplate(question=STORY_RATINGS.question, choices=("no", "yes")).reply(2) == "yes"
    with pytest.raises(ValueError, match=r"must have the fields \['answer', 'principle', 'prompt'\]"):
        RatingTemplate(question=STORY_PAIRS.question)
