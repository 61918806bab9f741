"""Where the board's policies come from: a stage of the pipeline, a run that some chapter keeps, or a way to sample.

Each can say, without building anything, at which address its policy is kept and whether it is there. What is measured of a
policy is addressed by that place, so that a run of another chapter is used as it is, and measured anew if it is trained anew.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rlhf_mini.cache import read_manifest
from rlhf_mini.chapters.kept import address_of, is_kept
from rlhf_mini.chapters.scoreboard import cooling, measuring, samplers
from rlhf_mini.pipeline import STAGES, Pipeline

COPIED = 0.01  # seconds: what is in the cache after less was copied there from another address, not trained


@runtime_checkable
class Policy(Protocol):
    """What the board asks of a policy."""

    def is_there(self, pipeline: Pipeline) -> bool:
        """Whether it is kept; builds nothing."""

    def is_measured(self, pipeline: Pipeline) -> bool:
        """Whether `measured` would only read; builds nothing."""

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """What `measuring` says of it; trained once, measured once, and kept."""

    def folder(self, pipeline: Pipeline) -> Path | None:
        """Where the run that trained it is kept, or would be; None for what is sampled without training."""


class Weights(ABC):
    """A policy that is a folder of weights."""

    @abstractmethod
    def entry(self, pipeline: Pipeline) -> Path:
        """The cache's entry that holds it."""

    @abstractmethod
    def build(self, pipeline: Pipeline) -> None:
        """Put it there, unless it is."""

    @abstractmethod
    def is_there(self, pipeline: Pipeline) -> bool:
        """Whether it is kept; builds nothing."""

    inside = ""

    def address(self, pipeline: Pipeline) -> str:
        """The place of its weights below the cache's root."""
        return "/".join(part for part in (self.entry(pipeline).name, self.inside) if part)

    def folder(self, pipeline: Pipeline) -> Path | None:
        """The entry, built or not."""
        return self.entry(pipeline)

    def is_measured(self, pipeline: Pipeline) -> bool:
        """Whether `measured` would only read."""
        return is_kept(pipeline, measuring.of_weights, address=self.address(pipeline))

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """What `measuring.of_weights` says of it; trained once, measured once, and kept."""
        self.build(pipeline)
        return pipeline.measured(measuring.of_weights, address=self.address(pipeline))


@dataclass(frozen=True)
class Staged(Weights):
    """The policy of a stage. Raises ValueError on an unknown one."""

    stage: str

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"unknown stage {self.stage!r}: choose one of {', '.join(STAGES)}")

    def entry(self, pipeline: Pipeline) -> Path:
        """The stage's entry."""
        return pipeline.store.path(self.stage, pipeline.key(self.stage))

    def build(self, pipeline: Pipeline) -> None:
        """Build the stage, with all that it needs."""
        pipeline.get(self.stage)

    def is_there(self, pipeline: Pipeline) -> bool:
        """Whether the stage is built."""
        return pipeline.is_built(self.stage)


@dataclass(frozen=True)
class Kept(Weights):
    """The policy that `pipeline.kept(make, **settings)` holds, in the subfolder `inside` if there are several."""

    make: Callable[..., None]
    settings: Mapping[str, Any] = field(default_factory=dict)
    inside: str = ""

    def entry(self, pipeline: Pipeline) -> Path:
        """The run's entry."""
        return address_of(pipeline, self.make, **self.settings)

    def build(self, pipeline: Pipeline) -> None:
        """Train, unless it is kept."""
        pipeline.kept(self.make, **self.settings)

    def is_there(self, pipeline: Pipeline) -> bool:
        """Whether the run is kept."""
        return is_kept(pipeline, self.make, **self.settings)


@dataclass(frozen=True)
class Cooled:
    """A trained policy, sampled at this temperature."""

    of: Weights
    temperature: float

    def is_there(self, pipeline: Pipeline) -> bool:
        """Whether the policy is kept."""
        return self.of.is_there(pipeline)

    def is_measured(self, pipeline: Pipeline) -> bool:
        """Whether `measured` would only read."""
        return is_kept(pipeline, cooling.of_cooled, **self._settings(pipeline))

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """What `cooling.of_cooled` says of it; the policy is trained once, and what is said is kept."""
        self.of.build(pipeline)
        return pipeline.measured(cooling.of_cooled, **self._settings(pipeline))

    def folder(self, pipeline: Pipeline) -> Path | None:
        """Where the policy is kept, or would be."""
        return self.of.folder(pipeline)

    def _settings(self, pipeline: Pipeline) -> dict[str, Any]:
        return {"address": self.of.address(pipeline), "temperature": self.temperature}


@dataclass(frozen=True)
class Sampled:
    """The SFT model or the base model, sampled in a way of its own: one of `samplers`, with settings."""

    way: Callable[..., dict[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def is_there(self, pipeline: Pipeline) -> bool:
        """Whether the model that is sampled is built."""
        return pipeline.is_built("base" if self.way is samplers.plain_text else "sft")

    def is_measured(self, pipeline: Pipeline) -> bool:
        """Whether `measured` would only read."""
        return is_kept(pipeline, self.way, **self.settings)

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """What is said of it; sampled once, and kept."""
        return pipeline.measured(self.way, **self.settings)

    def folder(self, pipeline: Pipeline) -> Path | None:
        """None: nothing was trained."""
        return None


def clock_seconds(folder: Path) -> float | None:
    """By the clock, what the cache's entry took, whatever else the machine did meanwhile; None for an entry that was copied."""
    seconds = float(read_manifest(folder)["seconds"])
    return seconds if seconds > COPIED else None
