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
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import datasets
import pyarrow
import pyarrow.parquet

from rlhf_mini.data.preferences import Preference, prompt_text, read_preference

Source = str | os.PathLike[str]
Row = TypeVar("Row")
PlacedRows = Iterator[tuple[str, Mapping[str, Any]]]

FILE_KINDS = (".txt", ".jsonl", ".jsonl.gz", ".parquet")
PARQUET_ROWS = 256  # decoded at a time
NOTHING = "there is nothing to learn"
TIES = "chosen and rejected are the same"


def load_text(source: Source, *, split: str = "train", config: str | None = None) -> list[str]:
    """The texts of a source: all of a .txt file as one, otherwise one for each row of the column `text`.

    `split` and `config` say which part of a hub data set or saved folder to take. Empty rows are left out.
    Raises ValueError, naming file, row and column, for anything that cannot be read as text.
    """
    if str(source).endswith(".txt"):
        return [_read_txt(Path(source))]
    return [text for text in each_row(source, split, config, text_of) if text]


def load_prompts(source: Source, *, split: str = "train", config: str | None = None) -> list[str]:
    """The prompts of a source: lines of a .txt file, a column `prompt`, or what preference rows share.

    Conversations become one string, their speakers named if there are several. Raises ValueError as
    `load_text` does.
    """
    if str(source).endswith(".txt"):
        return [line for line in _read_txt(Path(source)).splitlines() if line.strip()]
    return each_row(source, split, config, _prompt_of)


def load_preferences(source: Source, *, split: str = "train", config: str | None = None) -> datasets.Dataset:
    """The preferences of a source as a data set with the text columns `prompt`, `chosen` and `rejected`.

    `preferences.read_preference` says which formats are understood. Rows whose answers are the same prefer
    nothing; they are left out with a warning. Raises ValueError as `load_text` does.
    """
    pairs = each_row(source, split, config, preference_unless_tie, reason=TIES)
    return datasets.Dataset.from_list([pair._asdict() for pair in pairs])


def preference_unless_tie(row: Mapping[str, Any]) -> Preference | None:
    """The preference that a row states; None where both answers are the same and nothing is preferred."""
    if row.get("chosen") and row.get("chosen") == row.get("rejected"):
        return None
    return read_preference(row)


def text_of(row: Mapping[str, Any]) -> str:
    """The column `text` of a row; ValueError if it is missing or no text.

    >>> text_of({"text": "a fox", "source": "by hand"})
    'a fox'
    """
    if "text" not in row:
        raise ValueError(
            f"column 'text' is missing; the columns are {sorted(row)}: rename the one that holds the text"
        )
    if not isinstance(row["text"], str):
        raise ValueError(f"column 'text' must be text, got {row['text']!r:.80}")
    return row["text"]


def each_row(
    source: Source,
    split: str,
    config: str | None,
    read: Callable[[Mapping[str, Any]], Row | None],
    *,
    reason: str = NOTHING,
) -> list[Row]:
    """`read` applied to every row of a source, in order; errors and warnings are those of `read_each`."""
    return list(read_each(placed_rows(source, split, config), read, str(source), reason=reason))


def read_each(
    rows: PlacedRows,
    read: Callable[[Mapping[str, Any]], Row | None],
    source: str,
    *,
    reason: str = NOTHING,
) -> Iterator[Row]:
    """`read` applied to one row after another; one row is held at a time.

    Its ValueError is told with the place of the row. Rows that it gives None for are left out; a warning at
    the end counts them and names the `reason`, what holds of such rows. Raises ValueError if no row is left.
    """
    given = left_out = 0
    for place, row in rows:
        try:
            result = read(row)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if result is None:
            left_out += 1
            continue
        given += 1
        yield result
        del result  # not held while the next row is read
    if not given and not left_out:
        raise ValueError(f"{source} holds no rows; expected at least one")
    if not given:
        raise ValueError(f"{source}: in all {left_out} rows {reason}; expected at least one other")
    if left_out:
        warnings.warn(
            f"{source}: left out {left_out} of {given + left_out} rows, in which {reason}", stacklevel=2
        )


def placed_rows(
    source: Source, split: str = "train", config: str | None = None, *, streaming: bool = False
) -> PlacedRows:
    """Every row of a source and where it stands, counting from 1.

    Files are read as the rows are asked for, whether `streaming` or not; what it decides is whether a hub
    data set or a folder of data files is fetched and converted first, or streamed. Raises ValueError, at
    once, for a source that does not exist or is of another kind.
    """
    path, name = Path(source), str(source)
    if path.is_file():
        if name.endswith((".jsonl", ".jsonl.gz")):
            return _json_rows(path)
        if name.endswith(".parquet"):
            return _parquet_rows(path)
        raise ValueError(
            f"{path} is none of the kinds that can be read: {', '.join(FILE_KINDS)}, a saved folder"
        )
    options = {"streaming": True} if streaming else {}
    if path.is_dir():
        return _counted(_folder(path, split, config, options), name)
    if name.endswith(FILE_KINDS) or path.is_absolute() or name.startswith("."):
        raise ValueError(f"{path} does not exist; give an existing file or folder, or a hub name")
    return _counted(_from_hub(name, split, config, options), name)


def _prompt_of(row: Mapping[str, Any]) -> str:
    if row.get("prompt") is None and "chosen" in row:
        return read_preference(row).prompt
    if "prompt" not in row:
        raise ValueError(f"column 'prompt' is missing; the columns are {sorted(row)}")
    return prompt_text(row["prompt"], "prompt")


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


def _json_rows(path: Path) -> PlacedRows:
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


def _parquet_rows(path: Path) -> PlacedRows:
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                for part in file.iter_batches(PARQUET_ROWS, row_groups=[group]):
                    for row in part.to_pylist():
                        number += 1
                        yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: after row {number}, {error}") from None


def _folder(
    path: Path, split: str, config: str | None, options: Mapping[str, bool]
) -> Iterable[Mapping[str, Any]]:
    """A folder that `datasets` saved is mapped into memory, not read; one of data files is loaded."""
    bars_were_on = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        if (path / "dataset_dict.json").is_file():
            parts = datasets.load_from_disk(str(path), keep_in_memory=False)
            if split not in parts:
                raise ValueError(f"{path} has no split {split!r}; it has {', '.join(parts)}")
            return parts[split]
        if (path / "state.json").is_file():
            return datasets.load_from_disk(str(path), keep_in_memory=False)
        return datasets.load_dataset(str(path), config, split=split, **options)
    except (OSError, pyarrow.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise ValueError(f"{path} cannot be read as a data set: {error}") from error
    finally:
        if bars_were_on:
            datasets.enable_progress_bars()


def _from_hub(
    name: str, split: str, config: str | None, options: Mapping[str, bool]
) -> Iterable[Mapping[str, Any]]:
    try:
        return datasets.load_dataset(name, config, split=split, **options)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"{name!r} is no file or folder here, and as a hub data set it cannot be loaded: {error}. "
            "Check the name, split and config, and that there is a network; or give a local file"
        ) from error


def _counted(rows: Iterable[Mapping[str, Any]], name: str) -> PlacedRows:
    number = 0
    try:
        for number, row in enumerate(rows, start=1):
            yield f"{name}, row {number}", row
    except (OSError, pyarrow.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise ValueError(f"{name}: reading stopped after row {number}: {error}") from error
