"""What is committed is small, silent about the machine that made it, and as short as the style asks."""

import re

LARGEST = 2 * 1024 * 1024
LONGEST_MODULE = 400
MACHINE_PATH = re.compile(
    rb"(?<![\w.~<])/(?:home|root|Users|work|farm|tmp/v|opt/(?:wheels|pypi))/[\w.-]|[A-Z]:\\\\Users\\\\"
)


def test_no_file_is_larger_than_two_megabytes(root, tracked):
    large = {
        str(path.relative_to(root)): path.stat().st_size for path in tracked if path.stat().st_size > LARGEST
    }
    assert large == {}


def test_no_file_names_a_path_of_the_machine_it_was_made_on(root, tracked):
    for path in tracked:
        if path == root / "tests/project/test_files.py":
            continue
        found = MACHINE_PATH.search(path.read_bytes())
        assert not found, f"{path.relative_to(root)}: {found.group()!r}"


def test_modules_keep_to_the_size_limit(root):
    long = {
        str(path.relative_to(root)): lines
        for path in (root / "rlhf_mini").rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_no_third_party_script_is_committed(root, tracked):
    scripts = {str(path.relative_to(root)) for path in tracked if path.suffix in (".js", ".woff2", ".ttf")}
    assert scripts <= {"book/_static/book.js"}


def test_postponed_annotations_stay_out_of_the_checked_modules(root):
    """They turn shape annotations into text, which the checker then never sees."""
    package = root / "rlhf_mini"
    paths = [
        package / "tensors.py",
        *(package / "estimators").glob("*.py"),
        *(package / "losses").glob("*.py"),
    ]
    for path in paths:
        assert "from __future__ import annotations" not in path.read_text("utf-8"), path.name
