"""The first cell of every chapter: installs the library where it is absent, and changes nothing else.

Colab already has everything that the library needs, so pip finds every requirement met and installs one
package. The address is the repository's, read from the package's own metadata; the environment variable
RLHF_MINI_INSTALL_URL overrides it, for checks without a network.
"""

from importlib.metadata import PackageNotFoundError, metadata

import torch

from rlhf_mini import __version__
from rlhf_mini.devices import describe, pick_device, thread_count
from rlhf_mini.progress import hide_foreign_bars

INSTALL_VARIABLE = "RLHF_MINI_INSTALL_URL"

_FIRST_CELL = """\
# In Colab this installs the library and changes nothing else. Where it is installed, nothing happens.
import importlib.util, os, subprocess, sys

if importlib.util.find_spec("rlhf_mini") is None:
    address = os.environ.get("{variable}", "git+{repository}")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", address], check=True)
    importlib.invalidate_caches()

from rlhf_mini.reader import setup

setup()
"""


def repository_address() -> str:
    """The repository's address: `Repository` under [project.urls] in pyproject.toml, the only place where it
    stands.

    Raises:
        ValueError: if the package is not installed or names no repository.
    """
    try:
        urls = metadata("rlhf-mini").get_all("Project-URL") or []
    except PackageNotFoundError as error:
        raise ValueError(
            "rlhf-mini is not installed here, so its metadata cannot be read: pip install -e ."
        ) from error
    for entry in urls:
        name, _, address = entry.partition(",")
        if name.strip().lower() == "repository":
            return address.strip().rstrip("/")
    raise ValueError(f"pyproject.toml names no Repository under [project.urls]; there: {urls}")


def first_cell(repository: str | None = None) -> str:
    """The source of a chapter's first code cell, for the chapters and for the test that holds them to it.

    Args:
        repository: the address to install from, by default `repository_address()`.

    Example:
        >>> "git+https://example.org/rlhf" in first_cell("https://example.org/rlhf")
        True
    """
    return _FIRST_CELL.format(
        variable=INSTALL_VARIABLE, repository=repository or repository_address()
    ).strip()


def setup() -> None:
    """Prints on one line what this notebook runs on, and hides the bars of libraries that are not ours.

    Tag its cell `nbval-ignore-output`.
    """
    hide_foreign_bars()
    print(
        f"rlhf-mini {__version__} · torch {torch.__version__} · {describe(pick_device())} · "
        f"{thread_count()} thread{'' if thread_count() == 1 else 's'}"
    )
