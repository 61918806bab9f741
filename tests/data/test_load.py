"""Loading from every kind of source, and what is said about those that cannot be read."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from rlhf_mini.data.load import load_preferences, load_prompts, load_text

Rows = list[dict[str, Any]]

PREFERENCES: Rows = [
    {"prompt": "Name a fox.", "chosen": "Finn.", "rejected": "No."},
    {"prompt": "Grüße!", "chosen": "你好", "rejected": "…"},
]
TEXTS: Rows = [{"text": "one\ntwo"}, {"text": ""}, {"text": "thrée"}]


def jsonl(folder: Path, rows: Rows) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def jsonl_gz(folder: Path, rows: Rows) -> Path:
    path = folder / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(jsonl(folder, rows).read_bytes()))
    return path


def parquet(folder: Path, rows: Rows) -> Path:
    path = folder / "rows.parquet"
    datasets.Dataset.from_list(rows).to_parquet(path)
    return path


def saved(folder: Path, rows: Rows) -> Path:
    datasets.Dataset.from_list(rows).save_to_disk(folder / "saved")
    return folder / "saved"


def saved_splits(folder: Path, rows: Rows) -> Path:
    parts = {"train": datasets.Dataset.from_list(rows), "test": datasets.Dataset.from_list(rows[:1])}
    datasets.DatasetDict(parts).save_to_disk(folder / "splits")
    return folder / "splits"


def cloned(folder: Path, rows: Rows) -> Path:
    """The layout of a data set on the hub: this goes through the same call as a hub name."""
    (folder / "cloned").mkdir()
    jsonl(folder, rows).rename(folder / "cloned" / "train.jsonl")
    return folder / "cloned"


KINDS = [jsonl, jsonl_gz, parquet, saved, saved_splits, cloned]
every_kind = pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub-cache"))


@every_kind
def test_preferences_from_every_kind_of_source(
    tmp_path: Path, write: Callable[[Path, Rows], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, PREFERENCES)
    capsys.readouterr()
    loaded = load_preferences(str(source))
    assert capsys.readouterr().err == ""  # no progress bars over a local file
    assert loaded.column_names == ["prompt", "chosen", "rejected"]
    assert list(loaded) == PREFERENCES


@every_kind
def test_texts_from_every_kind_of_source(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    assert load_text(write(tmp_path, TEXTS)) == ["one\ntwo", "thrée"]


@every_kind
def test_prompts_from_every_kind_of_source(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    assert load_prompts(write(tmp_path, PREFERENCES)) == ["Name a fox.", "Grüße!"]


def test_messages_survive_the_columns_of_arrow(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "Name a fox."}
    row = {
        "chosen": [asked, {"role": "assistant", "content": "Finn."}],
        "rejected": [asked, {"role": "assistant", "content": "No."}],
    }
    for write in KINDS:
        (tmp_path / write.__name__).mkdir()
        assert list(load_preferences(write(tmp_path / write.__name__, [row]))) == PREFERENCES[:1]


def test_another_split(tmp_path: Path) -> None:
    source = saved_splits(tmp_path, PREFERENCES)
    assert load_prompts(source, split="test") == ["Name a fox."]
    with pytest.raises(ValueError, match="has no split 'validation'; it has train, test"):
        load_prompts(source, split="validation")


def test_a_text_file_is_one_text_and_its_lines_are_prompts(tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text("First line.\n\nSecond – line.\n", encoding="utf-8")
    assert load_text(path) == ["First line.\n\nSecond – line.\n"]
    assert load_prompts(path) == ["First line.", "Second – line."]


def test_prompts_from_implicit_preferences_and_messages(tmp_path: Path) -> None:
    rows = [{"chosen": "Name a fox. Finn.", "rejected": "Name a fox. No."}]
    assert load_prompts(jsonl(tmp_path, rows)) == ["Name a fox."]
    assert load_prompts(jsonl(tmp_path, [{"prompt": [{"role": "user", "content": "Hi"}]}])) == ["Hi"]


def test_rows_that_prefer_nothing_are_left_out_with_a_warning(tmp_path: Path) -> None:
    tie = {"prompt": "p", "chosen": "same", "rejected": "same"}
    with pytest.warns(UserWarning, match="left out 1 of 3 rows"):
        assert list(load_preferences(jsonl(tmp_path, [PREFERENCES[0], tie, PREFERENCES[1]]))) == PREFERENCES
    with pytest.raises(ValueError, match="in all 2 rows chosen and rejected are the same"):
        load_preferences(jsonl(tmp_path, [tie, tie]))


# -------------------------------------------------------------------------------------------------- bad input


@every_kind
def test_a_row_without_a_loser_is_named(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    source = write(tmp_path, [*PREFERENCES, {"prompt": "p", "chosen": "a", "rejected": None}])
    with pytest.raises(
        ValueError, match=r", row 3: column 'rejected' is empty: a preference needs a loser"
    ) as caught:
        load_preferences(source)
    assert str(caught.value).startswith(str(source))


@every_kind
def test_a_missing_column_is_named(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    source = write(tmp_path, [{"title": "a", "body": "b"}])
    with pytest.raises(
        ValueError, match=r", row 1: column 'text' is missing; the columns are \['body', 'title'\]"
    ):
        load_text(source)
    with pytest.raises(ValueError, match=r", row 1: column 'prompt' is missing"):
        load_prompts(source)
    with pytest.raises(ValueError, match=r", row 1: column 'chosen' is missing"):
        load_preferences(source)


def test_a_value_of_another_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rows.jsonl, row 2: column 'text' must be text, got 5"):
        load_text(jsonl(tmp_path, [{"text": "a"}, {"text": 5}]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "holds no rows; expected at least one"),
        ("blank.jsonl", b"\n \n", "holds no rows"),
        ("empty.txt", b"", "holds no text"),
        ("latin.txt", "é".encode("latin-1"), "is not UTF-8 text: byte 0 is 0xe9"),
        ("broken.jsonl", b'{"text": "a"}\n{"text": ', "row 2: not JSON .+; expected one object a line"),
        ("latin.jsonl", b'{"text": "\xe9"}', "row 1: not JSON"),
        ("list.jsonl", b"[1, 2]", r"row 1: expected an object with named columns, got \[1, 2\]"),
        ("plain.jsonl.gz", b'{"text": "a"}', "is not a gzip file"),
        ("broken.parquet", b"PAR1 and then nothing", "is not a whole Parquet file"),
        ("empty.parquet", b"", "is not a whole Parquet file"),
        ("table.csv", b"text\na\n", r"none of the kinds that can be read: .txt, .jsonl, .jsonl.gz, .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_text(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_truncated_gz_says_how_far_it_could_be_read(tmp_path: Path) -> None:
    path = jsonl_gz(tmp_path, [{"text": f"{number} {number * 7919 % 1009}"} for number in range(2000)])
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"rows.jsonl.gz is cut short or damaged after row \d+"):
            load_text(path)


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    path = parquet(tmp_path, TEXTS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="is not a whole Parquet file"):
        load_text(path)


@pytest.mark.parametrize("name", ["gone.txt", "gone.jsonl", "gone.jsonl.gz", "gone.parquet", "gone"])
def test_a_source_that_does_not_exist(tmp_path: Path, name: str) -> None:
    for load in (load_text, load_prompts, load_preferences):
        with pytest.raises(ValueError, match="does not exist; give an existing"):
            load(tmp_path / name)


def test_a_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="nothing cannot be read as a data set"):
        load_text(tmp_path / "nothing")


@pytest.mark.parametrize(
    "error",
    [
        datasets.exceptions.DatasetNotFoundError("Dataset 'some/name' doesn't exist on the Hub"),
        ConnectionError("Couldn't reach 'some/name' on the Hub (OfflineModeIsEnabled)"),
        ValueError('Unknown split "train". Should be one of ["test"].'),
    ],
    ids=["unknown", "offline", "split"],
)
def test_a_hub_name_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(name: str, config: str | None, *, split: str) -> Sequence[Any]:
        assert (name, config, split) == ("some/name", "small", "train")
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(
        ValueError, match="'some/name' is no file or folder here, and as a hub data set"
    ) as caught:
        load_preferences("some/name", config="small")
    assert str(error) in str(caught.value)


def test_a_hub_name_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = datasets.Dataset.from_list(PREFERENCES)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config, *, split: {"some/name": rows}[name])
    assert list(load_preferences("some/name")) == PREFERENCES
    with pytest.raises(ValueError, match="some/name, row 1: column 'text' is missing"):
        load_text("some/name")
