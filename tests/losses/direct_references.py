"""The losses of direct alignment once more, on single numbers and with ``math`` only, as in the papers.

Each takes a loss's arguments in its order, then its hyperparameters in the order of the battery's line.
"""

import math


def chance(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def lead(chosen: float, rejected: float, kl_weight: float) -> float:
    return kl_weight * chosen - kl_weight * rejected


def dpo(chosen: float, rejected: float, kl_weight: float) -> float:
    return -math.log(chance(lead(chosen, rejected, kl_weight)))


def conservative(chosen: float, rejected: float, kl_weight: float, flip_rate: float) -> float:
    right = chance(lead(chosen, rejected, kl_weight))
    return -(1 - flip_rate) * math.log(right) - flip_rate * math.log(1 - right)


def robust(chosen: float, rejected: float, kl_weight: float, flip_rate: float) -> float:
    as_labelled, turned = dpo(chosen, rejected, kl_weight), dpo(rejected, chosen, kl_weight)
    return ((1 - flip_rate) * as_labelled - flip_rate * turned) / (1 - 2 * flip_rate)


def ipo(chosen: float, rejected: float, kl_weight: float) -> float:
    return ((chosen - rejected) - 0.5 / kl_weight) ** 2


def by_length(
    chosen: float,
    rejected: float,
    chosen_length: float,
    rejected_length: float,
    kl_weight: float,
    price: float,
) -> float:
    dearer = price * chosen_length - price * rejected_length
    return -math.log(chance(lead(chosen, rejected, kl_weight) + dearer))


def hinge(chosen: float, rejected: float, margin: float) -> float:
    return max(0.0, margin - chosen + rejected)


def coins(
    chosen: float, rejected: float, better: float, worse: float, kl_weight: float, scale: float
) -> tuple[float, float]:
    """What the policy implies, and what the scores say."""
    return chance(lead(chosen, rejected, kl_weight)), chance(scale * (better - worse))


def coin_kl(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def rpo_backward(*numbers: float) -> float:
    implied, scored = coins(*numbers)
    return coin_kl(scored, implied)


def rpo_forward(*numbers: float) -> float:
    implied, scored = coins(*numbers)
    return coin_kl(implied, scored)


def rpo_squared(
    chosen: float, rejected: float, better: float, worse: float, kl_weight: float, scale: float
) -> float:
    return (lead(chosen, rejected, kl_weight) - scale * (better - worse)) ** 2


def kto(
    log_ratio: float, desirable: float, baseline: float, kl_weight: float, weight: float, weight_of_bad: float
) -> float:
    if desirable:
        return weight - weight * chance(kl_weight * (log_ratio - baseline))
    return weight_of_bad - weight_of_bad * chance(kl_weight * (baseline - log_ratio))


def simpo(logp_chosen: float, logp_rejected: float, scale: float, margin: float) -> float:
    return -math.log(chance(scale * logp_chosen - scale * logp_rejected - margin))


def odds_ratio(logp_chosen: float, logp_rejected: float) -> float:
    won, lost = (math.exp(p) / (1 - math.exp(p)) for p in (logp_chosen, logp_rejected))
    return -math.log(chance(math.log(won / lost)))


def cpl(logp_chosen: float, logp_rejected: float, temperature: float, conservatism: float) -> float:
    won = math.exp(temperature * logp_chosen)
    lost = math.exp(conservatism * temperature * logp_rejected)
    return -math.log(won / (won + lost))
