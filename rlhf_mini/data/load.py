"""Other people's data, by hub name or from local files: texts, prompts, preferences.

A source is a hub name, a file (.txt, .jsonl, .jsonl.gz, .parquet), a folder that `datasets` saved, or a
folder of data files. Hub names need a network; everything else works without. No code that comes with a data
set is run, and nothing is unpickled.
"""

import gzip
import json
import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import datasets
import pyarrow
import pyarrow.parquet

from rlhf_mini.data.preferences import prompt_text, read_preference

Source = str | os.PathLike[str]
Row = TypeVar("Row")

FILE_KINDS = (".txt", ".jsonl", ".jsonl.gz", ".parquet")


def load_text(source: Source, *, split: str = "train", config: str | None = None) -> list[str]:
    """The texts of a source: all of a .txt file as one, otherwise one for each row of the column `text`.

    `split` and `config` say which part of a hub data set or saved folder to take. Empty rows are left out.
    Raises ValueError, naming file, row and column, for anything that cannot be read as text.
    """
    if str(source).endswith(".txt"):
        return [_read_txt(Path(source))]
    return [text for text in _each(source, split, config, _text_of) if text]


def load_prompts(source: Source, *, split: str = "train", config: str | None = None) -> list[str]:
    """The prompts of a source: lines of a .txt file, a column `prompt`, or what preference rows share.

    Conversations become one string, their speakers named if there are several. Raises ValueError as
    `load_text` does.
    """
    if str(source).endswith(".txt"):
        return [line for line in _read_txt(Path(source)).splitlines() if line.strip()]
    return _each(source, split, config, _prompt_of)


def load_preferences(source: Source, *, split: str = "train", config: str | None = None) -> datasets.Dataset:
    """The preferences of a source as a data set with the text columns `prompt`, `chosen` and `rejected`.

    `preferences.read_preference` says which formats are understood. Rows whose answers are the same prefer
    nothing; they are left out with a warning. Raises ValueError as `load_text` does.
    """
    pairs = _each(source, split, config, lambda row: None if _is_tie(row) else read_preference(row))
    stated = [pair for pair in pairs if pair is not None]
    if not stated:
        raise ValueError(
            f"{source}: in all {len(pairs)} rows chosen and rejected are the same; nothing is preferred"
        )
    if len(stated) < len(pairs):
        warnings.warn(
            f"{source}: left out {len(pairs) - len(stated)} of {len(pairs)} rows, "
            "in which chosen and rejected are the same",
            stacklevel=2,
        )
    return datasets.Dataset.from_list([pair._asdict() for pair in stated])


def _each(
    source: Source, split: str, config: str | None, read: Callable[[Mapping[str, Any]], Row]
) -> list[Row]:
    """`read` applied to every row; its ValueError is told with the place of the row."""
    result = []
    for place, row in _rows(source, split, config):
        try:
            result.append(read(row))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    if not result:
        raise ValueError(f"{source} holds no rows; expected at least one")
    return result


def _text_of(row: Mapping[str, Any]) -> str:
    if "text" not in row:
        raise ValueError(
            f"column 'text' is missing; the columns are {sorted(row)}: rename the one that holds the text"
        )
    if not isinstance(row["text"], str):
        raise ValueError(f"column 'text' must be text, got {row['text']!r:.80}")
    return row["text"]


def _prompt_of(row: Mapping[str, Any]) -> str:
    if row.get("prompt") is None and "chosen" in row:
        return read_preference(row).prompt
    if "prompt" not in row:
        raise ValueError(f"column 'prompt' is missing; the columns are {sorted(row)}")
    return prompt_text(row["prompt"], "prompt")


def _is_tie(row: Mapping[str, Any]) -> bool:
    return bool(row.get("chosen")) and row.get("chosen") == row.get("rejected")


def _rows(source: Source, split: str, config: str | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every row and where it stands, counting from 1."""
    path, name = Path(source), str(source)
    if path.is_file():
        if name.endswith((".jsonl", ".jsonl.gz")):
            yield from _json_rows(path)
            return
        if name.endswith(".parquet"):
            rows = _parquet(path)
        else:
            raise ValueError(
                f"{path} is none of the kinds that can be read: {', '.join(FILE_KINDS)}, a saved folder"
            )
    elif name.endswith(FILE_KINDS) or path.is_absolute() or name.startswith("."):
        if not path.is_dir():
            raise ValueError(f"{path} does not exist; give an existing file or folder, or a hub name")
        rows = _folder(path, split, config)
    else:
        rows = _folder(path, split, config) if path.is_dir() else _from_hub(name, split, config)
    for number, row in enumerate(rows, start=1):
        yield f"{name}, row {number}", row


def _read_txt(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give an existing text file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None
    if not text.strip():
        raise ValueError(f"{path} holds no text")
    return text


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    place = f"{path}, row {number}"
                    yield place, _json_object(line, place)
    except (EOFError, zlib.error):
        raise ValueError(
            f"{path} is cut short or damaged after row {number}; fetch or write it again"
        ) from None
    except gzip.BadGzipFile as error:
        raise ValueError(f"{path} is not a gzip file: {error}") from None


def _json_object(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place}: not JSON ({error}); expected one object a line") from None
    if not isinstance(row, dict):
        raise ValueError(f"{place}: expected an object with named columns, got {row!r:.80}")
    return row


def _parquet(path: Path) -> datasets.Dataset:
    try:
        return datasets.Dataset(pyarrow.parquet.read_table(path))
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from None


def _folder(path: Path, split: str, config: str | None) -> datasets.Dataset:
    bars_were_on = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        if (path / "dataset_dict.json").is_file():
            parts = datasets.load_from_disk(str(path))
            if split not in parts:
                raise ValueError(f"{path} has no split {split!r}; it has {', '.join(parts)}")
            return parts[split]
        if (path / "state.json").is_file():
            return datasets.load_from_disk(str(path))
        return datasets.load_dataset(str(path), config, split=split)
    except (OSError, pyarrow.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise ValueError(f"{path} cannot be read as a data set: {error}") from error
    finally:
        if bars_were_on:
            datasets.enable_progress_bars()


def _from_hub(name: str, split: str, config: str | None) -> datasets.Dataset:
    try:
        return datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"{name!r} is no file or folder here, and as a hub data set it cannot be loaded: {error}. "
            "Check the name, split and config, and that there is a network; or give a local file"
        ) from error
