"""Soft labels against hard ones, exactly: what a reward model of the toy language learns from each.

A soft label is the judge's probability p that the first text is better. It is *calibrated* if p = σ(d), d being how
far the first reward is ahead: then it says what endlessly many people, asked about this pair, would say on average. A
hard label is 1 or 0: *drawn*, as one person's choice is, or the *likelier* side of p.
"""

import torch
from torch import Tensor

from rlhf_mini.chapters.rlaif.toy import TEXTS, World, expected_loss, fitted, fitted_to, leads
from rlhf_mini.exact import kl_divergence
from rlhf_mini.methods.judge import clamped
from rlhf_mini.pipeline import Pipeline

COUNTS, WORLDS = (500, 2000, 8000), 8  # labels; languages that are averaged over
NOISE = 1.0  # standard deviation of the judge's own error in a pair's logit
SURE = 4.0  # by how much an overconfident judge's logits are too large
STEPS = (100, 1000)


def calibrated(pipeline: Pipeline) -> dict[str, float]:
    """Endlessly many pairs: the reward at which the loss is least, for five kinds of labels.

    - `error soft`: the largest error of the reward learned from calibrated soft labels, which is none.
    - `error sure`: the same for logits `SURE` times too large, against `SURE` times the true reward.
    - `distance sure`: KL in nats of its optimum from π*; `distance β/4`: KL of the optimum for β/`SURE` from π*.
    - `lead likelier {n}`: the largest lead after n steps of Adam on the likelier side's labels; no reward
      makes that loss least, and it grows. `loss likelier {n}`: the loss there.
    - `lead clamped`, `distance clamped`: the same labels drawn back to 0.4 and 0.6, whose optimum is finite.
    """
    world = World(pipeline.seed)
    ahead = leads(world.rewards)
    centred = world.rewards - world.rewards.mean()
    soft, sure = fitted(world, ahead.sigmoid()), fitted(world, (SURE * ahead).sigmoid())
    likelier = (ahead > 0).double() + 0.5 * (ahead == 0).double()
    drawn_back = fitted(world, clamped(likelier))
    found = {
        "error soft": float((soft - centred).abs().max()),
        "error sure": float((sure - SURE * centred).abs().max()),
        "distance sure": float(kl_divergence(world.optimum(sure), world.best())),
        "distance β/4": float(kl_divergence(world.optimum(SURE * world.rewards), world.best())),
        "lead clamped": float(leads(drawn_back).max()),
        "distance clamped": float(kl_divergence(world.optimum(drawn_back), world.best())),
        "value clamped": world.value_at(drawn_back),
        "value best": world.value_at(world.rewards),
    }
    return found | _without_end(world, likelier)


def _without_end(world: World, labels: Tensor) -> dict[str, float]:
    """Adam's way on labels that no finite reward fits best."""
    rewards = torch.zeros(TEXTS, dtype=torch.float64, requires_grad=True)
    optimizer, found = torch.optim.Adam([rewards], lr=0.1), {}
    for step in range(1, max(STEPS) + 1):
        loss = expected_loss(rewards, labels, world.pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in STEPS:
            found[f"lead likelier {step}"] = float(leads(rewards.detach()).max())
            found[f"loss likelier {step}"] = float(loss.detach())
    return found


def variance(pipeline: Pipeline) -> dict[str, float]:
    """The variance of one label's pull at the true reward, σ(d) − label, on average over pairs.

    The judge's logit is d + NOISE·e, e standard normal. A drawn label has the soft one's variance and, beside it, that
    of the draw, the mean of p (1 − p): the law of total variance. Expectations over e by Gauss and Hermite's rule.

    - `soft`, `drawn`: about the label's own mean; `draw`: the mean of p (1 − p), `gap` the error of the law.
    - `worth`: how many drawn labels a soft one is worth, drawn / soft.
    - `people`: the variance of a label drawn from σ(d) itself, one person's choice without the judge's error.
    - `bias`: the mean square of σ(d) less the label's mean, which no number of labels averages away.
    """
    world = World(pipeline.seed)
    ahead, weights = leads(world.rewards), world.pairs
    nodes, shares = _normal_rule()
    p = (ahead[..., None] + NOISE * nodes).sigmoid()
    mean = p @ shares
    soft = p.square() @ shares - mean.square()
    drawn, draw = mean * (1 - mean), (p * (1 - p)) @ shares

    def over_pairs(values: Tensor) -> float:
        return float((weights * values).sum())

    right = ahead.sigmoid()
    return {
        "soft": over_pairs(soft),
        "drawn": over_pairs(drawn),
        "draw": over_pairs(draw),
        "gap": float((drawn - soft - draw).abs().max()),
        "worth": over_pairs(drawn) / over_pairs(soft),
        "people": over_pairs(right * (1 - right)),
        "bias": over_pairs((mean - right).square()),
    }


def _normal_rule(points: int = 40) -> tuple[Tensor, Tensor]:
    """Nodes and weights (points,) for the mean of a function of a standard normal number."""
    off = torch.arange(1, points, dtype=torch.float64).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return values, vectors[0].square()


def few(pipeline: Pipeline) -> dict[str, float]:
    """A reward from some thousand labelled pairs of two draws from the reference; means over `WORLDS` languages.

    Rewards are standard normal before anything is labelled, and so the fit has a ridge of 1/n: without it, a text that
    was compared once would have an endless reward.

    `distance {kind} {n}`: KL in nats from π*, of the optimum for the reward learned from n labels: `soft`, a judge's
    probabilities; `drawn`, one draw from each of these; `likelier`, their side; `people`, one draw from σ(d) each.
    """
    kinds = ("soft", "drawn", "likelier", "people")
    found = {f"distance {kind} {count}": 0.0 for kind in kinds for count in COUNTS}
    for number in range(WORLDS):
        world = World(1000 * pipeline.seed + number)
        generator = torch.Generator().manual_seed(world.seed)
        for count in COUNTS:
            first, second, labels = _drawn_labels(world, count, generator=generator)
            for kind in kinds:
                learned = from_labels(first, second, labels[kind])
                gap = float(kl_divergence(world.optimum(learned), world.best()))
                found[f"distance {kind} {count}"] += gap / WORLDS
    return found


def _drawn_labels(
    world: World, count: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """`count` pairs by the numbers of their texts, and the labels of each kind, (count,)."""
    pair = torch.multinomial(world.pairs.flatten(), count, replacement=True, generator=generator)
    first, second = pair // TEXTS, pair % TEXTS
    ahead = world.rewards[first] - world.rewards[second]
    soft = (ahead + NOISE * torch.randn(count, generator=generator, dtype=torch.float64)).sigmoid()
    chance = torch.rand(count, generator=generator, dtype=torch.float64)
    labels = {
        "soft": soft,
        "drawn": (chance < soft).double(),
        "likelier": (soft > 0.5).double(),
        "people": (chance < ahead.sigmoid()).double(),
    }
    return first, second, labels


def from_labels(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """(B,), the likeliest reward after N labels, (N,), of texts with these numbers, if rewards are standard normal."""
    count = len(labels)
    weights = torch.full((count,), 1 / count, dtype=torch.float64)
    return fitted_to(first, second, labels, weights=weights, ridge=1 / count)
