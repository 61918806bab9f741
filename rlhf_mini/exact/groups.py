"""What a group makes of an answer, on average over all groups that it can find itself in.

Methods with groups give an answer a weight that depends on the others: on their rewards, and with some on
their lengths. The others are as many draws from the same policy, so that the average over them is a sum. What
the others are as *texts* does not matter, only what the weight reads of them; the sum is over how many of
them are of each kind, which keeps it short: two kinds and G = 64 make 64 terms.
"""

import math
from collections.abc import Callable, Iterator

import torch

from rlhf_mini.exact.distributions import require_distribution
from rlhf_mini.shapes import Float, Tensor

MOST_GROUPS = 200_000
Weigh = Callable[[Tensor], Tensor]  # what is read of (N, G) answers, (N, G, F) → their weights, (N, G)


def expected_in_group(
    logp: Float[Tensor, " B"], features: Float[Tensor, "B F"], weigh: Weigh, *, group: int
) -> Float[Tensor, " B"]:
    """The expected weight of each text in a group whose other members are drawn from the policy.

    ``w(y) = E[weight of y_1 | y_1 = y]`` for ``y_2, …, y_G ~ π``. The expected gradient of a method that
    moves along ``1/G Σ_i w_i ∇ log π(y_i)`` is then ``Σ_y π(y) w(y) ∇ log π(y)``: `policy_gradient` with w
    for the reward.

    Args:
        logp: ``(B,)``, log-probability of every text; a constant here.
        features: ``(B, F)``, what the weight reads of a text: its reward, or its reward and its length.
        weigh: from the features of groups, ``(N, G, F)``, to the weight of each member, ``(N, G)``. It must
            treat the members alike, whatever their order.
        group: G, at least 1.

    Returns:
        ``(B,)``, without a gradient.

    Raises:
        ValueError: if the probabilities do not add up to 1, the numbers of texts differ, G is below 1, the
            weights have another shape, or there are more than 200,000 groups to be summed.

    Example:
        >>> fair = torch.tensor([0.5, 0.5]).log()  # one answer is right, one is wrong
        >>> right = torch.tensor([[1.0], [0.0]])
        >>> expected_in_group(fair, right, lambda seen: seen[..., 0] - seen[..., 0].mean(1, True), group=2)
        tensor([ 0.2500, -0.2500])
    """
    require_distribution(logp=logp)
    if features.shape[:1] != logp.shape or group < 1:
        raise ValueError(
            f"need one row of features a text and a group of at least 1; received logp {tuple(logp.shape)}, "
            f"features {tuple(features.shape)}, group={group}."
        )
    with torch.no_grad():
        kinds, kind = features.unique(dim=0, return_inverse=True)
        chances = torch.zeros(len(kinds), dtype=torch.float64).index_add(0, kind, logp.double().exp())
        if math.comb(group - 2 + len(kinds), len(kinds) - 1) * len(kinds) > MOST_GROUPS:
            raise ValueError(
                f"{len(kinds)} kinds of texts in groups of {group} make more than {MOST_GROUPS} groups; "
                "take fewer different rewards and lengths, or smaller groups."
            )
        counts = list(_ways(group - 1, len(kinds)))
        others = torch.stack([torch.arange(len(kinds)).repeat_interleave(torch.tensor(c)) for c in counts])
        chance = torch.stack([_chance(count, chances) for count in counts])
        expected = []
        for own in range(len(kinds)):
            members = torch.cat([torch.full((len(others), 1), own), others], dim=1)
            expected.append((chance * _first_weight(weigh, kinds[members])).sum())
        return torch.stack(expected)[kind].to(logp.dtype)


def _ways(members: int, kinds: int) -> Iterator[tuple[int, ...]]:
    """All ways to say how many of so many members are of each kind."""
    if kinds == 1:
        yield (members,)
        return
    for first in range(members + 1):
        for rest in _ways(members - first, kinds - 1):
            yield (first, *rest)


def _chance(counts: tuple[int, ...], chances: Tensor) -> Tensor:
    """The multinomial probability of these counts."""
    count = torch.tensor(counts, dtype=torch.float64)
    orders = math.lgamma(sum(counts) + 1) - float(torch.lgamma(count + 1).sum())
    return torch.exp(orders + torch.xlogy(count, chances).sum())


def _first_weight(weigh: Weigh, groups: Tensor) -> Tensor:
    weights = weigh(groups)
    if weights.shape != groups.shape[:2]:
        raise ValueError(
            f"weigh must give one weight to each member, {tuple(groups.shape[:2])}; it gave "
            f"{tuple(weights.shape)}."
        )
    return weights[:, 0].double()
