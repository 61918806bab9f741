"""The pipeline with models of another size: where smaller policies and the backbones of smaller proxies come from."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rlhf_mini.pipeline import Pipeline

Size = Mapping[str, Any] | None  # what a smaller model changes of the profile; None for nothing


def sized(pipeline: Pipeline, size: Size = None) -> Pipeline:
    """The same pipeline with models of another size. Tokenizer, documents and demonstrations are the same."""
    if not size:
        return pipeline
    profile = dataclasses.replace(pipeline.profile, **size)
    return Pipeline(profile, seed=pipeline.seed, cache=pipeline.store.root)
