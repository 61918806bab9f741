"""What filtering does to a distribution, where every sum over texts can be taken.

Five tokens, texts of at most three, one prompt: 85 texts, each with a reward. Learning from kept or weighted samples
without an error of sampling or training is `rlhf_mini.exact`'s business; here its results are set beside the optimum
under a KL penalty, repeated, and then disturbed by what a real run has instead of a limit: finitely many samples.
"""

import math
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.toy_language import TEXTS, TextWorld
from rlhf_mini.exact import (
    advantage_weighted_optimum,
    best_of_n,
    expectation,
    filtered_optimum,
    grow_and_improve,
    kl_divergence,
    kl_optimum,
    sequence_entropy,
)

SHARES = (0.9, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09, 0.0625)  # of the probability, kept about so much
NUMBERS = (1, 2, 3, 4, 6, 8, 12, 16)  # n of best-of-n
KL_WEIGHTS = (4.0, 2.0, 1.0, 0.7, 0.5, 0.4, 0.3, 0.2)
GROWS = 4


class ToyWorld(TextWorld):
    """A first policy and a reward for every text; the first policy is what distances are measured from."""

    @property
    def logp(self) -> Tensor:
        """(B,), the log-probability of every text under the first policy."""
        return self.logp_ref

    def told(self, logp: Tensor) -> dict[str, float]:
        """Of a distribution: mean reward, KL to the first policy (nats per text), entropy (nats per text)."""
        return {
            "reward": float(expectation(logp, self.rewards)),
            "kl": float(kl_divergence(logp, self.logp)),
            "entropy": float(sequence_entropy(logp)),
        }


def threshold_keeping(logp: Tensor, rewards: Tensor, share: float) -> float:
    """The highest of the rewards (or −∞) above which at least this share of the probability lies.

    Raises ValueError unless the share is above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    order = rewards.argsort(descending=True)
    kept = logp.exp()[order].cumsum(0)
    last = int((kept < share - 1e-12).sum())  # the place of the last text that must be kept
    below = order[last + 1 :]
    return float(rewards[below[0]]) if len(below) else -torch.inf


def tilted_to(world: ToyWorld, kl: float) -> Tensor:
    """The optimum under a KL penalty whose divergence from the first policy is `kl`, found by halving intervals.

    Raises ValueError for a divergence that no penalty leads to.
    """
    low, high = -8.0, 8.0  # log β; a larger β stays nearer

    def reached(log_weight: float) -> float:
        best = kl_optimum(world.logp, world.rewards, kl_weight=math.exp(log_weight))
        return float(kl_divergence(best.logp, world.logp))

    if not reached(high) <= kl <= reached(low):
        raise ValueError(f"kl must lie between {reached(high):.2g} and {reached(low):.3g}, got {kl}")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) > kl else (low, middle)
    weight = math.exp((low + high) / 2)
    return kl_optimum(world.logp, world.rewards, kl_weight=weight).logp


def identities(*, seed: int) -> dict[str, float]:
    """What is claimed of filtering and weighting, each as its largest error.

    - `conditional`: the filtered optimum is the policy's own distribution, given that the reward is high enough.
    - `price`: its divergence from the policy is −log of the kept share.
    - `last_threshold`: of the Improves of a Grow, only the last threshold matters.
    - `grow_again`: a second Grow at the first one's highest threshold changes nothing.
    - `rounds_of_two`: keeping the better of two, twice, is keeping the best of four.
    - `advantage`: without a cap, advantage weighting leads to the optimum under a KL penalty of the same β;
      `advantage_twice`: two rounds of it to that of half the β; `capped` is how far a cap of 2 leads elsewhere, in nats.
    """
    world = ToyWorld(seed)
    logp, rewards = world.logp, world.rewards
    cuts = [threshold_keeping(logp, rewards, share) for share in (0.7, 0.5, 0.2)]
    filtered = filtered_optimum(logp, rewards, threshold=cuts[-1])
    kept = rewards > cuts[-1]
    conditional = torch.where(kept, logp.exp(), 0.0) / logp.exp()[kept].sum()
    ((*_, several),) = grow_and_improve(logp, rewards, thresholds=[cuts])
    *_, (again,) = grow_and_improve(logp, rewards, thresholds=[cuts, cuts[-1:]])
    twice = best_of_n(best_of_n(logp, rewards, n=2), rewards, n=2)
    best = kl_optimum(logp, rewards, kl_weight=0.5).logp
    weighted = advantage_weighted_optimum(logp, rewards, kl_weight=0.5).logp
    on_top = advantage_weighted_optimum(weighted, rewards, kl_weight=0.5).logp
    capped = advantage_weighted_optimum(logp, rewards, kl_weight=0.5, largest=2.0).logp
    return {
        "conditional": _apart(filtered.logp, conditional.log()),
        "price": abs(float(kl_divergence(filtered.logp, logp) + filtered.log_partition)),
        "last_threshold": _apart(several.logp, filtered.logp),
        "grow_again": _apart(again.logp, filtered.logp),
        "rounds_of_two": _apart(twice, best_of_n(logp, rewards, n=4)),
        "advantage": _apart(weighted, best),
        "advantage_twice": _apart(on_top, kl_optimum(logp, rewards, kl_weight=0.25).logp),
        "capped": float(kl_divergence(capped, best)),
    }


def _apart(logp: Tensor, other: Tensor) -> float:
    """The largest difference of two distributions' probabilities."""
    return float((logp.exp() - other.exp()).abs().max())


