"""How far one result is from another, said in words: what an exercise tells a reader whose answer differs."""

from collections.abc import Mapping

import numpy as np
import torch

Value = object


def plain(value: Value) -> Value:
    """The value without what does not matter in a comparison: tensors and arrays become float64 or bool
    arrays, tuples lists.

    >>> plain((torch.tensor([1, 2]), "a"))
    [array([1., 2.]), 'a']
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | float | np.ndarray | np.number):
        array = np.asarray(value)
        return array if array.dtype == bool else array.astype(np.float64)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def same(one: Value, other: Value, *, tolerance: float | int) -> bool:
    """Whether two values agree: numbers and arrays within `tolerance` (absolute and relative), the rest
    exactly.

    >>> same([1.0, 2.0], torch.tensor([1.0, 2.0]), tolerance=1e-6)
    True
    """
    return difference(one, other, tolerance=tolerance) == ""


def difference(got: Value, expected: Value, *, tolerance: float | int) -> str:
    """In what the two differ, as a sentence for the reader; empty if they agree.

    A list of numbers counts as an array. Shapes are compared first, then signs and constant factors, which
    tell more about a mistake than two numbers do.
    """
    got, expected = _as_array(plain(got)), _as_array(plain(expected))
    if isinstance(expected, np.ndarray):
        return _arrays_differ(got, expected, tolerance)
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        if got.keys() != expected.keys():
            return f"it should have the keys {sorted(expected)}; yours has {sorted(got)}."
        parts = ((f"{key!r}", got[key], expected[key]) for key in expected)
    elif isinstance(expected, list) and isinstance(got, list):
        if len(got) != len(expected):
            return f"it should return {len(expected)} values; yours returned {len(got)}."
        parts = ((f"value {i + 1}", *pair) for i, pair in enumerate(zip(got, expected, strict=True)))
    else:
        return "" if type(got) is type(expected) and got == expected else _expected_and_got(got, expected)
    for place, one, other in parts:
        if words := difference(one, other, tolerance=tolerance):
            return f"in {place}, {words}"
    return ""


def _as_array(value: Value) -> Value:
    """A list of equally shaped arrays as one array, because readers return either."""
    if isinstance(value, bool):
        return np.asarray(value)
    if not isinstance(value, list) or not value:
        return value
    items = [item for item in map(_as_array, value) if isinstance(item, np.ndarray)]
    alike = len(items) == len(value) and len({item.shape for item in items}) == 1
    return np.stack(items) if alike else value


def _arrays_differ(got: Value, expected: np.ndarray, tolerance: float | int) -> str:
    if not isinstance(got, np.ndarray):
        return _expected_and_got(got, expected)
    if got.shape != expected.shape:
        return f"its shape should be {_shape(expected)}; yours is {_shape(got)}."
    if (got.dtype == bool) != (expected.dtype == bool):
        kinds = ("true or false", "numbers")
        return f"it should hold {kinds[expected.dtype != bool]}; yours holds {kinds[got.dtype != bool]}."
    if got.dtype == bool:
        return (
            "" if (got == expected).all() else _first_difference(got, expected, np.asarray(got != expected))
        )
    close = np.isclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    if close.all():
        return ""
    words = _first_difference(got, expected, np.asarray(~close))
    if not np.isfinite(got[np.isfinite(expected)]).all():
        return f"it holds NaN or infinity; {words}"
    return words


def pattern(got: Value, expected: Value, *, tolerance: float | int) -> str:
    """What all numbers have in common where they differ: a sign or a factor, in words; empty if nothing.

    >>> pattern([2.0, 4.0], [1.0, 2.0], tolerance=1e-6)
    'All your numbers are 2 times what they should be.'
    """
    got, expected = _as_array(plain(got)), _as_array(plain(expected))
    for value in (got, expected):
        if not isinstance(value, np.ndarray) or value.dtype == bool:
            return ""
    if got.shape != expected.shape:  # type: ignore[attr-defined]
        return ""
    factor = _common_factor(got, expected, tolerance)  # type: ignore[arg-type]
    if abs(factor + 1) <= 10 * tolerance:
        return "Every sign is the wrong way round."
    return f"All your numbers are {factor:.4g} times what they should be." if factor else ""


def _common_factor(got: np.ndarray, expected: np.ndarray, tolerance: float | int) -> float:
    """The one factor between the two, or 0 where there is none; it takes two numbers to see one."""
    told = np.isfinite(expected) & (np.abs(expected) > tolerance)
    if told.sum() < 2:
        return 0.0
    factor = float(np.median(got[told] / expected[told]))
    alike = np.allclose(got, factor * expected, rtol=10 * tolerance, atol=tolerance, equal_nan=True)
    return factor if alike else 0.0


def _first_difference(got: np.ndarray, expected: np.ndarray, differ: np.ndarray) -> str:
    if expected.ndim == 0:
        return _expected_and_got(got, expected)
    place = tuple(int(i) for i in np.argwhere(differ)[0])
    where = place[0] if len(place) == 1 else place
    return f"at index {where} " + _expected_and_got(got[place], expected[place])


def _expected_and_got(got: Value, expected: Value) -> str:
    return f"it should be {_shown(expected)}; yours is {_shown(got)}."


def _shown(value: Value) -> str:
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f"{value:.5g}".replace("-", "−")
    if isinstance(value, np.ndarray):
        return f"an array of shape {_shape(value)}"
    text = repr(_unwrapped(value))
    return text if len(text) <= 60 else f"{text[:57]}…"


def _unwrapped(value: Value) -> Value:
    """Lists and mappings with numbers in place of arrays, to be read."""
    if isinstance(value, list):
        return [_unwrapped(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _unwrapped(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _shape(array: np.ndarray) -> str:
    return "a single number ()" if array.ndim == 0 else str(array.shape)
