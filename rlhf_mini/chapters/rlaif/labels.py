"""The judge's labels on the very pairs that the annotators labelled, and pairs of one's own labelled by principles.

Both orders of every pair are asked once and kept; what is made of them, one order or the mean, soft or hard, clamped or
not, is decided when they are read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.rlaif.judges import Choice, ask_of
from rlhf_mini.chapters.rlaif.pairs import annotated_pairs, verdicts_on
from rlhf_mini.methods.judge import Verdicts, clamped
from rlhf_mini.methods.soft_labels import Labelled
from rlhf_mini.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How verdicts become labels.

    - `both_orders`: their mean, or the order in which the pair happens to stand.
    - `hard`: the favourite at 1, a tie at ½.
    - `clamp`: drawn back to 40–60%.
    """

    both_orders: bool = True
    hard: bool = False
    clamp: bool = False

    def __call__(self, verdicts: Verdicts) -> Tensor:
        """P(the first is better), (N,)."""
        preference = verdicts.preference if self.both_orders else verdicts.as_given
        if self.hard:
            preference = 0.5 + 0.5 * (preference - 0.5).sign()
        return clamped(preference) if self.clamp else preference


def save_verdicts(folder: Path, verdicts: Verdicts) -> None:
    """Both orders, as `read_verdicts` finds them."""
    told = {"as_given": verdicts.as_given.tolist(), "swapped": verdicts.swapped.tolist()}
    (folder / "verdicts.json").write_text(json.dumps(told))


def read_verdicts(folder: Path) -> Verdicts:
    """The verdicts of a kept folder."""
    told = json.loads((folder / "verdicts.json").read_text())
    return Verdicts(torch.tensor(told["as_given"]), torch.tensor(told["swapped"]))


def judged(pipeline: Pipeline, folder: Path, *, judge: Choice = None) -> None:
    """Kept: what a judge says of the annotated pairs, asked which answer is good, all in all."""
    save_verdicts(folder, verdicts_on(ask_of(pipeline, judge), annotated_pairs(pipeline)))


def labelled(rows: Sequence[dict[str, Any]], preference: Tensor) -> list[Labelled]:
    """Rows with `prompt`, `first`, `second`, and how likely the first is better."""
    return [
        Labelled(row["prompt"], row["first"], row["second"], p)
        for row, p in zip(rows, preference.tolist(), strict=True)
    ]


def labels_of(pipeline: Pipeline, *, judge: Choice = None, **reading: bool) -> list[Labelled]:
    """A judge's labels on the annotated pairs; `reading`: see `Reading`."""
    verdicts = read_verdicts(pipeline.kept(judged, judge=judge))
    return labelled(annotated_pairs(pipeline), Reading(**reading)(verdicts))
