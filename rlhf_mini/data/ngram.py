"""A byte n-gram model with interpolated Kneser–Ney smoothing: what a language model has to beat.

Counting alone predicts English text surprisingly well, so a neural model's bits per byte mean little until
they stand beside this number. Kneser and Ney (1995); the interpolated form of Chen and Goodman (1999),
equation 22, with one discount per order. Simplification: one discount per order instead of the three of their
modified form.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_mini.data.text import byte_count, held_out

LONGEST_ORDER = 8  # the bytes that fit into one 64-bit key
_END_OF_TEXT = b"\0"


class _Level(NamedTuple):
    """The n-grams of one length, as sorted keys: a key's last byte is predicted by those before it."""

    grams: NDArray[np.uint64]
    counts: NDArray[np.int64]
    contexts: NDArray[np.uint64]
    totals: NDArray[np.int64]  # per context, the sum of its grams' counts
    types: NDArray[np.int64]  # per context, how many different bytes follow it
    discount: float


class ByteNgram(NamedTuple):
    """A fitted model: `levels[n - 1]` predicts a byte from the n − 1 before it."""

    levels: tuple[_Level, ...]

    @property
    def order(self) -> int:
        """How long the longest n-grams are: one more than the bytes that a prediction looks back on."""
        return len(self.levels)

    def probabilities(self, data: bytes) -> NDArray[np.float64]:
        """The probability of every byte of `data` given those before it."""
        result = np.full(len(data), 1 / 256)
        for order, level in enumerate(self.levels, start=1):
            keys = _keys(data, order)
            _, count = _look_up(level.grams, keys, level.counts)
            seen, total = _look_up(level.contexts, keys >> np.uint64(8), level.totals)
            _, types = _look_up(level.contexts, keys >> np.uint64(8), level.types)
            kept = np.maximum(count - level.discount, 0)
            spread = level.discount * types * result
            result = np.where(seen, (kept + spread) / np.where(seen, total, 1), result)
        return result

    def bits_per_byte(self, texts: Sequence[str]) -> float:
        """Bits that the model needs for each byte of `texts`, the cost of saying where each ends included."""
        bits = -np.log2(self.probabilities(_as_bytes(texts))).sum()
        return float(bits) / byte_count(texts)


class NgramBaseline(NamedTuple):
    """The best order, and what it reaches on text that neither counts nor choice of order have seen."""

    order: int
    bits_per_byte: float


def ngram_baseline(train: Sequence[str], test: Sequence[str]) -> NgramBaseline:
    """Bits per byte on `test` of the best byte n-gram model of `train`.

    The order, up to 8, is the one that does best on the last tenth of `train` when fitted to the rest; the
    model is then fitted to all of `train`. A megabyte takes a few seconds.
    """
    fitted_to, chosen_on = held_out(train, fraction=0.1)
    costs = {
        order: fit_ngram(fitted_to, order=order).bits_per_byte(chosen_on)
        for order in range(1, LONGEST_ORDER + 1)
    }
    best = min(costs, key=costs.__getitem__)
    return NgramBaseline(best, fit_ngram(train, order=best).bits_per_byte(test))


def fit_ngram(texts: Iterable[str], *, order: int) -> ByteNgram:
    """Count the n-grams of `texts` up to length `order`.

    The longest are counted as they occur, the shorter ones by how many different bytes they were seen after,
    which is Kneser and Ney's idea: "Francisco" is frequent, but after one word only.

    >>> model = fit_ngram(["abababab"], order=2)
    >>> bool(model.probabilities(b"ab")[1] > 0.8)
    True
    """
    if not 1 <= order <= LONGEST_ORDER:
        raise ValueError(f"order must be between 1 and {LONGEST_ORDER}, got {order}")
    data = _as_bytes(texts)
    if len(data) < 2:
        raise ValueError("cannot count n-grams of an empty text")
    grams, counts = np.unique(_keys(data, order), return_counts=True)
    levels = [_level(grams, counts)]
    for shorter in range(order - 1, 0, -1):
        grams, counts = np.unique(grams & np.uint64(256**shorter - 1), return_counts=True)
        levels.append(_level(grams, counts))
    return ByteNgram(tuple(reversed(levels)))


def _level(grams: NDArray[np.uint64], counts: NDArray[np.int64]) -> _Level:
    contexts, starts = np.unique(grams >> np.uint64(8), return_index=True)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return _Level(
        grams=grams,
        counts=counts,
        contexts=contexts,
        totals=np.add.reduceat(counts, starts),
        types=np.diff(starts, append=len(grams)),
        discount=once / (once + 2 * twice) if once and twice else 0.5,
    )


def _keys(data: bytes, order: int) -> NDArray[np.uint64]:
    """For every byte, itself and the `order` − 1 bytes before it as one number; zeros before the first."""
    padded = np.frombuffer(b"\0" * (order - 1) + data, dtype=np.uint8).astype(np.uint64)
    keys = np.zeros(len(data), dtype=np.uint64)
    for offset in range(order):
        keys = (keys << np.uint64(8)) | padded[offset : offset + len(data)]
    return keys


def _look_up(
    keys: NDArray[np.uint64], wanted: NDArray[np.uint64], values: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each wanted key is there, and its value, 0 where it is not."""
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = keys[index] == wanted
    return found, np.where(found, values[index], 0)


def _as_bytes(texts: Iterable[str]) -> bytes:
    return b"".join(text.encode() + _END_OF_TEXT for text in texts)
