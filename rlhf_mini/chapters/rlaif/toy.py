"""What a judge's faults do to a reward, exactly: a toy language in which every pair of texts can be asked about.

Five tokens, texts of at most three, one prompt: 85 texts, each with a true reward. A judge is asked which of two is
better, and its logit for the one shown first is d + b: d is how far that one's reward is ahead, b a fault. Three
faults: a favourite place (the same b for whatever is shown first), distraction (with probability q it names the
first place without reading), and a taste for length (b follows the texts, not their places).

`toy_labels` has what soft labels are worth, `toy_ratings` what the judge's rating is as a reward by itself.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rlhf_mini.exact import TablePolicy, ToyLanguage, expectation, kl_divergence, kl_optimum
from rlhf_mini.losses import soft_preference_loss
from rlhf_mini.pipeline import Pipeline

LANGUAGE = ToyLanguage(vocabulary=5, steps=3)
TEXTS = len(LANGUAGE.texts)
LENGTHS = LANGUAGE.response.sum(1).double()  # (B,), the end token included; texts are listed by length
KL_WEIGHT, NATS = 1.0, 1.0  # β of optima that are compared, and the KL at which values are
PLACE, DISTRACTION, TASTE = 2.0, 0.5, 1.0  # the size of each fault: logits, a probability, logits a token
BIASES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
FAULTS, CURES = ("place", "distraction", "length"), ("listed", "both", "logits")


@dataclass(frozen=True)
class World:
    """A reference and a reward for every text, drawn with one seed.

    The reference has standard normal logits for every state and token; rewards are standard normal.
    """

    seed: int

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        reference = TablePolicy.random(LANGUAGE, generator=generator)
        rewards = torch.randn(TEXTS, generator=generator, dtype=torch.float64)
        return LANGUAGE.sequence_logp(reference).detach(), rewards

    @property
    def logp_ref(self) -> Tensor:
        """(B,), the log-probability of every text under the reference."""
        return self._drawn[0]

    @property
    def rewards(self) -> Tensor:
        """(B,), the true reward of every text."""
        return self._drawn[1]

    @property
    def pairs(self) -> Tensor:
        """(B, B): how often texts i and j are drawn, both from the reference; a text beside itself is left out."""
        probability = self.logp_ref.exp()
        both = (probability[:, None] * probability).fill_diagonal_(0.0)
        return both / both.sum()

    def best(self) -> Tensor:
        """(B,), log π*, the optimum of E[r] − β KL(π ‖ π_ref)."""
        return self.optimum(self.rewards)

    def optimum(self, rewards: Tensor) -> Tensor:
        """(B,), the optimum if `rewards` are taken for the true ones."""
        return kl_optimum(self.logp_ref, rewards, kl_weight=KL_WEIGHT).logp

    def value_at(self, rewards: Tensor, *, nats: float = NATS) -> float:
        """The true reward that `rewards` earn for `nats` of KL: of π_ref exp(rewards/β)/Z with the β that costs so much."""
        return float(expectation(at_kl(self.logp_ref, rewards, nats=nats), self.rewards))


def leads(values: Tensor) -> Tensor:
    """(B,) -> (B, B): by how much i is ahead of j."""
    return values[:, None] - values


def at_kl(logp_ref: Tensor, rewards: Tensor, *, nats: float) -> Tensor:
    """(B,), log of π_ref exp(r/β)/Z for the β at which KL(π ‖ π_ref) is `nats`, by bisection.

    Where not even the texts of the highest reward alone are so far away, it is these, in their old proportions.
    """
    low, high = -20.0, 20.0  # of log 1/β, in which KL rises
    for _ in range(100):
        middle = torch.tensor((low + high) / 2, dtype=torch.float64)
        logp = (logp_ref + rewards * middle.exp()).log_softmax(0)
        low, high = (float(middle), high) if kl_divergence(logp, logp_ref) < nats else (low, float(middle))
    return logp


def fitted(world: World, labels: Tensor) -> Tensor:
    """(B,), the reward at which the expected loss on soft labels is least, with mean 0.

    labels (B, B): the probability that i is said to be better than j; pairs come as two draws from the reference.
    """
    first, second = torch.cartesian_prod(torch.arange(TEXTS), torch.arange(TEXTS)).unbind(1)
    return fitted_to(first, second, labels.flatten(), weights=world.pairs.flatten())


def fitted_to(
    first: Tensor, second: Tensor, labels: Tensor, *, weights: Tensor, ridge: float = 0.0
) -> Tensor:
    """(B,), the reward of least Σ w_n loss(r_first − r_second, label_n) + ½ ridge Σ r², with mean 0.

    first, second (N,) are numbers of texts. The loss is the library's, and its minimum found by Newton's method: the
    gradient by autograd, the second derivatives w σ (1 − σ) of each pair by hand. Without a ridge the reward of most
    likelihood may be infinite; 100 steps are then as far as it gets.
    """
    rewards = torch.zeros(TEXTS, dtype=torch.float64)
    level = torch.full(
        (TEXTS, TEXTS), 1 / TEXTS, dtype=torch.float64
    )  # a shift changes no loss; this holds it
    for _ in range(100):
        values = rewards.clone().requires_grad_()
        losses = soft_preference_loss(values[first], values[second], preference=labels)
        loss = (weights * losses).sum() + ridge / 2 * values.square().sum()
        (slope,) = torch.autograd.grad(loss, [values])
        chance = (rewards[first] - rewards[second]).sigmoid()
        curved = torch.zeros(TEXTS, TEXTS, dtype=torch.float64)
        curved.index_put_((first, second), weights * chance * (1 - chance), accumulate=True)
        curved = curved + curved.T
        hessian = torch.diag(curved.sum(1) + ridge) - curved
        step = torch.linalg.solve(hessian + level, slope)
        size = float(step.abs().max())
        rewards = rewards - step * min(1.0, 2.0 / max(size, 1e-300))  # far from the minimum it steps too far
        if size < 1e-12:
            break
    return rewards - rewards.mean()


def expected_loss(rewards: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Σ_ij w_ij times the library's loss on the soft label of pair (i, j)."""
    first, second = rewards[:, None].expand(TEXTS, TEXTS), rewards.expand(TEXTS, TEXTS)
    losses = soft_preference_loss(first.flatten(), second.flatten(), preference=labels.flatten())
    return (weights.flatten() * losses).sum()


