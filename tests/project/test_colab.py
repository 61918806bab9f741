"""A chapter from just its notebook, as in Colab: the first cell installs the library and nothing else."""

import subprocess

import colab
import nbformat
import pytest

from rlhf_mini.reader import first_cell


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return colab.repository(tmp_path_factory.mktemp("repository"))


def test_where_colab_s_packages_are_only_the_library_is_installed(address, tmp_path):
    assert colab.would_install(address, tmp_path) == ["rlhf-mini"]


@pytest.mark.slow  # a whole chapter, in a new environment
def test_a_chapter_runs_alone_and_installing_changes_nothing_else(address, tmp_path):
    assert colab.runs_alone(colab.CHAPTER, address, tmp_path) == set()


def notebook(folder, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "made.ipynb")
    return folder / "made.ipynb"


def test_without_its_first_cell_a_chapter_fails(address, tmp_path):
    (tmp_path / "place").mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        colab.runs_alone(notebook(tmp_path, "import rlhf_mini"), address, tmp_path / "place")


def test_a_first_cell_that_installs_more_is_caught(address, tmp_path):
    (tmp_path / "place").mkdir()
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "uninvited"\nversion = "1.0"\n[tool.setuptools]\npackages = []\n'
    )
    more = f"import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', {str(extra)!r}])"
    made = notebook(tmp_path, first_cell(), more)
    changed = colab.runs_alone(made, address, tmp_path / "place")
    assert [line.split()[0].split("==")[0] for line in changed] == ["uninvited"]


def test_pins_drop_local_builds_and_what_does_not_matter(tmp_path):
    (tmp_path / "list").write_text("torch==2.11.0+cu130\nabsl-py==1.4.0\nNumPy==2.1.3\nx @ file:///y\n")
    assert colab.pins(tmp_path / "list") == {"torch": "2.11.0", "numpy": "2.1.3"}
