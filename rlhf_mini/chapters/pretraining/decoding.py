"""Sampling: what temperature, top-k and top-p do to the quality and to the variety of what is written."""

from types import MappingProxyType
from typing import Any

from rlhf_mini.chapters.pretraining.copying import watched_model
from rlhf_mini.data.tokenizer import decode_response
from rlhf_mini.evaluation.diversity import distinct_n, unique_fraction
from rlhf_mini.models import sample
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories import read_story

TEXTS, NEW_TOKENS = 96, 130
SETTINGS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "greedy": {"temperature": 0.0},
        "T = 0.5": {"temperature": 0.5},
        "T = 1": {"temperature": 1.0},
        "T = 1.5": {"temperature": 1.5},
        "T = 2": {"temperature": 2.0},
        "top-k 10": {"temperature": 1.0, "top_k": 10},
        "top-p 0.9": {"temperature": 1.0, "top_p": 0.9},
        "T = 1.5, top-p 0.9": {"temperature": 1.5, "top_p": 0.9},
    }
)


def write(pipeline: Pipeline, name: str, *, count: int = TEXTS) -> list[str]:
    """Documents written from the begin token alone under one of `SETTINGS`."""
    tokenizer = pipeline.tokenizer()
    samples = sample(
        watched_model(pipeline),
        [[tokenizer.bos_token_id]] * count,
        max_new_tokens=NEW_TOKENS,
        stop_tokens=[tokenizer.eos_token_id],
        pad_token=tokenizer.pad_token_id,
        generator=pipeline.generator("chapter 02, decoding"),
        **SETTINGS[name],
    )
    return [
        decode_response(tokenizer, tokens[drawn].tolist())
        for tokens, drawn in zip(samples.tokens, samples.response, strict=True)
    ]


def without_title(document: str) -> str:
    """The story of a document.

    >>> without_title("A short sad story of the fox and the kite: It rained.")
    'It rained.'
    """
    title, colon, story = document.partition(": ")
    return story if colon and title.startswith("A ") and " story of the " in title else document


def judge(documents: list[str]) -> dict[str, float]:
    """Coherence of the stories, as the parser reads it, and how varied they are."""
    readings = [read_story(without_title(document)) for document in documents]
    return {
        "coherence": sum(reading.coherence for reading in readings) / len(readings),
        "distinct_2": distinct_n(documents, n=2),
        "unique": unique_fraction(documents),
    }


def sampling(pipeline: Pipeline) -> dict[str, float]:
    """Coherence and variety under every setting, and those of the grammar's own documents."""
    rng = pipeline.rng("chapter 02, documents to compare with")
    texts = {name: write(pipeline, name) for name in SETTINGS}
    texts["grammar"] = [stories.draw_document(rng) for _ in range(TEXTS)]
    return {
        f"{measure} · {name}": value
        for name, documents in texts.items()
        for measure, value in judge(documents).items()
    }
