"""Check that installing the library changes nothing that a Colab machine already has.

    python book/tools/colab.py [LIST]

LIST is Colab's `pip freeze`; by default $COLAB_VERSIONS, else the snapshot in tests/project/colab.txt.
A fresh environment gets Colab's versions of what the library needs, then the library from this folder.
Any other difference in `pip freeze` is an error. Then chapter 00 runs there, alone in an empty folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the library imports, and what Colab runs a notebook with.
WANTED = (
    "torch transformers tokenizers huggingface_hub safetensors datasets pyarrow pandas numpy gymnasium "
    "matplotlib ipywidgets ipykernel ipython tqdm accelerate nbclient nbformat"
).split()


def normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def pins(path: Path) -> list[str]:
    """The pins of the packages that matter here, without local build tags and addresses."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        name, exact, version = line.partition("==")
        if exact and normal(name) in map(normal, WANTED):
            found.append(f"{name.strip()}=={version.split('+')[0].split(';')[0].strip()}")
    return found


def frozen(python: Path) -> set[str]:
    answer = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    return set(answer.stdout.splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("COLAB_VERSIONS", ROOT / "tests/project/colab.txt")
    parser.add_argument("list", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--no-run", action="store_true", help="check the installation only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        builder = venv.EnvBuilder(with_pip=True)
        builder.create(Path(folder) / "env")
        python = Path(folder) / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
        quiet = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*quiet, *pins(given.list), "nbclient", "ipykernel"], check=True)
        before = frozen(python)
        subprocess.run([*quiet, str(ROOT)], check=True)
        changed = {line for line in before ^ frozen(python) if not normal(line).startswith("rlhf-mini")}
        if changed:
            print("Installing the library changed:", *sorted(changed), sep="\n    ")
            return 1
        print("Installing the library changed nothing else.")
        if given.no_run:
            return 0
        alone = Path(folder) / "alone"
        alone.mkdir()
        notebook = shutil.copy2(ROOT / "chapters/00_the_whole_story.ipynb", alone)
        script = (
            "import sys, nbformat, nbclient; notebook = nbformat.read(sys.argv[1], 4); "
            "nbclient.NotebookClient(notebook, timeout=1800).execute()"
        )
        environment = os.environ | {"RLHF_MINI_PROFILE": "quick", "TQDM_DISABLE": "1"}
        for name in ("PYTHONPATH", "VIRTUAL_ENV"):
            environment.pop(name, None)
        return subprocess.run([python, "-c", script, notebook], cwd=alone, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
