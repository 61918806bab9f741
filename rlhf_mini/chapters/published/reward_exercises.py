"""Exercises of chapter 13 on rewards: the weight of a rubric, as for GPT-4, and InternLM2's ranking loss."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.reader import Exercise, Mistake

Numbers = list[float]

# --------------------------------------------------------------------------- 1 · how much a rubric must weigh


def rubric_weight(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    """The smallest weight λ ≥ 0 of a rubric's reward at which wished answers win on a share of all prompts.

    There are two answers to each of N prompts, one that the rubric wishes for and one that it does not.
    `wished[i]` and `other[i]` are their scores by the reward model, and `lead[i]`, above 0, is by how much
    the rubric values the wished one more. A prompt is won if wished[i] + λ · lead[i] ≥ other[i]. At least
    `share` · N prompts must be won; `share` is above 0 and at most 1.

    GPT-4's report says that such weights were computed, and not how. This rule is the book's.
    """
    needed = sorted((o - w) / gain for w, o, gain in zip(wished, other, lead, strict=True))
    won = math.ceil(share * len(needed) - 1e-9)  # 0.28 · 25 is 7.000000000000001
    return max(0.0, needed[won - 1])


def _needed(wished: Numbers, other: Numbers, lead: Numbers) -> Numbers:
    return sorted((o - w) / gain for w, o, gain in zip(wished, other, lead, strict=True))


def _of_every_prompt(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    return max(0.0, _needed(wished, other, lead)[-1])


def _below_zero(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    return _needed(wished, other, lead)[math.ceil(share * len(lead) - 1e-9) - 1]


def _turned_round(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    return rubric_weight(other, wished, lead, share)


def _not_divided(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    return rubric_weight(wished, other, [1.0] * len(lead), share)


def _mean_lead(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    return rubric_weight(wished, other, [sum(lead) / len(lead)] * len(lead), share)


def _rounded_down(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    return max(0.0, _needed(wished, other, lead)[int(share * len(lead) + 1e-9) - 1])


def _one_too_far(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    place = math.ceil(share * len(lead) - 1e-9)
    return max(0.0, _needed(wished, other, lead)[min(place, len(lead) - 1)])


def _interpolated(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    return max(0.0, float(np.quantile(_needed(wished, other, lead), share)))


def _of_those_lost(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    lost = [one for one in _needed(wished, other, lead) if one > 0]
    return lost[math.ceil(share * len(lost) - 1e-9) - 1] if lost else 0.0


def _most_stubborn_first(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    return max(0.0, _needed(wished, other, lead)[::-1][math.ceil(share * len(lead) - 1e-9) - 1])


def _mean_need(wished: Numbers, other: Numbers, lead: Numbers, share: float) -> float:
    needed = _needed(wished, other, lead)
    return max(0.0, sum(needed) / len(needed))


_SCORES = ([0.5, 2.0, -1.0, 0.0, 1.0], [1.5, 0.0, 2.0, 0.9, 0.2], [0.5, 1.0, 2.0, 0.3, 1.0])

RUBRIC_WEIGHT = Exercise(
    title="How much a rubric must weigh (GPT-4)",
    level="medium",
    minutes=15,
    hints=(
        "Each prompt by itself needs a weight of (other − wished)/lead. Any weight at least as large wins "
        "it.",
        "Sort the N needed weights and take the one with the number ⌈share · N⌉, counted from 1; "
        "if it is negative, return 0.",
    ),
    solution=rubric_weight,
    cases=lambda: [
        ([0.0, 1.0], [3.0, 0.0], [2.0, 2.0], 1.0),
        (*_SCORES, 0.6),
        (*_SCORES, 0.8),
        (*_SCORES, 0.2),
        ([2.0, 3.0], [1.0, 1.0], [1.0, 0.5], 1.0),
        ([1.0, 0.0, 2.0, -1.0], [0.5, 1.0, 2.6, 3.0], [1.0, 4.0, 0.5, 1.0], 0.7),
        ([1.0, 2.0, 0.0], [0.0, 1.0, 0.5], [1.0, 1.0, 1.0], 0.5),
    ],
    mistakes=(
        Mistake(
            _of_every_prompt,
            "You win every prompt, whatever the share. A single stubborn prompt then decides how much the "
            "rubric weighs on all others.",
        ),
        Mistake(
            _below_zero,
            "Your weight can be negative. Where the reward model is right by itself on enough prompts, the "
            "rubric has nothing to overcome, and its weight is 0; a negative one would work against it.",
        ),
        Mistake(
            _turned_round,
            "You have the two scores exchanged: it is the wished answer that is behind by other − wished.",
        ),
        Mistake(
            _not_divided,
            "You do not divide by the lead. What the weighted rubric adds to the difference is λ · lead, so "
            "a prompt whose lead is 2 needs half the weight.",
        ),
        Mistake(
            _mean_lead,
            "You divide by the mean lead. Each prompt has a lead of its own, and needs (other − "
            "wished)/lead.",
        ),
        Mistake(
            _rounded_down,
            "You round share · N down. Of four prompts a share of 0.7 takes three: with two it is not "
            "reached.",
        ),
        Mistake(
            _one_too_far,
            "You are one place too far: the first of the sorted weights has the number 0 in Python, so that "
            "number ⌈share · N⌉ stands at place ⌈share · N⌉ − 1.",
        ),
        Mistake(
            _interpolated,
            "You take an interpolated quantile. Between two needed weights it wins fewer prompts than asked "
            "for, or costs more than it must: take one of the needed weights themselves.",
        ),
        Mistake(
            _of_those_lost,
            "Your share is one of the prompts that the reward model gets wrong. Asked for is a share of all "
            "N, and those that it gets right count as won.",
        ),
        Mistake(
            _most_stubborn_first,
            "You sorted from the largest down. Then the easiest prompts are given up and not the most "
            "stubborn.",
        ),
        Mistake(
            _mean_need,
            "You return the mean of the needed weights. Nothing is said of how many prompts it wins.",
        ),
    ),
    tolerance=1e-9,
)


# ---------------------------------------------------------------- 2 · the focal ranking loss, and its barrier


def focal_ranking_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """InternLM2's loss of a reward model, one number a pair, (B,).

    `chosen` and `rejected` (B,) are the scores r_w and r_l of the preferred and of the other answer, all
    between −5 and 5. With P = σ(r_w − r_l), where σ is the logistic function, the loss of a pair is

        −(1 − 2 max(0, P − ½))² log P + 0.02 (b(r_w) + b(r_l)),   b(r) = −(log(r + 5) + log(5 − r)).

    The first term is the pairwise loss with a weight that is 1 for pairs ranked wrong and falls to 0 for
    pairs ranked right; b is a barrier that rises where a score comes near −5 or 5.
    """
    lead = chosen - rejected
    weight = (1 - 2 * (torch.sigmoid(lead) - 0.5).clamp(min=0)) ** 2
    walls = torch.log(25 - chosen**2) + torch.log(25 - rejected**2)  # (r + 5)(5 − r) = 25 − r²
    return -weight * logsigmoid(lead) - 0.02 * walls


def _barrier(scores: Tensor) -> Tensor:
    """b of `focal_ranking_loss`."""
    return -(torch.log(scores + 5) + torch.log(5 - scores))


def _with_weight(weight: Tensor, chosen: Tensor, rejected: Tensor) -> Tensor:
    return -weight * logsigmoid(chosen - rejected) + 0.02 * (_barrier(chosen) + _barrier(rejected))


def _weight(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (1 - 2 * (torch.sigmoid(chosen - rejected) - 0.5).clamp(min=0)) ** 2


def _of_detection(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _with_weight((1 - torch.sigmoid(chosen - rejected)) ** 2, chosen, rejected)


def _wrong_ones_above_one(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _with_weight((1 - 2 * (torch.sigmoid(chosen - rejected) - 0.5)) ** 2, chosen, rejected)


def _not_squared(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _with_weight(_weight(chosen, rejected) ** 0.5, chosen, rejected)


def _right_ones_kept(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _with_weight(
        (1 - 2 * (0.5 - torch.sigmoid(chosen - rejected)).clamp(min=0)) ** 2, chosen, rejected
    )


def _plain(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _with_weight(torch.ones_like(chosen), chosen, rejected)


def _other_order(chosen: Tensor, rejected: Tensor) -> Tensor:
    return focal_ranking_loss(rejected, chosen)


def _barrier_pulls_out(chosen: Tensor, rejected: Tensor) -> Tensor:
    return focal_ranking_loss(chosen, rejected) - 0.04 * (_barrier(chosen) + _barrier(rejected))


def _barrier_of_one(chosen: Tensor, rejected: Tensor) -> Tensor:
    return focal_ranking_loss(chosen, rejected) - 0.02 * _barrier(rejected)


def _barrier_halved(chosen: Tensor, rejected: Tensor) -> Tensor:
    return focal_ranking_loss(chosen, rejected) - 0.01 * (_barrier(chosen) + _barrier(rejected))


def _barrier_of_the_lead(chosen: Tensor, rejected: Tensor) -> Tensor:
    focal = -_weight(chosen, rejected) * logsigmoid(chosen - rejected)
    return focal + 0.02 * _barrier(chosen - rejected)


def _no_barrier(chosen: Tensor, rejected: Tensor) -> Tensor:
    return -_weight(chosen, rejected) * logsigmoid(chosen - rejected)


FOCAL = Exercise(
    title="Focal ranking with a barrier (InternLM2)",
    level="medium",
    minutes=15,
    hints=(
        "torch.sigmoid(chosen − rejected) is P, and (P − 0.5).clamp(min=0) is max(0, P − ½). At P = ½ the "
        "weight is 1, and at P = ¾ it is a quarter.",
        "−weight · logsigmoid(chosen − rejected), plus 0.02 times the barrier of each of the two scores; "
        "nothing is averaged.",
    ),
    solution=focal_ranking_loss,
    cases=lambda: [
        (torch.tensor([1.0, -0.5, 0.0]).double(), torch.tensor([0.0, 1.5, 0.0]).double()),
        (torch.tensor([4.5, 2.0]).double(), torch.tensor([0.5, 3.5]).double()),
        (torch.tensor([-1.0, 3.0, -4.0]).double(), torch.tensor([-3.0, 0.0, -1.5]).double()),
    ],
    mistakes=(
        Mistake(
            _of_detection,
            "Your weight is (1 − P)², the focal loss of object detection. Here it begins to fall only at P "
            "= ½, where yours is a quarter already; pairs ranked wrong keep a weight of 1.",
        ),
        Mistake(
            _wrong_ones_above_one,
            "You left the maximum with 0 out: pairs ranked wrong get weights up to 4. The loss gives less to "
            "pairs ranked right, and never more than 1 to the others.",
        ),
        Mistake(_not_squared, "Your weight is not squared. The exponent γ is 2."),
        Mistake(
            _right_ones_kept,
            "Your weight falls where P is below ½, so that pairs ranked wrong count for little. Those are "
            "the ones with something to learn: take max(0, P − ½) and not max(0, ½ − P).",
        ),
        Mistake(
            _plain, "You left the weight out: this is the plain pairwise loss with the barrier beside it."
        ),
        Mistake(
            _other_order,
            "You have the two scores exchanged: P = σ(chosen − rejected) is the chance that the preferred "
            "answer is preferred.",
        ),
        Mistake(
            _barrier_pulls_out,
            "Your barrier has the wrong sign. It must be lowest at 0 and rise towards −5 and 5; yours "
            "rewards scores that go there.",
        ),
        Mistake(_barrier_of_one, "The barrier holds both scores, that of the rejected answer as well."),
        Mistake(
            _barrier_halved,
            "You average the two barriers. The loss of a pair has 0.02 times their sum.",
        ),
        Mistake(
            _barrier_of_the_lead,
            "You put the difference of the scores into the barrier. The difference may be as large as it "
            "likes: what must stay between −5 and 5 is each score.",
        ),
        Mistake(_no_barrier, "The barrier is missing: 0.02 (b(r_w) + b(r_l))."),
    ),
    tolerance=1e-6,
)
