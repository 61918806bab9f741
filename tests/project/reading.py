"""How the tests of the notebooks read them."""

import nbformat


def read(path):
    """A notebook and its code cells."""
    notebook = nbformat.read(path, as_version=4)
    return notebook, [cell for cell in notebook.cells if cell.cell_type == "code"]
