"""What the tests of the project itself share: its root, its tools and its tracked files."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "book/tools"), str(ROOT / "book/_ext"), str(ROOT / "tests/project")]
BUILT = {
    ".git",
    ".venv",
    ".site",
    ".book",
    ".cache",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    "vendor",
    "__pycache__",
}


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """Files that git has or would add; in a source archive without git, every file that is not built."""
    answer = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    names = answer.stdout.split("\0") if answer.returncode == 0 else []
    found = [root / name for name in names if name]
    if not found:
        found = [path for path in root.rglob("*") if not BUILT & set(path.relative_to(root).parts)]
    return sorted(path for path in found if path.is_file())


@pytest.fixture(scope="session")
def notebooks(root: Path) -> list[Path]:
    return sorted((root / "chapters").glob("*.ipynb"))
