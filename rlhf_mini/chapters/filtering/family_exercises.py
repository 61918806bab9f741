"""Exercises of chapter 09 on ReST's relatives: RRHF's loss, pass@k, the weights of advantages."""

import itertools
import math

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# ------------------------------------------------------------------------------------------------ 5 · RRHF's loss


def rrhf_loss(logps: list[Tensor], rewards: list[float], ranking_weight: float) -> float:
    """RRHF's loss of one prompt: `logps` holds, for each of K answers, the log-probabilities of its tokens.

    The ranking term is a sum over all pairs with different rewards; it is multiplied by `ranking_weight`. The best
    answer's likelihood is a sum over its tokens, as in the paper.
    """
    means = [float(tokens.mean()) for tokens in logps]
    ranking = sum(
        max(0.0, means[i] - means[j])
        for i in range(len(means))
        for j in range(len(means))
        if rewards[i] < rewards[j]
    )
    return ranking_weight * ranking - float(logps[rewards.index(max(rewards))].sum())


def _sums_ranked(logps: list[Tensor], rewards: list[float], ranking_weight: float) -> float:
    sums = [float(tokens.sum()) for tokens in logps]
    pairs = [(i, j) for i in range(len(sums)) for j in range(len(sums)) if rewards[i] < rewards[j]]
    ranking = sum(max(0.0, sums[i] - sums[j]) for i, j in pairs)
    return ranking_weight * ranking - sums[rewards.index(max(rewards))]


def _mean_learned(logps: list[Tensor], rewards: list[float], ranking_weight: float) -> float:
    best = logps[rewards.index(max(rewards))]
    return rrhf_loss(logps, rewards, ranking_weight) + float(best.sum() - best.mean())


def _wrong_way(logps: list[Tensor], rewards: list[float], ranking_weight: float) -> float:
    turned = rrhf_loss(logps, [-reward for reward in rewards], ranking_weight)
    worst, best = (logps[rewards.index(end(rewards))] for end in (min, max))
    return turned + float(worst.sum() - best.sum())


def _without_hinge(logps: list[Tensor], rewards: list[float], ranking_weight: float) -> float:
    means = [float(tokens.mean()) for tokens in logps]
    pairs = [(i, j) for i in range(len(means)) for j in range(len(means)) if rewards[i] < rewards[j]]
    ranking = sum(means[i] - means[j] for i, j in pairs)
    return ranking_weight * ranking - float(logps[rewards.index(max(rewards))].sum())


def _neighbours(logps: list[Tensor], rewards: list[float], ranking_weight: float) -> float:
    means = [float(tokens.mean()) for tokens in logps]
    order = sorted(range(len(means)), key=lambda place: rewards[place])
    pairs = [(i, j) for i, j in itertools.pairwise(order) if rewards[i] < rewards[j]]
    ranking = sum(max(0.0, means[i] - means[j]) for i, j in pairs)
    return ranking_weight * ranking - float(logps[rewards.index(max(rewards))].sum())


def _likeliest_learned(logps: list[Tensor], rewards: list[float], ranking_weight: float) -> float:
    sums = [float(tokens.sum()) for tokens in logps]
    best = sums[rewards.index(max(rewards))]
    return rrhf_loss(logps, rewards, ranking_weight) + best - max(sums)


def _weight_on_the_other(logps: list[Tensor], rewards: list[float], ranking_weight: float) -> float:
    best = float(logps[rewards.index(max(rewards))].sum())
    return rrhf_loss(logps, rewards, 1.0) + best - ranking_weight * best


def _answers() -> list[tuple]:
    first = [torch.tensor([-1.0, -2.0]), torch.tensor([-3.0]), torch.tensor([-0.5, -0.5, -2.0])]
    tied = [
        torch.tensor([-1.0]),
        torch.tensor([-2.0, -4.0]),
        torch.tensor([-2.5, -1.5]),
        torch.tensor([-0.2, -0.3]),
    ]
    return [
        (first, [0.0, 2.0, 1.0], 1.0),
        (first, [0.0, 2.0, 1.0], 100.0),
        (tied, [1.0, 1.0, 3.0, 0.0], 2.0),
    ]


