"""Numbers read from text, answers checked against them, and the rows of GSM8K's format."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.data.verifiable import (
    answer_reward,
    last_number,
    load_verifiable,
    matches,
    matches_last_number,
    plain_number,
    read_verifiable,
    stated_answer,
)
from rlhf_mini.methods.answers import text_score

# What is written after ####, and the number that it states: written out by hand.
STATED = {
    "72": "72",
    " 72 ": "72",
    "72.": "72",
    "1,450": "1450",
    "1,234,567.50": "1234567.5",
    "1234567": "1234567",
    "-3": "-3",
    "−3": "-3",
    "+3": "3",
    "$18": "18",
    "$ 18": "18",
    "-$18": "-18",
    "$-18": "-18",
    "€0.50": "0.5",
    ".5": "0.5",
    "-.5": "-0.5",
    "007": "7",
    "0": "0",
    "-0": "0",
    "50%": "50",
    "18 dollars": "18",
    "5km": "5",
    "**12**": "12",
    "12345678901234567890123456789012345": "12345678901234567890123456789012345",
}
NOT_STATED = [
    "", "none", "1/2", "3 / 4", "7 or 8", "7, 8", "1,2", "1,23", "12,34", "1,2345", "1e3", "2.5e-1", "1.2.3",
    "5:30", "10-3", "x2", "2x2", "3 km2", "٣", "4 (that is 2+2)", "$", "-", "half",
]  # fmt: skip


@pytest.mark.parametrize(("written", "number"), STATED.items())
def test_a_stated_number(written: str, number: str) -> None:
    stated = stated_answer(f"Two steps: 1 + 1 = 2.\n#### {written}")
    assert stated == Decimal(number)
    assert plain_number(stated) == number
    assert matches(f"#### {written}", number)
    assert matches(f"####{written}\n", written)  # the right answer may be written in any of these ways too


@pytest.mark.parametrize("written", NOT_STATED)
def test_what_states_no_one_number(written: str) -> None:
    assert stated_answer(f"1 + 1 = 2\n#### {written}") is None
    assert not matches(f"#### {written}", "3")
    with pytest.raises(ValueError, match="the right answer must be one number"):
        matches("#### 3", written)


def test_only_the_line_after_the_last_mark_counts() -> None:
    assert stated_answer("#### 1\n#### 2\n3") == 2
    assert stated_answer("#### 1\n####") is None
    assert stated_answer("####\n5") is None
    assert stated_answer("5") is None
    assert not matches("#### 5", "50")
    assert not matches("#### 50", "5")
    assert matches("#### 72.00", 72)


def test_the_last_number_needs_no_mark() -> None:
    text = "She sold 48/2 = 24 clips in May, and 48+24 = 72 in all. So the answer is $1,072.00!"
    assert last_number(text) == 1072
    assert matches_last_number(text, "1072")
    assert not matches(text, "1072")
    assert matches_last_number("10-3=7", "7")
    assert last_number("10-3") == 3  # a difference, not a negative number
    assert last_number("no digits") is None
    assert not matches_last_number("no digits", "0")


def test_listing_guesses_does_not_pay() -> None:
    assert not any(matches("#### 70 71 72 73", str(guess)) for guess in range(70, 74))
    assert sum(matches("#### 70\n#### 71\n#### 72", str(guess)) for guess in range(70, 74)) == 1


@given(st.decimals(-(10**12), 10**12, places=3), st.sampled_from(["", "$", "€"]))
def test_any_decimal_written_with_commas_matches_itself_and_no_neighbour(number: Decimal, sign: str) -> None:
    written = f"#### {'-' if number < 0 else ''}{sign}{abs(number):,f}"
    assert matches(written, plain_number(number))
    assert not matches(written, plain_number(number + Decimal("0.001")))
    assert Decimal(plain_number(number)) == number


# ------------------------------------------------------------------------------------------------------- rows

CLIPS = {
    "question": "Natalia had 24 clips and got twice as many. How many?\n",
    "answer": "She got 24*2 = <<24*2=48>>48.\nSo 24+48 = <<24+48=72>>72.\n#### 72",
}


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_of_gsm8k(tmp_path: Path) -> None:
    loaded = load_verifiable(written(tmp_path, [CLIPS]))
    assert loaded.column_names == ["prompt", "answer", "solution"]
    assert loaded[0] == {"prompt": CLIPS["question"].strip(), "answer": "72", "solution": CLIPS["answer"]}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "2 + 2?", "answer": "4"}, "4"),
        ({"problem": "2 + 2?", "answer": 4}, "4"),
        ({"question": "2 + 2?", "prompt": "not this one", "answer": 4.0}, "4"),
        ({"question": None, "prompt": "2 + 2?", "answer": "$4.50"}, "4.5"),
        ({"question": [{"role": "user", "content": "2 + 2?"}], "answer": "#### -1,000"}, "-1000"),
        ({"question": "2 + 2?", "answer": 1e-7}, None),
    ],
)
def test_other_columns_and_bare_numbers(row: dict[str, Any], expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="column 'answer' must state one number, got '1e-07'"):
            read_verifiable(row)
    else:
        assert read_verifiable(row)[:2] == ("2 + 2?", expected)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"text": "a"}, r"column 'question' is missing \(or 'prompt', or 'problem'\); .+ \['text'\]"),
    ({"question": " ", "answer": "4"}, "column 'question' is empty"),
    ({"prompt": 5, "answer": "4"}, "column 'prompt' must be text"),
    ({"question": "a"}, "column 'answer' is missing"),
    ({"question": "a", "answer": None}, "column 'answer' must be a number or a text that states one"),
    ({"question": "a", "answer": True}, "column 'answer' must be a number .+, got True"),
    ({"question": "a", "answer": " "}, "column 'answer' must be a number"),
    (
        {"question": "a", "answer": "so 1 + 1 = 2"},
        "column 'answer' must state one number, got 'so 1 . 1 = 2'",
    ),
    ({"question": "a", "answer": "so 2\n#### two"}, r"column 'answer' must state one number, got 'so 2"),
    ({"question": "a", "answer": float("nan")}, "column 'answer' must state one number, got 'nan'"),
]


@pytest.mark.parametrize(("row", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_a_row_without_a_checkable_answer_names_its_column(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"rows.jsonl, row 2: {message}"):
        load_verifiable(written(tmp_path, [CLIPS, row]))


# ----------------------------------------------------------------------------------------------------- reward


def test_the_rows_become_a_reward_on_tokens(tmp_path: Path) -> None:
    problems = load_verifiable(written(tmp_path, [CLIPS]))
    tokenizer = train_tokenizer(["How many?"], vocab_size=262)
    answers = ["24 + 48\n#### 72", "#### 73", "It is 72"]
    batch = pack_texts(tokenizer, [problems[0]["prompt"]] * 3, answers)
    assert text_score(tokenizer, answer_reward(problems))(batch).tolist() == [1.0, 0.0, 0.0]
    loose = answer_reward(problems, check=matches_last_number)
    assert text_score(tokenizer, loose)(batch).tolist() == [1.0, 0.0, 1.0]


def test_a_reward_knows_its_prompts() -> None:
    rows = [{"prompt": "a", "answer": "1"}, {"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": "2"}]
    with pytest.raises(ValueError, match="'c' is none of the 2 prompts with a known answer"):
        answer_reward(rows)("c", "#### 1")
    with pytest.raises(ValueError, match="'a' stands there with two answers, 1 and 3"):
        answer_reward([*rows, {"prompt": "a", "answer": "3"}])
