"""Instructions and the responses that demonstrate them, in any of the ecosystem's formats.

Three formats are understood: a prompt and its completion (TRL's), an instruction with an optional input and
its output (Alpaca's), and messages whose last one is the assistant's (the chat format). Each gives the two
strings that supervised fine-tuning learns from.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import datasets

from rlhf_mini.data.load import Source, each_row
from rlhf_mini.data.preferences import prompt_text, read_turns

COLUMNS = "'prompt' and 'completion', or 'instruction' and 'output' (with 'input' or without), or 'messages'"


class Instruction(NamedTuple):
    """What was asked, and a response to learn from."""

    prompt: str
    completion: str


def load_instructions(source: Source, *, split: str = "train", config: str | None = None) -> datasets.Dataset:
    """The instructions of a source as a data set with the text columns `prompt` and `completion`.

    Sources are those of `load.load_preferences`; `read_instruction` says which formats are understood. Raises
    ValueError, naming file, row and column, for anything that is no instruction with a response.
    """
    return datasets.Dataset.from_list(
        [row._asdict() for row in each_row(source, split, config, read_instruction)]
    )


def read_instruction(row: Mapping[str, Any]) -> Instruction:
    """The instruction that a row states.

    - `prompt` and `completion`: text or messages each, the completion's first one the assistant's.
    - `instruction`, `input`, `output`: an input that is not empty follows the instruction after an empty
      line. Alpaca's preamble ("Below is an instruction …") is not added: the chat template says who speaks.
    - `messages`: the last is the completion and must be the assistant's; those before it are the prompt.

    A prompt of several messages becomes one string with its speakers named, as in `preferences`. White space
    around the two is left out. Raises ValueError, naming the column, if one is missing, empty or of another
    type.

    >>> read_instruction({"instruction": "Add.", "input": "2 and 3", "output": "5"})
    Instruction(prompt='Add.\\n\\n2 and 3', completion='5')
    >>> read_instruction({"prompt": "Add 2 and 3.", "completion": ""})
    Traceback (most recent call last):
    ValueError: column 'completion' is empty: give an answer
    """
    if row.get("messages") is not None:
        return _from_messages(read_turns(row["messages"], "messages"))
    if "completion" in row or ("prompt" in row and "output" not in row):
        return Instruction(*prompt_and_completion(row))
    if "instruction" in row or "output" in row:
        return _from_alpaca(row)
    raise ValueError(f"expected the columns {COLUMNS}; the columns are {sorted(row)}")


def prompt_and_completion(row: Mapping[str, Any]) -> tuple[str, str]:
    """The two columns `prompt` and `completion`, each text or messages, as two strings.

    Raises ValueError, naming the column, as `read_instruction` does.
    """
    _require(row, "prompt", "completion")
    return prompt_text(row["prompt"], "prompt"), completion_text(row["completion"], "completion")


def completion_text(value: Any, column: str) -> str:
    """An answer that is text or messages of the assistant, as one string.

    Raises ValueError, naming the column, if it is empty, neither, or begins with another speaker's message.

    >>> completion_text([{"role": "assistant", "content": " 5"}], "completion")
    '5'
    """
    turns = read_turns(value, column)
    if isinstance(turns, str):
        if not turns.strip():
            raise ValueError(f"column {column!r} is empty: give an answer")
        return turns.strip()
    if turns[0]["role"] != "assistant":
        raise ValueError(
            f"column {column!r} must begin with a message of the assistant, got one of "
            f"{turns[0]['role']!r}; the messages before the answer belong into 'prompt'"
        )
    if not any(turn["content"].strip() for turn in turns):
        raise ValueError(f"column {column!r} is empty: give an answer")
    return prompt_text(turns, column)


def _require(row: Mapping[str, Any], *columns: str) -> None:
    for column in columns:
        if column not in row:
            raise ValueError(f"column {column!r} is missing; the columns are {sorted(row)}")


def _from_messages(turns: Any) -> Instruction:
    if isinstance(turns, str):
        raise ValueError(f"column 'messages' must be a list of messages, got the text {turns!r:.60}")
    if turns[-1]["role"] != "assistant" or len(turns) < 2:
        raise ValueError(
            "column 'messages' must hold a question and end with a message of the assistant, got the roles "
            f"{[turn['role'] for turn in turns]}"
        )
    return Instruction(prompt_text(turns[:-1], "messages"), completion_text(turns[-1:], "messages"))


def _from_alpaca(row: Mapping[str, Any]) -> Instruction:
    _require(row, "instruction", "output")
    prompt = prompt_text(row["instruction"], "instruction")
    if row.get("input"):
        prompt += "\n\n" + prompt_text(row["input"], "input")
    return Instruction(prompt, completion_text(row["output"], "output"))
