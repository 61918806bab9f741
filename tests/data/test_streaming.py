"""Streams give what the loaders give, say the same of what is wrong, and hold no more rows than they say."""

import gc
import json
import random
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet
import pytest
import torch

from rlhf_mini.data import load as loading
from rlhf_mini.data import streaming
from rlhf_mini.data.instructions import load_instructions
from rlhf_mini.data.load import load_preferences, load_text
from rlhf_mini.data.streaming import (
    batched,
    shared_out,
    shuffled,
    stream,
    stream_instructions,
    stream_preferences,
    stream_text,
    stream_unpaired,
    stream_verifiable,
    token_windows,
)
from rlhf_mini.data.text import token_stream
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.data.unpaired import load_unpaired
from rlhf_mini.data.verifiable import load_verifiable
from tests.data.test_load import KINDS, PREFERENCES, TEXTS, Rows, jsonl, jsonl_gz, parquet

UNPAIRED: Rows = [
    {"prompt": "Name a fox.", "completion": "Finn.", "label": True},
    {"prompt": "Grüße!", "completion": "…", "label": False},
]
PROBLEMS: Rows = [
    {"question": "2 + 2?", "answer": "2 + 2 = 4\n#### 4"},
    {"question": "1?", "answer": "#### 1"},
]
EVERY_READER = {
    "preferences": (stream_preferences, load_preferences, PREFERENCES),
    "instructions": (stream_instructions, load_instructions, UNPAIRED),
    "unpaired": (stream_unpaired, load_unpaired, UNPAIRED),
    "verifiable": (stream_verifiable, load_verifiable, PROBLEMS),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub-cache"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
@pytest.mark.parametrize(("streamed", "load", "rows"), EVERY_READER.values(), ids=EVERY_READER)
def test_a_stream_gives_what_the_loader_gives(
    tmp_path: Path, write: Callable[[Path, Rows], Path], streamed: Callable, load: Callable, rows: Rows
) -> None:
    source = write(tmp_path, rows)
    given = [row._asdict() for row in streamed(source)]
    assert given == list(load(source))
    assert len(given) == len(rows)


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_texts_one_by_one(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    assert list(stream_text(write(tmp_path, TEXTS))) == ["one\ntwo", "thrée"]


def test_a_text_file_in_pieces_of_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "TEXT_PIECE", 50)
    path = tmp_path / "play.txt"
    path.write_text("".join(f"Line {number}, Grüße.\n" for number in range(40)), encoding="utf-8")
    pieces = list(stream_text(path))
    assert "".join(pieces) == load_text(path)[0]
    assert all(piece.endswith("\n") for piece in pieces)
    assert all(50 <= len(piece) <= 50 + len("Line 39, Grüße.\n") for piece in pieces[:-1])


def test_a_hub_name_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, config: str | None, *, split: str, streaming: bool) -> datasets.IterableDataset:
        assert (name, config, split, streaming) == ("some/name", "small", "test", True)
        return datasets.Dataset.from_list(PREFERENCES).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load)
    given = list(stream_preferences("some/name", split="test", config="small"))
    assert [row._asdict() for row in given] == PREFERENCES


# ----------------------------------------------------------------------------------------------------- memory


class Counted:
    """A row that is counted while it lives."""

    alive = most = 0

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.text = row["text"]
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)
        weakref.finalize(self, Counted.gone)

    @classmethod
    def gone(cls) -> None:
        cls.alive -= 1


@pytest.fixture
def counted() -> type[Counted]:
    gc.collect()
    Counted.alive = Counted.most = 0
    return Counted


MANY: Rows = [{"text": f"row {number}"} for number in range(1000)]


@pytest.mark.parametrize("write", [jsonl, jsonl_gz, parquet], ids=lambda write: write.__name__)
@pytest.mark.parametrize(("buffer", "size"), [(1, 1), (7, 4), (100, 10)])
def test_no_more_rows_live_than_buffer_and_batch(
    tmp_path: Path, counted: type[Counted], write: Callable, buffer: int, size: int
) -> None:
    source = write(tmp_path, MANY)
    seen = 0
    for batch in batched(shuffled(stream(source, counted), buffer=buffer, generator=seeded()), size=size):
        seen += len(batch)
        assert counted.alive <= buffer + size
        del batch
    assert seen == len(MANY) // size * size
    assert counted.most <= buffer + size + 1  # and the one that is just being read
    assert counted.most >= min(buffer + size, len(MANY))  # the bound is reached: the count counts


def lines_read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    read: list[bytes] = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda line: (read.append(line), loads(line))[1])
    return read


@pytest.mark.parametrize("write", [jsonl, jsonl_gz], ids=lambda write: write.__name__)
def test_lines_are_read_as_they_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable
) -> None:
    source = write(tmp_path, MANY)
    read = lines_read(monkeypatch)
    batches = batched(shuffled(stream_text(source), buffer=20, generator=seeded()), size=5)
    assert read == []
    next(batches)
    assert len(read) == 25
    next(batches)
    assert len(read) == 30


def test_a_parquet_file_is_read_by_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(MANY), path, row_group_size=100)
    groups: list[list[int]] = []
    sizes: list[int] = []
    whole = pyarrow.parquet.ParquetFile.iter_batches

    def watched(self: Any, size: int, row_groups: list[int]) -> Iterator[Any]:
        groups.append(row_groups)
        for part in whole(self, size, row_groups=row_groups):
            sizes.append(len(part))
            yield part

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", watched)
    monkeypatch.setattr(loading, "PARQUET_ROWS", 30)
    rows = stream_text(path)
    assert [next(rows) for _ in range(150)] == [row["text"] for row in MANY[:150]]
    assert groups == [[0], [1]]
    assert max(sizes) <= 30
    assert sum(sizes) <= 180
    assert list(rows) == [row["text"] for row in MANY[150:]]


