"""Records: one measured run each, kept in `book/results/<name>.json`, from which every table of the book
renders.
"""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rlhf_mini.split import main_process, wait_for_all

try:
    import fcntl
except ImportError:  # Windows: writes stay atomic, but two processes merging at once may lose one's records
    fcntl = None  # type: ignore[assignment]

Metric = bool | int | float | str | list
RESULTS_VARIABLE = "RLHF_MINI_RESULTS"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run of one method: where it stands in the book, what it ran on, what came out.

    Args:
        chapter: "00" … "15".
        experiment: its name within the chapter.
        method: the row of the table it belongs to.
        seed: at least 0.
        profile: "quick", "full" or another of the profiles.
        device: in words.
        threads: CPU threads, at least 1.
        seconds: wall clock of the run.
        version: of the library.
        metrics: name → finite number, text, truth value, or a flat list of these (a curve).

    Raises:
        ValueError: naming the field, if anything is missing, of the wrong type, NaN or infinite.
    """

    chapter: str
    experiment: str
    method: str
    seed: int
    profile: str
    device: str
    threads: int
    seconds: float | int
    version: str
    metrics: dict

    def __post_init__(self) -> None:
        for name in ("chapter", "experiment", "method", "profile", "device", "version"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"a record's {name} must be a non-empty text, got {value!r}")
        for name, least in (("seed", 0), ("threads", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"a record's {name} must be a whole number of at least {least}, got {value!r}"
                )
        if not _is_finite_number(self.seconds) or self.seconds < 0:
            raise ValueError(
                f"a record's seconds must be a finite number of at least 0, got {self.seconds!r}"
            )
        if not isinstance(self.metrics, Mapping) or not self.metrics:
            raise ValueError(f"a record's metrics must be a non-empty mapping, got {self.metrics!r}")
        for name, value in self.metrics.items():
            _check_metric(name, value)

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What makes a record the same one: a second with this key replaces the first."""
        return (self.chapter, self.experiment, self.method, self.seed, self.profile)


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_metric(name: object, value: object) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"metrics are named by non-empty texts, got {name!r}")
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str | bool) or _is_finite_number(item):
            continue
        raise ValueError(
            f"metric {name!r} must be a finite number, a text, a truth value or a flat list of these, "
            f"got {item!r}. Convert tensors with float(); leave out what was not measured."
        )


def results_folder() -> Path:
    """The folder of the book's records.

    The environment variable RLHF_MINI_RESULTS, else `book/results` in the working directory or above it, else
    in the source tree that the library runs from, else `results` inside the installed package.

    Raises:
        ValueError: if none of them is there.
    """
    if RESULTS_VARIABLE in os.environ:
        return Path(os.environ[RESULTS_VARIABLE])
    package = Path(__file__).resolve().parents[1]
    here = Path.cwd()
    candidates = [folder / "book" / "results" for folder in (here, *here.parents, package.parent)]
    for folder in (*candidates, package / "results"):
        if folder.is_dir():
            return folder
    raise ValueError(
        f"no book/results in {here}, above it or beside the library. Run inside a clone of the repository, "
        f"or set {RESULTS_VARIABLE} to a folder of records."
    )


def _path_of(name: str | Path) -> Path:
    """A bare name means a file of the book's; anything with a folder or a suffix is taken as a path."""
    path = Path(name)
    if path.suffix == ".json":
        return path
    if path.parent != Path():
        raise ValueError(f"a records path must end in .json, got {name!s}")
    return results_folder() / f"{name}.json"


def _load(path: Path) -> list[Record]:
    names = {field.name for field in fields(Record)}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}). Restore it with git, or delete and rerun."
        ) from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} must hold a list of records, got a {type(rows).__name__}")
    records = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != names:
            difference = sorted(names ^ set(row)) if isinstance(row, dict) else type(row).__name__
            raise ValueError(f"{path}, record {index}: fields missing or unknown: {difference}")
        try:
            records.append(Record(**row))
        except ValueError as error:
            raise ValueError(f"{path}, record {index}: {error}") from error
    return records


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder's advisory lock, so that two processes merging at once keep both's records."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which releases the lock, as does the death of the process


def _replace_file(path: Path, text: str) -> None:
    """Writes beside and renames, so that a reader or a crash sees the old file or the new one, never half of
    one.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would end up in the repository
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_records(name: str | Path, records: Iterable[Record]) -> Path:
    """Merges records into a file and returns its path.

    A record replaces the one with the same chapter, experiment, method, seed and profile, in its place; new
    ones are appended in the order of these five. The file is read, merged and renamed into place under a
    lock. Where several processes do the same work, each calls this and the first one writes.

    Args:
        name: a bare name ("chapter_00") for `results_folder()/chapter_00.json`, or a path ending in .json.

    Raises:
        ValueError: on a damaged file (it is left as it is) or on two new records with one key.
    """
    path = _path_of(name)
    new: dict[tuple, Record] = {}
    for record in records:
        if record.key in new:
            raise ValueError(
                f"two records with the same key {record.key}: one would silently replace the other"
            )
        new[record.key] = record
    if main_process():
        _merge(path, new)
    wait_for_all()
    return path


def _merge(path: Path, new: Mapping[tuple, Record]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        merged = {record.key: record for record in _load(path)} if path.exists() else {}
        merged.update(sorted(new.items()))
        lines = ",\n".join(
            json.dumps(asdict(record), ensure_ascii=False, allow_nan=False) for record in merged.values()
        )
        _replace_file(path, f"[\n{lines}\n]\n" if lines else "[]\n")


def read_records(name: str | Path, **filters: str | int | Sequence[str] | Sequence[int]) -> list[Record]:
    """Reads records, keeping those whose fields equal the filters (or lie in them, where a list is given).

    read_records("chapter_00", profile="quick", method=["ppo", "sft"])

    Raises:
        FileNotFoundError: naming the files that there are,
        ValueError: on a damaged file, an unknown filter, or filters that leave nothing (with the values that
            the field does take).
    """
    path = _path_of(name)
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no records at {path}. Records there: {there}")
    allowed = {field.name for field in fields(Record)} - {"metrics"}
    if unknown := sorted(set(filters) - allowed):
        raise ValueError(f"unknown filter {unknown}; records are filtered by {sorted(allowed)}")
    kept = _load(path)
    for field_name, wanted in filters.items():
        choices = list(wanted) if isinstance(wanted, list | tuple | set | range) else [wanted]
        found = list(dict.fromkeys(getattr(record, field_name) for record in kept))
        kept = [record for record in kept if getattr(record, field_name) in choices]
        if not kept:
            raise ValueError(f"{path.name} holds no record with {field_name} in {choices}; there: {found}")
    return kept
