"""RLHF in miniature: how language models are trained with feedback, small enough to run and read."""

import os
from importlib.metadata import PackageNotFoundError, version

# What torch reads once, when it is loaded. Whatever the user has set is kept.
_ENVIRONMENT = {
    # OpenMP's default spins while it waits, which makes a shared machine many times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Kernels kept for shapes met before, 1024 by default in both. Text has a new length in almost every
    # batch, so such a cache seldom hits and holds gigabytes.
    "LRU_CACHE_CAPACITY": "16",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

try:
    __version__ = version("rlhf-mini")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0+source"

__all__ = ["__version__"]
