"""The n-gram baseline against a plain reading of the formula, and on a real text."""

import math
import time
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.data.ngram import fit_ngram, ngram_baseline
from rlhf_mini.data.text import held_out

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tiny_shakespeare.txt"


class PlainKneserNey:
    """The recursion written out over dictionaries, in exact fractions."""

    def __init__(self, text: bytes, order: int) -> None:
        padded = b"\0" * (order - 1) + text
        grams = Counter(padded[at : at + order] for at in range(len(text)))
        self.levels = {}
        for length in range(order, 0, -1):
            self.levels[length] = grams
            grams = Counter(gram[1:] for gram in grams)

    def probability(self, context: bytes, byte: bytes) -> Fraction:
        length = len(context) + 1
        shorter = self.probability(context[1:], byte) if context else Fraction(1, 256)
        counts = self.levels[length]
        followers = {gram[-1:]: count for gram, count in counts.items() if gram[:-1] == context}
        if not followers:
            return shorter
        seen = Counter(counts.values())
        discount = Fraction(seen[1], seen[1] + 2 * seen[2]) if seen[1] and seen[2] else Fraction(1, 2)
        kept = max(followers.get(byte, 0) - discount, Fraction(0))
        return (kept + discount * len(followers) * shorter) / sum(followers.values())


def test_by_hand() -> None:
    """The text "aab" and its end, single bytes only: counts a 2, b 1, end 1. Two were seen once and one
    twice, so D = 2 / (2 + 2·1) = 1/2, and p(a) = (2 − 1/2)/4 + (1/2 · 3/4)/256."""
    model = fit_ngram(["aab"], order=1)
    assert model.probabilities(b"a")[0] == pytest.approx(1.5 / 4 + 0.5 * 3 / 4 / 256, rel=1e-15)
    assert model.probabilities(b"z")[0] == pytest.approx(0.5 * 3 / 4 / 256, rel=1e-15)


@settings(max_examples=25, deadline=None)
@given(
    st.text(alphabet="abc ", min_size=1, max_size=30),
    st.text(alphabet="abcd", max_size=12),
    st.integers(1, 4),
)
def test_against_the_formula_in_exact_fractions(text: str, other: str, order: int) -> None:
    plain = PlainKneserNey(text.encode() + b"\0", order)
    padded = b"\0" * (order - 1) + other.encode()
    expected = [
        float(plain.probability(padded[at : at + order - 1], padded[at + order - 1 : at + order]))
        for at in range(len(other))
    ]
    np.testing.assert_allclose(
        fit_ngram([text], order=order).probabilities(other.encode()), expected, rtol=1e-12
    )


@pytest.mark.parametrize("order", [1, 3, 8])
@pytest.mark.parametrize("context", [b"", b"the kin", b"\xff\xfe!"])
def test_probabilities_of_the_next_byte_sum_to_one(order: int, context: bytes) -> None:
    model = fit_ngram(["the king of the kine and the kind king"], order=order)
    total = math.fsum(model.probabilities(context + bytes([byte]))[-1] for byte in range(256))
    assert total == pytest.approx(1.0, rel=1e-12)


def test_bits_per_byte_counts_the_end_mark_but_not_as_a_byte() -> None:
    model = fit_ngram(["aab"], order=1)
    bits = -np.log2(model.probabilities(b"ab\0")).sum()
    assert model.bits_per_byte(["ab"]) == pytest.approx(bits / 2, rel=1e-12)


def test_a_text_without_pattern_costs_its_entropy() -> None:
    """Eight equally likely bytes are 3 bits each; 40,000 of them are learned to within a hundredth."""
    letters = np.random.default_rng(0).choice(list("abcdefgh"), size=44_000)
    train, test = held_out(["".join(letters)], fraction=0.1)
    assert fit_ngram(train, order=1).bits_per_byte(test) == pytest.approx(3.0, abs=0.01)


def test_the_order_is_chosen_where_the_test_text_cannot_see_it() -> None:
    """Every letter depends on the two before it, so three letters are needed and more do not help."""
    rng, text = np.random.default_rng(0), "ab"
    table = defaultdict(lambda: rng.choice(list("abcd"), size=8))
    for _ in range(20_000):
        text += rng.choice(table[text[-2:]])
    train, test = held_out([text], fraction=0.1)
    baseline = ngram_baseline(train, test)
    assert baseline.order == 3
    assert baseline.bits_per_byte == fit_ngram(train, order=3).bits_per_byte(test)


@pytest.mark.skipif(
    not SHAKESPEARE.is_file(), reason="the folder ../shared/data with the real text is absent"
)
def test_a_real_text_within_ten_seconds() -> None:
    """2.25 bits per byte, measured once. For a sense of scale: bz2 and lzma need 2.36 and 2.61."""
    train, test = held_out([SHAKESPEARE.read_text(encoding="utf-8")], fraction=0.1)
    started = time.process_time()
    baseline = ngram_baseline(train, test)
    assert time.process_time() - started < 10
    assert baseline.order == 6
    assert baseline.bits_per_byte == pytest.approx(2.248, abs=0.001)


@pytest.mark.parametrize("order", [0, 9])
def test_an_order_that_does_not_fit(order: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and 8, got {order}"):
        fit_ngram(["text"], order=order)


def test_counting_in_an_empty_text() -> None:
    with pytest.raises(ValueError, match="empty text"):
        fit_ngram([""], order=2)
