"""Few good demonstrations against many noisy ones, and small subsets chosen in several ways."""

from pathlib import Path

import torch

from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.data.selection import k_centre, k_means, nearest_points, text_embeddings
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

SIZES = (4, 16, 64)  # in batches of demonstrations


def gold_of_run(pipeline: Pipeline, *, crew: str, batches: int) -> dict[str, float]:
    """The metrics of a crew's run, with the mean gold of the demonstrations themselves."""
    metrics = runs.judged(pipeline, runs.load(runs.run_on(pipeline, crew=crew, batches=batches))).metrics()
    count = batches * pipeline.profile.sft.batch
    return {**metrics, "demonstrations": count, "writers_gold": writers_gold(pipeline, crew=crew)}


def writers_gold(pipeline: Pipeline, *, crew: str, count: int = 2048) -> float:
    """The mean gold of a crew's demonstrations."""
    rows = runs.demonstration_rows(pipeline, crew=crew, count=count)
    golds = stories.gold_scores([row["prompt"] for row in rows], [row["completion"] for row in rows])
    return sum(golds) / len(golds)


def _pool(pipeline: Pipeline) -> list[runs.Row]:
    return runs.demonstration_rows(pipeline, crew="mixed", count=SIZES[-1] * pipeline.profile.sft.batch)


def _embedded(pipeline: Pipeline) -> torch.Tensor:
    return text_embeddings(pipeline.policy("base"), runs.encode(pipeline, _pool(pipeline)))


def farthest(pipeline: Pipeline, count: int) -> list[int]:
    """The greedy k-centre choice: cover the pool, outliers first."""
    return k_centre(_embedded(pipeline), count=count, first=0)


def typical(pipeline: Pipeline, count: int) -> list[int]:
    """One text near the centre of each of `count` clusters."""
    points = _embedded(pipeline)
    return nearest_points(points, k_means(points, clusters=count, generator=pipeline.generator("clusters")))


def best_by_gold(pipeline: Pipeline, count: int) -> list[int]:
    """The texts of highest gold, which nobody could know; the first of equals."""
    rows = _pool(pipeline)
    golds = stories.gold_scores([row["prompt"] for row in rows], [row["completion"] for row in rows])
    return sorted(range(len(rows)), key=lambda row: -golds[row])[:count]


CHOICES = {"k-centre": farthest, "k-means": typical, "gold": best_by_gold}


def selected(pipeline: Pipeline, folder: Path, *, choice: str, batches: int) -> None:
    """A kept run on a subset of the mixed pool, chosen in one of the ways of `CHOICES`."""
    rows, chosen = (
        _pool(pipeline),
        CHOICES[choice](
            pipeline,
            batches * pipeline.profile.sft.batch,
        ),
    )
    runs.train_and_save(pipeline, folder, [rows[row] for row in chosen])


def selection(pipeline: Pipeline, *, choice: str, batches: int = 16) -> dict[str, float]:
    """Gold of a run on a chosen subset; what its demonstrations are worth, and who wrote them."""
    rows = _pool(pipeline)
    chosen = CHOICES[choice](pipeline, batches * pipeline.profile.sft.batch)
    subset = [rows[row] for row in chosen]
    golds = stories.gold_scores([r["prompt"] for r in subset], [r["completion"] for r in subset])
    folder = pipeline.kept(selected, choice=choice, batches=batches)
    return {
        "gold": runs.judged(pipeline, runs.load(folder)).metrics()["gold"],
        "subset_gold": sum(golds) / len(golds),
        "careful_share": sum(row["writer"] == "careful" for row in subset) / len(subset),
    }
