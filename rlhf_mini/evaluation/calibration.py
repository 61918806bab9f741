"""Whether stated chances come true: the reliability curve and the expected calibration error."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Stated chances in equal bins of [low, 1], beside how often they came true; empty bins are left out.

    Attributes:
        stated: mean stated chance in each bin.
        happened: the share that came true.
        counts: how many chances fell into the bin.
    """

    stated: tuple[float, ...]
    happened: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def error(self) -> float:
        """The expected calibration error: ``Σ_b n_b/N |happened_b − stated_b|``, 0 for a perfect forecaster.

        A perfect forecaster scores a little above 0 on finite data, the more so the more bins there are.
        """
        gaps = zip(self.counts, self.stated, self.happened, strict=True)
        return sum(count * abs(share - said) for count, said, share in gaps) / sum(self.counts)

    @property
    def overconfidence(self) -> float:
        """By how much the mean stated chance exceeds the share that came true; below 0 for too timid."""
        said = sum(count * stated for count, stated in zip(self.counts, self.stated, strict=True))
        true = sum(count * share for count, share in zip(self.counts, self.happened, strict=True))
        return (said - true) / sum(self.counts)


def reliability(stated: Tensor, happened: Tensor, *, bins: int, low: float = 0.0) -> Reliability:
    """Sort stated chances into equal bins and compare each with what happened.

    Args:
        stated: ``(N,)``, chances in [low, 1].
        happened: ``(N,)`` bool, whether the event came true.
        bins: how many equal intervals [low, 1] is cut into; a chance on a cut belongs to the upper one.
        low: the least chance that can be stated: ½ for the favourite of two.

    Returns:
        The curve; its `error` is the expected calibration error of Guo et al. 2017, arXiv 1706.04599, eq. 3.

    Raises:
        ValueError: on shapes that differ or no chances, on a chance outside [low, 1], on bins below 1.

    Example:
        >>> import torch
        >>> curve = reliability(torch.tensor([0.2, 0.2, 0.8]), torch.tensor([False, True, True]), bins=2)
        >>> curve.happened, curve.counts
        ((0.5, 1.0), (2, 1))
    """
    if stated.ndim != 1 or stated.shape != happened.shape or not len(stated):
        raise ValueError(
            f"stated and happened must both be (N,), N at least 1; received {tuple(stated.shape)} and "
            f"{tuple(happened.shape)}"
        )
    if bins < 1 or not 0 <= low < 1:
        raise ValueError(f"need bins at least 1 and low in [0, 1), got {bins} and {low}")
    if not bool(((stated >= low) & (stated <= 1)).all()):
        raise ValueError(f"chances must lie in [{low}, 1]; received {stated.min():.3g} … {stated.max():.3g}")
    bin_of = ((stated - low) / (1 - low) * bins).long().clamp(max=bins - 1)
    filled = [bin_of == number for number in range(bins) if bool((bin_of == number).any())]
    return Reliability(
        stated=tuple(float(stated[rows].double().mean()) for rows in filled),
        happened=tuple(float(happened[rows].double().mean()) for rows in filled),
        counts=tuple(int(rows.sum()) for rows in filled),
    )
