"""What is said of a recipe's policies: after each step, answers to the book's held-out requests, judged by gold.

A recipe on sums judges itself, by the sums' checker, and writes that down beside its policies; it is told as it stands there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from rlhf_mini.chapters.judged_policies import declines, plain_stories
from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.chapters.kept import address_of, is_kept
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.recipes.registry import RECIPES

EXPERIMENTS = ("recipes", "variants")
READ_OUTS = ("one", "vote", "scorer", "pass")  # of sums: the last of each curve is told


@dataclass(frozen=True)
class Outcome:
    """One cell of the chapter's tables: a recipe after one of its steps, or a variant after the last of those that it has."""

    recipe: Recipe
    step: str = ""
    variant: str = ""

    @property
    def experiment(self) -> str:
        """The table: recipes as they are, or their variants."""
        return EXPERIMENTS[bool(self.variant)]

    @property
    def name(self) -> str:
        """The row."""
        return f"{self.recipe.title}: {self.variant or self.step}"

    @property
    def _settings(self) -> dict[str, Any]:
        return self.recipe.settings_of(self.variant)

    def is_there(self, pipeline: Pipeline) -> bool:
        """Whether the run is kept; builds nothing."""
        return is_kept(pipeline, self.recipe.train, **self._settings)

    def folder(self, pipeline: Pipeline) -> Path:
        """Where the run is kept, or would be; builds nothing."""
        return address_of(pipeline, self.recipe.train, **self._settings)

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """What is said of its policy, measured once and kept; the run is trained now unless it is kept."""
        folder = pipeline.kept(self.recipe.train, **self._settings)
        step = self.step or last_step(self.recipe, folder)
        if self.recipe.world == "sums":
            told = told_of_sums(json.loads((folder / "test_time.json").read_text())[step])
        else:
            told = pipeline.measured(judged, address=f"{folder.name}/{step}")
        return {**told, "recipe": self.recipe.name, "variant": self.variant, "step": step}


def last_step(recipe: Recipe, folder: Path) -> str:
    """The last of a recipe's steps that a run has saved: a variant may have fewer. Raises ValueError if there is none."""
    saved = [step for step in recipe.steps if (folder / step).is_dir()]
    if not saved:
        raise ValueError(f"{folder} holds none of the steps {recipe.steps} of {recipe.name}")
    return saved[-1]


def judged(pipeline: Pipeline, *, address: str) -> dict[str, float]:
    """The policy at this address of the cache: gold on the held-out requests, declines, and what it has forgotten."""
    policy = freeze(AutoModelForCausalLM.from_pretrained(pipeline.store.root / address)).to(pipeline.device)
    found = judged_on_requests(pipeline, policy)
    return {**found.metrics(), **declines(found), **plain_stories(pipeline, policy)}


def told_of_sums(read_outs: dict[str, Any]) -> dict[str, Any]:
    """Of the curves over the number of samples the last value each, and the curves themselves."""
    last = {f"right, {name}": float(read_outs[name][-1]) for name in READ_OUTS}
    curves = {f"{name} by tries": read_outs[name] for name in READ_OUTS}
    return {**last, "tries": read_outs["tries"], **curves}


def outcomes(names: Sequence[str] = ()) -> list[Outcome]:
    """All cells of all recipes, or of those named: each step, then each variant. Raises ValueError on an unknown name."""
    if unknown := [name for name in names if name not in RECIPES]:
        raise ValueError(f"unknown recipes {unknown}: choose from {[*RECIPES]}")
    chosen = [recipe for name, recipe in RECIPES.items() if not names or name in names]
    return [
        *(Outcome(recipe, step) for recipe in chosen for step in recipe.steps),
        *(Outcome(recipe, variant=variant) for recipe in chosen for variant in recipe.variants),
    ]
