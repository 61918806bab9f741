"""Exercises of chapter 07 on DPO: a pair by hand, its loss, what its gradient weighs, what a policy says of rewards.

`family_exercises` and `length_exercises` have those on DPO's relatives, `exercises` the open one and their order.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rlhf_mini.reader import Exercise, Mistake

# --------------------------------------------------------------------------------------------- 1 · a pair by hand


def pair_by_hand(
    chosen: list[float],
    chosen_ref: list[float],
    rejected: list[float],
    rejected_ref: list[float],
    kl_weight: float,
) -> tuple[float, float]:
    """The implied lead β h and DPO's loss of one pair, from the probabilities of the answers' tokens."""
    ratio_of_chosen = math.prod(chosen) / math.prod(chosen_ref)
    ratio_of_rejected = math.prod(rejected) / math.prod(rejected_ref)
    lead = kl_weight * (math.log(ratio_of_chosen) - math.log(ratio_of_rejected))
    return lead, math.log(1 + math.exp(-lead))


def _hand(lead: float, kl_weight: float) -> tuple[float, float]:
    return kl_weight * lead, math.log(1 + math.exp(-kl_weight * lead))


def _logs(*answers: list[float]) -> list[float]:
    return [math.log(math.prod(answer)) for answer in answers]


def _mean_per_token(
    chosen: list[float],
    chosen_ref: list[float],
    rejected: list[float],
    rejected_ref: list[float],
    kl_weight: float,
) -> tuple[float, float]:
    better, better_ref, worse, worse_ref = _logs(chosen, chosen_ref, rejected, rejected_ref)
    return _hand((better - better_ref) / len(chosen) - (worse - worse_ref) / len(rejected), kl_weight)


def _no_reference(
    chosen: list[float],
    chosen_ref: list[float],
    rejected: list[float],
    rejected_ref: list[float],
    kl_weight: float,
) -> tuple[float, float]:
    better, worse = _logs(chosen, rejected)
    return _hand(better - worse, kl_weight)


def _last_token(
    chosen: list[float],
    chosen_ref: list[float],
    rejected: list[float],
    rejected_ref: list[float],
    kl_weight: float,
) -> tuple[float, float]:
    return pair_by_hand(chosen[-1:], chosen_ref[-1:], rejected[-1:], rejected_ref[-1:], kl_weight)


def _probabilities(
    chosen: list[float],
    chosen_ref: list[float],
    rejected: list[float],
    rejected_ref: list[float],
    kl_weight: float,
) -> tuple[float, float]:
    lead = math.prod(chosen) - math.prod(chosen_ref) - math.prod(rejected) + math.prod(rejected_ref)
    return _hand(lead, kl_weight)


def _summed(
    chosen: list[float],
    chosen_ref: list[float],
    rejected: list[float],
    rejected_ref: list[float],
    kl_weight: float,
) -> tuple[float, float]:
    lead = math.log(sum(chosen) / sum(chosen_ref)) - math.log(sum(rejected) / sum(rejected_ref))
    return _hand(lead, kl_weight)


def _no_weight(
    chosen: list[float],
    chosen_ref: list[float],
    rejected: list[float],
    rejected_ref: list[float],
    kl_weight: float,
) -> tuple[float, float]:
    return pair_by_hand(chosen, chosen_ref, rejected, rejected_ref, 1.0)


def _upside_down(
    chosen: list[float],
    chosen_ref: list[float],
    rejected: list[float],
    rejected_ref: list[float],
    kl_weight: float,
) -> tuple[float, float]:
    return pair_by_hand(rejected, rejected_ref, chosen, chosen_ref, kl_weight)


PAIR = Exercise(
    title="A pair by hand",
    level="easy",
    minutes=10,
    hints=(
        "The probability of an answer is the product of its tokens' probabilities. For each answer, divide the policy's by "
        "the reference's, and take the logarithm.",
        "h is the log-ratio of the chosen answer less that of the rejected one. The lead is β h, and the loss −log σ(β h) = "
        "log(1 + e^(−β h)).",
    ),
    solution=pair_by_hand,
    cases=lambda: [
        ([0.5, 0.4, 0.9], [0.25, 0.4, 0.9], [0.2, 0.5, 0.5], [0.2, 0.5, 0.5], 1.0),  # twice as likely: 2 to 1
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0.1, 0.9, 0.9], [0.1, 0.9, 0.9], 0.1),
        ([0.3, 0.8], [0.6, 0.8], [0.5, 0.2, 0.7], [0.5, 0.8, 0.7], 0.5),  # both fell, the rejected one further
    ],
    mistakes=(
        Mistake(_mean_per_token, "You take the mean over the tokens. DPO's log-ratio is that of the whole answer, a sum. (Tülu 3 does take the mean, with a β of 5.)"),
        Mistake(_no_reference, "Your lead has no reference in it: an answer that was likely before any training would count as preferred."),
        Mistake(_last_token, "You look at the last token only. Every token of an answer has its factor."),
        Mistake(_probabilities, "You subtract probabilities. What is compared are their ratios, by their logarithms: 0.02 against 0.01 is as much as 0.8 against 0.4."),
        Mistake(_summed, "You add the tokens' probabilities. The probability of an answer is their product."),
        Mistake(_no_weight, "Your h is right, and β is missing from it."),
        Mistake(_upside_down, "Your sign is wrong: the chosen answer comes first, the rejected one is subtracted."),
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- 2 · DPO's loss


def dpo_loss(
    chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, kl_weight: float
) -> Tensor:
    """DPO's loss of each pair, from the log-probabilities of whole answers: four (B,) -> (B,)."""
    lead = (chosen - chosen_ref) - (rejected - rejected_ref)
    return softplus(-kl_weight * lead)


