"""What every chapter owes its reader: the same parts in one order, and nothing said that is not shown."""

import re
import unicodedata

import execute
import nbformat
import pytest
import sync
from reading import read

from rlhf_mini.chapters import ROOMS, part
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.reader import Exercise, OpenExercise, first_cell

FRONT = ("**After this chapter you can**", "**You need**", "**Time**")
SECTIONS = (
    "The question",
    "The scoreboard",
    "Common mistakes",
    "Bug or bad idea?",
    "Bug hunt",
    "Exercises",
    "Five questions",
    "Summary",
    "For real",
    "Further reading",
)
LEAST_EXERCISES, LEAST_SEEDS = 5, 3
CITED = re.compile(r"\[([^\]]+?) ?\(((?:19|20)\d\d)\)\]\(https://arxiv\.org/abs/(\d{4}\.\d{4,5})\)")
ARXIV = re.compile(r"https://arxiv\.org/abs/([^)\s]+)")
MEASURED = re.compile(r"\d[.,]\d|\d ?%")

CHAPTERS = sorted((execute.ROOT / "chapters").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])


def markdown(path):
    notebook, _ = read(path)
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(path):
    return "\n".join(cell.source for cell in read(path)[1])


def shown(path):
    """All HTML and text that the chapter's cells display."""
    parts = []
    for cell in read(path)[1]:
        for output in cell.outputs:
            parts += [output.get("text", ""), *map(str, output.get("data", {}).values())]
    return "\n".join(parts)


def number(path):
    return path.stem[:2]


# ------------------------------------------------------------------------------------------- front and back


@EACH
def test_front_matter(path, root):
    notebook, cells = read(path)
    entry = sync.chapters(root)[int(number(path))]
    lines = notebook.cells[0].source.splitlines()
    assert lines[0] == f"# {number(path)} · {entry['title']}"
    for part_ in FRONT:
        assert part_ in notebook.cells[0].source
    assert entry["written"] is True
    assert entry["minutes"]["read"] > 0
    assert cells[0].source == first_cell(sync.project(root)["urls"]["Repository"])


@EACH
def test_every_section_is_there_in_order(path):
    headings = re.findall(r"(?m)^## (.+)$", markdown(path))
    kept = [heading for heading in headings if heading in SECTIONS]
    assert kept == list(SECTIONS)


@EACH
def test_it_ends_with_its_provenance(path):
    notebook, cells = read(path)
    assert "provenance(" in cells[-1].source
    assert notebook.cells[-1] is cells[-1]
    said = "".join(output.get("text", "") for output in cells[-1].outputs)
    assert f"profile {notebook.metadata['rlhf_mini']['profile']}" in said


@EACH
def test_outputs_come_from_the_library_as_it_is(path):
    """Not its looks (reader) nor its words: the code that makes the numbers."""
    notebook, _ = read(path)
    assert notebook.metadata["rlhf_mini"]["library"] == execute.library_version(notebook), (
        f"{path.name} ran on other code than the library's: run `make chapters`"
    )


# -------------------------------------------------------------------------------------------- what it holds


@EACH
def test_every_exercise_of_the_room_is_asked_and_checked(path):
    exercises = part(number(path), "exercises")
    assert len(exercises.EXERCISES) >= LEAST_EXERCISES
    assert any(isinstance(exercise, OpenExercise) for exercise in exercises.EXERCISES)
    names = {id(value): name for name, value in vars(exercises).items() if name != "EXERCISES"}
    asked = re.findall(r"(?m)^### Exercise (\d+) · (.+)$", markdown(path))
    assert asked == [(str(i), one.title) for i, one in enumerate(exercises.EXERCISES, 1)]
    for exercise in exercises.EXERCISES:
        call = "check(" if isinstance(exercise, Exercise) else "show()"
        assert f"exercises.{names[id(exercise)]}.{call}" in code(path), exercise.title
    assert shown(path).count("○ Not attempted yet.") // 2 == sum(
        isinstance(exercise, Exercise) for exercise in exercises.EXERCISES
    ), "the published exercises stand unfilled"


