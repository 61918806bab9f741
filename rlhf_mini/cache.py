"""A cache of directories, addressed by what went into them, that survives interruption and damage.

An entry is built beside its final place and renamed when whole, so that it exists completely or not at all.
Its manifest holds the size and SHA-256 of every file; both are checked on every read, and an entry that fails
is built again. A lock lets one process build while others wait; the operating system frees it however the
builder ends.

Processes that share out the work of a build (`rlhf_mini.split`) ask for their entries together: the first
holds the lock and keeps what it built, the others build in step and throw their copies away. All must see the
cache's folder.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rlhf_mini import __version__
from rlhf_mini.split import from_main, main_process, wait_for_all

CACHE_VARIABLE = "RLHF_MINI_CACHE"
MANIFEST = "manifest.json"
_BUILDING, _DAMAGED = ".building", ".damaged"
_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where results are kept: RLHF_MINI_CACHE, else `~/.cache/rlhf_mini`."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "rlhf_mini")


class Store:
    """The entries under one root folder, which is created when first needed."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def path(self, name: str, key: dict[str, Any]) -> Path:
        """Where the entry of this name and key is, or would be: `<root>/<name>-<hash>`."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise ValueError(f"an entry's name is lower-case letters, digits, - and _, got {name!r}")
        return self.root / f"{name}-{hashlib.sha256(_canonical(name, key).encode()).hexdigest()[:12]}"

    def has(self, name: str, key: dict[str, Any]) -> bool:
        """Whether the entry is there and whole."""
        return from_main(main_process() and _fault(self.path(name, key), key) is None)

    def get(self, name: str, key: dict[str, Any], build: Callable[[Path], None]) -> Path:
        """The folder of entry `name` with this `key`; `build(folder)` fills it if it is missing or damaged.

        - `key`: everything the content depends on, in JSON values; other values give another entry.
        - `build`: writes at least one file below the folder it is given, and is called again after an
          interruption.

        Treat the returned folder as read-only; files added to it later are ignored. Raises ValueError for a
        key that is not JSON, and OSError, saying how much room there is, when the disk is full.
        """
        entry = self.path(name, key)
        if self.has(name, key):
            return _seen(entry)
        self.root.mkdir(parents=True, exist_ok=True)
        with _held(self._lock(entry)):
            if self.has(name, key):  # another process may have built it while we waited
                return _seen(entry)
            if main_process():
                if entry.exists():
                    fault = _fault(entry, key)
                    warnings.warn(
                        f"cache entry {entry} is damaged ({fault}); building it again", stacklevel=2
                    )
                self._build(entry, name, key, build)
            else:
                with tempfile.TemporaryDirectory(prefix="rlhf_mini-") as aside:
                    build(Path(aside))
            wait_for_all()  # until the entry is whole
        if main_process():
            self._sweep()
        return _seen(entry)

    def _build(self, entry: Path, name: str, key: dict[str, Any], build: Callable[[Path], None]) -> None:
        folder, aside = self._beside(entry, _BUILDING), self._beside(entry, _DAMAGED)
        started = time.perf_counter()
        _remove(folder)
        try:
            folder.mkdir()
            build(folder)
            _seal(folder, key, seconds=time.perf_counter() - started)
            _remove(aside)
            if entry.exists():
                entry.rename(aside)
            folder.rename(entry)
            _sync(self.root)
            _remove(aside)
        except BaseException as error:
            full = _is_disk_full(error, self.root)
            _remove(folder)
            if full:
                free = shutil.disk_usage(self.root).free / 2**20
                raise OSError(
                    errno.ENOSPC,
                    f"no space left to build {name!r} ({free:.0f} MiB free); nothing half-written was kept. "
                    "Free some space, or put the cache on another disk",
                    str(self.root),
                ) from error
            raise

    def _sweep(self) -> None:
        """Remove what builders that died left behind; a live one holds its entry's lock."""
        for suffix in (_BUILDING, _DAMAGED):
            for leftover in self.root.glob(f".*{suffix}"):
                lock = self._lock(self.root / leftover.name[1 : -len(suffix)])
                try:
                    with lock.acquire(timeout=0):
                        _remove(leftover)
                except Timeout:
                    continue

    def _lock(self, entry: Path) -> FileLock:
        return FileLock(self._beside(entry, ".lock"))

    def _beside(self, entry: Path, suffix: str) -> Path:
        return self.root / f".{entry.name}{suffix}"


def read_manifest(entry: Path) -> dict[str, Any]:
    """What an entry says of itself: `key`, `seconds` it took to build, `library` version, and its `files`."""
    return json.loads((entry / MANIFEST).read_text(encoding="utf-8"))


def _canonical(name: str, key: dict[str, Any]) -> str:
    try:
        return json.dumps({"name": name, "key": key}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the cache key of {name!r} must hold JSON values only "
            f"(finite numbers, strings, lists, dicts): {error}"
        ) from error


def _seal(folder: Path, key: dict[str, Any], *, seconds: float) -> None:
    """Describe the folder's files in a manifest and force everything onto the disk."""
    if (folder / MANIFEST).exists():
        raise ValueError(f"a cache entry may not bring its own {MANIFEST}")
    files = {
        file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()
    }
    if not files:
        raise ValueError(f"build wrote no file into {folder}")
    manifest = {
        "key": key,
        "seconds": round(seconds, 3),
        "library": __version__,
        "files": {
            name: {"size": file.stat().st_size, "sha256": _sha256(file)} for name, file in files.items()
        },
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _fault(entry: Path, key: dict[str, Any]) -> str | None:
    """What is wrong with an entry, or None if it is whole."""
    try:
        manifest = read_manifest(entry)
        if manifest["key"] != json.loads(json.dumps(key)):
            return "its manifest is of another key"
        for name, expected in manifest["files"].items():
            file = entry / name
            size = file.stat().st_size
            if size != expected["size"]:
                return f"{name} has {size} bytes instead of {expected['size']}"
            if _sha256(file) != expected["sha256"]:
                return f"the content of {name} has changed"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"unreadable: {error}"
    return None


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for chunk in _chunks(stream):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(1 << 20):
        yield chunk


@contextmanager
def _held(lock: FileLock) -> Iterator[None]:
    """Hold the lock; of processes that work together the first holds it, and the others wait with it."""
    told = False
    while not from_main(main_process() and _acquired(lock)):
        if main_process() and not told:
            _log.warning("another process is building %s; waiting for it", Path(lock.lock_file).name[1:-5])
        told = True
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=2)
    except Timeout:
        return False
    return True


def _seen(entry: Path) -> Path:
    if not entry.is_dir():  # the first process has it
        raise OSError(
            errno.ENOENT,
            "the first process has this cache entry, and here it is not: processes on several machines need "
            f"a cache folder that all of them share; set {CACHE_VARIABLE}",
            str(entry),
        )
    return entry


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder to flush it
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def _is_disk_full(error: BaseException, root: Path) -> bool:
    # Libraries in Rust name the cause in words only, and torch.save not at all.
    nothing_left = isinstance(error, Exception) and shutil.disk_usage(root).free < 2**20
    full = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
    return getattr(error, "errno", None) in full or "No space left on device" in str(error) or nothing_left
