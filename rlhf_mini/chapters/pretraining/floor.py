"""Where the loss of a language model begins, and how near it comes to the entropy of the text."""

import math

from rlhf_mini.chapters.pretraining.copying import watched_model
from rlhf_mini.chapters.pretraining.setting import draw_documents
from rlhf_mini.data.ngram import ngram_baseline
from rlhf_mini.data.text import bits_per_byte, byte_count
from rlhf_mini.methods.pretrain import document_loss, pack_documents
from rlhf_mini.pipeline import Pipeline, untrained_base
from rlhf_mini.worlds import stories

HELD_OUT, COUNTED = 400, 4_000


def two_measures(pipeline: Pipeline) -> dict[str, float]:
    """Perplexity and bits per byte of the trained model and of a byte n-gram model, on the same text.

    The n-gram model's units are bytes, the Llama's are tokens; the n-gram model has counted 4,000 documents.
    """
    tokenizer, model = pipeline.tokenizer(), watched_model(pipeline)
    texts = draw_documents(pipeline, HELD_OUT, purpose="the floor")
    counted = draw_documents(pipeline, COUNTED, purpose="documents to count")
    tokens = float(pack_documents(tokenizer, texts).response.sum())
    nats = document_loss(model, tokenizer, texts) * HELD_OUT
    ngram = ngram_baseline(counted, texts)
    size = byte_count(texts)
    return {
        "bytes_per_token": size / tokens,
        "perplexity_of_tokens": math.exp(nats / tokens),
        "bits_per_byte": bits_per_byte(nats, size),
        "perplexity_of_bytes_ngram": 2**ngram.bits_per_byte,
        "bits_per_byte_ngram": ngram.bits_per_byte,
        "order_of_ngram": ngram.order,
        "bits_per_byte_of_the_grammar": bits_per_byte(stories.entropy() * HELD_OUT, size),
    }


def from_start_to_floor(pipeline: Pipeline) -> dict[str, float]:
    """Held-out loss of an untrained and of the trained model in nats per token, log V, and the entropy."""
    tokenizer, trained = pipeline.tokenizer(), watched_model(pipeline)
    texts = draw_documents(pipeline, HELD_OUT, purpose="the floor")
    tokens = float(pack_documents(tokenizer, texts).response.sum()) / HELD_OUT
    start, end = (
        document_loss(model, tokenizer, texts) / tokens for model in (untrained_base(pipeline), trained)
    )
    entropy = stories.entropy() / tokens
    return {
        "loss_at_start": start,
        "log_vocabulary": math.log(len(tokenizer)),
        "loss": end,
        "entropy": entropy,
        "perplexity": math.exp(end),
        "perplexity_of_the_grammar": math.exp(entropy),
        "bits_per_byte": bits_per_byte(end * tokens * HELD_OUT, byte_count(texts)),
        "bits_per_byte_of_the_grammar": bits_per_byte(stories.entropy() * HELD_OUT, byte_count(texts)),
    }
