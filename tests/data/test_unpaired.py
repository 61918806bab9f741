"""Unpaired feedback in its formats, the rows that are none, and the way on to KTO."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.data.unpaired import load_unpaired, read_unpaired
from rlhf_mini.methods.kto import Labelled
from tests.data.test_load import KINDS, Rows, jsonl

ASKED = [{"role": "user", "content": "Name a fox."}]
ROWS: Rows = [
    {"prompt": "Name a fox.", "completion": "Finn.", "label": True},
    {"prompt": "Grüße!", "completion": "…", "label": False},
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub-cache"))


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_feedback_from_every_kind_of_source(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    loaded = load_unpaired(write(tmp_path, ROWS))
    assert loaded.column_names == ["prompt", "completion", "label"]
    assert list(loaded) == ROWS


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASKED, "completion": [{"role": "assistant", "content": "Finn."}], "label": True},
        {"prompt": "Name a fox.", "completion": [{"role": "assistant", "content": "Finn."}], "label": 1},
        {"prompt": ASKED, "completion": "\nFinn. ", "label": True, "rating": 5},
    ],
    ids=["messages", "text and messages", "messages and text"],
)
def test_every_format_gives_the_same_feedback(row: dict[str, Any]) -> None:
    feedback = read_unpaired(row)
    assert feedback == ("Name a fox.", "Finn.", True)
    assert feedback.label is True  # not 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"completion": "a", "label": True}, "column 'prompt' is missing"),
    ({"prompt": "a", "label": True}, "column 'completion' is missing"),
    ({"prompt": "a", "completion": "b"}, r"column 'label' is missing; .+ \['completion', 'prompt'\]"),
    ({"prompt": "a", "completion": "", "label": True}, "column 'completion' is empty"),
    ({"prompt": "a", "completion": "b", "label": None}, "column 'label' must be true or false, got None"),
    ({"prompt": "a", "completion": "b", "label": "true"}, "column 'label' must be true or false, got 'true'"),
    ({"prompt": "a", "completion": "b", "label": 1.0}, "column 'label' must be true or false, got 1.0"),
    ({"prompt": "a", "completion": "b", "label": -1}, "column 'label' must be true or false, got -1"),
]


@pytest.mark.parametrize(("row", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_a_row_that_is_no_feedback_names_its_column(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"rows.jsonl, row 3: {message}"):
        load_unpaired(jsonl(tmp_path, [*ROWS, row]))


def test_one_kind_of_label_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="all 2 labels are True; KTO needs answers of both kinds"):
        load_unpaired(jsonl(tmp_path, [ROWS[0]] * 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_unpaired(jsonl(tmp_path, ROWS))


def test_the_rows_become_what_kto_learns_from(tmp_path: Path) -> None:
    loaded = load_unpaired(jsonl(tmp_path, ROWS))
    tokenizer = train_tokenizer(["Name a fox."], vocab_size=262)
    answers = pack_texts(tokenizer, loaded["prompt"], loaded["completion"])
    labelled = Labelled(answers, torch.tensor(loaded["label"]))
    assert labelled.desirable.tolist() == [True, False]
    assert tokenizer.decode(labelled.answers.tokens[0][labelled.answers.response[0]]) == "Finn.<|end|>"