RRHF = Exercise(
    title="RRHF's loss of one prompt",
    level="medium",
    minutes=15,
    hints=(
        "Two averages live here: the order is one of *means* over tokens, the likelihood that is learned a *sum*.",
        "For all pairs with r_i < r_j add max(0, p_i − p_j), p being the means. Multiply by the weight, and take off the summed "
        "log-probability of the answer with the highest reward.",
    ),
    solution=rrhf_loss,
    cases=_answers,
    mistakes=(
        Mistake(_sums_ranked, "You rank sums of log-probabilities. A longer answer is less likely whatever its worth; RRHF ranks means over tokens."),
        Mistake(_mean_learned, "You take the mean over the best answer's tokens, as the published program does, or nearly. The paper's second term is a sum: it weighs more by the answer's length."),
        Mistake(_wrong_way, "Your order is turned round: what costs is a worse answer (r_i < r_j) that is *likelier* than a better one."),
        Mistake(_without_hinge, "Without max(0, ·) a pair in the right order earns something, and the loss has no end. A hinge leaves it alone."),
        Mistake(_neighbours, "You compare neighbours in the order only. RRHF compares every pair with different rewards."),
        Mistake(_likeliest_learned, "You learn the answer that is likeliest already. It is the best one that should become likelier."),
        Mistake(_weight_on_the_other, "Your weight stands on the likelihood. It belongs to the ranking term."),
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- 6 · pass@k


def pass_at_k(drawn: int, right: int, k: int) -> float:
    """The chance that at least one of k solutions is right, estimated without bias from n drawn, c of them right."""
    return 1 - math.comb(drawn - right, k) / math.comb(drawn, k)


def _plugged_in(drawn: int, right: int, k: int) -> float:
    return 1 - (1 - right / drawn) ** k


def _share(drawn: int, right: int, k: int) -> float:
    return right / drawn


def _added_up(drawn: int, right: int, k: int) -> float:
    return min(1.0, k * right / drawn)


def _all_wrong(drawn: int, right: int, k: int) -> float:
    return math.comb(drawn - right, k) / math.comb(drawn, k)


def _all_right(drawn: int, right: int, k: int) -> float:
    return math.comb(right, k) / math.comb(drawn, k)


def _any(drawn: int, right: int, k: int) -> float:
    return float(right > 0)


PASS = Exercise(
    title="pass@k from more than k solutions",
    level="medium",
    minutes=10,
    hints=(
        "Of all ways to pick k of the n solutions, which miss every right one?",
        "C(n − c, k) of C(n, k). One less that share. math.comb(a, k) is 0 where k > a, as it should be.",
    ),
    solution=pass_at_k,
    cases=lambda: [(4, 1, 2), (10, 3, 1), (10, 3, 5), (8, 0, 4), (6, 5, 3), (16, 2, 16)],
    mistakes=(
        Mistake(_plugged_in, "You put the share c/n in for the chance of a right solution. The power is curved, so that this is too low on average; Chen et al. (2021) show by how much."),
        Mistake(_share, "That is pass@1, whatever k is."),
        Mistake(_added_up, "Chances of events that can happen together do not add up. Count the ways in which *none* of the k is right."),
        Mistake(_all_wrong, "You return the chance that all k are wrong."),
        Mistake(_all_right, "You return the chance that all k are right. One is enough."),
        Mistake(_any, "That is pass@n: whether any of all n is right."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 7 · the weights of advantages


def weights(rewards: Tensor, kl_weight: float, largest: float) -> Tensor:
    """The weight of each answer (N, K) in advantage-weighted regression: exp(A/β), A being the reward less the mean of
    its prompt's K rewards, and at most `largest`."""
    advantages = rewards - rewards.mean(1, keepdim=True)
    return (advantages / kl_weight).exp().clamp(max=largest)


def _one_baseline(rewards: Tensor, kl_weight: float, largest: float) -> Tensor:
    return ((rewards - rewards.mean()) / kl_weight).exp().clamp(max=largest)


def _no_baseline(rewards: Tensor, kl_weight: float, largest: float) -> Tensor:
    return (rewards / kl_weight).exp().clamp(max=largest)


def _capped_inside(rewards: Tensor, kl_weight: float, largest: float) -> Tensor:
    return ((rewards - rewards.mean(1, keepdim=True)) / kl_weight).clamp(max=largest).exp()


def _multiplied(rewards: Tensor, kl_weight: float, largest: float) -> Tensor:
    return weights(rewards, 1 / kl_weight, largest)


def _softmax(rewards: Tensor, kl_weight: float, largest: float) -> Tensor:
    return (rewards / kl_weight).softmax(1)


def _uncapped(rewards: Tensor, kl_weight: float, largest: float) -> Tensor:
    return weights(rewards, kl_weight, math.inf)


def _advantages(rewards: Tensor, kl_weight: float, largest: float) -> Tensor:
    return (rewards - rewards.mean(1, keepdim=True)) / kl_weight


WEIGHTS = Exercise(
    title="The weights of advantages",
    level="medium",
    minutes=10,
    hints=(
        "The baseline is each row's mean: rewards.mean(1, keepdim=True).",
        "Divide by β, take exp, and only then cut off at the largest weight.",
    ),
    solution=weights,
    cases=lambda: [
        (torch.tensor([[0.0, 1.0], [4.0, 5.0]]), 1.0, 20.0),
        (torch.tensor([[0.0, 3.0, 0.0], [1.0, 2.0, 6.0]]), 0.5, 4.0),
    ],
    mistakes=(
        Mistake(_one_baseline, "You take one mean off all rewards. Then an easy prompt's answers all weigh much, the bad ones too: the baseline should be the prompt's own."),
        Mistake(_no_baseline, "You have no baseline. Within a prompt the proportions would be right, but a prompt with high rewards would count more than others, and the cap would not mean the same in each."),
        Mistake(_capped_inside, "You cut off the exponent. A cap of 20 is meant for the weight; as an exponent it allows a weight of e²⁰."),
        Mistake(_multiplied, "You multiply by β. It is a price: the smaller it is, the choosier the weights."),
        Mistake(_softmax, "A softmax makes each prompt's weights add up to 1. The proportions are right, but then the cap has nothing to cut."),
        Mistake(_uncapped, "The cap is missing: one lucky answer could outweigh a batch."),
        Mistake(_advantages, "Those are advantages, of which half are negative. A likelihood with a negative weight is pushed down without end; exp makes all weights positive."),
    ),
)  # fmt: skip
