"""One training on one process and on two: the same command, started by `torchrun`, and the two logs side by side.

`python -m torch.distributed.run --nproc_per_node 2 -m rlhf_mini.chapters.real.pair FOLDER` is what `two_and_one` starts.
The folder holds a saved model and files of rows; the second run lands in FOLDER/two.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from rlhf_mini.chapters.real.beside_trl import distance
from rlhf_mini.chapters.real.small import save_base, story_files
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.real.settings import Settings
from rlhf_mini.real.training import train
from rlhf_mini.split import process_group

MODULE = "rlhf_mini.chapters.real.pair"  # this one, which is __main__ in the two processes
METHODS = ("sft", "reward", "dpo", "kto")
STEPS = 6
SETTINGS = Settings(
    batch=15, steps=STEPS, learning_rate=1e-3, held_out=8
)  # 15 rows: 8 and 7 on two processes
LIMIT = 300.0  # seconds that two processes may take


def train_all(folder: Path, name: str) -> None:
    """Train by each of `METHODS` from the model in `folder`, into `folder / name`."""
    for method in METHODS:
        train(
            method, folder / "base", folder / FILES[method], folder / name / method,
            settings=SETTINGS, tell=lambda line: None,
        )  # fmt: skip


FILES = {
    "sft": "demonstrations.jsonl",
    "reward": "pairs.jsonl",
    "dpo": "pairs.jsonl",
    "kto": "verdicts.jsonl",
}


def started(folder: Path) -> None:
    """Start two processes on this machine, and wait for them; RuntimeError, with their words, if they fail."""
    own = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
            "-m", MODULE, str(folder),
        ],
        env={**own, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"two processes failed: {done.stderr[-2000:]}")


def two_and_one(pipeline: Pipeline) -> dict[str, Any]:
    """By method: `one …` and `two …`, the loss of every step in one process and in two, and `ends …`, how far the
    trained weights lie apart, as a part of the way that training went."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        save_base("GPT-NeoX", folder / "base", seed=pipeline.seed)
        story_files(folder, count=60, seed=pipeline.seed)
        train_all(folder, "one")
        started(folder)
        found: dict[str, Any] = {}
        for method in METHODS:
            for way in ("one", "two"):
                found[f"{way} {method}"] = _losses(folder / way / method)
            began, *ends = (
                load_file(path / "model.safetensors")
                for path in (folder / "base", folder / "one" / method, folder / "two" / method)
            )
            shared = began.keys() & ends[0].keys()  # a reward model's head is new
            one, two, first = ({name: each[name] for name in shared} for each in (*ends, began))
            found[f"ends {method}"] = distance(one, two) / distance(one, first)
    return found


def _losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]


if __name__ == "__main__":
    with process_group(timeout=LIMIT):
        train_all(Path(sys.argv[1]), "two")
