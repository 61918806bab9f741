"""Exercises of chapter 07 on DPO's relatives: IPO, where it and DPO come to rest, KTO's point of reference."""

import math

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# ---------------------------------------------------------------------------------------------- 5 · IPO's loss


def ipo_loss(chosen: Tensor, rejected: Tensor, kl_weight: float) -> Tensor:
    """IPO's loss of each pair, from log-ratios (B,) and (B,): a lead of 1/(2τ), and no more."""
    return (chosen - rejected - 1 / (2 * kl_weight)).square()


def _weight_inside(chosen: Tensor, rejected: Tensor, kl_weight: float) -> Tensor:
    return (kl_weight * (chosen - rejected) - 0.5).square()


def _goal_is_the_weight(chosen: Tensor, rejected: Tensor, kl_weight: float) -> Tensor:
    return (chosen - rejected - kl_weight / 2).square()


def _half_forgotten(chosen: Tensor, rejected: Tensor, kl_weight: float) -> Tensor:
    return (chosen - rejected - 1 / kl_weight).square()


def _one_sided(chosen: Tensor, rejected: Tensor, kl_weight: float) -> Tensor:
    return torch.relu(1 / (2 * kl_weight) - (chosen - rejected)).square()


def _wrong_way(chosen: Tensor, rejected: Tensor, kl_weight: float) -> Tensor:
    return ipo_loss(rejected, chosen, kl_weight)


def _absolute(chosen: Tensor, rejected: Tensor, kl_weight: float) -> Tensor:
    return (chosen - rejected - 1 / (2 * kl_weight)).abs()


