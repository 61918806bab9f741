"""Sources larger than memory, row by row: texts, instructions, preferences, unpaired feedback, problems.

The functions of `load` read a whole source; those here give an iterator over the same rows, in the same
formats and with the same errors, and hold one row at a time. `shuffled` adds a buffer and `batched` a batch,
so that at most buffer + batch rows exist at once:

    pairs = batched(shuffled(stream_preferences("some/name"), buffer=10_000, generator=generator), size=64)

What is held beside the rows: of a .jsonl or .jsonl.gz file one line, of a .parquet file
`load.PARQUET_ROWS` rows and the compressed columns of one row group, of a hub data set what `datasets` holds
of its streaming. A buffer mixes only what is near: rows that lie farther apart than the buffer is long hardly
meet. A file sorted by topic or by length needs a large buffer, or must be shuffled once on disk.

An iterator is over after one pass. For another epoch, call the function again.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf_mini.data.instructions import Instruction, read_instruction
from rlhf_mini.data.load import (
    NOTHING,
    TIES,
    Source,
    placed_rows,
    preference_unless_tie,
    read_each,
    text_of,
)
from rlhf_mini.data.preferences import Preference
from rlhf_mini.data.text import token_stream
from rlhf_mini.data.unpaired import Feedback, read_unpaired
from rlhf_mini.data.verifiable import Problem, read_verifiable

Row = TypeVar("Row")

TEXT_PIECE = 1 << 16  # characters of a .txt file in one piece, up to the end of a line


def stream_text(source: Source, *, split: str = "train", config: str | None = None) -> Iterator[str]:
    """The texts of a source one by one: column `text`, or a .txt file in pieces of whole lines.

    A piece has at least `TEXT_PIECE` characters, the last one perhaps fewer; one line is always in one piece.
    Empty rows are left out. Raises
    ValueError, naming file, row and column, as `load.load_text` does, when the iterator arrives there.
    """
    if str(source).endswith(".txt"):
        return _pieces(Path(source))
    return filter(None, stream(source, text_of, split=split, config=config))


def stream_instructions(
    source: Source, *, split: str = "train", config: str | None = None
) -> Iterator[Instruction]:
    """The instructions of a source one by one; formats and errors are those of `load_instructions`."""
    return stream(source, read_instruction, split=split, config=config)


def stream_preferences(
    source: Source, *, split: str = "train", config: str | None = None
) -> Iterator[Preference]:
    """The preferences of a source one by one; formats and errors are those of `load_preferences`.

    Rows whose answers are the same prefer nothing and are left out; a warning at the end counts them.
    """
    return stream(source, preference_unless_tie, split=split, config=config, reason=TIES)


def stream_unpaired(source: Source, *, split: str = "train", config: str | None = None) -> Iterator[Feedback]:
    """The unpaired feedback of a source one by one; formats and errors are those of `load_unpaired`."""
    return stream(source, read_unpaired, split=split, config=config)


def stream_verifiable(
    source: Source, *, split: str = "train", config: str | None = None
) -> Iterator[Problem]:
    """The problems of a source one by one; formats and errors are those of `load_verifiable`."""
    return stream(source, read_verifiable, split=split, config=config)


def stream(
    source: Source,
    read: Callable[[Mapping[str, Any]], Row | None],
    *,
    split: str = "train",
    config: str | None = None,
    reason: str = NOTHING,
) -> Iterator[Row]:
    """`read` applied to one row after another; rows that it gives None for are left out, with a warning at
    the end that counts them and names the `reason`.

    That a source does not exist is said at once; what is wrong in a row, when the iterator arrives there.
    Raises ValueError for both, naming file and row, and for a source of which no row is left.
    """
    rows = placed_rows(source, split, config, streaming=True)
    return read_each(rows, read, str(source), reason=reason)


def shuffled(rows: Iterable[Row], *, buffer: int, generator: torch.Generator) -> Iterator[Row]:
    """The same rows in another order, each drawn from `buffer` rows that wait; the next takes its place.

    At most `buffer` rows wait. A row comes at most `buffer − 1` places too early; how late it may come has no
    bound, but is geometric with mean `buffer`. With a buffer of all rows every order is equally likely, with
    one of 1 nothing moves. Raises ValueError for a buffer below 1.

    >>> sorted(shuffled(range(5), buffer=2, generator=torch.Generator().manual_seed(0)))
    [0, 1, 2, 3, 4]
    """
    if buffer < 1:
        raise ValueError(f"buffer must be at least 1, got {buffer}")
    return _shuffle(rows, buffer, generator)


def batched(rows: Iterable[Row], *, size: int) -> Iterator[list[Row]]:
    """Lists of `size` rows; a last incomplete one is dropped, as the methods do.

    Raises ValueError for a size below 1, and at the end if there were too few rows for one batch.

    >>> list(batched("abcde", size=2))
    [['a', 'b'], ['c', 'd']]
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    return _batch(rows, size)


def shared_out(rows: Iterable[Row], *, part: int, parts: int) -> Iterator[Row]:
    """Every `parts`-th row from row `part` on: what one of several processes learns from.

    Every process reads the whole source and keeps its share. Raises ValueError unless 0 ≤ part < parts.

    >>> list(shared_out("abcde", part=1, parts=2))
    ['b', 'd']
    """
    if not 0 <= part < parts:
        raise ValueError(f"need 0 <= part < parts, got part={part}, parts={parts}")
    return itertools.islice(rows, part, None, parts)


def token_windows(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], *, block: int
) -> Iterator[Tensor]:
    """The texts as one stream of tokens cut into windows of `block`, with begin and end tokens.

    Unlike `text.text_blocks`, the windows stand side by side, and each is given once; an incomplete last one
    is dropped. Raises ValueError for a block below 2.
    """
    if block < 2:
        raise ValueError(f"block must be at least 2, got {block}")
    return _windows(tokenizer, texts, block)


def _pieces(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise ValueError(f"{os.fspath(path)} does not exist; give an existing text file")
    return _piece_after_piece(path)


def _piece_after_piece(path: Path) -> Iterator[str]:
    given = False
    try:
        with path.open(encoding="utf-8") as file:
            while lines := file.readlines(TEXT_PIECE):
                piece = "".join(lines)
                given |= bool(piece.strip())
                yield piece
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: a byte is {error.object[error.start]:#04x}") from None
    if not given:
        raise ValueError(f"{path} holds no text")


def _shuffle(rows: Iterable[Row], buffer: int, generator: torch.Generator) -> Iterator[Row]:
    waiting: list[Row] = []
    for row in rows:
        if len(waiting) < buffer:
            waiting.append(row)
            continue
        place = int(torch.randint(buffer, (), generator=generator))
        waiting[place], row = row, waiting[place]
        yield row
        del row  # not held while the next one is read
    for place in range(len(waiting) - 1, -1, -1):
        other = int(torch.randint(place + 1, (), generator=generator))
        waiting[place], waiting[other] = waiting[other], waiting[place]
        yield waiting.pop()


def _batch(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rows, number = iter(rows), 0
    while len(batch := list(itertools.islice(rows, size))) == size:
        number += 1
        yield batch
        del batch  # not held while the next one is collected
    if not number:
        raise ValueError(f"{len(batch)} rows are too few for a batch of {size}")


def _windows(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], block: int) -> Iterator[Tensor]:
    waiting = torch.empty(0, dtype=torch.int64)
    for text in texts:
        waiting = torch.cat([waiting, token_stream(tokenizer, [text])])
        cut = len(waiting) // block * block
        yield from waiting[:cut].split(block) if cut else ()
        waiting = waiting[cut:].clone()