# ------------------------------------------------------------------------------------------------------ order


@pytest.mark.parametrize("buffer", [1, 2, 10, 50, 1000])
def test_shuffling_loses_nothing_and_moves_no_row_too_early(buffer: int) -> None:
    order = list(shuffled(range(50), buffer=buffer, generator=seeded()))
    assert sorted(order) == list(range(50))
    assert (order == list(range(50))) == (buffer == 1)
    assert all(row - place <= buffer - 1 for place, row in enumerate(order))
    assert list(shuffled(range(50), buffer=buffer, generator=seeded())) == order


def test_with_room_for_all_every_order_is_equally_likely() -> None:
    """6 orders, 1,200 draws: a count beyond 200 ± 60 is 4.6 deviations off, by chance 1 in 50,000."""
    generator = seeded(1)
    orders = Counter(tuple(shuffled("abc", buffer=3, generator=generator)) for _ in range(1200))
    assert len(orders) == 6
    assert all(140 <= count <= 260 for count in orders.values())


def test_a_small_buffer_mixes_only_neighbours() -> None:
    order = shuffled(range(2000), buffer=20, generator=seeded())
    waits = [20 - 1 - (row - place) for place, row in enumerate(order)]
    assert sum(waits) / len(waits) == pytest.approx(
        20 - 1, abs=1
    )  # geometric with mean 20, less its own turn


def test_processes_share_the_rows_out() -> None:
    shares = [list(shared_out(range(10), part=part, parts=3)) for part in range(3)]
    assert shares == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


def test_windows_are_the_token_stream_cut_up() -> None:
    texts = ["One fox.", "Two owls, and a long sentence about them.", "a", "b"]
    tokenizer = train_tokenizer(texts, vocab_size=270)
    windows = list(token_windows(tokenizer, iter(texts), block=5))
    whole = token_stream(tokenizer, texts)
    assert torch.equal(torch.cat(windows), whole[: len(whole) // 5 * 5])
    assert {tuple(window.shape) for window in windows} == {(5,)}


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_a_bad_row_is_named_when_the_stream_arrives_there(
    tmp_path: Path, write: Callable[[Path, Rows], Path]
) -> None:
    rows = stream_preferences(
        write(tmp_path, [*PREFERENCES, {"prompt": "p", "chosen": "a", "rejected": None}])
    )
    assert [next(rows).chosen for _ in range(2)] == ["Finn.", "你好"]
    with pytest.raises(ValueError, match=r", row 3: column 'rejected' is empty: a preference needs a loser"):
        next(rows)


@pytest.mark.parametrize("name", ["gone.txt", "gone.jsonl", "gone.jsonl.gz", "gone.parquet", "gone", "a.csv"])
def test_a_source_that_cannot_be_opened_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match=r"does not exist; give an existing|none of the kinds"):
        stream_text(tmp_path / name)


def test_ties_are_left_out_and_counted(tmp_path: Path) -> None:
    tie = {"prompt": "p", "chosen": "same", "rejected": "same"}
    rows = stream_preferences(jsonl(tmp_path, [PREFERENCES[0], tie]))
    assert next(rows).chosen == "Finn."
    with pytest.warns(UserWarning, match="left out 1 of 2 rows"):
        assert list(rows) == []
    with pytest.raises(ValueError, match="in all 2 rows chosen and rejected are the same"):
        list(stream_preferences(jsonl(tmp_path, [tie, tie])))
    with pytest.raises(ValueError, match="holds no rows; expected at least one"):
        list(stream_unpaired(jsonl(tmp_path, [])))


def test_a_damaged_file_says_how_far_it_could_be_read(tmp_path: Path) -> None:
    random.seed(0)
    rows = [{"text": str(random.random())} for _ in range(5000)]
    path = jsonl_gz(tmp_path, rows)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"rows.jsonl.gz is cut short or damaged after row \d+"):
        list(stream_text(path))
    path = parquet(tmp_path, rows)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="is not a whole Parquet file: after row 0"):
        list(stream_text(path))
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_bytes(b"not gzip")
    with pytest.raises(ValueError, match="is not a gzip file"):
        list(stream_text(plain))


def test_a_network_that_fails_on_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "one"}
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows())
    texts = stream_text("some/name")
    assert next(texts) == "one"
    with pytest.raises(ValueError, match="some/name: reading stopped after row 1: reset by peer"):
        next(texts)


def test_a_hub_name_that_cannot_be_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(
        ValueError, match=r"'some/name' is no file or folder here, .* cannot be loaded: offline"
    ):
        stream_text("some/name")


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="buffer must be at least 1, got 0"):
        shuffled("abc", buffer=0, generator=seeded())
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        batched("abc", size=0)
    with pytest.raises(ValueError, match="3 rows are too few for a batch of 4"):
        list(batched("abc", size=4))
    with pytest.raises(ValueError, match="need 0 <= part < parts, got part=2, parts=2"):
        shared_out("abc", part=2, parts=2)
    with pytest.raises(ValueError, match="block must be at least 2, got 1"):
        token_windows(train_tokenizer(["a"], vocab_size=262), ["a"], block=1)


def test_a_whole_source_is_quiet(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(stream_preferences(jsonl(tmp_path, PREFERENCES)))) == 2
