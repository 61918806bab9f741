"""The committed book renders: no warning, no dead link, and every module of the library on an API page."""

import re
import subprocess
import sys

import pytest


def test_every_module_has_an_api_page(root):
    named = " ".join(
        re.findall(
            r"rlhf_mini\.[\w.]+", " ".join(p.read_text("utf-8") for p in (root / "book/api").glob("*.md"))
        )
    )
    parts = {
        path.stem if path.suffix else path.name
        for path in (root / "rlhf_mini").iterdir()
        if path.name[0] not in "_."
    }
    missing = {part for part in parts - {"py"} if f"rlhf_mini.{part}" not in named.split()}
    assert missing == set()


@pytest.mark.slow  # half a minute: nothing less shows that the pages render with warnings as errors
def test_book_builds_without_a_warning_or_a_dead_link(root, tmp_path):
    command = [
        sys.executable, str(root / "book/tools/build.py"), "--no-execute",
        "--sources", str(tmp_path / "sources"), "--site", str(tmp_path / "site"),
    ]  # fmt: skip
    built = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "The book is built." in built.stdout
