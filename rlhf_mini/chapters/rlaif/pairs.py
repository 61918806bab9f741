"""Pairs that judges are asked about: those that the annotators labelled, held-out ones, and answers to red-team requests.

What is trained needs these, and nothing of what is said of a judge (`judge_quality`): a new measure trains nothing anew.
"""

from collections.abc import Sequence
from typing import Any

from rlhf_mini.chapters.rlaif import schooling
from rlhf_mini.chapters.rlaif.schooling import ALL_IN_ALL, Row
from rlhf_mini.data.judging import Comparison
from rlhf_mini.methods.judge import Ask, Verdicts, both_orders
from rlhf_mini.pipeline import Pipeline

RED_TEAM = 400  # red-team requests that the SFT model answers twice


def in_order_shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Annotated pairs with `first` and `second`, as the annotator saw them, and `first_won`, whom he chose.

    `lead`: by how much the first has more gold.
    """
    found = []
    for row in rows:
        sides = ("chosen", "rejected") if row["first_won"] else ("rejected", "chosen")
        golds = [float(row[f"gold_{side}"]) for side in sides]
        found.append(
            {
                "prompt": row["prompt"],
                "first": row[sides[0]],
                "second": row[sides[1]],
                "first_won": bool(row["first_won"]),
                "lead": golds[0] - golds[1],
            }
        )
    return found


def annotated_pairs(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The pairs that the pipeline's reward model learned from, in the order in which the annotators saw them."""
    return in_order_shown(list(pipeline.preferences("train")))


def part(rows: Sequence[Any], *, rehearsal: bool) -> list[Any]:
    """Two neighbours of every eight rows to choose settings on, and the others for the tables.

    Neighbours, because every other red-team request is wrapped: both parts have as many of them.

    >>> part([*"abcdefghij"], rehearsal=True)
    ['a', 'b', 'i', 'j']
    """
    return [row for place, row in enumerate(rows) if (place // 2 % 4 == 0) == rehearsal]


def held_out_pairs(pipeline: Pipeline, *, rehearsal: bool) -> list[dict[str, Any]]:
    """The annotated pairs to judge a judge on: see `in_order_shown`."""
    return part(in_order_shown(list(pipeline.preferences("test"))), rehearsal=rehearsal)


def red_team_pairs(pipeline: Pipeline, *, rehearsal: bool) -> list[Row]:
    """Two answers of the SFT model to each of several held-out red-team requests, wrapped or not."""
    rows = schooling.drawn(pipeline, "judged", rows="red team", count=RED_TEAM, held_out=True)
    return part(rows, rehearsal=rehearsal)


def verdicts_on(ask: Ask, rows: Sequence[dict[str, Any]]) -> Verdicts:
    """Pairs judged all in all, in both orders."""
    shown = [Comparison(ALL_IN_ALL, row["prompt"], row["first"], row["second"]) for row in rows]
    return both_orders(ask, shown)