def frontier(*, seed: int) -> dict[str, dict[str, list[float]]]:
    """Reward, KL and entropy of the first policy tilted, filtered and taken the best of n of: name → number → list.

    `missed` of the latter two is the reward that the tilt has more at the very same KL: what choosing costs.
    """
    world = ToyWorld(seed)
    cuts = [threshold_keeping(world.logp, world.rewards, share) for share in SHARES]
    ways = {
        "tilted": [kl_optimum(world.logp, world.rewards, kl_weight=weight).logp for weight in KL_WEIGHTS],
        "filtered": [filtered_optimum(world.logp, world.rewards, threshold=cut).logp for cut in cuts],
        "best of n": [best_of_n(world.logp, world.rewards, n=number) for number in NUMBERS],
    }
    found: dict[str, dict[str, list[float]]] = {}
    for name, distributions in ways.items():
        rows = [world.told(logp) for logp in distributions]
        found[name] = {key: [row[key] for row in rows] for key in rows[0]}
        if name != "tilted":
            best = [
                world.told(tilted_to(world, row["kl"]))["reward"] if row["kl"] > 1e-6 else row["reward"]
                for row in rows
            ]
            found[name]["missed"] = [most - row["reward"] for most, row in zip(best, rows, strict=True)]
    return found


def repeated(*, seed: int, share: float = 0.5) -> dict[str, Any]:
    """Grow after Grow, each keeping about this share: reward, KL and entropy, from the first policy on.

    `kept` is what each Grow keeps of its own samples, `all_kept` of the first policy's. Beside it RAFT, which keeps
    the better of two in every round, and rounds that keep as many at random, which change nothing.
    """
    world = ToyWorld(seed)
    logp, raft = world.logp, world.logp
    rows, kept, all_kept, beside = [world.told(logp)], [], [1.0], [world.told(raft)]
    for _ in range(GROWS):
        cut = threshold_keeping(logp, world.rewards, share)
        filtered = filtered_optimum(logp, world.rewards, threshold=cut)
        kept.append(float(filtered.log_partition.exp()))
        all_kept.append(all_kept[-1] * kept[-1])
        logp, raft = filtered.logp, best_of_n(raft, world.rewards, n=2)
        rows.append(world.told(logp))
        beside.append(world.told(raft))
    return {
        "kept": kept,
        "all_kept": all_kept,
        "ReST": {key: [row[key] for row in rows] for key in rows[0]},
        "RAFT": {key: [row[key] for row in beside] for key in beside[0]},
    }


# ---- what finitely many samples do


def drift(
    *, seed: int, samples: int, rounds: int, share: float = 1.0, repeats: int = 2000
) -> dict[str, list[float]]:
    """A table fitted to samples of itself, round after round, averaged over `repeats`; the first policy first.

    Every round draws `samples` texts, keeps this share of them, and becomes what was kept: the counts, divided. With
    a share of 1 nothing is preferred to anything. `best` keeps the texts of highest reward, `random` any.

    - `differ …`: the chance that two draws differ, 1 − Σ p². `promised`: what it should be for `random`: each round
      leaves 1 − 1/k of it if k texts are kept.
    - `texts …`: how many texts still have a probability above 0.
    """
    world, generator = ToyWorld(seed), torch.Generator().manual_seed(seed)
    kept = max(1, round(share * samples))
    start = float(1 - world.logp.exp().square().sum())
    found: dict[str, list[float]] = {
        "promised": [start * (1 - 1 / kept) ** number for number in range(rounds + 1)]
    }
    for name in ("random", "best"):
        shares = world.logp.exp().expand(repeats, TEXTS)
        differ, texts = [start], [float(TEXTS)]
        for _ in range(rounds):
            drawn = torch.multinomial(shares, samples, replacement=True, generator=generator)
            if name == "best":
                order = world.rewards[drawn].argsort(dim=1, descending=True, stable=True)
                drawn = drawn.gather(1, order)
            counts = torch.zeros_like(shares).scatter_add_(
                1, drawn[:, :kept], torch.ones(repeats, kept, dtype=shares.dtype)
            )
            shares = counts / kept
            differ.append(float(1 - shares.square().sum(1).mean()))
            texts.append(float((shares > 0).sum(1).double().mean()))
        found |= {f"differ {name}": differ, f"texts {name}": texts}
    return found
