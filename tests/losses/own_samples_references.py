"""The formulas of losses that learn from a model's own samples, on single numbers, with ``math`` only."""

import math


def smoothed(logp: float, logp_mean: float, label_smoothing: float) -> float:
    return -((1 - label_smoothing) * logp + label_smoothing * logp_mean)


def two_way(own: float, other: float, label_smoothing: float) -> float:
    share = math.exp(own) / (math.exp(own) + math.exp(other))
    return -(1 - label_smoothing) * math.log(share) - label_smoothing * math.log(1 - share)


def instructions(logp: list[float], own: int, label_smoothing: float) -> float:
    chances = [math.exp(one) / sum(math.exp(each) for each in logp) for one in logp]
    target = [1 - label_smoothing if k == own else label_smoothing / 3 for k in range(4)]
    return -sum(weight * math.log(chance) for weight, chance in zip(target, chances, strict=True))


def rrhf(logp_mean: list[float], rewards: list[float]) -> float:
    answers = list(zip(rewards, logp_mean, strict=True))
    return sum(max(0.0, p_i - p_j) for r_i, p_i in answers for r_j, p_j in answers if r_i < r_j)


def best_answer(logp: list[float], rewards: list[float]) -> float:
    return -logp[rewards.index(max(rewards))]


def slic(chosen: float, rejected: float, target: float, margin: float, weight: float) -> float:
    return max(0.0, margin - chosen + rejected) - weight * target


def filtered(logp: float, reward: float, threshold: float) -> float:
    return -logp if reward > threshold else 0.0


def advantage_weighted(logp: float, advantage: float, kl_weight: float, largest: float) -> float:
    return -min(math.exp(advantage / kl_weight), largest) * logp
