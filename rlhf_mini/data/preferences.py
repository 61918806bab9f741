"""One preference row, in any of the ecosystem's formats, as the three strings prompt, chosen, rejected.

The prompt may be a column of its own or what chosen and rejected both begin with; each may be plain text or a
list of messages. A conversation of several turns becomes one string, its speakers named.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

Message = Mapping[str, str]

_ASSISTANT = re.compile(r"(?:^|\n\n)Assistant:")
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|User|Assistant|System):")


class Preference(NamedTuple):
    """A prompt and two answers to it, the first of them preferred."""

    prompt: str
    chosen: str
    rejected: str


def read_preference(row: Mapping[str, Any]) -> Preference:
    """The preference that a row states.

    - Explicit prompt: columns `prompt`, `chosen`, `rejected`.
    - Implicit prompt, messages: chosen and rejected are whole conversations. The messages that they share are
      the prompt, except that answers at the end of those belong to the answer.
    - Implicit prompt, text: what both begin with, up to its last "Assistant:", is the prompt; without
      speakers, all of what both begin with, in whole words.

    White space around the three is left out. Raises ValueError, naming the column, if one is missing, empty
    or of another type, or if there is no prompt.

    >>> asked = "\\n\\nHuman: Hi\\n\\nAssistant: "
    >>> read_preference({"chosen": asked + "Hello!", "rejected": asked + "No."})
    Preference(prompt='Hi', chosen='Hello!', rejected='No.')
    >>> read_preference({"prompt": "2 + 2?", "chosen": "4", "rejected": None})
    Traceback (most recent call last):
    ValueError: column 'rejected' is empty: a preference needs a loser
    """
    chosen, rejected = _column(row, "chosen", "winner"), _column(row, "rejected", "loser")
    prompt = row.get("prompt")
    if _is_conversation(chosen) and _is_conversation(rejected):
        parts = _shared_messages(chosen, rejected)
    elif isinstance(chosen, str) != isinstance(rejected, str):
        raise ValueError("columns 'chosen' and 'rejected' must both be text or both be lists of messages")
    elif prompt is not None:
        parts = _as_text(read_turns(prompt, "prompt")), _as_text(chosen), _as_text(rejected)
    elif isinstance(chosen, str) and isinstance(rejected, str):
        parts = _shared_text(chosen, rejected)
    else:
        raise ValueError("column 'prompt' is missing, and 'chosen' begins with an answer")
    for name, who, text in zip(Preference._fields, ("prompt", "winner", "loser"), parts, strict=True):
        if not text.strip():
            raise ValueError(f"column {name!r} is empty: a preference needs a {who}")
    return Preference(*(text.strip() for text in parts))


def read_turns(value: Any, column: str) -> str | list[Message]:
    """`value` itself if it is text or a list of messages; otherwise ValueError, naming the column.

    >>> read_turns(7, "prompt")
    Traceback (most recent call last):
    ValueError: column 'prompt' must be text or a list of {'role': …, 'content': …} messages, got 7
    """
    if isinstance(value, str) or (isinstance(value, list) and value and all(map(_is_message, value))):
        return value
    raise ValueError(
        f"column {column!r} must be text or a list of {{'role': …, 'content': …}} messages, "
        f"got {_shortened(value)}"
    )


def prompt_text(value: Any, column: str) -> str:
    """A prompt that is text or messages, as one string; ValueError if it is empty or neither.

    >>> prompt_text([{"role": "user", "content": "Hi"}], "prompt")
    'Hi'
    """
    text = _as_text(read_turns(value, column)).strip()
    if not text:
        raise ValueError(f"column {column!r} is empty: give a prompt")
    return text


def _column(row: Mapping[str, Any], name: str, who: str) -> str | list[Message]:
    if name not in row:
        raise ValueError(
            f"column {name!r} is missing: a preference needs a {who}; the columns are {sorted(row)}"
        )
    if row[name] is None or row[name] == [] or row[name] == "":
        raise ValueError(f"column {name!r} is empty: a preference needs a {who}")
    return read_turns(row[name], name)


def _is_conversation(turns: str | list[Message]) -> TypeGuard[list[Message]]:
    """Whether these are messages from the first on, the prompt included, and not an answer alone."""
    return not isinstance(turns, str) and turns[0]["role"] != "assistant"


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("role"), str)
        and isinstance(value.get("content"), str)
    )


def _as_text(turns: str | Sequence[Message]) -> str:
    """The text of a single turn; of several with their speakers named, as plain-text data sets do it."""
    if isinstance(turns, str):
        return turns
    if len(turns) == 1:
        return turns[0]["content"]
    speakers = {"user": "Human"}
    return "\n\n".join(
        f"{speakers.get(turn['role'], turn['role'].capitalize())}: {turn['content'].strip()}"
        for turn in turns
    )


def _shared_messages(chosen: Sequence[Message], rejected: Sequence[Message]) -> tuple[str, str, str]:
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    while shared and chosen[shared - 1]["role"] == "assistant":
        shared -= 1
    return _as_text(chosen[:shared]), _as_text(chosen[shared:]), _as_text(rejected[shared:])


def _shared_text(chosen: str, rejected: str) -> tuple[str, str, str]:
    lengths = range(min(len(chosen), len(rejected)))
    shared = chosen[: next((at for at in lengths if chosen[at] != rejected[at]), len(lengths))]
    answers = list(_ASSISTANT.finditer(shared))
    if answers:
        start, end = answers[-1].span()
        return _as_text(_turns_of(shared[:start])), chosen[end:], rejected[end:]
    end = len(shared)
    if not all(
        text[end : end + 1].isspace() for text in (chosen, rejected)
    ):  # inside a word, or one text is over
        end -= len(re.split(r"\s", shared)[-1])
    return shared[:end], chosen[end:], rejected[end:]


def _turns_of(transcript: str) -> str | list[Message]:
    before, *rest = _SPEAKER.split(transcript)
    if not rest or before.strip():
        return transcript
    return [
        {"role": "user" if who in ("Human", "User") else who.lower(), "content": said.strip()}
        for who, said in zip(rest[::2], rest[1::2], strict=True)
    ]


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
