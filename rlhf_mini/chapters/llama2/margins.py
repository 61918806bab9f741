"""The margin in the reward model's loss: accuracy by rating, and what it does to the scores."""

from pathlib import Path

import torch
from torch import Tensor

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.llama2 import ratings, sides
from rlhf_mini.methods.margin import LARGE_MARGINS, SMALL_MARGINS, margins
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories

TABLES = {"none": None, "small": SMALL_MARGINS, "large": LARGE_MARGINS}
RUNS = 3


def margin_model(pipeline: Pipeline, folder: Path, *, table: str, run: int, pairs: int) -> None:
    """A kept reward model on the shared pairs, with the margins of one of `TABLES`."""
    rows = pipeline.preferences("train").select(range(pairs))
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


def margin_effect(pipeline: Pipeline, *, table: str, run: int, pairs: int = 8000) -> dict[str, object]:
    """Accuracy by rating (the last is over all), the gap in score by rating, and the shape of the scores."""
    rows = list(pipeline.preferences("test"))
    wins, losses = ratings.chances(rows)
    chosen, rejected = raw(pipeline, table=table, run=run, pairs=pairs)
    gap = (chosen - rejected).double()
    rated = [stories.RATINGS.index(row["rating"]) for row in rows]
    by_rating = [gap[torch.tensor([place == r for place in rated])].mean().item() for r in range(4)]
    every = torch.cat([chosen, rejected]).double()
    return {
        "accuracy": ratings.accuracy_by_rating(gap, wins, losses),
        "ceiling": ratings.ceiling_by_rating(wins, losses),
        "shares": ratings.shares(wins, losses),
        "gap": by_rating,
        "spread": float(every.std()),
        "bimodality": bimodality(every),
        "histogram": torch.histc((every - every.mean()) / every.std(), bins=40, min=-3, max=3).tolist(),
        "middle": float(((every - every.mean()).abs() < 0.5 * every.std()).double().mean()),
    }


def bimodality(values: Tensor) -> float:
    """Sarle's coefficient (skewness² + 1) / kurtosis: 1/3 for a normal, 5/9 for a uniform, 1 for two points."""
    standard = (values - values.mean()) / values.std(correction=0)
    return float((standard.pow(3).mean() ** 2 + 1) / standard.pow(4).mean())
