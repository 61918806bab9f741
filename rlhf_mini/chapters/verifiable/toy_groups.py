"""What a group makes of a prompt and of an answer's length, and why a loss of 0 says nothing, all of it exactly."""

import itertools

import torch
from torch import Tensor

from rlhf_mini.chapters.verifiable.toy import RIGHT_TOKEN, World, methods_of, ways_of, weights_of
from rlhf_mini.estimators import group_mean_advantages, group_scaled_advantages
from rlhf_mini.exact import expected_in_group
from rlhf_mini.methods.group_methods import Advantage

RATES = tuple(percent / 100 for percent in (1, 2, 3, 5, *range(8, 93, 4), 95, 97, 98, 99))
GROUPS = (2, 4, 8, 16, 64)
WRONG_TOKEN = 2


# ---- a prompt's pass rate


def in_a_group(rate: float, advantage: Advantage, *, group: int) -> tuple[float, float]:
    """The expected advantage of a right answer and of a wrong one, to a prompt that is passed with chance `rate`.

    Raises ValueError unless 0 < rate < 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must lie between 0 and 1, got {rate}")
    chances = torch.tensor([rate, 1 - rate], dtype=torch.float64)
    rewards = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    right, wrong = expected_in_group(
        chances.log(), rewards, lambda seen: advantage(seen[..., 0]), group=group
    ).tolist()
    return right, wrong


def by_pass_rate(*, group: int) -> dict[str, list[float]]:
    """What prompts of each of `RATES` are worth to a method with groups of this size, a number a rate.

    - `right`, `wrong`: the expected advantage of a right answer and of a wrong one under GRPO.
    - `GRPO`, `Dr. GRPO`: what the method pulls at the log-odds of a right answer with, p (1 − p) times the
      difference of the two; REINFORCE with a baseline that knows p has p (1 − p).
    - `even`: √(p (1 − p)), GRPO's pull for endless groups.
    - `without spread`: the chance that all answers are right, or all wrong.
    """
    names = ("right", "wrong", "GRPO", "Dr. GRPO", "even", "without spread")
    found: dict[str, list[float]] = {"rate": list(RATES), **{name: [] for name in names}}
    for rate in RATES:
        right, wrong = in_a_group(rate, group_scaled_advantages, group=group)
        plain_right, plain_wrong = in_a_group(rate, group_mean_advantages, group=group)
        variance = rate * (1 - rate)
        told = (
            right,
            wrong,
            variance * (right - wrong),
            variance * (plain_right - plain_wrong),
            variance**0.5,
            rate**group + (1 - rate) ** group,
        )
        for name, number in zip(names, told, strict=True):
            found[name].append(number)
    return found


# ---- an answer's length


def by_length(*, seed: int) -> dict[str, float]:
    """What a token of an answer weighs, and what becomes of lengths that the reward knows nothing of.

    Of the easy prompt, where right and wrong answers are common:

    - `right {length} {name}`, `wrong {length} {name}`: the expected weight of each token of such an answer, as a
      multiple of that in a right answer of two tokens; below 0 it is made less likely.
    - `longer right {name}`, `longer wrong {name}`: by how many tokens answers grow after a right and after a wrong
      first token, for each unit of pass rate that is gained, on the first step.
    """
    world, found = World(seed), {}
    for name, weights in weights_of(world).items():
        unit = float(weights[0][(world.right == 1) & (world.lengths == 2)][0])
        for is_right, length in itertools.product((1, 0), range(1, world.language.steps + 1)):
            of_kind = weights[0][(world.right == is_right) & (world.lengths == length)]
            if len(of_kind):
                found[f"{'right' if is_right else 'wrong'} {length} {name}"] = float(of_kind[0]) / unit
    for name, way in ways_of(world, world.logits).items():
        gained = float((world.climb(world.logits) * way)[0].sum())
        for key, token in (("right", RIGHT_TOKEN), ("wrong", WRONG_TOKEN)):
            found[f"longer {key} {name}"] = float((_length_slope(world, token) * way)[0].sum()) / gained
    return found


def _length_slope(world: World, token: int) -> Tensor:
    """(P, S, V): the gradient of the mean length of answers that begin with this token, summed over prompts."""
    leaf = world.logits.clone().requires_grad_()
    begins = world.language.tokens[:, 1] == token
    texts = world.token_logp(leaf).sum(2).exp() * begins
    (slope,) = torch.autograd.grad((texts @ world.lengths / texts.sum(1)).sum(), [leaf])
    return slope


# ---- a loss of 0


def zero_losses(*, seed: int) -> dict[str, float]:
    """Every pair of a right and a wrong answer to the easy prompt as a group of two, on the first step.

    - `loss {name}`: the largest absolute loss over all pairs. `loss alike {name}`: over pairs of equal length.
    - `slope {name}`: the smallest norm of the loss's gradient by the tokens' log-probabilities, over all pairs.
    """
    world = World(seed)
    pairs = [
        torch.tensor(pair)
        for pair in itertools.product(
            world.right.nonzero().flatten().tolist(), (1 - world.right).nonzero().flatten().tolist()
        )
    ]
    found: dict[str, float] = {}
    for name, method in methods_of(world).items():
        advantages = method.advantage(torch.tensor([[1.0, 0.0]], dtype=torch.float64)).flatten()
        losses, slopes = [], []
        for pair in pairs:
            logp, response = world.logp_old[0, pair].clone().requires_grad_(), world.language.response[pair]
            loss = method.average(method.policy_term(logp, logp.detach(), advantages, response), response)
            losses.append(abs(float(loss.detach())))
            slopes.append(float(torch.autograd.grad(loss, [logp])[0].norm()))
        alike = [
            loss
            for loss, pair in zip(losses, pairs, strict=True)
            if world.lengths[pair[0]] == world.lengths[pair[1]]
        ]
        found |= {f"loss {name}": max(losses), f"loss alike {name}": max(alike), f"slope {name}": min(slopes)}
    return found
