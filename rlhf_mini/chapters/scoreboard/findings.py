"""What the board says of one seed, in flat names: the numbers that the chapter's claims are judged by."""

from collections.abc import Mapping, Sequence

from rlhf_mini.chapters.scoreboard.command import Cell, cells
from rlhf_mini.evaluation.bradley_terry_ranking import TIE
from rlhf_mini.evaluation.win_rate import win_rate
from rlhf_mini.pipeline import Pipeline


def row(experiment: str, name: str) -> Cell:
    """The cell of a table and a row. Raises ValueError on an unknown one."""
    for cell in cells():
        if (cell.experiment, cell.name) == (experiment, name):
            return cell
    raise ValueError(f"no cell is called {name!r} in {experiment!r}")


def told(
    pipeline: Pipeline, *, of: Mapping[str, Sequence[str]], experiment: str = "methods"
) -> dict[str, float]:
    """Metrics of rows of one table, as "metric name": `of` lists the names for each metric.

    What is not measured yet is, which takes as long as training it. Raises ValueError on an unknown row.
    """
    return {
        f"{metric} {name}": float(row(experiment, name).measured(pipeline)[metric])
        for metric, names in of.items()
        for name in names
    }


def colder(pipeline: Pipeline, *, names: Sequence[str]) -> dict[str, float]:
    """Gold of policies at temperature 1 and at the lower one: "warm name" and "cold name"."""
    warm, cold = (told(pipeline, of={"gold": names}, experiment=table) for table in ("methods", "colder"))
    return {
        **{f"warm {name}": warm[f"gold {name}"] for name in names},
        **{f"cold {name}": cold[f"gold {name}"] for name in names},
    }


def wins(pipeline: Pipeline, *, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """How often the first of each pair has more gold than the second on the same requests, as "one against other"."""
    golds = {name: row("methods", name).measured(pipeline)["golds"] for pair in pairs for name in pair}
    return {
        f"{one} against {other}": win_rate(golds[one], golds[other], tie_margin=TIE).rate.mean
        for one, other in pairs
    }