def _exchanged(
    chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, kl_weight: float
) -> Tensor:
    return dpo_loss(rejected, chosen, rejected_ref, chosen_ref, kl_weight)


def _reference_added(
    chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, kl_weight: float
) -> Tensor:
    return softplus(-kl_weight * ((chosen - rejected) + (chosen_ref - rejected_ref)))


def _reference_left_out(
    chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, kl_weight: float
) -> Tensor:
    return softplus(-kl_weight * (chosen - rejected))


def _weight_outside(
    chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, kl_weight: float
) -> Tensor:
    return kl_weight * dpo_loss(chosen, rejected, chosen_ref, rejected_ref, 1.0)


def _overflows(
    chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, kl_weight: float
) -> Tensor:
    return -torch.log(torch.sigmoid(kl_weight * ((chosen - chosen_ref) - (rejected - rejected_ref))))


def _each_by_itself(
    chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, kl_weight: float
) -> Tensor:
    return softplus(-kl_weight * (chosen - chosen_ref)) + softplus(kl_weight * (rejected - rejected_ref))


def _averaged(
    chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, kl_weight: float
) -> Tensor:
    return dpo_loss(chosen, rejected, chosen_ref, rejected_ref, kl_weight).mean()


def _answers() -> list[tuple]:
    chosen, rejected = torch.tensor([-10.0, -31.5, -8.0]), torch.tensor([-12.0, -30.0, -9.5])
    chosen_ref, rejected_ref = torch.tensor([-11.0, -28.0, -8.0]), torch.tensor([-11.5, -24.0, -9.5])
    far = torch.tensor([-900.0]), torch.tensor([-100.0]), torch.tensor([-150.0]), torch.tensor([-160.0])
    return [
        (chosen, rejected, chosen_ref, rejected_ref, 0.1),
        (chosen, rejected, chosen_ref, rejected_ref, 1.0),
        (*far, 1.0),
    ]