IPO = Exercise(
    title="IPO's loss",
    level="easy",
    minutes=5,
    hints=(
        "The lead h is that of DPO. No sigmoid: a square, which is 0 at one lead only.",
        "(h − 1/(2τ))², with τ as kl_weight. Too large a lead costs as much as one that is too small.",
    ),
    solution=ipo_loss,
    cases=lambda: [
        (torch.tensor([0.0, 6.0, -1.0]), torch.tensor([0.0, 1.0, -9.0]), 0.1),
        (torch.tensor([0.0, 2.0, -1.0]), torch.tensor([0.0, 1.0, 1.5]), 0.5),
    ],
    mistakes=(
        Mistake(_weight_inside, "Yours has its minimum where it should be, and is τ² times the loss. With AdamW hardly anything would change; beside a second term it would."),
        Mistake(_goal_is_the_weight, "The lead aimed at is 1/(2τ): the larger the price of a nat, the smaller the lead."),
        Mistake(_half_forgotten, "You aim at twice the lead. The minimum lies at 1/(2τ)."),
        Mistake(_one_sided, "Yours costs nothing beyond the goal, like a hinge. IPO pulls a lead back that has become too large: that is what keeps it near the reference."),
        Mistake(_wrong_way, "Your lead has the wrong sign."),
        Mistake(_absolute, "You take the absolute value. A square's pull grows with the distance; yours would be the same everywhere."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------ 6 · where each rests


def resting_leads(share: float, kl_weight: float) -> tuple[float, float]:
    """The leads h at which DPO and IPO are lowest on average, if the first answer wins a share of comparisons.

    A share in (0, 1]; where there is no lowest point, infinity.
    """
    dpo = math.inf if share == 1 else math.log(share / (1 - share)) / kl_weight
    ipo = (2 * share - 1) / (2 * kl_weight)
    return dpo, ipo


def _both_finite(share: float, kl_weight: float) -> tuple[float, float]:
    dpo = 1 / kl_weight if share == 1 else math.log(share / (1 - share)) / kl_weight
    return dpo, (2 * share - 1) / (2 * kl_weight)


def _ipo_whatever_the_share(share: float, kl_weight: float) -> tuple[float, float]:
    return resting_leads(share, kl_weight)[0], 1 / (2 * kl_weight)


def _log_odds_without_weight(share: float, kl_weight: float) -> tuple[float, float]:
    return resting_leads(share, 1.0)[0], resting_leads(share, kl_weight)[1]


def _log_of_the_share(share: float, kl_weight: float) -> tuple[float, float]:
    return math.log(share) / kl_weight, (2 * share - 1) / (2 * kl_weight)


def _divides_by_zero(share: float, kl_weight: float) -> tuple[float, float]:
    return math.log(share / (1 - share)) / kl_weight, (2 * share - 1) / (2 * kl_weight)


def _share_of_the_goal(share: float, kl_weight: float) -> tuple[float, float]:
    return resting_leads(share, kl_weight)[0], share / (2 * kl_weight)


RESTS = Exercise(
    title="Where DPO and IPO come to rest",
    level="medium",
    minutes=15,
    hints=(
        "On average a loss is p · loss(h) + (1 − p) · loss(−h). Where is its slope 0?",
        "For DPO where σ(β h) = p: h is the log-odds divided by β, and infinite where the first answer always wins, whatever β "
        "is. For IPO p (h − c) + (1 − p)(h + c) = 0 with c = 1/(2τ), so that h = (2p − 1) c.",
    ),
    solution=resting_leads,
    cases=lambda: [(0.75, 0.1), (0.5, 1.0), (1.0, 0.1), (0.9, 2.0), (1.0, 5.0), (0.2, 0.5)],
    mistakes=(
        Mistake(_both_finite, "If the first answer always wins, DPO's loss falls as long as the lead grows. There is no lowest point, and a larger β does not make one."),
        Mistake(_ipo_whatever_the_share, "1/(2τ) is where IPO rests if the first answer always wins. One comparison in four the other way pulls it back to half of that."),
        Mistake(_log_odds_without_weight, "What should equal the log-odds is β h, and not h."),
        Mistake(_log_of_the_share, "You solve for the logarithm of p. A lead is a log-odds: log(p/(1 − p)), divided by β."),
        Mistake(_divides_by_zero, "Right, but for a share of 1, where you divide by 0. DPO's lead then grows without end: return math.inf."),
        Mistake(_share_of_the_goal, "At p = ½ neither answer is preferred, and the lead should be 0; yours is not. Lost comparisons pull the other way, too."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------ 7 · KTO's point of reference


def kto_losses(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    """KTO's loss of each of B answers: log_ratios (B, B), those of answer j behind prompt i; desirable (B,) bool.

    The baseline is the mean log-ratio of each prompt with the answer of the row before it (the first with the
    last), and at least 0.
    """
    rows = torch.arange(len(log_ratios))
    baseline = log_ratios[rows, rows - 1].mean().clamp(min=0)
    gain = kl_weight * (log_ratios.diagonal() - baseline)
    return torch.where(desirable, torch.sigmoid(-gain), torch.sigmoid(gain))


def _with_baseline(log_ratios: Tensor, desirable: Tensor, kl_weight: float, baseline: Tensor) -> Tensor:
    gain = kl_weight * (log_ratios.diagonal() - baseline)
    return torch.where(desirable, torch.sigmoid(-gain), torch.sigmoid(gain))


def _not_clamped(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    rows = torch.arange(len(log_ratios))
    return _with_baseline(log_ratios, desirable, kl_weight, log_ratios[rows, rows - 1].mean())


def _own_answers(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    return _with_baseline(log_ratios, desirable, kl_weight, log_ratios.diagonal().mean().clamp(min=0))


def _moved_back(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    rows = torch.arange(len(log_ratios))
    moved = log_ratios[rows, (rows + 1) % len(rows)]
    return _with_baseline(log_ratios, desirable, kl_weight, moved.mean().clamp(min=0))


def _every_pairing(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    apart = log_ratios[~torch.eye(len(log_ratios), dtype=torch.bool)]
    return _with_baseline(log_ratios, desirable, kl_weight, apart.mean().clamp(min=0))


def _clamped_one_by_one(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    rows = torch.arange(len(log_ratios))
    return _with_baseline(log_ratios, desirable, kl_weight, log_ratios[rows, rows - 1].clamp(min=0).mean())


def _all_desirable(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    return kto_losses(log_ratios, torch.ones_like(desirable), kl_weight)


def _values(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    return 1 - kto_losses(log_ratios, desirable, kl_weight)


def _log_loss(log_ratios: Tensor, desirable: Tensor, kl_weight: float) -> Tensor:
    return -(1 - kto_losses(log_ratios, desirable, kl_weight)).log()


def _batches() -> list[tuple]:
    draw = torch.Generator().manual_seed(0)
    table = 4 * torch.randn(4, 4, generator=draw)
    small = torch.tensor(
        [[3.0, 1.5, 2.0], [1.0, -1.0, 3.0], [0.0, 4.0, 4.0]]
    )  # behind other prompts: 2, 1 and 4
    return [
        (small, torch.tensor([True, False, True]), 0.1),
        (small - 5, torch.tensor([True, False, False]), 0.5),  # their mean is −2 2/3: the baseline is 0
        (table, torch.tensor([False, True, True, False]), 0.3),
    ]


BASELINE = Exercise(
    title="KTO's point of reference",
    level="medium",
    minutes=20,
    hints=(
        "The answers' own log-ratios stand on the diagonal. Row i's prompt with the answer of row i − 1 stands at [i, i − 1], "
        "and for row 0 the index −1 is the last.",
        "z₀ is the mean of those B numbers, then clamped at 0. The loss is 1 − σ(β (u − z₀)) for a desirable answer, "
        "1 − σ(β (z₀ − u)) for the others, and 1 − σ(x) = σ(−x).",
    ),
    solution=kto_losses,
    cases=_batches,
    mistakes=(
        Mistake(_not_clamped, "A KL is never negative, and an estimate from a few answers may be: clamp its mean at 0."),
        Mistake(_own_answers, "Your baseline is the mean of the answers that are judged. Their log-ratios are being pushed, up and down; the point of reference should come from answers that are not."),
        Mistake(_moved_back, "You move the answers the other way round. Any prompt but their own would do; here it is the row after theirs, so that prompt i gets answer i − 1."),
        Mistake(_every_pairing, "You average over all pairings. A better estimate, at B − 1 times the cost: each pairing is a pass through both models. KTO takes B of them."),
        Mistake(_clamped_one_by_one, "You clamp each log-ratio. Only their mean estimates a KL; clamped one by one, what scatters around 0 has a mean above it."),
        Mistake(_all_desirable, "You treat every answer as desirable. For the others the sign inside σ is turned."),
        Mistake(_values, "You return the values v, which are to grow. The loss is 1 − v."),
        Mistake(_log_loss, "You take −log of the value. KTO does not: its loss is 1 − v, which is flat far out on either side, so that a hopeless label is left alone."),
    ),
)  # fmt: skip
