"""Exercises of chapter 15 on real data: the answer after ####, the prompt in two answers, a check of columns."""

import re
from itertools import takewhile
from typing import Any

from rlhf_mini.reader import Exercise, Mistake

# ------------------------------------------------------------------------------------ 1 · the answer after ####


def stated(text: str) -> str:
    """The number that a solution states in the format of GSM8K, in plain digits; "" if it states none.

    It stands on the line after the last ####, alone: a minus sign and a $ before it, commas between thousands
    and a decimal point are allowed, and only the minus sign, digits and the point are returned. A line with
    anything else states nothing.
    """
    _, mark, after = text.rpartition("####")
    number = after.split("\n")[0].strip().replace(",", "").replace("$", "", 1)
    return number if mark and re.fullmatch(r"-?\d+(\.\d+)?", number) else ""


def _first_mark(text: str) -> str:
    _, mark, after = text.partition("####")
    return stated(mark + after.partition("####")[0])


def _last_number(text: str) -> str:
    found = re.findall(r"-?\d+(?:\.\d+)?", text.replace(",", ""))
    return found[-1] if found else ""


def _last_number_of_the_line(text: str) -> str:
    return _last_number(text.rpartition("####")[2].split("\n")[0]) if "####" in text else ""


def _with_commas(text: str) -> str:
    return text.rpartition("####")[2].split("\n")[0].strip() if "####" in text else ""


def _no_mark_needed(text: str) -> str:
    return stated("####" + text.rpartition("####")[2])


def _to_the_end(text: str) -> str:
    return stated(text.replace("\n", " "))


STATED = Exercise(
    title="The answer after ####",
    level="easy",
    minutes=10,
    hints=(
        "Take the text after the last ####, and of that the first line. What may be left out of it, so that only a number remains?",
        'text.rpartition("####") gives what stands before, the mark or "", and what stands after; re.fullmatch(r"-?\\d+(\\.\\d+)?", …) wants the whole of what is left to be a number.',
    ),
    solution=stated,
    cases=lambda: [
        ("24 and twice as many are 24+48=72.\n#### 72",),
        ("#### 5 apples? No:\n#### $1,450.50\nThat is all.",),
        ("So she has 12 left.",),
        ("-3 degrees\n####  -3 ",),
        ("#### 7 or 8",),
        ("72",),
        ("#### -1,000,000\n9",),
    ],
    mistakes=(
        Mistake(_first_mark, "You read the first ####. A model that corrects itself states its answer last, and so does the format."),
        Mistake(_last_number, "You take the last number wherever it stands. That is a check in use too, the flexible one; but it pays an answer that nobody stated."),
        Mistake(_last_number_of_the_line, "A line with two numbers states none of them. Whoever lists guesses would be paid for the last one."),
        Mistake(_with_commas, "The line is returned as it stands, with its commas and its $. As text, 1,450 is not 1450."),
        Mistake(_no_mark_needed, "Without #### nothing is stated, even if the whole text is a number."),
        Mistake(_to_the_end, "Only the line after #### counts. What is written on the lines below it is not part of the answer."),
    ),
)  # fmt: skip


# --------------------------------------------------------------------------------- 2 · the prompt in two answers

ASSISTANT = "\n\nAssistant:"


