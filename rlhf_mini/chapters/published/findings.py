"""What the claims of chapter 13 read: numbers of recipes, of their steps and of their variants, on one seed."""

from collections.abc import Sequence

from rlhf_mini.chapters.published.outcomes import Outcome, judged
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes.registry import RECIPES, named

SFT = "SFT"


def outcome_of(label: str) -> Outcome:
    """A label's cell: "gemini" is the recipe's last step, "gemini: round 1" a step, "gemini, less X" its variant X.

    Raises ValueError on an unknown recipe, step or variant.

    >>> outcome_of("gemini: round 1").name
    'Gemini: round 1'
    >>> outcome_of("zephyr_orpo, less chosen answers alone").variant
    'chosen answers alone'
    """
    name, less, variant = label.partition(", less ")
    name, colon, step = name.partition(": ")
    recipe = named(name)
    if colon and step not in recipe.steps:
        raise ValueError(f"{name} has no step {step!r}; there are {recipe.steps}")
    if less:
        recipe.settings_of(variant)
        return Outcome(recipe, variant=variant)
    return Outcome(recipe, step or recipe.steps[-1])


def told(pipeline: Pipeline, *, labels: Sequence[str], metrics: Sequence[str]) -> dict[str, float]:
    """`metrics` of each label, as "metric label"; the label "SFT" is the SFT model."""
    found: dict[str, float] = {}
    for label in labels:
        row = start_told(pipeline) if label == SFT else outcome_of(label).measured(pipeline)
        found |= {f"{metric} {label}": float(row[metric]) for metric in metrics}
    return found


def start_told(pipeline: Pipeline) -> dict[str, float]:
    """The SFT model, asked and judged as the recipes' policies are."""
    return pipeline.measured(judged, address=pipeline.get("sft").name)


def stories_told() -> tuple[str, ...]:
    """The recipes whose policies answer requests for stories."""
    return tuple(name for name, recipe in RECIPES.items() if recipe.world == "stories")
