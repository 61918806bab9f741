"""A judge's rating as the reward itself, exactly, against a reward model distilled from its comparisons.

The judge of the toy language sees a text's reward r. Asked for a rating from 1 to 5 it is in doubt: P(rating ≤ k) =
σ(c_k − a r), with fixed steps c_k. Asked to compare it says σ(d). Both are the same knowledge. What differs is what
can be learned from it, and at what price in questions.
"""

import torch
from torch import Tensor

from rlhf_mini.chapters.rlaif.toy import KL_WEIGHT, NATS, TEXTS, World, leads
from rlhf_mini.chapters.rlaif.toy_labels import from_labels
from rlhf_mini.exact import expectation, kl_objective
from rlhf_mini.methods.judge import rescaled
from rlhf_mini.pipeline import Pipeline

STEPS_BETWEEN = (-2.5, -1.0, 0.5, 2.0)  # c_k: between 1 and 2, 2 and 3, and so on
SHARPNESS = 1.5  # a: how surely a better text is rated higher
HIGHEST = len(STEPS_BETWEEN) + 1
COUNTS, WORLDS = (250, 1000, 4000, 16_000), 8
FAR = 2.0  # nats; a second, greater distance at which values are compared


def rating_chances(rewards: Tensor) -> Tensor:
    """(B, 5): the probability of each rating of every text."""
    steps = torch.tensor(STEPS_BETWEEN, dtype=torch.float64)
    at_most = (steps - SHARPNESS * rewards[:, None]).sigmoid()
    ends = torch.zeros(len(rewards), 1, dtype=torch.float64), torch.ones(len(rewards), 1, dtype=torch.float64)
    return torch.cat([at_most, ends[1]], dim=1) - torch.cat([ends[0], at_most], dim=1)


def expected(chances: Tensor) -> Tensor:
    """(B,), the mean rating, from −1 to 1."""
    return rescaled(chances @ torch.arange(1, HIGHEST + 1, dtype=chances.dtype), highest=HIGHEST)


def likeliest(chances: Tensor) -> Tensor:
    """(B,), the likeliest rating, from −1 to 1: five values at most."""
    return rescaled(chances.argmax(1).double() + 1, highest=HIGHEST)


def direct(pipeline: Pipeline) -> dict[str, float]:
    """The optimum of direct RLAIF and of RLAIF by a reward model of endlessly many labels, with endless training.

    - `value {way} {nats}`: the true reward at that KL from the reference, of `best`, the true reward's own optimum,
      which is the reward model's too; `expected`, that of the expected rating; `likeliest`, of the likeliest rating.
      `value reference`: of the reference.
    - `farthest likeliest`: the most KL that the likeliest rating can lead to, with no penalty left: it ends at the
      texts of the highest one, in their old proportions, and tells them apart no further.
    - `levels likeliest`: how many different rewards the likeliest rating gives; `tied`: the share of pairs that it
      does not tell apart.
    - `objective gap`: E[rating] − β KL at π_ref exp(rating/β)/Z, less that of π*: above 0, for each is the best at
      what it is asked.
    """
    world = World(pipeline.seed)
    chances = rating_chances(world.rewards)
    ways = {"best": world.rewards, "expected": expected(chances), "likeliest": likeliest(chances)}
    found = {"value reference": float(expectation(world.logp_ref, world.rewards))}
    for nats in (NATS, FAR):
        found |= {f"value {way} {nats:g}": world.value_at(reward, nats=nats) for way, reward in ways.items()}
    highest = ways["likeliest"] == ways["likeliest"].max()
    found["farthest likeliest"] = -float(world.logp_ref[highest].logsumexp(0))
    tied = leads(ways["likeliest"]) == 0
    found["levels likeliest"] = float(len(ways["likeliest"].unique()))
    found["tied"] = float((world.pairs * tied).sum())

    def earned(logp: Tensor) -> float:
        return float(kl_objective(logp, world.logp_ref, ways["expected"], kl_weight=KL_WEIGHT))

    found["objective gap"] = earned(world.optimum(ways["expected"])) - earned(world.best())
    return found


def distilled(pipeline: Pipeline) -> dict[str, float]:
    """Reward models of few labels beside the expected rating, which needs none; means over `WORLDS` languages.

    Each label is the judge's σ(d), turned into a choice by a coin, as a verdict in words is.

    - `value {n} {nats}`: the true reward at that KL, of the optimum for a reward learned from n labels.
    - `value expected {nats}`, `value best {nats}`: of direct RLAIF's optimum, and of the true reward's.
    """
    found: dict[str, float] = {}

    def add(name: str, value: float) -> None:
        found[name] = found.get(name, 0.0) + value / WORLDS

    for number in range(WORLDS):
        world = World(1000 * pipeline.seed + number)
        for nats in (NATS, FAR):
            add(
                f"value expected {nats:g}", world.value_at(expected(rating_chances(world.rewards)), nats=nats)
            )
            add(f"value best {nats:g}", world.value_at(world.rewards, nats=nats))
        for count in COUNTS:
            learned = _learned(world, count)
            for nats in (NATS, FAR):
                add(f"value {count} {nats:g}", world.value_at(learned, nats=nats))
    return found


def _learned(world: World, count: int) -> Tensor:
    """(B,), a reward from `count` verdicts on pairs of two draws from the reference."""
    generator = torch.Generator().manual_seed(world.seed)
    pair = torch.multinomial(world.pairs.flatten(), count, replacement=True, generator=generator)
    first, second = pair // TEXTS, pair % TEXTS
    chance = (world.rewards[first] - world.rewards[second]).sigmoid()
    verdicts = (torch.rand(count, generator=generator, dtype=torch.float64) < chance).double()
    return from_labels(first, second, verdicts)
