"""One preference row in every format that the ecosystem uses, and the rows that are none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf_mini.data.preferences import Preference, read_preference

HUMAN_HI = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Name a fox."


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


EXPECTED = Preference("Name a fox.", "Finn.", "No.")

FORMATS: dict[str, dict[str, Any]] = {
    "explicit, text": {"prompt": "Name a fox.", "chosen": "Finn.", "rejected": "No."},
    "explicit, white space around": {"prompt": "Name a fox. ", "chosen": " Finn.\n", "rejected": " No."},
    "explicit, messages": {
        "prompt": [user("Name a fox.")],
        "chosen": [assistant("Finn.")],
        "rejected": [assistant("No.")],
    },
    "explicit, text and messages": {
        "prompt": "Name a fox.",
        "chosen": [assistant("Finn.")],
        "rejected": [assistant("No.")],
    },
    "explicit twice, as UltraFeedback has it": {
        "prompt": "Name a fox.",
        "chosen": [user("Name a fox."), assistant("Finn.")],
        "rejected": [user("Name a fox."), assistant("No.")],
    },
    "implicit, messages": {
        "chosen": [user("Name a fox."), assistant("Finn.")],
        "rejected": [user("Name a fox."), assistant("No.")],
    },
    "implicit, speakers": {
        "chosen": "\n\nHuman: Name a fox.\n\nAssistant: Finn.",
        "rejected": "\n\nHuman: Name a fox.\n\nAssistant: No.",
    },
    "implicit, plain": {"chosen": "Name a fox. Finn.", "rejected": "Name a fox. No."},
    "implicit, plain, a line each": {"chosen": "Name a fox.\nFinn.", "rejected": "Name a fox.\nNo."},
    "an empty prompt column": {"prompt": None, "chosen": "Name a fox. Finn.", "rejected": "Name a fox. No."},
    "other columns beside": {**{"prompt": "Name a fox.", "chosen": "Finn.", "rejected": "No."}, "margin": 2},
}


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same_preference(row: dict[str, Any]) -> None:
    assert read_preference(row) == EXPECTED


SEVERAL_TURNS: dict[str, dict[str, Any]] = {
    "explicit, messages": {
        "prompt": [user("Hi"), assistant("Hello."), user("Name a fox.")],
        "chosen": [assistant("Finn.")],
        "rejected": [assistant("No.")],
    },
    "implicit, messages": {
        "chosen": [user("Hi"), assistant("Hello."), user("Name a fox."), assistant("Finn.")],
        "rejected": [user("Hi"), assistant("Hello."), user("Name a fox."), assistant("No.")],
    },
    "implicit, speakers": {
        "chosen": HUMAN_HI + "\n\nAssistant: Finn.",
        "rejected": HUMAN_HI + "\n\nAssistant: No.",
    },
}


@pytest.mark.parametrize("row", SEVERAL_TURNS.values(), ids=SEVERAL_TURNS)
def test_several_turns_become_one_prompt_with_speakers(row: dict[str, Any]) -> None:
    assert read_preference(row) == ("Human: Hi\n\nAssistant: Hello.\n\nHuman: Name a fox.", "Finn.", "No.")


def test_conversations_that_part_early_share_what_is_before() -> None:
    row = {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: Bye.",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Go away.",
    }
    assert read_preference(row) == ("Hi", "Hello.\n\nHuman: Bye\n\nAssistant: Bye.", "Go away.")


def test_an_answer_that_both_conversations_end_their_share_with_is_not_the_prompt() -> None:
    row = {
        "chosen": [user("Hi"), assistant("Yes."), user("More?")],
        "rejected": [user("Hi"), assistant("Yes.")],
    }
    assert read_preference(row) == ("Hi", "Assistant: Yes.\n\nHuman: More?", "Yes.")


def test_answers_that_begin_with_the_same_letters_are_not_cut_inside_a_word() -> None:
    row = {"chosen": "Is it big? Greatly so", "rejected": "Is it big? Grey"}
    assert read_preference(row) == ("Is it big?", "Greatly so", "Grey")


def test_a_word_that_ends_in_both_belongs_to_the_prompt() -> None:
    assert read_preference({"chosen": "Sum:\n4", "rejected": "Sum: 5"}) == ("Sum:", "4", "5")


words = st.text("ab ", min_size=1, max_size=12).filter(str.strip)


@given(words, words, words)
def test_speakers_are_told_apart_whatever_they_say(prompt: str, chosen: str, rejected: str) -> None:
    asked = f"\n\nHuman: {prompt}\n\nAssistant: "
    row = {"chosen": asked + chosen, "rejected": asked + rejected}
    assert read_preference(row) == (prompt.strip(), chosen.strip(), rejected.strip())


BAD_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "no loser": (
        {"prompt": "p", "chosen": "a"},
        r"column 'rejected' is missing: a preference needs a loser; the columns are \['chosen', 'prompt'\]",
    ),
    "no winner": (
        {"prompt": "p", "rejected": "a"},
        "column 'chosen' is missing: a preference needs a winner",
    ),
    "a loser that is null": ({"prompt": "p", "chosen": "a", "rejected": None}, "column 'rejected' is empty"),
    "a loser without words": (
        {"prompt": "p", "chosen": "a", "rejected": " \n"},
        "column 'rejected' is empty",
    ),
    "a loser without messages": (
        {"prompt": "p", "chosen": "a", "rejected": []},
        "column 'rejected' is empty",
    ),
    "a loser without answer": (
        {"chosen": "\n\nHuman: p\n\nAssistant: a", "rejected": "\n\nHuman: p\n\nAssistant:"},
        "column 'rejected' is empty",
    ),
    "a number": (
        {"prompt": "p", "chosen": "a", "rejected": 7},
        "column 'rejected' must be text or a list of {'role': …, 'content': …} messages, got 7",
    ),
    "messages of another shape": (
        {"prompt": "p", "chosen": [{"from": "gpt", "value": "a"}], "rejected": "b"},
        "column 'chosen' must be text or a list",
    ),
    "a prompt of another type": (
        {"prompt": 3, "chosen": "a", "rejected": "b"},
        "column 'prompt' must be text",
    ),
    "a prompt without words": ({"prompt": "", "chosen": "a", "rejected": "b"}, "column 'prompt' is empty"),
    "nothing in common": ({"chosen": "a", "rejected": "b"}, "column 'prompt' is empty"),
    "text against messages": (
        {"prompt": "p", "chosen": "a", "rejected": [assistant("b")]},
        "'chosen' and 'rejected' must both be text or both be lists",
    ),
    "answers alone": (
        {"chosen": [assistant("a")], "rejected": [assistant("b")]},
        "column 'prompt' is missing, and 'chosen' begins with an answer",
    ),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_that_is_no_preference(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_preference(row)
