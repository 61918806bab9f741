"""Write what is stated once wherever it is shown: the repository's address, the chapter table, the version.

    python book/tools/sync.py            write
    python book/tools/sync.py --check    change nothing; fail if something is out of step

The address and the version come from pyproject.toml, the chapters from book/chapters.yml.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
SHOWN_IN = (".md", ".yml", ".cff", ".ipynb", ".py")


def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]


def slug(address: str) -> str:
    """`owner/name` of a GitHub address."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)/?", address)
    if not found:
        raise ValueError(
            f"the repository's address should read https://github.com/owner/name, got {address!r}"
        )
    return found.group(1)


def pages_address(repository: str) -> str:
    owner, name = repository.split("/")
    return f"{owner}.github.io/{name}"


def move_links(text: str, old: str, new: str) -> str:
    """Point every link to repository `old` (source, Colab, badges, the published book) at `new`."""
    text = re.sub(rf"(github(?:\.com)?/){re.escape(old)}(?![\w-])", rf"\g<1>{new}", text)
    return text.replace(pages_address(old), pages_address(new))


def chapters(root: Path) -> list[dict[str, Any]]:
    return yaml.safe_load((root / "book/chapters.yml").read_text("utf-8"))


def module_path(root: Path, module: str) -> str | None:
    for path in (f"rlhf_mini/{module}.py", f"rlhf_mini/{module}"):
        if (root / path).exists():
            return path
    return None


def readme_table(root: Path) -> str:
    rows = ["| | chapter | notebook | module | papers |", "|---|---|---|---|---|"]
    for chapter in chapters(root):
        notebook = f"chapters/{chapter['file']}.ipynb"
        shown = f"[`{chapter['file']}`]({notebook})" if chapter.get("written") else "*planned*"
        modules = ", ".join(
            f"[`{module}`]({path})" if (path := module_path(root, module)) else f"`{module}`"
            for module in chapter["modules"]
        )
        papers = ", ".join(f"[{name}](https://arxiv.org/abs/{number})" for name, number in chapter["papers"])
        rows.append(f"| {chapter['number']:02d} | {chapter['title']} | {shown} | {modules} | {papers} |")
    return "\n".join(rows)


def book_map(root: Path) -> str:
    rows = ["| | chapter | you need first | minutes to read | to run: CPU, GPU |", "|---|---|---|---|---|"]
    for chapter in chapters(root):
        written, minutes = chapter.get("written"), chapter.get("minutes")
        title = f"[{chapter['title']}](../chapters/{chapter['file']})" if written else chapter["title"]
        needs = ", ".join(f"{number:02d}" for number in chapter["needs"]) or "–"
        read, run = (
            (minutes["read"], ", ".join(str(minutes.get(on, "–")) for on in ("cpu", "gpu")))
            if written
            else ("*planned*", "–")
        )
        rows.append(f"| {chapter['number']:02d} | {title} | {needs} | {read} | {run} |")
    return "\n".join(rows)


def fill(text: str, name: str, body: str) -> str:
    """Replace what stands between the markers `<!-- name:start -->` and `<!-- name:end -->`."""
    pattern = re.compile(rf"(<!-- {name}:start[^>]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}\n{body}\n\n{found[2]}", text)


def tracked(root: Path) -> list[Path]:
    """The repository's text files; those of git where this is a clone, else all that are not built."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0 and listed.stdout:
        paths = [root / line for line in listed.stdout.splitlines()]
    else:
        paths = [
            path
            for path in root.rglob("*")
            if not any(p.startswith(".") for p in path.relative_to(root).parts)
        ]
    return [path for path in paths if path.suffix in SHOWN_IN and path.is_file()]


def wanted(root: Path) -> dict[Path, tuple[str, str]]:
    """For each file that is out of step: its present text and the text it should have."""
    old = slug(yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]["url"])
    new = slug(project(root)["urls"]["Repository"])
    version = project(root)["version"]
    changes = {}
    for path in tracked(root):
        text = path.read_bytes().decode("utf-8")
        after = move_links(text, old, new)
        if path == root / "README.md":
            after = fill(after, "chapters", readme_table(root))
        if path == root / "book/intro.md":
            after = fill(after, "chapters", book_map(root))
        if path == root / "CITATION.cff":
            after = re.sub(r"(?m)^version: .*$", f"version: {version}", after)
        if after != text:
            changes[path] = (text, after)
    return changes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if something is out of step"
    )
    check = parser.parse_args().check
    changes = wanted(ROOT)
    for path, (_, after) in sorted(changes.items()):
        print(f"{'out of step' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_bytes(after.encode("utf-8"))
    if check and changes:
        print("Run `make sync` (or: python book/tools/sync.py) and commit the result.")
    return int(check and bool(changes))


if __name__ == "__main__":
    sys.exit(main())