LOSS = Exercise(
    title="DPO's loss",
    level="easy",
    minutes=10,
    hints=(
        "A log-ratio for each answer, policy less reference; then the chosen answer's less the rejected one's.",
        "With that lead h it is the loss of a reward model: −log σ(β h), one number a pair. Far on the wrong side σ rounds to 0, "
        "so use logsigmoid or softplus.",
    ),
    solution=dpo_loss,
    cases=_answers,
    mistakes=(
        Mistake(_exchanged, "Your signs teach the policy to prefer what was rejected."),
        Mistake(_reference_added, "The reference stands there with the wrong sign. A policy that equals it should cost log 2 per pair; yours does not."),
        Mistake(_reference_left_out, "The reference is missing, and with it everything that keeps the policy near where it began."),
        Mistake(_weight_outside, "β stands outside the sigmoid, where it changes the step and not the optimum. Inside, it says how far to go."),
        Mistake(_overflows, "Right as a formula, but far on the wrong side σ is 0 in float32 and its logarithm −∞. Use logsigmoid or softplus."),
        Mistake(_each_by_itself, "You treat each answer by itself. The log Z of the derivation cancels in the difference of both, inside one sigmoid, and only there."),
        Mistake(_averaged, "You return the mean. Return one loss a pair."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 3 · which pair pulls hardest


def pulls(chosen: Tensor, rejected: Tensor, kl_weight: float) -> tuple[Tensor, int]:
    """What DPO's gradient weighs each pair with, from log-ratios (B,) and (B,), and which weighs most."""
    weights = kl_weight * torch.sigmoid(-kl_weight * (chosen - rejected))
    return weights, int(weights.argmax())


def _most_sure(chosen: Tensor, rejected: Tensor, kl_weight: float) -> tuple[Tensor, int]:
    weights = kl_weight * torch.sigmoid(kl_weight * (chosen - rejected))
    return weights, int(weights.argmax())


def _least_sure(chosen: Tensor, rejected: Tensor, kl_weight: float) -> tuple[Tensor, int]:
    chance = torch.sigmoid(kl_weight * (chosen - rejected))
    weights = kl_weight * chance * (1 - chance)
    return weights, int(weights.argmax())


def _all_alike(chosen: Tensor, rejected: Tensor, kl_weight: float) -> tuple[Tensor, int]:
    return torch.full_like(chosen, kl_weight / 2), 0


def _doubt_alone(chosen: Tensor, rejected: Tensor, kl_weight: float) -> tuple[Tensor, int]:
    weights = torch.sigmoid(-kl_weight * (chosen - rejected))
    return weights, int(weights.argmax())


def _by_the_loss(chosen: Tensor, rejected: Tensor, kl_weight: float) -> tuple[Tensor, int]:
    weights = softplus(-kl_weight * (chosen - rejected))
    return weights, int(weights.argmax())


def _fallen_most(chosen: Tensor, rejected: Tensor, kl_weight: float) -> tuple[Tensor, int]:
    weights, _ = pulls(chosen, rejected, kl_weight)
    return weights, int(chosen.argmin())


def _four_pairs() -> list[tuple]:
    chosen, rejected = torch.tensor([4.0, -9.0, 0.0, 2.0]), torch.tensor([-4.0, -20.0, 0.0, 7.0])
    return [
        (chosen, rejected, 0.1),
        (chosen, rejected, 1.0),
        (torch.tensor([-30.0, 1.0]), torch.tensor([-29.0, 3.0]), 0.5),
    ]


PULL = Exercise(
    title="Which pair pulls hardest",
    level="medium",
    minutes=15,
    hints=(
        "Differentiate −log σ(u) by u: it is −σ(−u). The chain rule gives what stands before the gradient of h.",
        "With u = β h the gradient is −β σ(−β h) (∇log π(chosen) − ∇log π(rejected)). The weight is β σ(−β h): large where the "
        "policy's own lead has the wrong sign.",
    ),
    solution=pulls,
    cases=_four_pairs,
    mistakes=(
        Mistake(_most_sure, "Yours pulls hardest where the policy is surest already. The sign inside σ is wrong: the weight is the probability that the policy still gives to the wrong choice."),
        Mistake(_least_sure, "p(1 − p) is the slope of the probability. Differentiate its logarithm: a pair that is far on the wrong side keeps its full weight."),
        Mistake(_all_alike, "That is the weight before the first step, where every lead is 0. If it stayed so, nothing would ever be learned enough, and the policy would run away."),
        Mistake(_doubt_alone, "The weights are right up to a factor: h stands behind a β, and the chain rule brings it to the front."),
        Mistake(_by_the_loss, "Those are the losses. Which pair costs most and which pulls hardest is the same order here, and not the same number."),
        Mistake(_fallen_most, "Your weights are right. How far the chosen answer fell by itself does not matter, only how far it leads the rejected one."),
    ),
)  # fmt: skip


# -------------------------------------------------------------------------------- 4 · what a policy says of rewards


def reward_leads(logp: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    """By how much each answer's reward is above each other's, (V, V), if `logp` is the optimum: log-probs (V,), (V,)."""
    rewards = kl_weight * (logp - logp_ref)  # up to β log Z, which is the same for all answers to a prompt
    return rewards[:, None] - rewards[None, :]


def _as_rewards(logp: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    return kl_weight * (logp - logp_ref)


def _divided(logp: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    return reward_leads(logp, logp_ref, 1 / kl_weight)


def _without_the_reference(logp: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    return reward_leads(logp, torch.zeros_like(logp), kl_weight)


def _transposed(logp: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    return reward_leads(logp, logp_ref, kl_weight).T


def _ratios(logp: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    ratio = kl_weight * (logp - logp_ref).exp()
    return ratio[:, None] - ratio[None, :]


def _weight_left_out(logp: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    return reward_leads(logp, logp_ref, 1.0)


def _optima() -> list[tuple]:
    start = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    rewards = torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    other, prices = torch.randn(2, 5, generator=draw, dtype=torch.float64)
    return [
        ((start + rewards / 2.0).log_softmax(0), start, 2.0),
        ((start + (rewards + 100) / 0.5).log_softmax(0), start, 0.5),  # 100 more for every answer
        ((other.log_softmax(0) + prices / 0.1).log_softmax(0), other.log_softmax(0), 0.1),
    ]


INVERTED = Exercise(
    title="What a policy says of rewards",
    level="medium",
    minutes=15,
    hints=(
        "Solve π* = π_ref exp(r/β)/Z for r. One term is the same for all answers to a prompt.",
        "r = β log(π*/π_ref) + β log Z. Nothing in π* tells Z: 100 more for every answer give the same policy. So return "
        "differences, row i less column j, in which β log Z cancels. They are all that any comparison of two answers can tell.",
    ),
    solution=reward_leads,
    cases=_optima,
    mistakes=(
        Mistake(_as_rewards, "You return β log(π*/π_ref) as the rewards. They are known up to β log Z only, whatever the method: return the differences, (V, V)."),
        Mistake(_divided, "You divide by β. The exponent is r/β, and solving for r brings β to the other side."),
        Mistake(_without_the_reference, "The reference is missing: an answer that was common to begin with would seem well rewarded."),
        Mistake(_transposed, "Your sign is wrong: row i less column j."),
        Mistake(_ratios, "You subtract the ratios. The reward is in their logarithm."),
        Mistake(_weight_left_out, "The differences are right but for their unit: log-ratios are in nats, and β says what a nat is worth."),
    ),
    tolerance=1e-8,
)  # fmt: skip
