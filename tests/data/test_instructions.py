"""Instruction rows in every format, and the rows that are none."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from rlhf_mini.data.instructions import completion_text, load_instructions, read_instruction


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


FORMATS: dict[str, dict[str, Any]] = {
    "prompt and completion": {"prompt": "Name a fox.", "completion": " Finn.\n"},
    "the same as messages": {"prompt": [user("Name a fox.")], "completion": [assistant("Finn.")]},
    "the same, mixed": {"prompt": "Name a fox.", "completion": [assistant("Finn.")]},
    "instruction and output": {"instruction": "Name a fox.", "output": "Finn."},
    "instruction, an empty input and output": {"instruction": "Name a fox.", "input": "", "output": "Finn."},
    "instruction, a missing input and output": {
        "instruction": "Name a fox.",
        "input": None,
        "output": "Finn.",
    },
    "messages": {"messages": [user("Name a fox."), assistant("Finn.")]},
    "messages beside other columns": {
        "prompt": "as UltraChat has it",
        "messages": [user("Name a fox."), assistant("Finn.")],
    },
    "an empty column of messages": {"prompt": "Name a fox.", "completion": "Finn.", "messages": None},
}


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same_instruction(row: dict[str, Any]) -> None:
    assert read_instruction(row) == ("Name a fox.", "Finn.")


def test_an_input_follows_its_instruction() -> None:
    row = {"instruction": "Name it.", "input": "A red animal.", "output": "Fox."}
    assert read_instruction(row) == ("Name it.\n\nA red animal.", "Fox.")


def test_of_several_turns_the_last_answer_is_learned() -> None:
    turns = [user("Hi"), assistant("Hello."), user("Name a fox."), assistant("Finn.")]
    expected = ("Human: Hi\n\nAssistant: Hello.\n\nHuman: Name a fox.", "Finn.")
    assert read_instruction({"messages": turns}) == expected
    assert read_instruction({"prompt": turns[:3], "completion": turns[3:]}) == expected


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"text": "a"}, r"expected the columns 'prompt' and 'completion', or .+ the columns are \['text'\]"),
    ({"prompt": "a"}, r"column 'completion' is missing; the columns are \['prompt'\]"),
    ({"completion": "a"}, "column 'prompt' is missing"),
    ({"prompt": " ", "completion": "a"}, "column 'prompt' is empty"),
    ({"prompt": "a", "completion": "\n"}, "column 'completion' is empty: give an answer"),
    ({"prompt": "a", "completion": None}, "column 'completion' must be text or a list of .+ got None"),
    ({"prompt": 3, "completion": "a"}, "column 'prompt' must be text or a list of .+ got 3"),
    ({"prompt": "a", "completion": [assistant(" ")]}, "column 'completion' is empty: give an answer"),
    (
        {"prompt": "a", "completion": [user("a"), assistant("b")]},
        "column 'completion' must begin with a message of the assistant, got one of 'user'",
    ),
    ({"instruction": "a"}, "column 'output' is missing"),
    ({"output": "a"}, "column 'instruction' is missing"),
    ({"instruction": "a", "input": 7, "output": "b"}, "column 'input' must be text"),
    ({"messages": "a"}, "column 'messages' must be a list of messages, got the text 'a'"),
    ({"messages": []}, r"column 'messages' must be text or a list of .+ got \[\]"),
    ({"messages": [assistant("a")]}, r"must hold a question and end .+ \['assistant'\]"),
    (
        {"messages": [user("a")]},
        r"must hold a question and end .+ the roles \['user'\]",
    ),
    ({"messages": [user("a"), assistant("")]}, "column 'messages' is empty: give an answer"),
]


@pytest.mark.parametrize(("row", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_a_row_that_is_no_instruction_names_its_column(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_instruction(row)


def test_several_messages_of_an_answer_stay_in_it() -> None:
    turns = [assistant("Let me look."), {"role": "tool", "content": "Finn"}, assistant("Finn.")]
    assert completion_text(turns, "completion") == "Assistant: Let me look.\n\nTool: Finn\n\nAssistant: Finn."


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_loading_names_the_row(tmp_path: Path, kind: str) -> None:
    rows = [{"messages": [user("a"), assistant("b")]}, {"messages": [user("c"), assistant("")]}]
    path = tmp_path / f"rows.{kind}"

    def write(some: list[dict[str, Any]]) -> None:
        if kind == "parquet":
            datasets.Dataset.from_list(some).to_parquet(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")

    write(rows[:1])
    loaded = load_instructions(path)
    assert loaded.column_names == ["prompt", "completion"]
    assert list(loaded) == [{"prompt": "a", "completion": "b"}]
    write(rows)
    with pytest.raises(ValueError, match=f"rows.{kind}, row 2: column 'messages' is empty: give an answer"):
        load_instructions(path)
