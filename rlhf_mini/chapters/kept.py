"""Looking into a pipeline's cache without building anything: what a resumable command asks first."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlhf_mini.cache import Store
from rlhf_mini.pipeline import Pipeline


class _Looking(Store):
    """A store that builds nothing, and remembers what it was last asked for and whether it is there."""

    found = False

    def get(self, name: str, key: dict[str, Any], build: Callable[[Path], None]) -> Path:
        self.found = self.has(name, key)
        return self.path(name, key)


def is_kept(pipeline: Pipeline, make: Callable[..., Any], **settings: Any) -> bool:
    """Whether `pipeline.kept` or `pipeline.measured` of these would only read. Builds nothing and waits for
    nobody.
    """
    return _looked_up(pipeline, make, settings)[1]


def address_of(pipeline: Pipeline, make: Callable[..., Any], **settings: Any) -> Path:
    """The folder that `pipeline.kept` or `pipeline.measured` of these fills, or would fill. Builds nothing.

    Its name says everything that its content depends on: the code, the settings, the profile, the seed and
    the device.
    """
    return _looked_up(pipeline, make, settings)[0]


def _looked_up(pipeline: Pipeline, make: Callable[..., Any], settings: dict[str, Any]) -> tuple[Path, bool]:
    store, looking = _Looking(pipeline.store.root), copy.copy(pipeline)
    looking.store = store
    return looking.kept(make, **settings), store.found
