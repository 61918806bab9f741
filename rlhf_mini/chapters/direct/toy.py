"""DPO on a toy language: its derivation in numbers, and where it lands when the preferences are exact.

Five tokens, texts of at most three, one prompt: 85 texts, each with a reward. A policy is one logit a text, so
that it can be any distribution at all; preferences follow Bradley and Terry, P(i ≻ j) = σ(r_i − r_j). Every
expectation is a sum over texts or over pairs of texts, and what DPO should reach, π* ∝ π_ref exp(r/β), is known.
`toy_data` has what becomes of this when preferences are few, miss some texts or never err.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.toy_language import LANGUAGE, TEXTS, TextWorld, leads
from rlhf_mini.exact import (
    TablePolicy,
    expectation,
    kl_divergence,
    kl_objective,
    kl_optimum,
)
from rlhf_mini.losses import dpo_loss, pairwise_loss

PairLoss = Callable[[Tensor, Tensor], Tensor]  # (chosen, rejected) -> a loss a pair


class ToyWorld(TextWorld):
    """A reference and a reward for every text, and what follows from them for pairs."""

    @property
    def chances(self) -> Tensor:
        """(B, B), P(i ≻ j) = σ(r_i − r_j): how likely text i is preferred to text j."""
        return leads(self.rewards).sigmoid()

    def best(self, kl_weight: float) -> Tensor:
        """(B,), log π*, the optimum of E[r] − β KL(π ‖ π_ref)."""
        return kl_optimum(self.logp_ref, self.rewards, kl_weight=kl_weight).logp


def pair_weights(logp: Tensor, chances: Tensor) -> Tensor:
    """(B, B): how often a pair has text i chosen and text j rejected, both drawn from one distribution.

    i and j come in either order, hence 2 π(i) π(j) P(i ≻ j); a text drawn twice is a tie, with P = ½. The
    weights add up to 1.
    """
    probability = logp.exp()
    return 2 * probability[:, None] * probability[None, :] * chances


def expected_loss(loss: PairLoss, values: Tensor, weights: Tensor) -> Tensor:
    """Σ_ij w_ij loss(v_i, v_j): what a loss of pairs is on average, with i chosen and j rejected."""
    chosen, rejected = values[:, None].expand_as(weights), values[None, :].expand_as(weights)
    return (weights.flatten() * loss(chosen.flatten(), rejected.flatten())).sum()


def minimise(loss: Callable[[], Tensor], parameter: Tensor) -> float:
    """Take a loss without noise to its minimum by L-BFGS; returns the largest gradient that is left."""
    optimizer = torch.optim.LBFGS(
        [parameter],
        max_iter=5000,
        max_eval=10_000,
        tolerance_grad=1e-13,
        tolerance_change=0.0,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(evaluate)
    (left,) = torch.autograd.grad(loss(), [parameter])
    return float(left.abs().max())


def descend(
    loss: Callable[[], Tensor], parameter: Tensor, *, rate: float, looks: Sequence[int]
) -> Iterator[int]:
    """Take Adam's steps on a loss without noise, stopping for a look after each number of steps in `looks`."""
    optimizer = torch.optim.Adam([parameter], lr=rate)
    for step in range(max(looks) + 1):
        if step in looks:
            yield step
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


# ---- the derivation


