"""The tools that build the book: what they check must be able to fail."""

import json
import tarfile

import assets
import check_site
import docstrings
import execute
import nbformat
import pytest
from docutils.core import publish_doctree
from nbformat.v4 import new_code_cell, new_notebook


def test_site_check_finds_dead_links_and_outside_loads(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><a href="https://x.org">4</a>'
        '<script src="https://cdn.example.org/x.js"></script><img src="no.svg">'
    )
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="#">top</a>')
    (tmp_path / "s.css").write_text("p { background: url(https://img.example.org/i.png) }")
    assert check_site.faults(tmp_path, offline=False) == [
        "a.html: dead link b.html#gone",
        "a.html: dead link c.html",
        "a.html: dead link no.svg",
    ]
    assert check_site.faults(tmp_path, offline=True)[-2:] == [
        "a.html: loads https://cdn.example.org/x.js",
        "s.css: loads https://img.example.org/i.png",
    ]


def write(path, *sources):
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "P"}}), path
    )
    return path


def test_execution_stamps_the_notebook_and_a_failure_leaves_it_alone(tmp_path, monkeypatch):
    for name in (
        "RLHF_MINI_PROFILE",
        "TQDM_DISABLE",
        "PYTHONPATH",
        "OMP_WAIT_POLICY",
        "JUPYTER_PREFER_ENV_PATH",
    ):
        monkeypatch.setenv(name, "")  # restored afterwards, whatever the tool sets
    good = write(tmp_path / "good.ipynb", "import os\nos.environ['RLHF_MINI_PROFILE']")
    bad = write(tmp_path / "bad.ipynb", "1 / 0")
    before = bad.read_bytes()
    assert execute.execute_all([good, bad], profile="quick", timeout=60) == 1
    assert bad.read_bytes() == before
    done = nbformat.read(good, as_version=4)
    assert done.cells[0].outputs[0].data["text/plain"] == "'quick'"
    assert done.metadata["rlhf_mini"]["source"] == execute.source_hash(done)
    assert "execution" not in done.cells[0].metadata
    done.cells[0].source += " "
    assert done.metadata["rlhf_mini"]["source"] != execute.source_hash(done)


def test_scripts_with_another_hash_are_refused(tmp_path, monkeypatch):
    (tmp_path / "x.js").write_text("1")

    def npm(command, cwd, **_):
        with tarfile.open(f"{cwd}/p.tgz", "w:gz") as archive:
            archive.add(tmp_path / "x.js", "package/x.js")
        return type("Answer", (), {"stdout": json.dumps([{"filename": "p.tgz"}])})

    monkeypatch.setattr(assets.subprocess, "run", npm)
    with pytest.raises(ValueError, match="expected sha512-no"):
        assets.fetch_package("p@1", ("*",), "sha512-no", tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def test_without_npm_the_book_falls_back_to_the_cdn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    assert assets.fetch_all(tmp_path / "vendor") is False
    assert "CDN" in capsys.readouterr().out


DOCSTRING = """KL[π‖π_ref] of `x_y`, |a| and 2 ** 3, *truly*.

loss = −log σ(a)
     = log(1 + e^−a)

    kl_ = sum_t k

a_b, c: (B, T), with `d`s.
Returns (B,).

| | sign |
|---|---|
| k1 | `any` |

Args:
    z: first,
        and more.

Example:
    >>> 1 + 1
    2
"""


def test_docstrings_become_clean_restructuredtext(capsys):
    tree = publish_doctree(
        "\n".join(docstrings.to_rst(DOCSTRING.splitlines())),
        settings_overrides={"report_level": 1, "halt_level": 2},
    )
    assert capsys.readouterr().err == ""
    first = tree[0]
    assert first.astext() == "KL[π‖π_ref] of x_y, |a| and 2 ** 3, truly."
    assert [node.tagname for node in tree] == [
        "paragraph", "literal_block", "literal_block", "bullet_list", "paragraph", "table",
        "paragraph", "bullet_list", "paragraph", "doctest_block",
    ]  # fmt: skip
    assert "z: first, and more." in tree.astext()


def test_every_docstring_of_the_library_is_clean(root, capsys):
    """The build treats a warning as an error; this names the docstring in a second instead of a minute."""
    import ast

    for path in sorted((root / "rlhf_mini").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
                text := ast.get_docstring(node)
            ):
                publish_doctree(
                    "\n".join(docstrings.to_rst(text.splitlines())), settings_overrides={"report_level": 1}
                )
                where = f"{path.relative_to(root)}, {getattr(node, 'name', 'module')}"
                assert capsys.readouterr().err == "", where
