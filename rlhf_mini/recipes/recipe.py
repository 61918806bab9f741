"""What a published recipe is made of: what its report says, and the function that trains its miniature."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

WORLDS = ("stories", "sums")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One published system, as its report tells it, and as the book's methods compose it.

    The report:

    - `name`: as the command line has it; `title`: as the text has it; `year`, `report` and `address`: what
      was read.
    - `data`, `reward`, `optimiser`, `anchor`, `rounds`: a short line each, the row of the chapter's table.
      "Not stated" where the report does not say.
    - `reported`: at most three results of the report, each with its table or section.
    - `left_out`: what a reader would need to repeat it and does not find.
    - `set_right`: statements in circulation that the report does not bear out, each with what is so.

    The miniature:

    - `train(pipeline, folder, **settings)`: trains it from the pipeline's stages and saves a policy after
      each of its steps, in the subfolders `steps`, in this order; the last one is the recipe's policy. It is
      meant for `Pipeline.kept`.
    - `settings`: its settings, in JSON values, all keyword arguments of `train` but those that a variant
      alone changes.
    - `variants`: the same without what makes it this recipe, or with another value of it: a name, and
      changed settings.
    - `departures`: what the miniature does otherwise than the report, each with its reason.
    - `world`: "stories", or "sums": what its policies answer.

    Raises ValueError on a recipe without steps, with more than three results, or of another world.
    """

    name: str
    title: str
    year: int
    report: str
    address: str
    data: str
    reward: str
    optimiser: str
    anchor: str
    rounds: str
    reported: tuple[str, ...]
    left_out: tuple[str, ...]
    set_right: tuple[str, ...]
    train: Callable[..., None]
    steps: tuple[str, ...]
    departures: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    world: str = "stories"

    def __post_init__(self) -> None:
        if not self.steps or len(self.reported) > 3:
            raise ValueError(f"recipe {self.name!r}: needs at least one step, and at most three results")
        if self.world not in WORLDS:
            raise ValueError(f"recipe {self.name!r}: the worlds are {WORLDS}, got {self.world!r}")

    def settings_of(self, variant: str = "") -> dict[str, Any]:
        """The settings of the recipe, or of one of its variants. Raises ValueError on an unknown variant."""
        if variant and variant not in self.variants:
            raise ValueError(f"{self.name} has no variant {variant!r}; there are {[*self.variants]}")
        return {**self.settings, **(self.variants[variant] if variant else {})}
