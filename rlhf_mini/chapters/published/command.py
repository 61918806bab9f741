"""`rlhf-mini recipe NAME`: what a published report says, and its miniature trained, judged and written down.

What is finished is in the cache; the same command goes on where it was interrupted, and with other seeds it adds to the
records.
"""

from collections.abc import Sequence
from functools import partial
from textwrap import fill
from typing import Any

from rlhf_mini.chapters.cells import Order, measure_each, record_cell, task_of
from rlhf_mini.chapters.published.outcomes import EXPERIMENTS, Outcome, outcomes
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.progress import hide_foreign_bars
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.recipes.registry import RECIPES, named

CHAPTER, RECORDS = "13", "chapter_13"
WIDTH = 100
SHOWN = ("gold", "helpfulness", "safety", "kl_k3", "length", "distinct_2", "right, one", "right, vote")
FACTS = ("data", "reward", "optimiser", "anchor", "rounds")


def page(recipe: Recipe) -> str:
    """A recipe as text: what its report says, what it leaves out, and what our miniature does otherwise."""
    lines = [f"{recipe.title} ({recipe.year})", f"{recipe.report}, {recipe.address}", ""]
    lines += [_entry(name, getattr(recipe, name)) for name in FACTS]
    for title, told in (
        ("reported", recipe.reported),
        ("left out", recipe.left_out),
        ("set right", recipe.set_right),
        ("our miniature departs", recipe.departures),
    ):
        lines += [
            "",
            f"{title}:",
            *(fill(one, WIDTH, initial_indent="- ", subsequent_indent="  ") for one in told),
        ]
    steps = ", ".join(recipe.steps)
    return "\n".join([*lines, "", f"steps: {steps}", f"variants: {', '.join(recipe.variants) or 'none'}"])


def _entry(name: str, text: str) -> str:
    return fill(text, WIDTH, initial_indent=f"{name + ':':11}", subsequent_indent=" " * 11)


def chosen(order: Order, names: Sequence[str]) -> list[tuple[int, Outcome]]:
    """The cells that were asked for. Raises ValueError on an unknown recipe or table, or a seed given twice."""
    return order.among(outcomes(names), EXPERIMENTS)


def listed(order: Order, names: Sequence[str]) -> None:
    """Print every cell, and whether its run is kept."""
    pipelines = {seed: order.pipeline(seed) for seed in order.seeds}
    for seed, cell in chosen(order, names):
        told = "kept" if cell.is_there(pipelines[seed]) else "to train and judge"
        print(f"seed {seed}  {cell.experiment:9} {cell.name:64} {told}")


def measure_all(order: Order, names: Sequence[str]) -> list[Record]:
    """Measure every cell, print a line and write a record for each as it is done; returns the records."""
    tasks = [task_of(*one) for one in chosen(order, names)]
    return measure_each(order, tasks, partial(record_cell, order, chapter=CHAPTER, find=_cell), _line)


def _cell(pipeline: Pipeline, experiment: str, name: str) -> Outcome:
    return next(one for one in outcomes() if (one.experiment, one.name) == (experiment, name))


def _line(record: Record) -> str:
    told = [f"{name} {record.metrics[name]:.2f}" for name in SHOWN if name in record.metrics]
    return f"seed {record.seed}  {record.method:64} {record.seconds:6.1f} s  " + "  ".join(told)


def recipe(
    names: Sequence[str],
    seeds: Sequence[int],
    only: Sequence[str],
    *,
    dry_run: bool,
    tell: bool,
    **where: Any,
) -> int:
    """The command; returns the exit status. Without a name it lists the recipes; with `tell` it trains nothing."""
    hide_foreign_bars()
    if not names:
        for one in RECIPES.values():
            print(f"{one.name:14}{one.title} ({one.year}): {one.optimiser}")
        return 0
    for name in names if names != ["all"] else ():
        print(page(named(name)), end="\n\n")
    order = Order(seeds=tuple(seeds), only=tuple(only), **where)
    wanted = [] if names == ["all"] else names
    if dry_run:
        listed(order, wanted)
    elif not tell:
        measure_all(order, wanted)
    return 0
