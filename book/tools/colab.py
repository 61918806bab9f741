"""Check that a chapter runs in Colab from just its notebook, and that installing the library changes nothing.

    python book/tools/colab.py [CHAPTER.ipynb …]        offline, with the packages of this environment
    python book/tools/colab.py --versions LIST          with Colab's own versions, from the network

Offline, two checks. (1) An environment that claims to have what Colab has (names and versions only) is asked
what it would install: the library alone. (2) Each notebook is copied into an empty folder and run there by an
environment that borrows this one's packages but not the library; its first cell installs the library from a
git repository, and nothing else may change.

LIST is Colab's `pip freeze`. With it, a fresh environment gets Colab's versions of what the library needs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from importlib import metadata
from pathlib import Path

import sync

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = ROOT / "tests/project/colab.txt"
CHAPTER = ROOT / "chapters/01_grid_world_rl.ipynb"
# What the library imports, and what Colab runs a notebook with.
WANTED = (
    "torch transformers tokenizers huggingface_hub safetensors datasets pyarrow pandas numpy gymnasium "
    "matplotlib ipywidgets ipykernel ipython tqdm accelerate nbclient nbformat filelock"
).split()
RUN = (
    "import sys, nbformat, nbclient; notebook = nbformat.read(sys.argv[1], 4); "
    "nbclient.NotebookClient(notebook, timeout=1800).execute()"
)
# pip builds the library with the setuptools at hand (0 says so: the variable means "build isolation")
# and asks no index.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def pins(path: Path) -> dict[str, str]:
    """The pins of the packages that matter here, without local build tags and addresses."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        name, exact, version = line.partition("==")
        if exact and normal(name) in map(normal, WANTED):
            found[normal(name)] = version.split("+")[0].split(";")[0].strip()
    return found


def environment(folder: Path, *, python_path: Path | None = None) -> dict[str, str]:
    """The variables of a clean shell, but for a path of borrowed packages."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV", "RLHF_MINI_RESULTS")
    }
    kept |= {"HOME": str(folder), "TQDM_DISABLE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    kept.setdefault("RLHF_MINI_PROFILE", "quick")
    return kept | ({"PYTHONPATH": str(python_path)} | OFFLINE if python_path else {})


def new_python(folder: Path) -> Path:
    venv.EnvBuilder(with_pip=True).create(folder)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def frozen(python: Path, variables: dict[str, str]) -> set[str]:
    command = [python, "-m", "pip", "freeze"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    return {line for line in answer.stdout.splitlines() if not normal(line).startswith("rlhf-mini")}


def repository(folder: Path) -> str:
    """The working tree as a git repository of one commit; its address for pip."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    who = ["-c", "user.name=check", "-c", "user.email=check@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "as it is"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return f"git+{folder.as_uri()}"


def stub(folder: Path, name: str, version: str) -> None:
    """A package in name and version only."""
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (place / "RECORD").write_text("")
    (place / "INSTALLER").write_text("stub\n")


def would_install(address: str, folder: Path) -> list[str]:
    """What pip would install for the library where Colab's packages are; itself included."""
    versions = pins(SNAPSHOT)
    for requirement in sync.project(ROOT)["dependencies"]:
        name = normal(requirement.split(">")[0].split("<")[0])
        versions.setdefault(name, metadata.version(name))  # comes with the others, in whatever version
    for name, version in versions.items():
        stub(folder / "stubs", name, version)
    setuptools = metadata.distribution("setuptools").locate_file("setuptools")
    os.symlink(str(setuptools), folder / "stubs/setuptools")  # to build with
    python, report = new_python(folder / "asked"), folder / "report.json"
    command = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--report", report, address]
    variables = environment(folder, python_path=folder / "stubs")
    subprocess.run(list(map(str, command)), check=True, env=variables)
    told = json.loads(report.read_text("utf-8"))["install"]
    return sorted(item["metadata"]["name"] for item in told)


def borrow_packages(folder: Path) -> Path:
    """Links to every package of this environment but the library."""
    folder.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        own = "rlhf-mini" in normal(entry.name) or entry.name.split("-")[0] in ("pip", "__pycache__")
        if not own and entry.suffix != ".pth":
            os.symlink(entry, folder / entry.name)
    return folder


def runs_alone(notebook: Path, address: str, folder: Path) -> set[str]:
    """Run one notebook in an empty folder, installing from `address`; what else pip says has changed.

    Raises:
        subprocess.CalledProcessError: if the notebook fails there.
    """
    variables = environment(folder, python_path=borrow_packages(folder / "borrowed"))
    variables["RLHF_MINI_INSTALL_URL"] = address
    variables.setdefault("RLHF_MINI_CACHE", str(folder / "cache"))
    python = new_python(folder / "env")
    found = subprocess.run([python, "-c", "import rlhf_mini"], capture_output=True, env=variables, cwd=folder)
    if found.returncode == 0:
        raise RuntimeError("the library is there before the first cell has run")
    before = frozen(python, variables)
    alone = folder / "alone"
    alone.mkdir()
    copy = shutil.copy2(notebook, alone)
    subprocess.run([python, "-c", RUN, copy], cwd=alone, env=variables, check=True)
    if not list((folder / "env").rglob("site-packages/rlhf_mini/__init__.py")):
        raise RuntimeError("the notebook ran, but not with the library that its first cell installed")
    return before ^ frozen(python, variables)


def offline(notebooks: list[Path]) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "repository").mkdir()
        address = repository(folder / "repository")
        asked = would_install(address, folder)
        print("Where Colab's packages are, pip would install:", *asked)
        failed = asked != ["rlhf-mini"]
        for notebook in notebooks:
            place = folder / notebook.stem
            place.mkdir()
            changed = runs_alone(notebook, address, place)
            said = f"changed {', '.join(sorted(changed))}" if changed else "changed nothing else"
            print(f"{notebook.name} ran alone; installing the library {said}.")
            failed = failed or bool(changed)
    return int(failed)


def with_versions(versions: Path, notebooks: list[Path]) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, variables = new_python(folder / "env"), environment(folder)
        quiet = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wanted = [f"{name}=={version}" for name, version in pins(versions).items()]
        subprocess.run([*quiet, *wanted, "nbclient", "ipykernel"], check=True, env=variables)
        before = frozen(python, variables)
        subprocess.run([*quiet, str(ROOT)], check=True, env=variables)
        changed = before ^ frozen(python, variables)
        if changed:
            print("Installing the library changed:", *sorted(changed), sep="\n    ")
            return 1
        print("Installing the library changed nothing else.")
        for notebook in notebooks:
            (folder / notebook.stem).mkdir()
            copy = shutil.copy2(notebook, folder / notebook.stem)
            subprocess.run([python, "-c", RUN, copy], cwd=copy.parent, env=variables, check=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=[CHAPTER])
    parser.add_argument("--versions", type=Path, help="Colab's `pip freeze`; needs the network")
    given = parser.parse_args()
    if given.versions:
        return with_versions(given.versions, given.notebooks)
    return offline(given.notebooks)


if __name__ == "__main__":
    sys.exit(main())
