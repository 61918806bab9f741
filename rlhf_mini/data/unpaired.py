"""Unpaired feedback: single answers, each called good or not, as KTO learns from.

The format is TRL's: columns `prompt`, `completion` and `label`, prompt and completion as text or as messages.
Thumbs up and thumbs down under an answer are data of this kind, and far cheaper to come by than comparisons.

Paper: Ethayarajh et al. 2024, arXiv 2402.01306.
"""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import datasets

from rlhf_mini.data.instructions import prompt_and_completion
from rlhf_mini.data.load import Source, each_row


class Feedback(NamedTuple):
    """A prompt, an answer to it, and whether the answer was called good."""

    prompt: str
    completion: str
    label: bool


def load_unpaired(source: Source, *, split: str = "train", config: str | None = None) -> datasets.Dataset:
    """The feedback of a source as a data set with the columns `prompt`, `completion` (text) and `label`
    (bool).

    Sources are those of `load.load_preferences`. Warns if all labels are the same: KTO would then only push
    one way. Raises ValueError, naming file, row and column, for a row that `read_unpaired` refuses.
    """
    rows = each_row(source, split, config, read_unpaired)
    if len({row.label for row in rows}) == 1:
        warnings.warn(
            f"{source}: all {len(rows)} labels are {rows[0].label}; KTO needs answers of both kinds",
            stacklevel=2,
        )
    return datasets.Dataset.from_list([row._asdict() for row in rows])


def read_unpaired(row: Mapping[str, Any]) -> Feedback:
    """The feedback that a row states; `label` is true or false, or the numbers 1 or 0.

    White space around prompt and completion is left out. Raises ValueError, naming the column, if one is
    missing, empty or of another type. A rating such as 4 of 5 is refused: where good begins is for the reader
    to say.

    >>> read_unpaired({"prompt": "Name a fox.", "completion": " Finn.", "label": True})
    Feedback(prompt='Name a fox.', completion='Finn.', label=True)
    >>> read_unpaired({"prompt": "Name a fox.", "completion": "Finn.", "label": 4})
    Traceback (most recent call last):
    ValueError: column 'label' must be true or false, got 4
    """
    prompt, completion = prompt_and_completion(row)
    if "label" not in row:
        raise ValueError(f"column 'label' is missing; the columns are {sorted(row)}")
    label = row["label"]
    if not isinstance(label, bool | int) or label not in (0, 1):
        raise ValueError(f"column 'label' must be true or false, got {label!r:.60}")
    return Feedback(prompt, completion, bool(label))
