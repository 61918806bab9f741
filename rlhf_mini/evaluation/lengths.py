"""How long responses are: the first thing to look at when a reward rises."""

import numpy as np

from rlhf_mini.evaluation.intervals import Values, as_values


def length_summary(lengths: Values, *, limit: int | None = None) -> dict[str, float]:
    """Mean, standard deviation, tenth percentile, median and ninetieth percentile of lengths, for a record.

    Args:
        lengths: (N,), whole numbers ≥ 0, in tokens or in words (say which where you show it).
        limit: the longest that could be written; then `at_limit`, the share that reached it, is added. Those
            were probably cut. Percentiles interpolate linearly; the standard deviation divides by N.

    Raises:
        ValueError: on no lengths, a negative or broken number, or a length over the limit.

    Example:
        >>> length_summary([2, 4, 6], limit=6)["at_limit"]
        0.3333333333333333
    """
    array = as_values(lengths, at_least=1)
    if (array < 0).any() or (array != np.round(array)).any():
        raise ValueError("lengths must be whole numbers of at least 0")
    if limit is not None and array.max() > limit:
        raise ValueError(f"a length of {int(array.max())} exceeds the stated limit of {limit}")
    low, median, high = np.quantile(array, [0.1, 0.5, 0.9])
    summary = {
        "length_mean": float(array.mean()),
        "length_std": float(array.std()),
        "length_p10": float(low),
        "length_median": float(median),
        "length_p90": float(high),
    }
    return summary if limit is None else {**summary, "at_limit": float((array == limit).mean())}
