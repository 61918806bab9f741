"""The KL penalty in the reward and as a loss: exact gradients, and where following them leads.

Everything is a sum over the texts of a toy language. A way of penalising is an estimator (k1, k2, k3), a place
(in the reward, as a constant; or as a loss, differentiated), and a unit (the log-ratio of a whole text, or of
each token). Samples are drawn from the policy as it is, so that the *expected* gradient of a way is

    in the reward:   Σ_y π(y) k(y) ∇ log π(y)
    as a loss:       Σ_y π(y) ∇ k(y).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlhf_mini.estimators import kl_k1, kl_k2, kl_k3
from rlhf_mini.exact import (
    TablePolicy,
    ToyLanguage,
    expectation,
    kl_divergence,
    kl_objective,
    kl_optimum,
)
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader.picture import Picture
from rlhf_mini.reader.plots import Curve, training_curves
from rlhf_mini.tensors import masked_sum

LANGUAGE = ToyLanguage(vocabulary=5, steps=3)
KL_WEIGHT, LEARNING_RATE, STEPS, LOOK_EVERY = 0.5, 0.05, 600, 20
ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


class Way(NamedTuple):
    """One way of penalising the distance from the reference."""

    estimator: str
    in_reward: bool
    by_token: bool = False

    @property
    def key(self) -> str:
        """Its name in results: `reward_k1`, `loss_k2`, `loss_k3_tokens`."""
        return f"{'reward' if self.in_reward else 'loss'}_{self.estimator}{'_tokens' * self.by_token}"


WAYS = {
    way.key: way
    for way in (
        *(Way(estimator, in_reward=True) for estimator in ESTIMATORS),
        *(Way(estimator, in_reward=False) for estimator in ESTIMATORS),
        *(Way(estimator, in_reward=False, by_token=True) for estimator in ("k2", "k3")),  # k1: 0 again
    )
}


def surrogate(way: Way, token_logp: Tensor, token_logp_ref: Tensor) -> Tensor:
    """A scalar whose gradient is the expected gradient of the penalty; (B, T), (B, T) -> ().

    Its value is the penalty's expectation for a loss, and means nothing in the reward.
    """
    estimate, logp = ESTIMATORS[way.estimator], token_logp.sum(1)
    if way.by_token:
        penalty = masked_sum(estimate(token_logp, token_logp_ref), LANGUAGE.response, dim=1)
    else:
        penalty = estimate(logp[:, None], token_logp_ref.sum(1)[:, None]).squeeze(1)
    drawn = logp.detach().exp()
    return (drawn * (penalty.detach() * logp if way.in_reward else penalty)).sum()


def gradients(*, seed: int) -> dict[str, float]:
    """The expected gradient of every way against those of KL(π ‖ π_ref) and KL(π_ref ‖ π).

    Policy and reference are two random tables. For every way: `size_<way>`, the norm in units of that of
    ∇KL(π ‖ π_ref); `gap_<way>` and `gap_other_<way>`, the distance from it and from ∇KL(π_ref ‖ π), in the
    same units.
    """
    generator = torch.Generator().manual_seed(seed)
    policy, reference = (TablePolicy.random(LANGUAGE, generator=generator) for _ in range(2))
    token_logp, token_logp_ref = LANGUAGE.token_logp(policy), LANGUAGE.token_logp(reference).detach()
    logp, logp_ref = token_logp.sum(1), token_logp_ref.sum(1)

    def gradient(scalar: Tensor) -> Tensor:
        return torch.autograd.grad(scalar, policy.logits, retain_graph=True)[0]

    wanted, other = gradient(kl_divergence(logp, logp_ref)), gradient(kl_divergence(logp_ref, logp))
    found: dict[str, float] = {"kl": float(kl_divergence(logp, logp_ref).detach())}
    for key, way in WAYS.items():
        own = gradient(surrogate(way, token_logp, token_logp_ref))
        found[f"size_{key}"] = float(own.norm() / wanted.norm())
        found[f"gap_{key}"] = float((own - wanted).norm() / wanted.norm())
        found[f"gap_other_{key}"] = float((own - other).norm() / wanted.norm())
    return found


def follow(way: Way, *, seed: int, steps: int = STEPS) -> dict[str, list[float]]:
    """Ascend E[r] less β times the penalty by its exact gradient; looked at every `LOOK_EVERY` steps.

    Adam from the reference, its rate decaying to 2%. `distance`: KL(π ‖ π*); `kl`: KL(π ‖ π_ref); `reward`:
    E[r]; `objective`: E[r] − β KL.
    """
    generator = torch.Generator().manual_seed(seed)
    reference = TablePolicy.random(LANGUAGE, generator=generator)
    rewards = torch.randn(len(LANGUAGE.texts), generator=generator, dtype=torch.float64)
    token_logp_ref = LANGUAGE.token_logp(reference).detach()
    logp_ref = token_logp_ref.sum(1)
    best = kl_optimum(logp_ref, rewards, kl_weight=KL_WEIGHT)
    policy = TablePolicy(LANGUAGE, reference.logits.detach())
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    seen: dict[str, list[float]] = {"step": [], "distance": [], "kl": [], "reward": [], "objective": []}
    for step in range(steps + 1):
        token_logp = LANGUAGE.token_logp(policy)
        logp = token_logp.sum(1)
        if step % LOOK_EVERY == 0:
            now = logp.detach()
            seen["step"].append(float(step))
            seen["distance"].append(float(kl_divergence(now, best.logp)))
            seen["kl"].append(float(kl_divergence(now, logp_ref)))
            seen["reward"].append(float(expectation(now, rewards)))
            seen["objective"].append(float(kl_objective(now, logp_ref, rewards, kl_weight=KL_WEIGHT)))
        loss = KL_WEIGHT * surrogate(way, token_logp, token_logp_ref) - expectation(logp, rewards)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {
        **seen,
        "best_objective": [float(best.value)],
        "best_reward": [float(expectation(best.logp, rewards))],
    }


def kl_as_loss(pipeline: Pipeline, *, steps: int = STEPS) -> dict[str, Any]:
    """`gradients` and where `follow` leads every way, in flat numbers, for one toy language of this seed.

    For every way `distance_<way>`, `kl_<way>`, `reward_<way>` and `objective_<way>` at the end, and
    `curve_<way>`, KL(π ‖ π*) at the moments `step`.
    """
    found: dict[str, Any] = dict(gradients(seed=pipeline.seed))
    for key, way in WAYS.items():
        seen = follow(way, seed=pipeline.seed, steps=steps)
        found |= {f"{name}_{key}": seen[name][-1] for name in ("distance", "kl", "reward", "objective")}
        found[f"curve_{key}"] = seen["distance"]
    found |= {"step": seen["step"], "start_distance": seen["distance"][0]}
    return found | {"best_objective": seen["best_objective"][0], "best_reward": seen["best_reward"][0]}


def landing_figure(found: dict[str, Any]) -> Picture:
    """KL(π ‖ π*) along the way, for k1 in the reward and k1, k2, k3 as losses of whole texts."""
    curves = [
        Curve("k1, loss", "loss", found["step"], found["curve_loss_k1"]),
        Curve("k3, loss", "reward", found["step"], found["curve_loss_k3"]),
        Curve("k2, loss,\nby token", "value", found["step"], found["curve_loss_k2_tokens"]),
        Curve("k1, reward\n= k2, loss", "policy", found["step"], found["curve_reward_k1"]),
    ]
    return training_curves(
        curves,
        xlabel="steps of exact gradient ascent",
        ylabel="distance from the optimum, KL(π ‖ π*) (nats per text)",
        alt=(
            "Four ways of penalising KL, followed by their exact gradients on a toy language. k1 in the reward "
            f"ends {found['distance_reward_k1']:.4f} nats from the optimum, and k2 as a loss on whole texts "
            "takes the very same way; k2 as a loss token by token ends "
            f"{found['distance_loss_k2_tokens']:.2f} nats from it, k3 as a loss {found['distance_loss_k3']:.2f}, "
            f"and k1 as a loss, whose gradient is zero, {found['distance_loss_k1']:.2f}."
        ),
        caption="Only k1 in the reward, and k2 as a loss on whole texts, land where all of them say they want to go.",
    )
