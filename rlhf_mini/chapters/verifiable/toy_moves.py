"""Later steps on one draw, exactly: where the eight methods part, which tokens are silenced, where each ends.

The batch is drawn once, by the old policy of `toy.World`, and the policy moves on. What differs then is the policy
term: −A log π forgets whose samples these are, a clipped ratio stops, a bounded weight goes on.
"""

from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.verifiable.toy import World, cosine, expected_loss, methods_of, ways_of, weights_of
from rlhf_mini.exact import kl_divergence
from rlhf_mini.methods.group_methods import GroupMethod
from rlhf_mini.tensors import masked_sum

DISTANCES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # how far the logits have moved, as the length of the way
STEPS, STEP = 24, 0.25  # of each method's own descent, and the length of its first step


def moved(world: World, distance: float) -> Tensor:
    """(P, S, V): the old policy's logits, so far along the exact gradient of J."""
    climb = world.climb(world.logits)
    return world.logits + distance * climb / climb.norm()


def travelled(world: World, logits: Tensor) -> float:
    """KL(π ‖ π_old), nats per text, on average over prompts."""
    texts, old = world.token_logp(logits).sum(2), world.logp_old.sum(2)
    return sum(float(kl_divergence(new, was)) for new, was in zip(texts, old, strict=True)) / len(old)


def parted(*, seed: int) -> dict[str, list[float]]:
    """What every method would do next on the old draw, once the policy has moved by each of `DISTANCES`.

    All are asked at the same policy, which has gone straight up J.

    - `kl`: its KL from the old one, nats per text; `deviation`: the mean of |ρ − 1| over the tokens that were drawn.
    - `cosine {name}`: of the method's way with the exact gradient of J there. `size {name}`: its norm, in units of
      its own on the first step.
    - `silenced {name}`: the share of all drawn tokens on which its policy term has no gradient; `silenced right
      {name}`, `silenced wrong {name}` the same of right and of wrong answers.
    """
    world = World(seed)
    first = {name: float(way.norm()) for name, way in ways_of(world, world.logits).items()}
    found: dict[str, list[float]] = {"kl": [], "deviation": []}
    for distance in DISTANCES:
        logits = moved(world, distance)
        climb = world.climb(logits)
        found["kl"].append(travelled(world, logits))
        found["deviation"].append(deviation(world, logits))
        for name, way in ways_of(world, logits).items():
            told = {
                f"cosine {name}": cosine(way, climb),
                f"size {name}": float(way.norm()) / first[name],
                **{
                    f"{key} {name}": value
                    for key, value in silenced(world, methods_of(world)[name], logits).items()
                },
            }
            for key, value in told.items():
                found.setdefault(key, []).append(value)
    return found


def deviation(world: World, logits: Tensor) -> float:
    """The mean of |π/π_old − 1| over the tokens that the old policy draws."""
    drawn = _drawn_tokens(world)
    return float((drawn * (world.token_logp(logits) - world.logp_old).exp().sub(1).abs()).sum() / drawn.sum())


def silenced(world: World, method: GroupMethod, logits: Tensor) -> dict[str, float]:
    """The share of drawn tokens on which the method's policy term has no gradient: of all, of right and of wrong
    answers' tokens."""
    drawn, still = _drawn_tokens(world), []
    signs = 2 * world.right - 1  # of the advantages
    for logp, logp_old in zip(world.token_logp(logits), world.logp_old, strict=True):
        leaf = logp.clone().requires_grad_()
        terms = method.policy_term(leaf, logp_old, signs, world.language.response)
        (slope,) = torch.autograd.grad(masked_sum(terms, world.language.response), [leaf])
        still.append(slope == 0)
    quiet, is_right = drawn * torch.stack(still), world.right.bool()
    whom: dict[str, Any] = {"silenced": slice(None), "silenced right": is_right, "silenced wrong": ~is_right}
    return {name: float(quiet[:, who].sum() / drawn[:, who].sum()) for name, who in whom.items()}


def _drawn_tokens(world: World) -> Tensor:
    """(P, B, T): how often each token of each text is drawn."""
    return world.logp_old.sum(2).exp()[:, :, None] * world.language.response


def own_ways(*, seed: int) -> dict[str, Any]:
    """Every method by itself: steps of plain descent on its expected loss, all on the draw of the old policy.

    The first step has the same length for all; after it the rate stays. Of each method a list, the old policy first:
    `pass_rate`, J; `kl`, KL(π ‖ π_old) in nats per text; `silenced`, the share of drawn tokens without a gradient.
    """
    world = World(seed)
    weights, found = weights_of(world), {}
    for name, method in methods_of(world).items():
        logits, rate = world.logits.clone().requires_grad_(), None
        told: dict[str, list[float]] = {"pass_rate": [], "kl": [], "silenced": []}
        for _ in range(STEPS + 1):
            with torch.no_grad():
                told["pass_rate"].append(float(world.pass_rate(logits)))
                told["kl"].append(travelled(world, logits))
            told["silenced"].append(silenced(world, method, logits.detach())["silenced"])
            (slope,) = torch.autograd.grad(expected_loss(world, method, weights[name], logits), [logits])
            rate = STEP / float(slope.norm()) if rate is None else rate
            logits = (logits.detach() - rate * slope).requires_grad_()
        found[name] = told
    return found
