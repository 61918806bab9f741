"""The margin in the reward model's loss: accuracy by rating, and what it does to the scores.

All three tables of margins are given the same pairs, the same first head and the same batches, `RUNS` times over,
so that what differs between two of them is the margin and what chance makes of it.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.llama2 import ratings, sides
from rlhf_mini.chapters.llama2.valley import deepest_valley
from rlhf_mini.methods.margin import LARGE_MARGINS, SMALL_MARGINS, margins
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories

TABLES = {"none": None, "small": SMALL_MARGINS, "large": LARGE_MARGINS}
RUNS, PAIRS = 3, 4000
BINS = 20  # of the histogram of σ(score)
EXTREME = 0.1  # σ(score) below it, or above 1 − it, is called extreme


def margin_model(pipeline: Pipeline, folder: Path, *, table: str, run: int, pairs: int) -> None:
    """A kept reward model on the shared pairs, with the margins of one of `TABLES`."""
    rows = pipeline.preferences("train")
    rows = rows.select(range(min(pairs, len(rows))))
    packed = pack_pairs(pipeline.tokenizer(), rows)
    chosen_table = TABLES[table]
    if chosen_table is not None:
        packed = Pairs(packed.chosen, packed.rejected, margins(rows["rating"], chosen_table))
    sides.train_and_save(pipeline, folder, packed, name=f"margin {run}")  # the same start and batches for all


def raw(pipeline: Pipeline, *, table: str, run: int, pairs: int) -> tuple[Tensor, Tensor]:
    """Scores of the test pairs' chosen and rejected answers, in the units of the loss."""
    model = sides.load(pipeline.kept(margin_model, table=table, run=run, pairs=pairs))
    packed = pack_pairs(pipeline.tokenizer(), pipeline.preferences("test"))
    std = model.config.std
    return scores(model, packed.chosen) * std, scores(model, packed.rejected) * std


def margin_effect(pipeline: Pipeline, *, table: str, run: int, pairs: int = PAIRS) -> dict[str, Any]:
    """Accuracy by rating (the last is over all), the gap in score by rating, and the shape of the scores."""
    rows = list(pipeline.preferences("test"))
    wins, losses = ratings.chances(rows)
    chosen, rejected = raw(pipeline, table=table, run=run, pairs=pairs)
    gap = (chosen - rejected).double()
    return {
        "accuracy": ratings.accuracy_by_rating(gap, wins, losses),
        "ceiling": ratings.ceiling_by_rating(wins, losses),
        "shares": ratings.shares(wins, losses),
        "gap": mean_by_rating(gap, [row["rating"] for row in rows]),
        **shape(rows, torch.cat([chosen, rejected]).double()),
    }


def mean_by_rating(values: Tensor, rated: list[str]) -> list[float]:
    """The mean of `values` (N,) over the pairs of each rating, the least clear first; 0 for one never given."""
    places = torch.tensor([stories.RATINGS.index(rating) for rating in rated])
    return [
        float(values[places == place].mean()) if (places == place).any() else 0.0
        for place in range(len(stories.RATINGS))
    ]


def shape(rows: list[dict[str, Any]], every: Tensor) -> dict[str, Any]:
    """How scores spread over the answers to kind prompts: first all chosen ones, (N,), then all rejected, (N,).

    `spread` is their standard deviation; `extreme` the share whose σ(score) is near 0 or 1, and `histogram` that
    of σ(score), from 0 to 1; `valley` is the depth of the valley between the two humps of the scores themselves,
    `low` the share of answers below it, and `low_declined` and `high_declined` are how many answers on either
    side decline what was asked.
    """
    kind = torch.tensor([not row["safety_prompt"] for row in rows] * 2)
    declined = torch.tensor(
        [stories.read_story(row[place]).declined for place in ("chosen", "rejected") for row in rows]
    )
    found, declines = every[kind], declined[kind].double()
    depth, bottom = deepest_valley(found)
    low, squeezed = found < bottom, torch.sigmoid(found)
    return {
        "spread": float(found.std()),
        "extreme": float(((squeezed < EXTREME) | (squeezed > 1 - EXTREME)).double().mean()),
        "histogram": (torch.histc(squeezed, bins=BINS, min=0, max=1) / len(found)).tolist(),
        "valley": depth,
        "low": float(low.double().mean()),
        "low_declined": float(declines[low].mean()) if low.any() else 0.0,
        "high_declined": float(declines[~low].mean()),
    }
