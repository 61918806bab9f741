"""RLHF in miniature: how language models are trained with feedback, small enough to run and read."""

import os
from importlib.metadata import PackageNotFoundError, version

# OpenMP reads this once, when torch is loaded. Its default spins while it waits, which makes a shared
# machine many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    __version__ = version("rlhf-mini")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0+source"

__all__ = ["__version__"]
