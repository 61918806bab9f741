"""Streams, windows, the held-out part and bits per byte."""

import math
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf_mini.data.text import (
    bits_per_byte,
    byte_count,
    held_out,
    scoring_windows,
    text_blocks,
    token_stream,
)
from rlhf_mini.data.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(["one two three"], vocab_size=270)
BEGIN, END = 1, 2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_stream_is_the_texts_with_their_ends() -> None:
    encoded = [TOKENIZER.encode(text) for text in ("one", "two three")]
    expected = [BEGIN, *encoded[0], END, BEGIN, *encoded[1], END]
    stream = token_stream(TOKENIZER, ["one", "two three"])
    assert stream.dtype == torch.int64
    assert stream.tolist() == expected


def test_a_spelled_control_token_is_only_letters_in_a_stream() -> None:
    stream = token_stream(TOKENIZER, ["one<|end|>two"])
    assert stream.tolist().count(END) == 1
    assert TOKENIZER.decode(stream[1:-1]) == "one<|end|>two"


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_a_stream_of_nothing(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="not one character"):
        token_stream(TOKENIZER, texts)


def test_blocks_are_excerpts_and_every_start_occurs() -> None:
    """200 starts among 7: the chance that one of them is missing is below 7 · (6/7)^200 < 1e-12."""
    blocks = torch.cat(list(islice(text_blocks(torch.arange(10), block=4, batch=20, generator=seeded()), 10)))
    assert blocks.shape == (200, 4)
    assert torch.equal(blocks - blocks[:, :1], torch.arange(4).expand(200, 4))
    assert set(blocks[:, 0].tolist()) == set(range(7))


def test_blocks_repeat_with_their_generator() -> None:
    def draw(seed: int) -> torch.Tensor:
        return next(text_blocks(torch.arange(1000), block=8, batch=4, generator=seeded(seed)))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_a_stream_as_long_as_a_block_has_one_block() -> None:
    block = next(text_blocks(torch.arange(4), block=4, batch=2, generator=seeded()))
    assert block.tolist() == [[0, 1, 2, 3]] * 2


@given(st.integers(2, 60), st.integers(2, 12), st.data())
def test_scoring_windows_score_every_token_once(length: int, block: int, data: st.DataObject) -> None:
    block = min(block, length)
    context = data.draw(st.integers(1, block - 1))
    stream = torch.arange(length)
    windows, counted = scoring_windows(stream, block=block, context=context)
    assert sorted(windows[counted].tolist()) == list(range(1, length))
    for window, counts in zip(windows[1:], counted[1:], strict=True):
        assert int(counts.int().argmax()) >= context  # what is scored has that much before it
        assert counts.any()
        assert torch.equal(window, stream[window[0] : window[0] + block])


@pytest.mark.parametrize("context", [0, 4, 5])
def test_scoring_windows_need_some_context_and_something_to_score(context: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and block - 1 = 3, got {context}"):
        scoring_windows(torch.arange(9), block=4, context=context)


@pytest.mark.parametrize("stream", [torch.arange(3), torch.zeros(5, 5), torch.zeros(0)])
def test_a_stream_too_short_for_a_block(stream: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="1-D stream of at least block=4 tokens"):
        next(text_blocks(stream, block=4, batch=1, generator=seeded()))
    with pytest.raises(ValueError, match="1-D stream of at least block=4 tokens"):
        scoring_windows(stream, block=4, context=1)


@given(
    st.lists(st.text(alphabet="ab\n", min_size=1, max_size=40), min_size=1, max_size=8), st.floats(0.05, 0.6)
)
def test_held_out_text_is_the_end_and_nothing_is_lost(texts: list[str], fraction: float) -> None:
    total = sum(map(len, texts))
    try:
        train, test = held_out(texts, fraction=fraction)
    except ValueError:
        assert total < 45  # nothing but the tiniest text is refused
        return
    assert "".join(train) + "".join(test) == "".join(texts)
    assert sum(map(len, test)) >= fraction * total - 1e-9


def test_held_out_takes_whole_texts_where_they_are_short() -> None:
    texts = [f"text {number}" for number in range(10)]
    assert held_out(texts, fraction=0.2) == (texts[:8], texts[8:])


def test_held_out_cuts_one_long_text_behind_a_line() -> None:
    lines = [f"line {number}\n" for number in range(10)]
    assert held_out(["".join(lines)], fraction=0.15) == (["".join(lines[:8])], ["".join(lines[8:])])


@pytest.mark.parametrize("texts", [[], [""], ["a"]])
def test_too_little_text_to_hold_some_out(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="too few to hold some out"):
        held_out(texts, fraction=0.1)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_fraction_that_leaves_a_part_empty(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        held_out(["some text"], fraction=fraction)


def test_bits_per_byte_by_hand() -> None:
    """A fair coin a byte is ln 2 nats a byte, which is one bit."""
    assert bits_per_byte(7 * math.log(2), 7) == pytest.approx(1.0, rel=1e-15)
    assert byte_count(["aé", "你"]) == 1 + 2 + 3
    with pytest.raises(ValueError, match="0 bytes does not exist"):
        bits_per_byte(1.0, 0)
