"""The cache keeps its promises: whole or not at all, checked on every read, one builder at a time."""

import errno
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rlhf_mini
from rlhf_mini.cache import MANIFEST, Store, read_manifest

KEY = {"steps": 3, "betas": [0.9, 0.98], "text": "né"}

BUILDER = """
import sys, time
from pathlib import Path
from rlhf_mini.cache import Store

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    (folder / "deeper").mkdir()
    for part in range(20):
        (folder / "deeper" / f"part{part}").write_bytes(bytes([part]) * 5000)
        time.sleep(float(sys.argv[3]))

print(Store(sys.argv[1]).get("stage", {"n": 1}, build))
"""


def builder(root: Path, log: Path, seconds_a_part: float) -> list[str]:
    return [sys.executable, "-c", BUILDER, str(root), str(log), str(seconds_a_part)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(rlhf_mini.__file__).parents[1])}


def write(content: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "deeper").mkdir()
        (folder / "deeper" / "model.bin").write_text(content)
        (folder / "note.txt").write_text("a note")

    return build


def refuse(folder: Path) -> None:
    raise AssertionError("built again without need")


def contents(entry: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(entry)): file.read_bytes()
        for file in sorted(entry.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.endswith((".building", ".damaged"))]


def test_an_entry_is_built_once_and_then_found(tmp_path: Path) -> None:
    entry = Store(tmp_path / "cache").get("base", KEY, write("weights"))
    assert entry.parent == tmp_path / "cache"
    assert entry.name.startswith("base-")
    assert len(entry.name) == len("base-") + 12
    assert Store(tmp_path / "cache").get("base", KEY, refuse) == entry
    assert contents(entry) == {"deeper/model.bin": b"weights", "note.txt": b"a note"}


def test_the_manifest_says_where_an_entry_comes_from(tmp_path: Path) -> None:
    manifest = read_manifest(Store(tmp_path).get("base", KEY, write("weights")))
    assert manifest["key"] == KEY
    assert manifest["library"] == rlhf_mini.__version__
    assert manifest["seconds"] >= 0
    assert manifest["files"]["deeper/model.bin"] == {
        "size": 7,
        # printf weights | sha256sum
        "sha256": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c",
    }


def test_the_address_depends_on_name_and_key_and_not_on_their_order(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.path("base", {"a": 1, "b": [2]}) == store.path("base", {"b": (2,), "a": 1})
    others = [
        ("base", {"a": 1}),
        ("base", {"a": 2}),
        ("base", {"a": "1"}),
        ("base", {"b": 1}),
        ("sft", {"a": 1}),
    ]
    assert len({store.path(name, key).name[-12:] for name, key in others}) == len(others)


@pytest.mark.parametrize(
    "value", [Path("x"), float("nan"), {1, 2}, object()], ids=["path", "nan", "set", "object"]
)
def test_a_key_that_is_not_json_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="cache key of 'base' must hold JSON values only"):
        Store(tmp_path).get("base", {"value": value}, refuse)


@pytest.mark.parametrize("name", ["", "../base", "Base", "a b"])
def test_a_name_that_could_leave_the_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        Store(tmp_path).get(name, {}, refuse)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, os.remove], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["deeper/model.bin", MANIFEST])
def test_a_damaged_entry_is_built_again_with_a_warning(
    tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    store = Store(tmp_path)
    entry = store.get("base", KEY, write("weights"))
    damage(entry / name)
    assert not store.has("base", KEY)
    with pytest.warns(UserWarning, match=r"base-\w+ is damaged \(.+\); building it again"):
        store.get("base", KEY, write("weights"))
    assert store.has("base", KEY)
    assert contents(entry) == {"deeper/model.bin": b"weights", "note.txt": b"a note"}
    assert leftovers(tmp_path) == []


def test_an_entry_of_another_key_is_not_believed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = store.get("base", {"n": 1}, write("one"))
    shutil.copytree(entry, store.path("base", {"n": 2}))
    with pytest.warns(UserWarning, match="another key"):
        assert contents(store.get("base", {"n": 2}, write("two")))["deeper/model.bin"] == b"two"


def test_a_failed_build_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("no luck")

    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="no luck"):
        store.get("base", KEY, fail)
    assert leftovers(tmp_path) == []
    assert not store.has("base", KEY)
    assert store.get("base", KEY, write("weights")).is_dir()


