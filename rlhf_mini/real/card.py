"""The card of a model that was trained here: what it began with, what it learned from, what was measured."""

import os
from collections.abc import Mapping
from pathlib import Path

from rlhf_mini.models.publish import ModelCard, Result, write_card
from rlhf_mini.real.settings import Method, Settings

SHOWS_NOT = "other data than these, and nothing of safety or truth; one seed"
LIMITATIONS = (
    "It was trained for learning how such training works and was not examined for use by others. It has the "
    "limitations and the licence terms of the model that it began with, and of the data."
)


def write_training_card(
    folder: str | os.PathLike[str],
    *,
    name: str,
    method: Method,
    base_model: str,
    data: str,
    settings: Settings,
    steps: int,
    before: Mapping[str, float],
    after: Mapping[str, float],
    held: int,
) -> Path:
    """Write the card beside the saved model; returns the file.

    Of local folders and files only the name is stated, not where they lie. The licence says "other", which a
    reader who publishes the model replaces.
    """
    source = public_name(data)
    rate = settings.optimizer(method, steps=steps).learning_rate
    words = [
        f"{method.title[:1].upper()}{method.title[1:]}: {steps} steps of {settings.batch} rows at a learning "
        f"rate of at most {rate:g}, seed {settings.seed}; measured on {held} rows that were held out."
    ]
    if method.weight_is:
        words.append(f"{settings.weight_for(method):g} is {method.weight_is}.")
    if settings.lora is not None:
        words.append(f"LoRA of rank {settings.lora.rank}, α = {settings.lora.scale:g}.")
    results = [
        Result(metric=f"{metric}{when}", value=value, dataset=source, shows_not=SHOWS_NOT)
        for when, numbers in (("", after), (" before training", before))
        for metric, value in numbers.items()
    ]
    card = ModelCard(
        name=name,
        summary=f"{public_name(base_model)} after {method.title}, with the library rlhf_mini.",
        licence="other",
        base_model=public_name(base_model),
        datasets=[source],
        method=" ".join(words),
        results=results,
        limitations=LIMITATIONS,
    )
    return write_card(folder, card)


def public_name(source: str) -> str:
    """A hub name as it is; of a path its last part.

    >>> public_name("some/model"), public_name("/models/model/")
    ('some/model', 'model')
    """
    path = Path(source)
    return path.name if path.is_absolute() or path.exists() or source.startswith(".") else source