def derivation(*, seed: int, kl_weight: float, policies: int = 5) -> dict[str, Any]:
    """The steps from RLHF's objective to DPO's loss, each as the largest error of its equation over all texts.

    `reward`: r = β log(π*/π_ref) + β log Z; `lead`: r_i − r_j = β (log-ratio_i − log-ratio_j), in which log Z
    is gone; `chance`: P(i ≻ j) from π* against P(i ≻ j) from r; `objective`: J(π*) − J(π) = β KL(π ‖ π*), over
    some random policies. `shortfalls` are those differences, `value` is J(π*) = β log Z, and `without_log_z`
    the error of the first equation if β log Z is left out.
    """
    world = ToyWorld(seed)
    best = kl_optimum(world.logp_ref, world.rewards, kl_weight=kl_weight)
    implied = kl_weight * (best.logp - world.logp_ref)  # the reward that π* stands for, but for a constant
    objective = partial(kl_objective, logp_ref=world.logp_ref, rewards=world.rewards, kl_weight=kl_weight)
    generator = torch.Generator().manual_seed(seed + 1000)
    others = torch.randn(policies, TEXTS, generator=generator, dtype=torch.float64).log_softmax(1)
    shortfalls = torch.stack([objective(best.logp) - objective(logp) for logp in others])
    owed = torch.stack([kl_weight * kl_divergence(logp, best.logp) for logp in others])
    return {
        "reward": _largest(implied + best.value - world.rewards),
        "without_log_z": _largest(implied - world.rewards),
        "lead": _largest(leads(implied) - leads(world.rewards)),
        "chance": _largest(leads(implied).sigmoid() - world.chances),
        "objective": _largest(shortfalls - owed),
        "shortfalls": shortfalls.tolist(),
        "value": float(best.value),
    }


def gradient_check(*, seed: int, kl_weight: float) -> dict[str, float]:
    """The gradient of the expected DPO loss, differentiated and written out, at a random policy.

    Written out it is −β Σ_wl P(w, l) σ(r̂_l − r̂_w) (∇ log π(w) − ∇ log π(l)), with r̂ = β log(π/π_ref). The
    policy is a table over states and tokens, so that texts share parameters. `gap`: the largest difference;
    `size`: the largest entry; `without_weight`: the largest difference if σ is left out.
    """
    world = ToyWorld(seed)
    policy = TablePolicy.random(LANGUAGE, generator=torch.Generator().manual_seed(seed + 1000))
    weights = pair_weights(world.logp_ref, world.chances)

    def logp_of(logits: Tensor) -> Tensor:
        found = torch.func.functional_call(policy, {"logits": logits}, (LANGUAGE.tokens,))
        return LANGUAGE.sequence_logp(lambda _: found)

    logits = policy.logits.detach().clone().requires_grad_()
    loss = expected_loss(partial(dpo_loss, kl_weight=kl_weight), logp_of(logits) - world.logp_ref, weights)
    (differentiated,) = torch.autograd.grad(loss, [logits])

    slopes = torch.autograd.functional.jacobian(logp_of, logits.detach())  # (B, S, V): ∇ log π(y)
    implied = kl_weight * (logp_of(logits.detach()) - world.logp_ref)
    doubt = leads(implied).T.sigmoid()  # doubt[w, l] = σ(r̂_l − r̂_w)

    def written_out(pull: Tensor) -> Tensor:
        """−β Σ_wl pull_wl (∇ log π(w) − ∇ log π(l))."""
        return -kl_weight * torch.tensordot(pull.sum(1) - pull.sum(0), slopes, dims=1)

    return {
        "gap": _largest(written_out(weights * doubt) - differentiated),
        "without_weight": _largest(written_out(weights) - differentiated),
        "size": _largest(differentiated),
    }


# ---- exact preferences


