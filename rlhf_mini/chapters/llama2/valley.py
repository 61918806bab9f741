"""How clearly a distribution has two humps: the depth of the valley between them."""

import math

import torch
from torch import Tensor

BANDWIDTH = 0.2  # of the values' standard deviation
GRID = 400
LEAST = 0.05  # of the values lie on either side of a valley: a few outliers are no hump


def density(values: Tensor, points: Tensor, *, bandwidth: float) -> Tensor:
    """A smooth density (M,) at `points` (M,): the mean of Gaussians around the values (N,)."""
    distance = (points[:, None] - values[None]) / bandwidth
    return torch.exp(-0.5 * distance**2).mean(1) / (bandwidth * math.sqrt(2 * math.pi))


def deepest_valley(values: Tensor) -> tuple[float, float]:
    """Depth and place of the deepest valley of the smoothed density of `values` (N,).

    The depth is 1 − (the density at the bottom) / (that of the lower of the two peaks beside it): 0 with one hump
    alone, 1 where nothing lies between two. Either side holds at least a twentieth of the values. Adding a
    constant or changing the unit leaves it as it is. The smoothing, a fifth of the standard deviation, decides
    which ripples are filled. With one hump the place is the mean.
    """
    values = values.double()
    width = BANDWIDTH * float(values.std())
    if not width > 0:
        raise ValueError(f"the values must differ, got a standard deviation of {float(values.std())}")
    points = torch.linspace(float(values.min()) - 3 * width, float(values.max()) + 3 * width, GRID).double()
    heights = density(values, points, bandwidth=width)
    left, right = heights.cummax(0).values, heights.flip(0).cummax(0).values.flip(0)
    depth = 1 - heights / torch.minimum(left, right)  # below the lower of the highest peaks on either side
    least, most = torch.quantile(values, LEAST), torch.quantile(values, 1 - LEAST)
    depth[(points < least) | (points > most)] = 0.0
    bottom = int(depth.argmax())
    found = float(depth[bottom])
    return (found, float(points[bottom])) if found > 0 else (0.0, float(values.mean()))
