"""What is stated once and shown elsewhere: chapters, address, version, make targets, table of contents."""

import re
import shutil
import subprocess
import sys

import pytest
import sync
import yaml

OWN_LINK = re.compile(r"(?:colab\.research\.google\.com/github|github\.com)/([\w.-]+/rlhf-mini)(?![\w-])")


def test_generated_text_is_in_step(root):
    assert [str(path.relative_to(root)) for path in sync.wanted(root)] == []


def test_every_link_to_the_repository_names_its_address(root, tracked):
    address = sync.slug(sync.project(root)["urls"]["Repository"])
    for path in tracked:
        if path.suffix in sync.SHOWN_IN:
            others = set(OWN_LINK.findall(path.read_text("utf-8"))) - {address}
            assert not others, f"{path.relative_to(root)} links to {others}"


def test_a_moved_address_reaches_badges_colab_and_the_published_book():
    text = (
        "https://github.com/old/book/actions "
        "https://colab.research.google.com/github/old/book/blob/main/a.ipynb "
        "https://old.github.io/book/ https://github.com/old/book-two"
    )
    assert sync.move_links(text, "old/book", "new/name") == (
        "https://github.com/new/name/actions "
        "https://colab.research.google.com/github/new/name/blob/main/a.ipynb "
        "https://new.github.io/name/ https://github.com/old/book-two"
    )


@pytest.mark.parametrize(
    "address", ["http://github.com/a/b", "https://github.com/a", "git@github.com:a/b.git"]
)
def test_an_address_of_another_shape_is_refused(address):
    with pytest.raises(ValueError, match=re.escape(address)):
        sync.slug(address)


def test_readme_table_is_true_to_the_files(root, notebooks):
    readme = (root / "README.md").read_text("utf-8")
    table = readme.split("<!-- chapters:start")[1].split("<!-- chapters:end")[0]
    targets = re.findall(r"\]\(((?!https:)[^)]+)\)", table)
    assert targets
    for target in targets:
        assert (root / target).exists(), f"README's table links to {target}, which is not there"
    shown = {target for target in targets if target.endswith(".ipynb")}
    assert shown == {f"chapters/{path.name}" for path in notebooks}
    papers = re.findall(r"https://arxiv\.org/abs/(\S+?)\)", table)
    assert papers
    assert all(re.fullmatch(r"\d{4}\.\d{5}", number) for number in papers)


def test_chapters_are_numbered_as_their_files(root):
    chapters = sync.chapters(root)
    assert [chapter["number"] for chapter in chapters] == list(range(16))
    for chapter in chapters:
        assert chapter["file"].startswith(f"{chapter['number']:02d}_")
        assert all(need < chapter["number"] for need in chapter["needs"])


def test_table_of_contents_is_complete(root, notebooks):
    def files(node):
        if isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from files(child)

    listed = list(files(yaml.safe_load((root / "book/_toc.yml").read_text("utf-8"))))
    pages = [path.relative_to(root).with_suffix("").as_posix() for path in (root / "book").rglob("*.md")]
    chapters = [path.relative_to(root).with_suffix("").as_posix() for path in notebooks]
    assert sorted(listed) == sorted(pages + chapters)


def test_workflows_and_ci_call_make_targets_that_exist(root):
    targets = set(re.findall(r"(?m)^([a-z]+):", (root / "Makefile").read_text("utf-8")))
    assert {"book", "test", "lab", "chapters", "bench", "lint", "clean", "help"} <= targets
    scripts = [*(root / ".github/workflows").glob("*.yml"), root / ".ci/run"]
    assert len(scripts) == 4
    for script in scripts:
        calls = re.findall(r"\bmake (?:--no-print-directory )?([a-z]+)", script.read_text("utf-8"))
        assert calls, f"{script.name} calls no make target"
        assert set(calls) <= targets


def test_workflow_tests_every_supported_python(root):
    workflow = yaml.safe_load((root / ".github/workflows/tests.yml").read_text("utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert sync.project(root)["requires-python"] == ">=3.10"


@pytest.mark.parametrize("target", ["book", "test", "lint", "chapters", "lab", "bench", "clean", "help"])
def test_make_targets_are_well_formed(root, target):
    make = shutil.which("make")
    assert make, "make is one of the three things the README asks for"
    dry = subprocess.run([make, "-n", target, f"VENV={sys.prefix}"], cwd=root, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr


def test_contributing_fits_one_screen(root):
    assert len((root / "CONTRIBUTING.md").read_text("utf-8").splitlines()) <= 40


def test_every_package_and_the_records_are_installed(root):
    listed = sync.tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = {path.parent.relative_to(root) for path in (root / "rlhf_mini").rglob("__init__.py")}
    assert listed["packages"] == sorted([*(".".join(path.parts) for path in found), "rlhf_mini.results"])
    assert listed["package-dir"] == {"rlhf_mini.results": "book/results"}
    assert [*(root / "book/results").glob("*.json")]
