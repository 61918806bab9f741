"""Several texts in a row: each must be to the model what it is alone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_mini.batch import Sequences
from rlhf_mini.data.packed import PackedRows, assign_rows, pack_several, packed_logp
from rlhf_mini.models import response_logp
from tests.models.tiny import PAD, llama, other


@pytest.fixture
def sequences():
    """Five right-padded texts of lengths 9, 5, 12, 2, 7; at most their last three tokens are the response."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([9, 5, 12, 2, 7])
    column = torch.arange(12)
    mask = column < lengths[:, None]
    response = mask & (column >= (lengths[:, None] - 3).clamp(min=1))
    tokens = torch.randint(3, 48, mask.shape, generator=generator).masked_fill(~mask, PAD)
    return Sequences(tokens, mask, response)


def test_rows_by_hand():
    # 6 opens a row and leaves 4; 5 opens another and leaves 5; one 4 goes to each; no row has room for 2.
    assert assign_rows([4, 6, 2, 4, 5], width=10) == [[1, 0], [4, 3], [2]]
    assert assign_rows([10, 10], width=10) == [[0], [1]]
    assert assign_rows([], width=3) == []


@pytest.mark.parametrize(("lengths", "text"), [([3, 11], 1), ([0, 3], 0)])
def test_a_text_that_does_not_fit_is_refused(lengths, text):
    with pytest.raises(
        ValueError, match=rf"text {text} has {lengths[text]} tokens; a row holds from 1 to 10"
    ):
        assign_rows(lengths, width=10)


@settings(deadline=None)  # a busy machine is no fault of the code
@given(st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_every_text_is_placed_once_and_rows_are_not_overfull(lengths):
    rows = assign_rows(lengths, width=20)
    assert sorted(text for row in rows for text in row) == list(range(len(lengths)))
    assert all(sum(lengths[text] for text in row) <= 20 for row in rows)
    assert len(rows) <= math.ceil(11 / 9 * math.ceil(sum(lengths) / 20) + 6 / 9) or len(lengths) > len(rows)


def test_what_stands_where(sequences):
    packed = pack_several(sequences, width=16, pad_token=PAD)
    assert len(packed) == 3  # 12 + 2, 9 + 7, 5 or better: 35 tokens in three rows
    assert packed.tokens.shape == (3, 16)
    assert int((packed.text >= 0).sum()) == 35
    for member in range(5):
        at = packed.text == member
        length = int(sequences.lengths[member])
        assert packed.tokens[at].tolist() == sequences.tokens[member, :length].tolist()
        assert packed.position[at].tolist() == list(range(length))
        assert packed.response[at].tolist() == sequences.response[member, :length].tolist()
    empty = packed.text < 0
    assert (packed.tokens[empty] == PAD).all()
    assert not packed.response[empty].any()
    assert (packed.text[empty] == -1).all()
    assert (packed.position[empty] == 0).all()


def test_visible_by_hand():
    text = torch.tensor([[0, 0, 1, -1]])
    zeros = torch.zeros_like(text)
    rows = PackedRows(zeros, text, zeros, zeros.bool())
    assert rows.visible[0].int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


def gpt2():
    """A model with learned positions, which notices where a text begins, as a rotary one does not."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=48, n_embd=32, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0, attn_pdrop=0
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(20)
    return model


@pytest.mark.parametrize("name", ["llama", "grouped", "qwen2", "gpt2"])
def test_losses_and_gradients_are_those_of_rows_of_their_own(sequences, name):
    model = {"llama": llama, "gpt2": gpt2}.get(name, lambda: other(name))()
    alone = response_logp(model, sequences.tokens, sequences.mask, sequences.response)
    packed = pack_several(sequences, width=16, pad_token=PAD)
    together = packed_logp(model, packed)
    for member in range(5):
        here = together[(packed.text == member) & packed.response]
        torch.testing.assert_close(here, alone[member][sequences.response[member]], atol=2e-5, rtol=1e-5)
    expected = torch.autograd.grad(alone[sequences.response].mean(), model.parameters(), allow_unused=True)
    found = torch.autograd.grad(together[packed.response].mean(), model.parameters(), allow_unused=True)
    for one, two in zip(expected, found, strict=True):
        if one is not None:
            torch.testing.assert_close(two, one, atol=2e-5, rtol=1e-3)


def test_without_the_walls_texts_leak(sequences):
    model = llama()
    packed = pack_several(sequences, width=16, pad_token=PAD)
    open_plan = PackedRows(
        packed.tokens, torch.zeros_like(packed.text), torch.arange(16).expand_as(packed.text), packed.response
    )
    difference = (packed_logp(model, packed) - packed_logp(model, open_plan))[packed.response]
    assert difference.abs().max() > 0.1


def test_a_neighbour_changes_nothing(sequences):
    model = llama()
    packed = pack_several(sequences, width=16, pad_token=PAD)
    before = packed_logp(model, packed)
    first = packed.text[0, 0]
    changed = packed.tokens.clone()
    changed[packed.text == first] = 5
    after = packed_logp(model, PackedRows(changed, packed.text, packed.position, packed.response))
    others = packed.response & (packed.text != first)
    torch.testing.assert_close(after[others], before[others], atol=1e-6, rtol=0)
