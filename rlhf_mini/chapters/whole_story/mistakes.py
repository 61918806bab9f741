"""The wrong programs that readers of chapter 00 write. Each hint in `exercises` belongs to one of them."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def mean_of_document_means(nats: list[float], tokens: list[int]) -> float:
    """Every document counts the same, however short."""
    return math.exp(sum(n / t for n, t in zip(nats, tokens, strict=True)) / len(nats))


def mean_of_perplexities(nats: list[float], tokens: list[int]) -> float:
    """The exponential before the mean."""
    return sum(math.exp(n / t) for n, t in zip(nats, tokens, strict=True)) / len(nats)


def to_the_base_two(nats: list[float], tokens: list[int]) -> float:
    """As if the loss were in bits."""
    return 2 ** (sum(nats) / sum(tokens))


def per_document(nats: list[float], tokens: list[int]) -> float:
    """The mean over documents."""
    return math.exp(sum(nats) / len(nats))


def rewards_the_rejected(chosen: Tensor, rejected: Tensor) -> Tensor:
    """The difference the wrong way round."""
    return -logsigmoid(rejected - chosen)


def forgets_the_minus(chosen: Tensor, rejected: Tensor) -> Tensor:
    """A log-likelihood, not a loss."""
    return logsigmoid(chosen - rejected)


def forgets_the_logarithm(chosen: Tensor, rejected: Tensor) -> Tensor:
    """The probability of the other choice."""
    return 1 - torch.sigmoid(chosen - rejected)


def overflows(chosen: Tensor, rejected: Tensor) -> Tensor:
    """The formula as it is written."""
    return torch.log(1 + torch.exp(-(chosen - rejected)))


def takes_the_mean(chosen: Tensor, rejected: Tensor) -> Tensor:
    """One number for the batch."""
    return -logsigmoid(chosen - rejected).mean()


def pays_for_agreeing(score: float, logp_old: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    """The log-ratio the wrong way round: a bonus for drifting away."""
    rewards = -kl_weight * (logp_ref - logp_old)
    rewards[-1] += score
    return rewards


def score_everywhere(score: float, logp_old: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    """The score at every token."""
    return score - kl_weight * (logp_old - logp_ref)


def all_at_the_end(score: float, logp_old: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    """The whole penalty with the score, at the last token."""
    rewards = torch.zeros_like(logp_old)
    rewards[-1] = score - kl_weight * (logp_old - logp_ref).sum()
    return rewards


def score_replaces(score: float, logp_old: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    """The last token does not pay."""
    rewards = -kl_weight * (logp_old - logp_ref)
    rewards[-1] = score
    return rewards


def weight_on_the_score(score: float, logp_old: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    """β times everything."""
    rewards = logp_ref - logp_old
    rewards[-1] += score
    return kl_weight * rewards


def clips_without_the_minimum(
    logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float
) -> Tensor:
    """clip(ρ)A alone."""
    return -torch.exp(logp - logp_old).clamp(1 - clip_range, 1 + clip_range) * advantages


def takes_the_maximum(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """The optimistic of the two."""
    ratio = torch.exp(logp - logp_old)
    return -torch.maximum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)


def maximises(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """An objective, not a loss."""
    ratio = torch.exp(logp - logp_old)
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)


def difference_for_ratio(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """log ρ where ρ should stand."""
    ratio = logp - logp_old
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)


def does_not_clip(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """ρA alone."""
    return -torch.exp(logp - logp_old) * advantages


def the_bound(probabilities: list[float], n: int) -> float:
    """What holds where no two samples tie."""
    return math.log(n) - (n - 1) / n


def powers(probabilities: list[float], n: int) -> float:
    """p to the n-th, normalised: all n samples are this outcome."""
    total = sum(p**n for p in probabilities)
    return sum(p**n / total * math.log(p**n / total / p) for p in probabilities if p**n > 0)


def at_least_once(probabilities: list[float], n: int) -> float:
    """1 − (1 − p)^n: the outcome is among the samples, whether or not it is the best."""
    seen = [1 - (1 - p) ** n for p in probabilities]
    return sum(q * math.log(q / p) for q, p in zip(seen, probabilities, strict=True))


def other_direction(probabilities: list[float], n: int) -> float:
    """KL(policy ‖ best of n)."""
    total, below = 0.0, 0.0
    for p in probabilities:
        picked = (below + p) ** n - below**n
        below += p
        total += p * math.log(p / picked) if picked > 0 else math.inf
    return total


def forgets_zero(probabilities: list[float], n: int) -> float:
    """0 log 0, which Python refuses."""
    total, below = 0.0, 0.0
    for p in probabilities:
        picked = (below + p) ** n - below**n
        below += p
        total += picked * math.log(picked / p)
    return total
