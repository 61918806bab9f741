"""What supervised fine-tuning cannot do, each shown by a run: go beyond its writers, and push anything away."""

from pathlib import Path

from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.chapters.fine_tuning.quality import gold_of_run
from rlhf_mini.pipeline import Pipeline

LONG = 3  # times the usual number of updates


def train_nats(folder: Path) -> float:
    """The training loss of a run at its end: the mean over its last 16 updates, nats per answer token."""
    last = [entry["loss"] for entry in runs.history_of(folder)][-16:]
    return sum(last) / len(last)


def imitation(pipeline: Pipeline) -> dict[str, float]:
    """Mean gold of three crews and of the models that imitate them."""
    numbers: dict[str, float] = {}
    for crew in runs.CREWS:
        run = gold_of_run(pipeline, crew=crew, batches=64)
        numbers |= {f"writers_{crew}": run["writers_gold"], f"model_{crew}": run["gold"]}
    return numbers


def longer(pipeline: Pipeline) -> dict[str, float]:
    """Gold and loss of the mixed crew's model after the usual updates and after `LONG` times as many."""
    updates = LONG * runs.UPDATES
    folders = {
        "usual": runs.run_on(pipeline, crew="mixed"),
        "long": pipeline.kept(runs.fine_tuned, crew="mixed", batches=64, updates=updates),
    }
    numbers: dict[str, float] = {"updates_usual": runs.UPDATES, "updates_long": updates}
    for name, folder in folders.items():
        numbers[f"train_nats_{name}"] = train_nats(folder)
        numbers[f"gold_{name}"] = runs.judged(pipeline, runs.load(folder)).metrics()["gold"]
    return numbers
