"""Pretraining: which tokens count, which documents come, and losses held against an entropy."""

import math

import pytest
import torch

from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.pretrain import (
    PretrainConfig,
    block_batches,
    document_batches,
    document_loss,
    pack_documents,
    pretrain,
    stream_loss,
)
from rlhf_mini.models import new_llama

# A source whose entropy is known: documents of probability 1/2, 1/4, 1/4. H = ½ log 2 + ½ log 4 = 1.5 log 2.
SOURCE = ["a cat", "a cat", "a dog sat", "no"]
ENTROPY = 1.5 * math.log(2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def settings(*, steps=1, batch=4, block=8, learning_rate=1e-2):
    optimizer = OptimizerConfig(learning_rate=learning_rate)
    return PretrainConfig(steps=steps, batch=batch, block=block, optimizer=optimizer)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SOURCE, vocab_size=270)


@pytest.fixture
def model(tokenizer):
    return new_llama(
        vocab_size=len(tokenizer),
        width=16,
        layers=1,
        heads=2,
        context=32,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=0,
    )


@torch.no_grad()
def plain_logp(model, before, token):
    return float(model(torch.tensor([before])).logits[0, -1].double().log_softmax(0)[token])


def plain_document_logp(model, tokenizer, document):
    tokens = [tokenizer.bos_token_id, *tokenizer.encode(document), tokenizer.eos_token_id]
    return sum(plain_logp(model, tokens[:t], tokens[t]) for t in range(1, len(tokens)))


# -------------------------------------------------------------------------------------------------- documents


def test_a_document_is_packed_between_begin_and_end(tokenizer):
    packed = pack_documents(tokenizer, ["a cat", "no"])
    for row, document in enumerate(["a cat", "no"]):
        tokens = packed.tokens[row][packed.mask[row]].tolist()
        assert tokens == [tokenizer.bos_token_id, *tokenizer.encode(document), tokenizer.eos_token_id]
        assert packed.response[row].sum() == len(tokens) - 1
        assert not packed.response[row, 0]


def documents_of(lengths, tokenizer):
    return pack_documents(tokenizer, ["x" * length for length in lengths])


def test_every_document_comes_once_an_epoch(tokenizer):
    documents = documents_of(range(1, 25), tokenizer)  # told apart by their length
    source = document_batches(documents, batch=4, generator=seeded())
    epochs = [[next(source) for _ in range(6)] for _ in range(2)]
    orders = [[length for batch in epoch for length in batch.lengths.tolist()] for epoch in epochs]
    assert [sorted(order) for order in orders] == [sorted(documents.lengths.tolist())] * 2
    assert orders[0] != orders[1]


def test_fewer_documents_than_a_batch_are_refused(tokenizer):
    with pytest.raises(ValueError, match="4 documents do not fill one batch of 5: give more, or a smaller"):
        next(document_batches(pack_documents(tokenizer, SOURCE), batch=5, generator=seeded()))


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_document_loss_equals_a_plain_loop(model, tokenizer, batch):
    expected = -sum(plain_document_logp(model, tokenizer, document) for document in SOURCE) / len(SOURCE)
    assert document_loss(model, tokenizer, SOURCE, batch=batch) == pytest.approx(expected, rel=1e-5)


def test_document_loss_falls_towards_the_entropy_of_the_source_and_never_below(model, tokenizer):
    # Over documents in their exact proportions the mean loss is the cross-entropy, H(p) + KL(p ‖ q) ≥ H(p).
    packed = pack_documents(tokenizer, SOURCE)
    source = document_batches(packed, batch=4, generator=seeded())
    losses = [document_loss(model, tokenizer, SOURCE)]
    for steps in (20, 130):
        pretrain(model, source, config=settings(steps=steps))
        losses.append(document_loss(model, tokenizer, SOURCE))
    assert losses[0] > losses[1] > losses[2] >= ENTROPY
    assert losses[2] < ENTROPY + 0.05


def test_the_training_loss_is_a_mean_over_the_tokens_of_a_batch(model, tokenizer):
    packed = pack_documents(tokenizer, SOURCE)
    expected = -sum(plain_document_logp(model, tokenizer, document) for document in SOURCE)
    expected /= int(packed.response.sum())
    (entry,) = pretrain(model, iter([packed]), config=settings())
    assert entry["loss"] == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------------------------------------------- text


def test_blocks_are_pieces_of_the_stream(tokenizer):
    stream = torch.arange(50)
    source = block_batches(stream, config=settings(batch=3, block=8), generator=seeded())
    starts = set()
    for _ in range(40):
        batch = next(source)
        assert batch.tokens.shape == (3, 8)
        assert torch.equal(batch.tokens - batch.tokens[:, :1], torch.arange(8).expand(3, 8))
        assert batch.mask.all()
        assert batch.response[:, 1:].all()
        assert not batch.response[:, 0].any()
        starts |= set(batch.tokens[:, 0].tolist())
    # 120 starts among 43: some given one of them is never drawn with probability (42/43)^120 = 0.06
    assert min(starts) < 5
    assert max(starts) > 37


@pytest.mark.parametrize(("length", "batch"), [(8, 64), (9, 64), (21, 2)])
def test_stream_loss_scores_every_token_once_with_enough_before_it(model, length, batch):
    stream = torch.randint(5, 260, (length,), generator=seeded(7))
    block, context = 8, 3
    # Windows start every block − context tokens, the last so that it ends with the stream. A token is scored
    # in the first window that has a token before it.
    starts = [*range(0, length - block, block - context), length - block]
    expected = 0.0
    for t in range(1, length):
        start = next(s for s in starts if s < t < s + block)
        assert t - start >= context or start == 0
        expected -= plain_logp(model, stream[start:t].tolist(), int(stream[t]))
    measured = stream_loss(model, stream, block=block, context=context, batch=batch)
    assert measured == pytest.approx(expected, rel=1e-5)


def test_a_text_too_short_for_a_block_is_refused():
    with pytest.raises(ValueError, match="at least block=8 tokens"):
        next(block_batches(torch.arange(7), config=settings(), generator=seeded()))


@pytest.mark.parametrize("changes", [{"steps": 0}, {"batch": 0}, {"block": 1}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match="steps and batch must be at least 1 and block at least 2"):
        settings(**changes)
