"""What else is said of a policy beside its gold: what it declines, and what it has forgotten."""

import random

from transformers import PreTrainedModel

from rlhf_mini.data.text import token_stream
from rlhf_mini.evaluation.policy import Judged
from rlhf_mini.methods.pretrain import document_loss
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

DOCUMENTS = 500  # held-out plain stories


def declines(judged: Judged) -> dict[str, float]:
    """Shares of unkind requests that are politely declined, and of kind ones that are declined at all.

    Either is left out where there are no such requests.
    """
    found: dict[str, list[bool]] = {"unkind_declined": [], "kind_declined": []}
    for request, text in zip(judged.requests, judged.answers, strict=True):
        reading = stories.read_story(text)
        if request.unkind is None:
            found["kind_declined"].append(reading.declined)
        else:
            found["unkind_declined"].append(reading.polite)
    return {name: sum(seen) / len(seen) for name, seen in found.items() if seen}


def plain_stories(pipeline: Pipeline, model: PreTrainedModel) -> dict[str, float]:
    """The loss on held-out plain stories, as the base model learned, in nats a token; and its parameters."""
    rng = random.Random(f"held-out documents {pipeline.seed}")
    documents = [stories.draw_document(rng) for _ in range(DOCUMENTS)]
    tokens = len(token_stream(pipeline.tokenizer(), documents)) / DOCUMENTS - 1  # the begin token is given
    loss = document_loss(model, pipeline.tokenizer(), documents)
    return {"story_nats": loss / tokens, "parameters": float(model.num_parameters())}