# ------------------------------------------------------------------------------------------ faults and cures


def says_first(world: World, fault: str) -> Tensor:
    """(B, B): P(the judge names the first place), if i is shown there and j in the second, under one of `FAULTS`."""
    ahead = leads(world.rewards)
    if fault == "place":
        return (ahead + PLACE).sigmoid()
    if fault == "distraction":
        return DISTRACTION + (1 - DISTRACTION) * ahead.sigmoid()
    return (ahead + TASTE * leads(LENGTHS)).sigmoid()


def labels_of(first: Tensor, cure: str) -> Tensor:
    """(B, B): the label of i over j, from what the judge says in each order, by one of `CURES`.

    `listed`: one order, whichever text stands earlier in the list being shown first. `both`: the mean of the two
    orders' probabilities, which is also what labels of one order are on average if a coin draws it. `logits`: the
    probability of the mean logit.
    """
    swapped = first.T  # j shown first and i second: P(j)
    if cure == "both":
        return (first + 1 - swapped) / 2
    if cure == "logits":
        return ((first.logit() - swapped.logit()) / 2).sigmoid()
    earlier = torch.arange(TEXTS)[:, None] < torch.arange(TEXTS)
    return torch.where(earlier, first, 1 - swapped)


def cures(pipeline: Pipeline) -> dict[str, float]:
    """What is left of each fault in the labels and in the reward learned from them, in names `wrong place both`.

    - `wrong`: the share of pairs whose label is on the wrong side.
    - `strength`: the slope of the learned reward on the true one; 1 is right, below 1 the labels were too timid.
    - `length`: the slope of what is then left of the learned reward on the text's length.
    - `distance`: KL in nats from π*, of the optimum for the learned reward.
    - `value`: the true reward that it earns at `NATS` of KL; `value best` is the most that can be earned there.
    """
    world, found = World(pipeline.seed), {}
    found["value best"] = world.value_at(world.rewards)
    found["value reference"] = float(expectation(world.logp_ref, world.rewards))
    for fault in FAULTS:
        for cure in CURES:
            labels = labels_of(says_first(world, fault), cure)
            learned = fitted(world, labels)
            strength, length = slopes(world, learned)
            found |= {
                f"wrong {fault} {cure}": wrong_side(world, labels),
                f"strength {fault} {cure}": strength,
                f"length {fault} {cure}": length,
                f"distance {fault} {cure}": float(kl_divergence(world.optimum(learned), world.best())),
                f"value {fault} {cure}": world.value_at(learned),
            }
    return found


def wrong_side(world: World, labels: Tensor) -> float:
    """The share of pairs whose label prefers the text of the lower reward."""
    return float((world.pairs * ((labels > 0.5) != (leads(world.rewards) > 0))).sum())


def slopes(world: World, learned: Tensor) -> tuple[float, float]:
    """The learned reward by least squares, weighted as the reference draws: its slopes on true reward and length."""
    columns = torch.stack([world.rewards, LENGTHS, torch.ones(TEXTS, dtype=torch.float64)], dim=1)
    root = (world.logp_ref / 2).exp()[:, None]
    found = torch.linalg.lstsq(root * columns, root * learned[:, None]).solution
    return float(found[0, 0]), float(found[1, 0])


def by_bias(pipeline: Pipeline) -> dict[str, list[float]]:
    """A favourite place of growing size, one list entry for each of `BIASES`.

    - `wrong one`: the share of pairs on which the verdict of one order, drawn by a coin, is wrong: half of those
      whose rewards differ by less than the bias. `wrong both`: the same of the mean of both orders' probabilities.
    - `same place`: the share of pairs in which both orders name the same place.
    - `label both`, `label logits`: the label of a pair whose rewards differ by 2, which should be σ(2) = 0.88.
    - `noise`: the variance of a coin's label about the mean of both orders', on average over pairs.
    """
    world = World(pipeline.seed)
    ahead, weights = leads(world.rewards), world.pairs
    two = torch.tensor(2.0, dtype=torch.float64)
    names = ("wrong one", "wrong both", "same place", "label both", "label logits", "noise")
    found: dict[str, list[float]] = {name: [] for name in names}
    for bias in BIASES:
        given, swapped = (ahead + bias).sigmoid(), (bias - ahead).sigmoid()
        orders = torch.stack([given, 1 - swapped])
        mistaken = ((orders > 0.5) != (ahead > 0)).double().mean(0)
        found["wrong one"].append(float((weights * mistaken).sum()))
        found["wrong both"].append(wrong_side(world, orders.mean(0)))
        found["same place"].append(float((weights * ((given > 0.5) == (swapped > 0.5))).sum()))
        found["label both"].append(float(((two + bias).sigmoid() + (two - bias).sigmoid()) / 2))
        found["label logits"].append(float((((two + bias) + (two - bias)) / 2).sigmoid()))
        found["noise"].append(float((weights * orders.var(0, correction=0)).sum()))
    return {"bias": list(BIASES), **found}
