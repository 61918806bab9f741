"""The comparisons that the chapter learns from, and what the frozen reference says of them.

The chapter's pairs are those of chapter 00's stage `preferences`: two answers of the SFT model to each prompt, one
of them preferred by an annotator of the panel. For single experiments the labels are replaced (by gold's, or by
labels of which a share is turned round), or the answers (by two demonstrators', which the SFT model did not write).
"""

import random
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlhf_mini.batch import Pairs
from rlhf_mini.methods.dpo import KeptReference, kept_reference, without_last_token
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories

Row = dict[str, Any]
WRITERS = ("sft", "demonstrators")
LABELS = ("panel", "gold", "flipped")


def pairs_of(
    pipeline: Pipeline,
    *,
    count: int | None = None,
    writers: str = "sft",
    labels: str = "panel",
    flip: float = 0.0,
) -> list[Row]:
    """The training pairs: rows with `prompt`, `chosen`, `rejected` and what `stories.annotate` adds.

    Args:
        pipeline: whose profile, seed and SFT model they come from.
        count: how many of them, from the first; None is all.
        writers: who wrote the answers, one of `WRITERS`.
        labels: who chose, one of `LABELS`: an annotator of the panel; gold, without noise; or the panel, after
            which each pair was turned round with probability `flip`.
        flip: that probability, for the last of them.

    Raises:
        ValueError: on other writers or labels.
    """
    if writers not in WRITERS or labels not in LABELS:
        raise ValueError(
            f"writers must be one of {WRITERS} and labels of {LABELS}, got {writers!r}, {labels!r}"
        )
    rows = list(pipeline.preferences("train")) if writers == "sft" else _demonstrated(pipeline)
    rows = rows[:count]
    if labels == "gold":
        return [turned(row) if row["gold_chosen"] < row["gold_rejected"] else row for row in rows]
    if labels == "flipped":
        rng = pipeline.rng("chapter 07 flips")
        return [turned(row) if rng.random() < flip else row for row in rows]
    return rows


def turned(row: Row) -> Row:
    """The same pair with its preference turned round."""
    names = {"chosen": "rejected", "rejected": "chosen"}
    swapped = {}
    for name in row:
        start, _, end = name.rpartition("_")
        swapped[name] = row[f"{start}_{names[end]}" if start and end in names else names.get(name, name)]
    return swapped


def _demonstrated(pipeline: Pipeline) -> list[Row]:
    """As many pairs, each of two demonstrators' answers to one prompt, judged by the panel."""
    seed = pipeline.seed_for("chapter 07 demonstrators' pairs")
    rng = random.Random(f"writers {seed}")
    writers, weights = [writer for writer, _ in stories.CREW], [share for _, share in stories.CREW]
    rows = []
    for request in stories.draw_requests(pipeline.profile.pairs, seed=seed):
        first, second = (
            stories.demonstrate(request, writer, rng) for writer in rng.choices(writers, weights, k=2)
        )
        rows.append({"prompt": request.text, "first": first, "second": second})
    return stories.annotate(rows, seed=seed)


def packed(pipeline: Pipeline, rows: list[Row], *, masked: bool = False) -> Pairs:
    """Rows as token sequences; `masked` leaves the end tokens out of what counts."""
    columns = {name: [row[name] for row in rows] for name in ("prompt", "chosen", "rejected")}
    pairs = pack_pairs(pipeline.tokenizer(), Dataset.from_dict(columns))
    if not masked:
        return pairs
    return Pairs(without_last_token(pairs.chosen), without_last_token(pairs.rejected))


def reference_logps(
    pipeline: Pipeline, folder: Path, *, start: str, masked: bool, held_out: bool = False, **which: Any
) -> None:
    """A kept file: what the model of the stage `start` says of the pairs that `which` names, or of the held-out ones."""
    rows = held_out_pairs(pipeline) if held_out else pairs_of(pipeline, **which)
    kept = kept_reference(pipeline.policy(start), packed(pipeline, rows, masked=masked))
    save_file({"chosen": kept.chosen, "rejected": kept.rejected}, folder / "logps.safetensors")


def reference_of(
    pipeline: Pipeline, *, start: str = "sft", masked: bool = False, **which: Any
) -> KeptReference:
    """The log-probabilities that the reference gives to the answers of pairs, computed once."""
    folder = pipeline.kept(reference_logps, start=start, masked=masked, **which)
    return KeptReference(**load_file(folder / "logps.safetensors"))


def reward_lead(pipeline: Pipeline, pairs: Pairs) -> Tensor:
    """By how much the reward model scores the chosen answer above the rejected one, (N,), in its raw units.

    In these units (nats) σ of the lead is the probability that the reward model gives to the preference.
    """
    model = pipeline.reward_model()
    lead = scores(model, pairs.chosen) - scores(model, pairs.rejected)
    return lead * float(getattr(model.config, "std", 1.0))


def held_out_pairs(pipeline: Pipeline) -> list[Row]:
    """The shared held-out pairs: the SFT model's answers to prompts that are not in training, judged by the panel."""
    return list(pipeline.preferences("test"))


def asks_unkind(rows: list[Row]) -> Tensor:
    """Which rows' prompts ask for something unkind, (N,) bool."""
    return torch.tensor([row["safety_prompt"] for row in rows])
