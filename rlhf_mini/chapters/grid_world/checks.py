"""The ladder of chapter 01: from the exact gradient to the real run."""

import numpy as np
import torch

from rlhf_mini.chapters.grid_world import claims, token_walk
from rlhf_mini.chapters.grid_world.bug_hunt import learning_curves
from rlhf_mini.chapters.grid_world.estimates import baseline_variance
from rlhf_mini.losses import policy_gradient_loss
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung

FRESH_SEED = 5  # none of those that the band is made of
MARGIN = 1.0  # in units of reward: five curves do not show how wide the band is everywhere


def exact_gradient() -> tuple[bool, str]:
    """The mean of many sampled gradients lies as near the exact one as chance allows."""
    row = baseline_variance(FRESH_SEED)["none"]
    ratio = row["bias"] / row["standard_error"]
    return ratio < 2.5, f"{ratio:.1f} times the expected sampling error, over 2,000 episodes"


def one_choice() -> tuple[bool, str]:
    """A single choice among three with known prizes: the best one's probability goes to 1."""
    generator = torch.Generator().manual_seed(0)
    prizes, logits = torch.tensor([0.0, 1.0, 0.5]), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        actions = torch.multinomial(logits.detach().softmax(0), 16, replacement=True, generator=generator)
        logp = logits.log_softmax(0)[actions][None]
        optimizer.zero_grad()
        policy_gradient_loss(logp, prizes[actions][None]).mean().backward()
        optimizer.step()
    best = float(logits.detach().softmax(0)[1])
    return best > 0.95, f"probability {best:.3f} after 200 updates"


def known_optimum() -> tuple[bool, str]:
    """On the token world, the policy comes near the optimum that algebra gives."""
    divergence = token_walk.approach(FRESH_SEED, iterations=150)["kl_to_optimum"]
    return divergence[-1] < 0.05 * divergence[
        0
    ], f"KL to π* from {divergence[0]:.3f} to {divergence[-1]:.4f} nats"


def band(pipeline: Pipeline) -> tuple[bool, str]:
    """A fresh seed's learning curve lies within the band of five good ones, one point apart at most."""
    good = [seed["rows"]["returns"] for seed in claims.over_seeds(pipeline, claims.hunted, seeds=5)]
    fresh = np.array(learning_curves(FRESH_SEED)["rows"]["returns"])
    low, high = np.min(good, axis=0) - MARGIN, np.max(good, axis=0) + MARGIN
    inside = float(((low <= fresh) & (fresh <= high)).mean())
    return inside >= 0.9, f"inside at {inside:.0%} of the iterations"


def real_run(pipeline: Pipeline) -> tuple[bool, str]:
    """PPO on the small grid leaves the bait."""
    numbers = claims.methods_numbers(pipeline)
    return numbers["ppo"] > 1.5 * numbers[
        "bait"
    ], f"return {numbers['ppo']:.1f}; bait {numbers['bait']:.1f}, best {numbers['best']:.1f}"


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The five rungs, for `ladder`."""
    return [
        Rung("the exact test", "the sampled gradient is the exact one on average", exact_gradient),
        Rung("one choice, overfitted", "the best of three actions gets nearly all probability", one_choice),
        Rung("a known optimum", "the token world's π* is approached", known_optimum),
        Rung(
            "the band of good seeds",
            "a fresh seed's curve lies in the band of five others, one point wider",
            lambda: band(pipeline),
        ),
        Rung("the real run", "PPO on the grid earns far more than the bait", lambda: real_run(pipeline)),
    ]
