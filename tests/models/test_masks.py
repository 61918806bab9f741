"""Masks by hand and by property; a Llama under its own mask is itself, under a full one it sees ahead."""

import pytest
import torch

from rlhf_mini.models import new_llama
from rlhf_mini.models.embedding import text_vectors
from rlhf_mini.models.masks import (
    bidirectional_attention_mask,
    causal_attention_mask,
    cross_attention_mask,
    hidden_under_mask,
    logits_under_mask,
    prefix_attention_mask,
)

REAL = torch.tensor([[True, True, True, True], [True, True, False, False]])
GIVEN = torch.tensor([[True, True, False, False], [True, False, False, False]])


@pytest.fixture(scope="module")
def model():
    return new_llama(
        vocab_size=20, width=16, layers=2, heads=2, context=16, pad_token=0, eos_token=2, bos_token=1, seed=0
    ).eval()


def test_causal_by_hand():
    expected = [
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]],
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]],
    ]
    assert causal_attention_mask(REAL).int().tolist() == expected


def test_prefix_by_hand():
    expected = [
        [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]],
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]],
    ]
    assert prefix_attention_mask(REAL, GIVEN).int().tolist() == expected


def test_a_prefix_of_nothing_is_causal_and_of_all_is_an_encoder():
    nothing = torch.zeros_like(REAL)
    assert torch.equal(prefix_attention_mask(REAL, nothing), causal_attention_mask(REAL))
    assert torch.equal(prefix_attention_mask(REAL, REAL), bidirectional_attention_mask(REAL))


def test_nobody_looks_at_padding():
    for look in (causal_attention_mask(REAL), bidirectional_attention_mask(REAL)):
        assert not look[1, :, 2:].any()
    look = cross_attention_mask(torch.ones(2, 3, dtype=torch.bool), REAL)
    assert look.shape == (2, 3, 4)
    assert torch.equal(look[1, 0], REAL[1])


def test_under_a_causal_mask_a_llama_is_itself(model):
    tokens = torch.randint(3, 20, (2, 6), generator=torch.Generator().manual_seed(0))
    look = causal_attention_mask(torch.ones_like(tokens, dtype=torch.bool))
    with torch.no_grad():
        torch.testing.assert_close(
            logits_under_mask(model, tokens, look), model(input_ids=tokens).logits, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    ("make", "changes"), [(causal_attention_mask, False), (bidirectional_attention_mask, True)]
)
def test_what_a_later_token_changes(model, make, changes):
    tokens = torch.randint(3, 20, (1, 6), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[0, -1] = (tokens[0, -1] - 2) % 17 + 3
    look = make(torch.ones_like(tokens, dtype=torch.bool))
    with torch.no_grad():
        before, after = (hidden_under_mask(model, t, look)[0, :-1] for t in (tokens, other))
    assert (not torch.allclose(before, after, atol=1e-6)) is changes


def test_padding_changes_no_vector(model):
    tokens = torch.tensor([[1, 5, 6, 7]])
    padded = torch.tensor([[1, 5, 6, 7, 9, 9]])
    mask = torch.tensor([[True] * 4 + [False] * 2])
    with torch.no_grad():
        alone = text_vectors(model, tokens, mask[:, :4])
        torch.testing.assert_close(text_vectors(model, padded, mask), alone)
        hidden = hidden_under_mask(model, tokens, bidirectional_attention_mask(mask[:, :4]))
        torch.testing.assert_close(alone, hidden.mean(1))


def test_dropout_gives_two_views_and_keeps_the_mean(model):
    tokens = torch.tensor([[1, 5, 6, 7]])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        first, second = (
            text_vectors(model, tokens, mask, dropout=0.3, generator=generator) for _ in range(2)
        )
        again = text_vectors(model, tokens, mask, dropout=0.3, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(first, second)
    torch.testing.assert_close(first, again)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda model: causal_attention_mask(REAL.int()),
        lambda model: causal_attention_mask(REAL[0]),
        lambda model: prefix_attention_mask(REAL, GIVEN[:, :2]),
        lambda model: cross_attention_mask(REAL, REAL[:1]),
        lambda model: hidden_under_mask(model, torch.ones(1, 3, dtype=torch.long), REAL[:1, :3]),
        lambda model: hidden_under_mask(model, torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, 3)),
        lambda model: text_vectors(model, torch.ones(1, 2, dtype=torch.long), REAL[:1, :2], dropout=1.0),
    ],
)
def test_wrong_input_is_refused(model, wrong):
    with pytest.raises(ValueError):
        wrong(model)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", [torch.ones(2, 4), torch.ones(4, dtype=torch.bool)])
def test_masks_of_another_kind_or_shape_are_refused(wrong):
    for make in (
        causal_attention_mask,
        bidirectional_attention_mask,
        lambda mask: prefix_attention_mask(REAL, mask),
        lambda mask: prefix_attention_mask(mask, REAL),
        lambda mask: cross_attention_mask(REAL, mask),
        lambda mask: cross_attention_mask(mask, REAL),
    ):
        with pytest.raises(ValueError):
            make(wrong)


@pytest.mark.usefixtures("unchecked")
def test_a_prefix_of_another_length_is_refused():
    with pytest.raises(ValueError, match="shape"):
        prefix_attention_mask(REAL, GIVEN[:1])