def exact_dpo(
    *, seed: int, kl_weight: float, rate: float = 0.05, looks: Sequence[int] = tuple(range(0, 501, 10))
) -> dict[str, Any]:
    """DPO's expected loss over all pairs of two draws from π_ref, with Bradley–Terry preferences, minimised.

    `landed`: KL(π ‖ π*) after L-BFGS, nats per text; `error`, the largest |log π − log π*| there; `loss_at_start`,
    `loss`, the last, and `loss_of_best`, at π*. `to_optimum` is KL(π ‖ π*) along Adam's way, after the steps
    `step`, from π_ref on. `of_half_weight` is KL from the optimum of β/2: what such a mistake would leave.
    """
    world = ToyWorld(seed)
    best, weights = world.best(kl_weight), pair_weights(world.logp_ref, world.chances)
    loss = partial(expected_loss, partial(dpo_loss, kl_weight=kl_weight), weights=weights)

    def fresh() -> tuple[Tensor, Callable[[], Tensor]]:
        logits = world.logp_ref.clone().requires_grad_()
        return logits, lambda: loss(logits.log_softmax(0) - world.logp_ref)

    logits, current = fresh()
    start = float(current().detach())
    left = minimise(current, logits)
    curve = []
    walking, along = fresh()
    for _ in descend(along, walking, rate=rate, looks=looks):
        curve.append(float(kl_divergence(walking.detach().log_softmax(0), best)))
    landed = logits.detach().log_softmax(0)
    return {
        "landed": float(kl_divergence(landed, best)),
        "error": _largest(landed - best),
        "gradient_left": left,
        "of_half_weight": float(kl_divergence(world.best(kl_weight / 2), best)),
        "loss_at_start": start,
        "loss": float(loss(landed - world.logp_ref)),
        "loss_of_best": float(loss(best - world.logp_ref)),
        "step": list(looks),
        "to_optimum": curve,
    }


# ---- a reward model and its optimum, in one


def two_steps(*, seed: int, kl_weight: float, pairs: int = 4000, steps: int = 200) -> dict[str, Any]:
    """A reward model, fitted and then optimised against exactly, beside DPO on the same labelled pairs.

    Texts are drawn uniformly, so that all are compared. `gap`: the largest difference of log π(y) between DPO
    at its minimum and π_ref exp(r̂/β)/Z, where r̂ is the reward of most likelihood. `gap_on_the_way`: the same
    after each of `steps` steps of plain gradient descent, if the reward's rate is β² times DPO's. `to_optimum`:
    KL(π ‖ π*) of what both arrive at; `exists`: whether there is a reward of most likelihood at all.
    """
    world = ToyWorld(seed)
    uniform = torch.full_like(world.rewards, 1 / TEXTS).log()
    generator = torch.Generator().manual_seed(seed + 1000)
    weights = drawn_pairs(uniform, world.chances, pairs, generator=generator) / pairs
    dpo, gap = partial(dpo_loss, kl_weight=kl_weight), 0.0

    rewards = torch.zeros(TEXTS, dtype=torch.float64, requires_grad=True)
    logits = world.logp_ref.clone().requires_grad_()

    def losses() -> tuple[Tensor, Tensor]:
        ratios = logits.log_softmax(0) - world.logp_ref
        return expected_loss(pairwise_loss, rewards, weights), expected_loss(dpo, ratios, weights)

    def difference() -> float:
        return _largest(tilted(world.logp_ref, rewards, kl_weight) - logits.log_softmax(0))

    for _ in range(steps):
        of_rewards, of_policy = losses()
        slopes = torch.autograd.grad(of_rewards + of_policy, [rewards, logits])
        with torch.no_grad():
            rewards -= 2.0 * slopes[0]
            logits -= 2.0 / kl_weight**2 * slopes[1]
        gap = max(gap, difference())
    minimise(lambda: losses()[0], rewards)
    minimise(lambda: losses()[1], logits)
    landed = logits.detach().log_softmax(0)
    return {
        "exists": every_text_beats_every_other(weights),
        "gap": difference(),
        "gap_on_the_way": gap,
        "to_optimum": float(kl_divergence(landed, world.best(kl_weight))),
    }


def tilted(logp_ref: Tensor, rewards: Tensor, kl_weight: float) -> Tensor:
    """(B,), log of π_ref exp(r/β)/Z; rows of several at once, (..., B)."""
    return (logp_ref + rewards / kl_weight).log_softmax(-1)


