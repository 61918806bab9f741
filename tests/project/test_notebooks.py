"""Every committed notebook was executed top to bottom, without an error, from the source that it shows."""

import re

import execute
import sync
from reading import read

MOST_CELLS, MOST_LINES = 30, 20
IMAGE = re.compile(r"<img\b[^>]*>|!\[(?P<alt>[^\]]*)\]\(")


def test_executed_top_to_bottom_without_an_error(notebooks):
    for path in notebooks:
        _, cells = read(path)
        ran = [cell.execution_count for cell in cells if cell.source.strip()]
        assert ran == list(range(1, len(ran) + 1)), (
            f"{path.name} was not executed in order: run `make chapters`"
        )
        errors = [output for cell in cells for output in cell.outputs if output.output_type == "error"]
        assert not errors, f"{path.name}: {errors[0].ename}"


def test_outputs_come_from_the_source_shown(notebooks):
    for path in notebooks:
        notebook, _ = read(path)
        stamp = notebook.metadata.get("rlhf_mini", {})
        assert stamp.get("profile") in execute.PROFILES, f"{path.name} has no stamp: run `make chapters`"
        assert stamp["source"] == execute.source_hash(notebook), f"{path.name} was edited after its run"
        assert {"seconds", "device", "threads", "version", "library"} <= set(stamp)


def test_what_a_cell_prints_is_one_block(notebooks):
    # a busy machine sends one cell's lines in parts, and each part would be a box of its own on the page
    for path in notebooks:
        _, cells = read(path)
        for number, cell in enumerate(cells, start=1):
            names = [output.get("name") for output in cell.outputs if output.output_type == "stream"]
            assert len(names) == len(set(names)), f"{path.name}, code cell {number}: run `make chapters`"


def test_cells_keep_to_the_size_limits(notebooks):
    for path in notebooks:
        _, cells = read(path)
        told = [cell for cell in cells if ".check(" not in cell.source]  # the exercises are the reader's
        assert len(told) <= MOST_CELLS, f"{path.name} has {len(told)} code cells"
        for number, cell in enumerate(cells, start=1):
            lines = len(cell.source.splitlines())
            assert lines <= MOST_LINES, f"{path.name}, code cell {number}: {lines} lines"


def test_first_cell_links_to_colab(root, notebooks):
    address = sync.slug(sync.project(root)["urls"]["Repository"])
    for path in notebooks:
        notebook, _ = read(path)
        link = f"https://colab.research.google.com/github/{address}/blob/main/chapters/{path.name}"
        assert link in notebook.cells[0].source, f"{path.name}: the first cell should link to {link}"


def test_images_in_pages_have_alternative_text(root, notebooks):
    pages = {path: path.read_text("utf-8") for path in [*(root / "book").rglob("*.md"), root / "README.md"]}
    for path in notebooks:
        notebook, _ = read(path)
        pages[path] = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for path, text in pages.items():
        for found in IMAGE.finditer(text):
            alt = (
                found["alt"]
                if found["alt"] is not None
                else "".join(re.findall(r"alt=\"([^\"]*)\"", found[0]))
            )
            assert alt.strip(), f"{path.relative_to(root)}: {found[0]} has no alternative text"


def test_figures_have_alternative_text(notebooks):
    """A figure is an svg or html output that names itself (label, title or alt), never a bare picture."""
    for path in notebooks:
        _, cells = read(path)
        for number, cell in enumerate(cells, start=1):
            for output in cell.outputs:
                data = output.get("data", {})
                drawn = [data[kind] for kind in ("image/svg+xml", "text/html") if kind in data]
                bare = [kind for kind in ("image/png", "image/jpeg") if kind in data]
                place = f"{path.name}, code cell {number}"
                assert drawn or not bare, f"{place}: a bare {bare}: show figures through the reader's plots"
                for text in drawn:
                    pictures = re.findall(r"<(?:svg|img)\b[^>]*>", text)
                    named = "<title" in text or all(
                        re.search(r"aria-label=|alt=|aria-hidden=", tag) for tag in pictures
                    )
                    assert named, f"{place}: a figure has no alternative text"


def test_no_address_of_an_object_in_a_strict_output(notebooks):
    """Strict cells are compared word by word with a later run."""
    for path in notebooks:
        _, cells = read(path)
        for cell in cells:
            if "nbval-ignore-output" not in cell.metadata.get("tags", []):
                shown = "".join(
                    output.get("text", "") + str(output.get("data", "")) for output in cell.outputs
                )
                assert not re.search(r"\bat 0x[0-9a-f]{6,}", shown), path.name