def parted(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Prompt, chosen answer and rejected answer of a pair whose prompt has no column of its own.

    Both texts are whole dialogues of the form "\\n\\nHuman: …\\n\\nAssistant: …". The prompt is what both begin
    with, up to and with the last "\\n\\nAssistant:" of that; the answers are what is left.
    """
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
    shared = chosen[: len([*alike])]
    end = shared.rindex(ASSISTANT) + len(ASSISTANT)
    return chosen[:end], chosen[end:], rejected[end:]


def _all_that_is_shared(chosen: str, rejected: str) -> tuple[str, str, str]:
    end = len([*takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))])
    return chosen[:end], chosen[end:], rejected[end:]


def _first_turn(chosen: str, rejected: str) -> tuple[str, str, str]:
    end = chosen.index(ASSISTANT) + len(ASSISTANT)
    return chosen[:end], chosen[end:], rejected[end:]


def _last_of_each(chosen: str, rejected: str) -> tuple[str, str, str]:
    end, other = (text.rindex(ASSISTANT) + len(ASSISTANT) for text in (chosen, rejected))
    return chosen[:end], chosen[end:], rejected[other:]


def _without_the_speaker(chosen: str, rejected: str) -> tuple[str, str, str]:
    end = len(parted(chosen, rejected)[0]) - len(ASSISTANT)
    return chosen[:end], chosen[end:], rejected[end:]


def _prompt_left_in(chosen: str, rejected: str) -> tuple[str, str, str]:
    return parted(chosen, rejected)[0], chosen, rejected


def _dialogues() -> list[tuple[str, str]]:
    one = "\n\nHuman: Name a fox.\n\nAssistant:"
    more = one + " Finn.\n\nHuman: And an owl?\n\nAssistant:"
    return [
        (one + " Finn.", one + " No."),
        (one + " I think Finn.", one + " I do not know."),
        (more + " Olga.", more + " Otto the owl."),
        (more + " Olga.", one + " Felix."),
        (one + " Finn.\n\nHuman: Thanks.\n\nAssistant: Yes.", one + " No.\n\nHuman: Why?\n\nAssistant: So."),
    ]


PARTED = Exercise(
    title="The prompt in two answers",
    level="medium",
    minutes=15,
    hints=(
        "Two answers may begin with the same words, and two dialogues may part before the last turn. So neither all that is shared nor the last turn of one of them is the prompt.",
        'itertools.takewhile, over zip(chosen, rejected), gives the letters that both begin with; .rindex("\\n\\nAssistant:") in that says where the last shared turn of the assistant begins.',
    ),
    solution=parted,
    cases=_dialogues,
    mistakes=(
        Mistake(_all_that_is_shared, "Where both answers begin with “ I”, you put it into the prompt. A model trained on these rows sees answers without a beginning."),
        Mistake(_first_turn, "The dialogue may have several turns before the two part. Those belong to the prompt."),
        Mistake(_last_of_each, "Where the dialogues part before their last turn, their last answers do not answer one prompt. Look for the last turn of what both share."),
        Mistake(_without_the_speaker, "“Assistant:” belongs to the prompt: it is what the answer comes after."),
        Mistake(_prompt_left_in, "The prompt still stands in both answers. It would be learned twice, and cancels in a preference loss only as long as nothing cuts it off."),
    ),
)  # fmt: skip


# --------------------------------------------------------------------------------------- 3 · what is wrong, and where


def fault(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    """What is wrong with the first bad row: "row 2: column 'chosen' is missing", or "… is empty" for text of
    nothing but white space; "" if every row has text in all columns.

    Rows count from 1, and the columns of a row are looked at in the given order. All values are text.
    """
    for number, row in enumerate(rows, start=1):
        for column in columns:
            if column not in row:
                return f"row {number}: column {column!r} is missing"
            if not row[column].strip():
                return f"row {number}: column {column!r} is empty"
    return ""


def _from_zero(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    for number, row in enumerate(rows):
        if found := fault([row], columns):
            return found.replace("row 1", f"row {number}")
    return ""


def _by_column(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    for column in columns:
        if found := fault(rows, (column,)):
            return found
    return ""


def _missing_only(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    return fault([dict.fromkeys(row, "text") for row in rows], columns)


def _spaces_are_text(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    return fault([{name: value and f"x{value}" for name, value in row.items()} for row in rows], columns)


def _first_row_speaks_for_all(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    return fault(rows[:1], columns)


def _no_column(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    return fault(rows, columns).split(": column")[0]


def _last_fault(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    found = [fault([row], columns).replace("row 1:", f"row {n}:") for n, row in enumerate(rows, start=1)]
    return next((one for one in reversed(found) if one), "")


FAULT = Exercise(
    title="What is wrong, and where",
    level="easy",
    minutes=10,
    hints=(
        "Two loops: over rows, and in each over columns. Return at the first fault.",
        "enumerate(rows, start=1) counts as people do; str.strip() leaves nothing of white space.",
    ),
    solution=fault,
    cases=lambda: [
        ([{"prompt": "a", "chosen": "b"}, {"prompt": "c"}], ("prompt", "chosen")),
        ([{"prompt": "a", "chosen": " "}, {"chosen": "b"}], ("prompt", "chosen")),
        ([{"prompt": "a", "chosen": "b"}], ("prompt", "chosen")),
        ([{"prompt": "a"}, {"prompt": "\n"}, {"prompt": ""}], ("prompt",)),
        ([{"prompt": "a", "label": ""}], ("prompt",)),
        ([{"prompt": "a"}, {"chosen": "b"}], ("prompt", "chosen")),
        ([{"prompt": "a", "chosen": "b"}, {"prompt": "c", "chosen": ""}], ("chosen", "prompt")),
    ],
    mistakes=(
        Mistake(_from_zero, "You count from 0. Whoever opens the file in an editor looks one line too early."),
        Mistake(_by_column, "You go through all rows for one column first. The first bad row is asked for, and it may be bad in another column."),
        Mistake(_missing_only, "An empty text is a fault too. A preference without a loser would be trained on."),
        Mistake(_spaces_are_text, "White space is no text: strip before you look."),
        Mistake(_first_row_speaks_for_all, "You look at the first row only. Columns of JSON lines may differ from row to row."),
        Mistake(_no_column, "Name the column as well: a row may have ten of them."),
        Mistake(_last_fault, "You report the last bad row. Whoever reads a file from the top mends the first one first."),
    ),
)  # fmt: skip