def drawn_pairs(logp: Tensor, chances: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """(B, B): how many of `count` pairs, two independent draws each, ended with i chosen and j rejected.

    A text drawn twice says nothing about any other, and is not counted as a comparison; it is one of `count`.
    """
    first, second = torch.multinomial(logp.exp(), 2 * count, replacement=True, generator=generator).view(
        2, -1
    )
    wins = torch.rand(count, generator=generator, dtype=torch.float64) < chances[first, second]
    chosen, rejected = torch.where(wins, first, second), torch.where(wins, second, first)
    counted = torch.bincount(chosen * TEXTS + rejected, minlength=TEXTS**2).view(TEXTS, TEXTS).double()
    return counted.fill_diagonal_(0.0)


def every_text_beats_every_other(weights: Tensor) -> bool:
    """Whether from each text a chain of wins leads to each other: only then the likelihood has a maximum.

    Without such a chain the texts fall into two groups, one of which never lost to the other, and the reward
    between the groups can grow without end. Paper: Ford 1957.
    """
    reached = (weights > 0) | torch.eye(TEXTS, dtype=torch.bool)
    for _ in range(TEXTS.bit_length()):  # chains twice as long each time
        reached = (reached.double() @ reached.double()) > 0
    return bool(reached.all())


# ---- where probability goes at the optimum


def displacement(
    *, seed: int, kl_weights: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
) -> dict[str, Any]:
    """How π* has moved the chosen and the rejected, on average over pairs of two draws from π_ref.

    By β: `chosen` and `rejected`, their mean log-ratios; `lead`, the difference; `kl_ref`, KL(π_ref ‖ π*), and
    `kl`, KL(π* ‖ π_ref); `both_fall`, the share of pairs in which both texts lost probability. `identity` is the
    largest error of chosen + rejected = −2 KL(π_ref ‖ π*).

    A text gains probability if and only if its reward is above β log Z, what the objective is worth at π*. So
    the chosen fall on average once β log Z exceeds their mean reward, `chosen_reward`: below β = `crossing`.
    """
    world = ToyWorld(seed)
    weights, columns = pair_weights(world.logp_ref, world.chances), ("chosen", "rejected", "lead")
    found: dict[str, Any] = {name: [] for name in (*columns, "kl_ref", "kl", "both_fall", "value")}
    identity = 0.0
    for kl_weight in kl_weights:
        best = kl_optimum(world.logp_ref, world.rewards, kl_weight=kl_weight)
        ratios = best.logp - world.logp_ref
        chosen, rejected = float(weights.sum(1) @ ratios), float(weights.sum(0) @ ratios)
        kl_ref, falls = float(kl_divergence(world.logp_ref, best.logp)), ratios < 0
        for name, number in zip(columns, (chosen, rejected, chosen - rejected), strict=True):
            found[name].append(number)
        found["kl_ref"].append(kl_ref)
        found["kl"].append(float(kl_divergence(best.logp, world.logp_ref)))
        found["both_fall"].append(float(weights[falls][:, falls].sum()))
        found["value"].append(float(best.value))
        identity = max(identity, abs(chosen + rejected + 2 * kl_ref))
    return {
        **found,
        "kl_weight": list(kl_weights),
        "identity": identity,
        "chosen_reward": float(weights.sum(1) @ world.rewards),
        "mean_reward": float(expectation(world.logp_ref, world.rewards)),
        "crossing": crossing(world),
    }


def crossing(world: ToyWorld) -> float:
    """The β below which even π* lowers the chosen on average, found by halving an interval of log β.

    The mean log-ratio of the chosen is concave in 1/β, 0 at 1/β = 0 and rising there: it is 0 once more only.
    """
    chosen = pair_weights(world.logp_ref, world.chances).sum(1)
    low, high = -7.0, 7.0
    for _ in range(60):
        middle = (low + high) / 2
        if float(chosen @ (world.best(10.0**middle) - world.logp_ref)) < 0:
            low = middle
        else:
            high = middle
    return float(10.0**high)


def _largest(errors: Tensor) -> float:
    return float(errors.detach().abs().max())
