"""DPO on the toy language of `toy`, with preferences as they come: few, of some texts only, or never in doubt.

Fits to a finite number of labels are made in rewards. DPO with any β takes the same steps in β times its
log-ratios, if its learning rate is 1/β² times as large (`toy.two_steps` checks it), so that one fit serves every
β: the policy is π_ref exp(r̂/β)/Z.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.direct.toy import (
    ToyWorld,
    descend,
    drawn_pairs,
    every_text_beats_every_other,
    expected_loss,
    minimise,
    pair_weights,
    tilted,
)
from rlhf_mini.chapters.toy_language import LANGUAGE, TEXTS, leads
from rlhf_mini.exact import TablePolicy, expectation, kl_divergence
from rlhf_mini.losses import dpo_loss, ipo_loss

RATE = 5.0  # of rewards; a text is in half of all pairs at most, so that up to 8 descent does not overshoot
AT_ONCE = 8  # languages fitted together: more at once take half as long again a language
Table = list[list[list[float]]]


# ---- few labels


def fitted_rewards(weights: Tensor, *, looks: Sequence[int]) -> Tensor:
    """Rewards after so many steps of gradient descent on the Bradley–Terry loss, from 0.

    weights: (W, B, B), the share of each language's pairs that ended with i chosen and j rejected. Returns
    (looks, W, B).
    """
    if len(weights) > AT_ONCE:
        return torch.cat([fitted_rewards(part, looks=looks) for part in weights.split(AT_ONCE)], dim=1)
    met, won = weights + weights.transpose(1, 2), weights.sum(2)
    rewards, seen = torch.zeros_like(won), []
    for step in range(max(looks) + 1):
        if step in looks:
            seen.append(rewards)
        expected = (met * (rewards[:, :, None] - rewards[:, None, :]).sigmoid()).sum(2)
        rewards = rewards + RATE * (won - expected)
    return torch.stack(seen)


def finite(
    *,
    seed: int,
    counts: Sequence[int] = (100, 1000, 10_000, 100_000),
    kl_weights: Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0),
    steps: Sequence[int] = (20, 200, 2000),
    languages: int = 64,
) -> dict[str, Any]:
    """DPO from so many labelled pairs of two draws from π_ref, by β and by steps of gradient descent.

    All numbers are means over `languages` toy languages, each with a data set of its own. Tables have the axes
    steps, counts, kl_weights: `gold`, E_π[r]; `kl`, KL(π ‖ π_ref); `promised`, by how much the implicit reward
    says that π is better than π_ref; `gained`, by how much it is; `regret`, by how much the objective
    E[r] − β KL falls short of that of π*; `less_than_best`, gold less that of the row's best β, and
    `less_than_best_error`, its standard error. By β: `best_gold`, that of π*. By count: `exists`, the share of
    data sets for which the likelihood has a maximum, and `unseen`, the reference's mass on texts in no pair.
    """
    worlds = [ToyWorld(1000 * seed + number) for number in range(languages)]
    logp_ref = torch.stack([world.logp_ref for world in worlds])
    rewards = torch.stack([world.rewards for world in worlds])
    generator = torch.Generator().manual_seed(seed)
    tables: dict[str, list[list[Any]]] = {}
    found: dict[str, Any] = {"exists": [], "unseen": []}
    for count in counts:
        drawn = [drawn_pairs(w.logp_ref, w.chances, count, generator=generator) for w in worlds]
        pairs = torch.stack(drawn) / count
        found["exists"].append(sum(map(every_text_beats_every_other, drawn)) / languages)
        found["unseen"].append(_mean((logp_ref.exp() * ((pairs.sum(1) + pairs.sum(2)) == 0)).sum(1)))
        for place, fit in enumerate(fitted_rewards(pairs, looks=sorted(steps))):
            row = _outcomes(logp_ref, rewards, fit, kl_weights)
            for name, numbers in row.items():
                tables.setdefault(name, [[] for _ in steps])[place].append(numbers)
    best = [_mean((tilted(logp_ref, rewards, b).exp() * rewards).sum(1)) for b in kl_weights]
    axes = {"steps": sorted(steps), "counts": list(counts), "kl_weights": list(kl_weights)}
    reference = _mean((logp_ref.exp() * rewards).sum(1))
    return {**axes, **tables, **found, "best_gold": best, "reference_gold": reference}


def _outcomes(
    logp_ref: Tensor, rewards: Tensor, fit: Tensor, kl_weights: Sequence[float]
) -> dict[str, list[float]]:
    """What one fit makes of policies, by β: means over languages; all tensors (W, B)."""
    columns: dict[str, list[Tensor]] = {name: [] for name in ("gold", "kl", "promised", "gained", "regret")}
    for kl_weight in kl_weights:
        logp, best = tilted(logp_ref, fit, kl_weight), tilted(logp_ref, rewards, kl_weight)
        moved = logp.exp() - logp_ref.exp()
        columns["gold"].append((logp.exp() * rewards).sum(1))
        columns["kl"].append((logp.exp() * (logp - logp_ref)).sum(1))
        columns["promised"].append((moved * fit).sum(1))
        columns["gained"].append((moved * rewards).sum(1))
        columns["regret"].append(kl_weight * (logp.exp() * (logp - best)).sum(1))
    gold = torch.stack(columns["gold"])
    less = gold - gold[gold.mean(1).argmax()]
    found = {name: [_mean(column) for column in values] for name, values in columns.items()}
    error = (less.std(1) / math.sqrt(less.shape[1])).tolist()
    return {**found, "less_than_best": less.mean(1).tolist(), "less_than_best_error": error}


# ---- texts that are never compared


def off_policy(*, seed: int, kl_weight: float = 0.5) -> dict[str, Any]:
    """DPO with exact preferences, but a third of the texts, drawn by lot, in no pair.

    Two policies that start at π_ref: `text`, one logit a text, and `token`, a table over states and tokens, in
    which texts share beginnings; both could be π*. For them, `best` (π*) and `reference`: `hidden_mass`, what
    the texts never compared have together, `gold` and `to_best`, KL(π ‖ π*). `shown_gap`: KL from π* among the
    texts that were compared. `hidden_shift`: the lowest and the highest log-ratio of a hidden text.

    `indifference` is by how much the loss changes if the `text` policy gives the hidden texts 1% or 99% of its
    mass, and shares the rest as before: the loss does not say what they should have. `predicted_shift` is where
    gradients from π_ref leave all hidden texts of the `text` policy: their logits do not move at all.
    """
    world = ToyWorld(seed)
    hidden = hidden_texts(seed)
    best = world.best(kl_weight)
    weights = pair_weights(among(world.logp_ref, ~hidden), world.chances)
    loss = partial(expected_loss, partial(dpo_loss, kl_weight=kl_weight), weights=weights)

    logits = world.logp_ref.clone().requires_grad_()
    minimise(lambda: loss(logits.log_softmax(0) - world.logp_ref), logits)
    table = TablePolicy.of_distribution(LANGUAGE, world.logp_ref)
    minimise(lambda: loss(LANGUAGE.sequence_logp(table) - world.logp_ref), table.logits)
    text, token = logits.detach().log_softmax(0), LANGUAGE.sequence_logp(table).detach()

    policies = {"reference": world.logp_ref, "best": best, "text": text, "token": token}
    ends = {"text": text, "token": token}
    moved = [loss(with_hidden_mass(text, hidden, mass) - world.logp_ref) for mass in (0.01, 0.99)]
    shifts = {name: (logp - world.logp_ref)[hidden] for name, logp in ends.items()}
    return {
        "hidden_mass": {name: float(logp.exp()[hidden].sum()) for name, logp in policies.items()},
        "gold": {name: float(expectation(logp, world.rewards)) for name, logp in policies.items()},
        "to_best": {name: float(kl_divergence(logp, best)) for name, logp in policies.items()},
        "shown_gap": {name: _kl_among(logp, best, ~hidden) for name, logp in ends.items()},
        "hidden_shift": {name: [float(shift.min()), float(shift.max())] for name, shift in shifts.items()},
        "predicted_shift": _shift_of_hidden(world, hidden, kl_weight),
        "indifference": float((torch.stack(moved) - loss(text - world.logp_ref)).abs().max()),
    }


def hidden_texts(seed: int) -> Tensor:
    """(B,) bool, a third of all texts."""
    order = torch.randperm(TEXTS, generator=torch.Generator().manual_seed(seed + 2000))
    return order < TEXTS // 3


def among(logp: Tensor, kept: Tensor) -> Tensor:
    """(B,), the distribution among the texts that are kept; −∞ for the others."""
    return logp.masked_fill(~kept, -torch.inf).log_softmax(-1)


def with_hidden_mass(logp: Tensor, hidden: Tensor, mass: float) -> Tensor:
    """(B,), the same distribution among the hidden and among the others, but with `mass` for the hidden."""
    return torch.where(
        hidden, among(logp, hidden) + math.log(mass), among(logp, ~hidden) + math.log(1 - mass)
    )


def _shift_of_hidden(world: ToyWorld, hidden: Tensor, kl_weight: float) -> float:
    """The log-ratio of hidden texts: their logits stay, those of the others rise by r/β less its plain mean.

    The gradient of a pair adds to one logit what it takes from the other, so that the sum of all logits stays.
    """
    rise = torch.where(hidden, 0.0, world.rewards - world.rewards[~hidden].mean()) / kl_weight
    return -float((world.logp_ref + rise).logsumexp(0))


def _kl_among(logp: Tensor, other: Tensor, kept: Tensor) -> float:
    one, two = (among(each, kept)[kept] for each in (logp, other))
    return float(kl_divergence(one, two))


def sources(
    *, seed: int, kl_weight: float = 0.2, labels: int = 10_000, steps: int = 200, languages: int = 32
) -> dict[str, dict[str, float]]:
    """DPO from the same number of labels, by whose texts were compared.

    `reference`, pairs of two draws from π_ref; `part`, the same without a third of the texts; `other`, another
    writer, a random distribution over all texts; `best`, two draws from π*; `mixed`, each text from π_ref or
    from π* with even chances. Of each the means over languages of `gold`, `to_best`, KL(π ‖ π*), with its
    standard error `to_best_error`, and `kl`, KL(π ‖ π_ref). `optimum` is π* itself.
    """
    generator = torch.Generator().manual_seed(seed)
    worlds = [ToyWorld(1000 * seed + number) for number in range(languages)]
    logp_ref = torch.stack([world.logp_ref for world in worlds])
    rewards = torch.stack([world.rewards for world in worlds])
    best = tilted(logp_ref, rewards, kl_weight)
    shown = torch.stack([~hidden_texts(world.seed) for world in worlds])
    writers: Mapping[str, Tensor] = {
        "reference": logp_ref,
        "part": among(logp_ref, shown),
        "other": torch.stack([ToyWorld(world.seed + languages).logp_ref for world in worlds]),
        "best": best,
        "mixed": torch.logaddexp(logp_ref, best) - math.log(2),
    }

    def told(logp: Tensor) -> dict[str, float]:
        to_best = (logp.exp() * (logp - best)).sum(1)
        return {
            "gold": _mean((logp.exp() * rewards).sum(1)),
            "kl": _mean((logp.exp() * (logp - logp_ref)).sum(1)),
            "to_best": _mean(to_best),
            "to_best_error": float(to_best.std() / math.sqrt(languages)),
        }

    found = {"optimum": told(best)}
    for name, writer in writers.items():
        pairs = torch.stack(
            [
                drawn_pairs(logp, world.chances, labels, generator=generator)
                for logp, world in zip(writer, worlds, strict=True)
            ]
        )
        (fit,) = fitted_rewards(pairs / labels, looks=[steps])
        found[name] = told(tilted(logp_ref, fit, kl_weight))
    return found


# ---- labels without noise


def deterministic(
    *,
    seed: int,
    weights: Sequence[float] = (0.1, 1.0),
    rate: float = 0.05,
    looks: Sequence[int] = (0, 1, 3, 10, 30, 100, 300, 1000, 3000),
) -> dict[str, Any]:
    """DPO and IPO where the better text of a pair is always preferred, over all pairs of draws from π_ref.

    Along Adam's way, after the steps `step`, for names like `dpo 0.1` (β, for IPO τ): `kl`, KL(π ‖ π_ref);
    `kl_ref`, KL(π_ref ‖ π); `worst`, the log-ratio of the text with the lowest reward; `range`, the highest
    log-ratio less the lowest; `gold`. `most_kl` is −log π_ref of the best text: KL(π ‖ π_ref) of the policy that
    writes nothing else, where DPO tends with any β.

    IPO has a minimum, π_ref exp(P/τ)/Z, where P(y) is the chance that y is preferred to a draw from π_ref:
    `ipo_gap`, by τ, is the largest difference of log-ratios between L-BFGS's landing place and it.
    """
    world = ToyWorld(seed)
    never_wrong = torch.heaviside(leads(world.rewards), torch.tensor(0.5, dtype=torch.float64))
    pairs = pair_weights(world.logp_ref, never_wrong)
    liked = never_wrong @ world.logp_ref.exp()
    found: dict[str, Any] = {name: {} for name in ("kl", "kl_ref", "worst", "range", "gold", "ipo_gap")}
    for name, loss in (("dpo", dpo_loss), ("ipo", ipo_loss)):
        for weight in weights:
            priced = partial(expected_loss, partial(loss, kl_weight=weight), weights=pairs)
            for metric, curve in _followed(world, priced, rate=rate, looks=looks).items():
                found[metric][f"{name} {weight:g}"] = curve
    for weight in weights:
        logits = world.logp_ref.clone().requires_grad_()
        minimise(partial(_ipo_of_logits, world, pairs, weight, logits), logits)
        gap = logits.detach().log_softmax(0) - tilted(world.logp_ref, liked, weight)
        found["ipo_gap"][f"{weight:g}"] = float(gap.abs().max())
    most = -float(world.logp_ref[world.rewards.argmax()])
    return {**found, "step": list(looks), "most_kl": most, "best_gold": float(world.rewards.max())}


def _followed(world: ToyWorld, loss: Any, *, rate: float, looks: Sequence[int]) -> dict[str, list[float]]:
    """Adam's way from the reference, in numbers."""
    seen: dict[str, list[float]] = {name: [] for name in ("kl", "kl_ref", "worst", "range", "gold")}
    logits, worst = world.logp_ref.clone().requires_grad_(), world.rewards.argmin()
    for _ in descend(lambda: loss(logits.log_softmax(0) - world.logp_ref), logits, rate=rate, looks=looks):
        logp = logits.detach().log_softmax(0)
        ratios = logp - world.logp_ref
        seen["kl"].append(float(kl_divergence(logp, world.logp_ref)))
        seen["kl_ref"].append(float(kl_divergence(world.logp_ref, logp)))
        seen["worst"].append(float(ratios[worst]))
        seen["range"].append(float(ratios.max() - ratios.min()))
        seen["gold"].append(float(expectation(logp, world.rewards)))
    return seen


def _ipo_of_logits(world: ToyWorld, pairs: Tensor, weight: float, logits: Tensor) -> Tensor:
    ratios = logits.log_softmax(0) - world.logp_ref
    return expected_loss(partial(ipo_loss, kl_weight=weight), ratios, pairs)


def _mean(numbers: Tensor) -> float:
    return float(numbers.mean())