def test_a_build_that_writes_nothing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wrote no file"):
        Store(tmp_path).get("base", KEY, lambda folder: None)


def test_a_stage_may_ask_for_another_while_it_is_built(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def build(folder: Path) -> None:
        shutil.copytree(store.get("base", KEY, write("weights")), folder / "copy")

    assert (store.get("sft", KEY, build) / "copy" / "note.txt").is_file()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # what safetensors and tokenizers raise, both written in Rust
        Exception("I/O error: No space left on device (os error 28)"),
    ],
    ids=["python", "rust"],
)
def test_a_full_disk_is_named_as_such(tmp_path: Path, error: Exception) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise error

    with pytest.raises(OSError, match=r"no space left to build 'base' \(\d+ MiB free\)") as caught:
        Store(tmp_path).get("base", KEY, fail)
    assert caught.value.errno == errno.ENOSPC
    assert leftovers(tmp_path) == []


def test_a_disk_that_is_full_though_the_error_does_not_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with torch.save, which raises a RuntimeError about file positions."""

    def fail(folder: Path) -> None:
        raise RuntimeError("unexpected pos 1027904 vs 1027856")

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(OSError, match=r"no space left to build 'base' \(0 MiB free\)"):
        Store(tmp_path).get("base", KEY, fail)


def test_a_disk_that_is_full_when_the_manifest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def build(folder: Path) -> None:
        (folder / "weights").write_bytes(b"weights")
        monkeypatch.setattr(Path, "write_text", full)

    with pytest.raises(OSError, match="no space left to build 'base'"):
        Store(tmp_path).get("base", KEY, build)
    assert not Store(tmp_path).has("base", KEY)


def test_what_a_dead_builder_left_is_removed_and_a_living_one_is_let_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dead = tmp_path / ".other-0123456789ab.building"
    dead.mkdir()

    def build(folder: Path) -> None:
        store.get("inner", KEY, write("inner"))  # sweeps while this one, which holds its lock, is being built
        assert folder.is_dir()
        (folder / "file").write_text("file")

    store.get("base", KEY, build)
    assert leftovers(tmp_path) == []


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [
        subprocess.Popen(
            builder(tmp_path / "cache", log, 0.02), env=environment(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert said[0] == said[1] == str(Store(tmp_path / "cache").path("stage", {"n": 1}))
    assert log.read_text() == "built\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_twenty_kills_and_a_rerun_give_what_an_undisturbed_run_gives(tmp_path: Path) -> None:
    """About five seconds: twenty processes are killed at a random moment of a build that takes 0.3 s."""
    kill_repeatedly = runpy.run_path(str(Path(__file__).with_name("interruption.py")))["kill_repeatedly"]
    root, log = tmp_path / "cache", tmp_path / "log"
    subprocess.run(builder(tmp_path / "undisturbed", tmp_path / "log0", 0.0), env=environment(), check=True)
    (undisturbed,) = (tmp_path / "undisturbed").glob("stage-*")
    store = Store(root)
    entry, half_built = store.path("stage", {"n": 1}), []

    def building() -> bool:
        return log.exists() and log.read_text().count("built") > len(half_built)

    def whole_or_not_at_all() -> None:
        half_built.append(leftovers(root))
        if entry.exists():
            assert store.has("stage", {"n": 1})
            assert contents(entry) == contents(undisturbed)
            shutil.rmtree(entry)  # so that every one of the twenty has something to interrupt

    killed = kill_repeatedly(
        builder(root, log, 0.015),
        times=20,
        within=0.4,
        seed=1,
        env=environment(),
        under_way=building,
        after_each=whole_or_not_at_all,
    )
    assert killed >= 10  # fewer would mean that the kills came too late
    assert sum(map(bool, half_built)) >= 10
    subprocess.run(builder(root, log, 0.0), env=environment(), check=True)
    assert contents(entry) == contents(undisturbed)
    assert store.has("stage", {"n": 1})
    assert leftovers(root) == []
