"""RLHF in miniature: how language models are trained with feedback, small enough to run and read."""

import os
from importlib.metadata import PackageNotFoundError, version

# What torch reads once, when it is loaded. Whatever the user has set is kept.
#
# OpenMP's default is to spin while it waits, which makes a shared machine many times slower. Not to spin at
# all costs models as small as ours up to a third of their speed on an idle machine. GNU's OpenMP, which
# PyTorch uses on Linux, can spin for a moment, some microseconds.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if os.environ["OMP_WAIT_POLICY"].upper() == "PASSIVE":
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Kernels are kept for shapes met before, 1024 of them by default. Text has a new length in almost every
# batch, so that such a cache seldom hits, and holds gigabytes.
for _name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
    os.environ.setdefault(_name, "16")

try:
    __version__ = version("rlhf-mini")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0+source"

__all__ = ["__version__"]