@EACH
def test_quiz_bug_hunt_and_ladder_are_shown(path):
    assert len(part(number(path), "quiz").QUIZ) == 5
    assert "BUG_HUNT" in vars(part(number(path), "bug_hunt"))
    html = shown(path)
    for device in ("rm-quiz", "rm-hunt", "rm-ladder"):
        assert f'class="{device}"' in html, f"{path.name} shows no {device}"
    for call in ("quiz(QUIZ)", "BUG_HUNT.code()", "BUG_HUNT.answer()", "ladder("):
        assert call in code(path)


@EACH
def test_a_figure_moves_and_the_method_is_drawn(path):
    assert 'class="rm-frames"' in shown(path)
    assert "flow_diagram(" in code(path)


@EACH
def test_the_summary_is_measured_here_and_held_on_enough_seeds(path):
    claims = part(number(path), "claims").CLAIMS
    assert f'chapter_summary("{number(path)}"' in code(path)
    assert claims
    for claim in claims:
        records = read_records(f"chapter_{number(path)}", experiment="claims", method=claim.name)
        seeds = {record.seed for record in records}
        assert len(seeds) >= LEAST_SEEDS, f"{claim.name}: recorded on seeds {sorted(seeds)} only"
        failed = sorted({record.seed for record in records if not record.metrics["holds"]})
        assert not failed, f"{claim.name} did not hold on seeds {failed}"
        assert all(bool(claim.holds(record.metrics)) for record in records), claim.name


# --------------------------------------------------------------------------------------------- what it says


def letters(name):
    """The letters of a name, without accents or TeX's way of writing them."""
    return re.sub(r"[^A-Za-z]", "", unicodedata.normalize("NFKD", name))


@EACH
def test_citations_resolve(path, root):
    bibliography = (root / "book/references.bib").read_text("utf-8")
    entries = {
        found[1]: entry
        for entry in re.split(r"(?m)^@", bibliography)
        if (found := re.search(r"eprint = \{([^}]+)\}", entry))
    }
    text = markdown(path)
    cited = CITED.findall(text)
    assert cited, "a chapter cites its sources"
    for address in ARXIV.findall(text):
        assert address in entries, f"{path.name} cites arXiv {address}, which the bibliography does not have"
    for authors, year, address in cited:
        entry = entries[address]
        authors_there = re.search(r"author = \{(.+?)\},?\n", entry)[1]
        family = letters(authors_there.split(" and ")[0].split(",")[0])
        named = re.split(r",| and | et al", authors.removeprefix("the ").strip())[0].split()[-1]
        assert letters(named) in family, f"{authors}: the bibliography names {authors_there}"
        years = {re.search(r"year = \{(\d{4})\}", entry)[1], f"20{address[:2]}"}
        assert year in years, f"{authors} ({year}): the bibliography says {sorted(years)}"


@EACH
def test_prose_tables_hold_no_measured_number(path):
    """Measured numbers stand in tables that are rendered from book/results/."""
    for line in markdown(path).splitlines():
        if line.lstrip().startswith("|"):
            assert not MEASURED.search(line), f"{path.name}: a number typed into a table: {line.strip()}"


@EACH
def test_every_folded_part_of_the_prose_closes(path):
    text = markdown(path)
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>")


def test_every_notebook_has_a_room_and_every_room_a_notebook(notebooks):
    assert sorted(ROOMS) == [number(path) for path in notebooks]


def test_stale_outputs_are_noticed(root, tmp_path, monkeypatch):
    """The version stamped follows the library's code that the notebook reaches, and no other."""
    from rlhf_mini import code_version as versions

    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("from rlhf_mini.losses import pairwise_loss")]
    )
    before = execute.library_version(notebook)
    library = root / "rlhf_mini"
    for path in library.rglob("*.py"):
        copy = tmp_path / path.relative_to(library)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(versions, "ROOT", tmp_path)

    def changed(file):
        versions.code_version.cache_clear()
        with (tmp_path / file).open("a") as code:
            code.write("\nADDED = 1\n")
        return execute.library_version(notebook) != before

    try:
        assert not changed("models/llama.py")
        assert not changed("reader/plots.py")
        assert changed("losses/reward.py")
    finally:
        monkeypatch.undo()
        versions.code_version.cache_clear()
