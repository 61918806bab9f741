"""Exercises of chapter 04 on comparisons, rankings and judges; `exercises` has the others and their order."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from rlhf_mini.reader import Exercise, Mistake

# -------------------------------------------------------------------------------- 1 · Bradley and Terry, by hand


def bradley_terry(first: float, second: float, first_won: bool) -> tuple[float, float, float]:
    """The probability that the first wins, the loss of what happened, and its slope in the first score."""
    probability = float(torch.sigmoid(torch.tensor(first - second, dtype=torch.float64)))
    lead = first - second if first_won else second - first
    loss = float(softplus(torch.tensor(-lead, dtype=torch.float64)))
    return probability, loss, probability - first_won


def _by_exponentials(first: float, second: float, first_won: bool) -> tuple[float, float, float]:
    strengths = torch.tensor([first, second]).exp()
    probability = float(strengths[0] / strengths.sum())
    chance = torch.tensor(probability if first_won else 1 - probability)
    return probability, float(-chance.log()), probability - first_won


def _always_first(first: float, second: float, first_won: bool) -> tuple[float, float, float]:
    return bradley_terry(first, second, True)


def _by_ratio(first: float, second: float, first_won: bool) -> tuple[float, float, float]:
    probability = first / (first + second)
    chance = probability if first_won else 1 - probability
    return probability, -math.log(chance), probability - first_won


def _slope_upwards(first: float, second: float, first_won: bool) -> tuple[float, float, float]:
    probability, loss, slope = bradley_terry(first, second, first_won)
    return probability, loss, -slope


def _slope_of_the_second(first: float, second: float, first_won: bool) -> tuple[float, float, float]:
    probability, loss, _ = bradley_terry(first, second, first_won)
    return probability, loss, probability * (1 - probability)


PAIR = Exercise(
    title="One comparison by hand",
    level="easy",
    minutes=10,
    hints=(
        "The probability is σ(first − second). The loss is minus the logarithm of the probability of what happened, which is "
        "σ(second − first) if the second won.",
        "The slope of −log σ(u) in u is −(1 − σ(u)). If the first won, u rises with its score; if it lost, u falls. Both "
        "cases together: the probability, less 1 if the first won. For the loss use softplus, which does not overflow.",
    ),
    solution=bradley_terry,
    cases=lambda: [
        (1.5, 0.7, True),
        (1.5, 0.7, False),
        (101.0, 101.0, False),
        (0.3, 2.0, True),
        (-400.0, 400.0, True),
    ],
    mistakes=(
        Mistake(_by_exponentials, "Right as a formula, but the exponential of a large score is infinite, and the logarithm of a small probability is, too. Compute with the difference: softplus."),
        Mistake(_always_first, "Your loss and slope are those of a comparison that the first won. `first_won` says whether it did."),
        Mistake(_by_ratio, "You divide the scores as if they were strengths. A score is the logarithm of a strength: take exponentials, or σ of the difference."),
        Mistake(_slope_upwards, "Your slope has the wrong sign: if the first won, the loss must fall as its score rises."),
        Mistake(_slope_of_the_second, "p(1 − p) is the slope of the probability. Differentiate its logarithm."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 2 · a table of comparisons


def strengths(wins: Tensor) -> Tensor:
    """The scores (N,) of Bradley and Terry that fit a table of wins best, their mean 0, in nats.

    wins[i, j] (N, N) says how often i won against j. Each player's strength, the exponential of the score, is set
    to its wins over those that the present strengths expect for a unit of it, again and again.
    """
    games, won = wins + wins.T, wins.sum(1)
    strength = torch.ones(len(wins), dtype=torch.float64)
    for _ in range(2000):
        strength = won / (games / (strength[:, None] + strength[None, :])).sum(1)
    scores = strength.log()
    return scores - scores.mean()


def _log_odds_of_shares(wins: Tensor) -> Tensor:
    scores = (wins.sum(1) / wins.sum(0)).log()
    return scores - scores.mean()


def _not_centred(wins: Tensor) -> Tensor:
    scores = strengths(wins)
    return scores - scores[0]


def _no_logarithm(wins: Tensor) -> Tensor:
    strength = strengths(wins).exp()
    return strength / strength.sum()


def _columns_won(wins: Tensor) -> Tensor:
    return strengths(wins.T)


def _one_round(wins: Tensor) -> Tensor:
    scores = (wins.sum(1) / ((wins + wins.T) / 2).sum(1)).log()
    return scores - scores.mean()


def _tables() -> list[tuple]:
    chain = torch.tensor([[0, 3, 1], [1, 0, 9], [1, 3, 0]], dtype=torch.float64)
    uneven = torch.tensor([[0, 8, 2, 0], [2, 0, 6, 5], [1, 3, 0, 20], [1, 2, 10, 0]], dtype=torch.float64)
    return [(torch.tensor([[0, 3], [1, 0]], dtype=torch.float64),), (chain,), (uneven,)]


STRENGTHS = Exercise(
    title="A table of comparisons",
    level="hard",
    minutes=25,
    hints=(
        "Write the log-likelihood Σ wins[i, j] log σ(sᵢ − sⱼ) and set its slope in sᵢ to zero: wins must equal expected wins. "
        "Gradient ascent finds it; so does the recipe of Zermelo, which the next hint gives.",
        "With strengths wᵢ = exp(sᵢ) and gᵢⱼ games, repeat wᵢ ← (wins of i) / Σⱼ gᵢⱼ/(wᵢ + wⱼ), many times. At last take the "
        "logarithm and subtract the mean.",
    ),
    solution=strengths,
    cases=_tables,
    mistakes=(
        Mistake(_log_odds_of_shares, "You compare each player's own wins and losses. Against whom they were counts: three wins over a champion are not three wins over a beginner."),
        Mistake(_not_centred, "The differences are right. Only they are determined by the data; the exercise asks for mean 0."),
        Mistake(_no_logarithm, "Those are strengths that sum to 1. Scores are their logarithms, less the mean."),
        Mistake(_columns_won, "Rows and columns are exchanged: wins[i, j] says how often i won."),
        Mistake(_one_round, "You stop after the first round, in which all strengths were still equal. Repeat until they no longer move."),
    ),
    tolerance=1e-4,
)  # fmt: skip


# -------------------------------------------------------------------------------------- 5 · all pairs of a ranking


def ranking_loss(scores: Tensor) -> Tensor:
    """The mean of −log σ(rᵢ − rⱼ) over all pairs of a ranking: scores (B, K), the best first -> (B,)."""
    better, worse = torch.triu_indices(scores.shape[1], scores.shape[1], offset=1)
    return softplus(scores[:, worse] - scores[:, better]).mean(1)


def _sum_of_pairs(scores: Tensor) -> Tensor:
    k = scores.shape[1]
    return ranking_loss(scores) * (k * (k - 1) / 2)


def _neighbours(scores: Tensor) -> Tensor:
    return softplus(scores[:, 1:] - scores[:, :-1]).mean(1)


def _best_against_the_rest(scores: Tensor) -> Tensor:
    return softplus(scores[:, 1:] - scores[:, :1]).mean(1)


def _each_with_itself(scores: Tensor) -> Tensor:
    k = scores.shape[1]
    better, worse = torch.triu_indices(k, k, offset=0)
    return softplus(scores[:, worse] - scores[:, better]).mean(1)


def _worst_first(scores: Tensor) -> Tensor:
    return ranking_loss(scores.flip(1))


def _rankings() -> list[tuple]:
    draw = torch.Generator().manual_seed(0)
    return [
        (torch.tensor([[2.0, 1.0, -1.0]]),),
        (torch.randn(4, 5, generator=draw),),
        (torch.tensor([[1.5, 0.7]]),),
        (torch.tensor([[300.0, 0.0, -300.0], [-300.0, 0.0, 300.0]]),),
    ]


RANKING = Exercise(
    title="All pairs of a ranking",
    level="medium",
    minutes=10,
    hints=(
        "A ranking of K answers holds K(K − 1)/2 pairs. In each, the answer that stands further to the left is the better.",
        "torch.triu_indices(K, K, offset=1) gives the left and the right place of every pair. Take the mean over the pairs, "
        "not the sum: a ranking of nine must not count for more than one of four.",
    ),
    solution=ranking_loss,
    cases=_rankings,
    mistakes=(
        Mistake(_sum_of_pairs, "You take the sum over the pairs. Divide it by their number, K(K − 1)/2: otherwise long rankings have larger gradients."),
        Mistake(_neighbours, "You compare neighbours only. A ranking also says that the first is better than the last."),
        Mistake(_best_against_the_rest, "You compare the best with the others only. The others were ranked, too."),
        Mistake(_each_with_itself, "You also pair every answer with itself, which adds log 2 for each of the K, whatever the scores."),
        Mistake(_worst_first, "The best answer stands first; your loss falls as the last one scores higher."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------- 6 · Plackett and Luce


def ranking_logp(scores: Tensor) -> Tensor:
    """The log-probability of a ranking as one choice after another: scores (B, K), the best first -> (B,)."""
    steps = [scores[:, k] - scores[:, k:].logsumexp(1) for k in range(scores.shape[1])]
    return torch.stack(steps).sum(0)


def _everyone_stays(scores: Tensor) -> Tensor:
    return scores.log_softmax(1).sum(1)


def _first_choice_only(scores: Tensor) -> Tensor:
    return scores.log_softmax(1)[:, 0]


def _worst_chosen_first(scores: Tensor) -> Tensor:
    return ranking_logp(scores.flip(1))


def _pairs_multiplied(scores: Tensor) -> Tensor:
    better, worse = torch.triu_indices(scores.shape[1], scores.shape[1], offset=1)
    return logsigmoid(scores[:, better] - scores[:, worse]).sum(1)


def _overflows(scores: Tensor) -> Tensor:
    weights = scores.exp()
    steps = [(weights[:, k] / weights[:, k:].sum(1)).log() for k in range(scores.shape[1])]
    return torch.stack(steps).sum(0)


PLACKETT_LUCE = Exercise(
    title="A ranking as choices",
    level="medium",
    minutes=15,
    hints=(
        "The judge first picks the best of all K, then the best of the K − 1 that remain, and so on. Each pick is a softmax.",
        "The k-th pick contributes scores[:, k] − scores[:, k:].logsumexp(1). The last, from one answer alone, adds 0.",
    ),
    solution=ranking_logp,
    cases=lambda: [*_rankings(), (torch.zeros(1, 3),)],
    mistakes=(
        Mistake(_everyone_stays, "An answer that was picked is gone: each softmax runs over those that remain, scores[:, k:]."),
        Mistake(_first_choice_only, "That is the first pick only, the loss of Ziegler's best of four. The rest of the order is told, too."),
        Mistake(_worst_chosen_first, "You pick from the other end: the best answer stands first."),
        Mistake(_pairs_multiplied, "You multiply the probabilities of all pairs as if they were independent. Over all orders, yours do not sum to 1."),
        Mistake(_overflows, "Right as a formula, but exp(300) is infinite in float32. Use logsumexp."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 7 · the ceiling of a panel


def ceiling(chances: Tensor) -> float:
    """The accuracy of the best possible prediction, over pairs: chances (N, A) in [0, 1].

    chances[n, a] is the probability that judge a prefers the first answer of pair n. Which judge it will be, each
    as likely as the others, the prediction is not told.
    """
    preferred = chances.mean(1)
    return float(torch.maximum(preferred, 1 - preferred).mean())


def _knows_the_judge(chances: Tensor) -> float:
    return float(torch.maximum(chances, 1 - chances).mean())


def _over_the_pairs_first(chances: Tensor) -> float:
    return float(max(chances.mean(), 1 - chances.mean()))


def _two_judges(chances: Tensor) -> float:
    preferred = chances.mean(1)
    return float((preferred**2 + (1 - preferred) ** 2).mean())


def _majority(chances: Tensor) -> float:
    share = (chances > 0.5).float().mean(1)
    return float(torch.maximum(share, 1 - share).mean())


def _first_always(chances: Tensor) -> float:
    return float(chances.mean())


CEILING = Exercise(
    title="The ceiling of a panel",
    level="medium",
    minutes=10,
    hints=(
        "For one pair: with what probability is the first answer preferred, if the judge is drawn at random?",
        "Average over the judges first. The best prediction names the likelier answer, and is right with the larger of p and "
        "1 − p. Average that over the pairs.",
    ),
    solution=ceiling,
    cases=lambda: [
        (torch.tensor([[0.9, 0.2], [0.6, 0.6]]),),
        (torch.rand(6, 4, generator=torch.Generator().manual_seed(0)),),
        (torch.tensor([[0.5, 0.5, 0.5]]),),
    ],
    mistakes=(
        Mistake(_knows_the_judge, "Your prediction differs from judge to judge. The reward model is not told who judged."),
        Mistake(_over_the_pairs_first, "You average over the pairs before you decide. The prediction may differ from pair to pair."),
        Mistake(_two_judges, "That is how often two judgements of the same pair agree. A prediction need not be as noisy as a judge."),
        Mistake(_majority, "You round the judges' probabilities. A judge who prefers the first in six cases out of ten still prefers the second in four."),
        Mistake(_first_always, "That is how often the first answer wins. Predict the second one where it is likelier."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------ 9 · judges without the truth


def accuracies(agree_ab: float, agree_ac: float, agree_bc: float) -> tuple[float, float, float]:
    """How often three judges A, B and C are right, from how often each two of them agree.

    Each is right more often than wrong, and their errors are independent.
    """
    ab, ac, bc = 2 * agree_ab - 1, 2 * agree_ac - 1, 2 * agree_bc - 1
    a, b, c = math.sqrt(ab * ac / bc), math.sqrt(ab * bc / ac), math.sqrt(ac * bc / ab)
    return (1 + a) / 2, (1 + b) / 2, (1 + c) / 2


def _mean_agreement(agree_ab: float, agree_ac: float, agree_bc: float) -> tuple[float, float, float]:
    return (agree_ab + agree_ac) / 2, (agree_ab + agree_bc) / 2, (agree_ac + agree_bc) / 2


def _not_recentred(agree_ab: float, agree_ac: float, agree_bc: float) -> tuple[float, float, float]:
    return (
        math.sqrt(agree_ab * agree_ac / agree_bc),
        math.sqrt(agree_ab * agree_bc / agree_ac),
        math.sqrt(agree_ac * agree_bc / agree_ab),
    )


def _no_root(agree_ab: float, agree_ac: float, agree_bc: float) -> tuple[float, float, float]:
    ab, ac, bc = 2 * agree_ab - 1, 2 * agree_ac - 1, 2 * agree_bc - 1
    return (1 + ab * ac / bc) / 2, (1 + ab * bc / ac) / 2, (1 + ac * bc / ab) / 2


def _leads_only(agree_ab: float, agree_ac: float, agree_bc: float) -> tuple[float, float, float]:
    right = accuracies(agree_ab, agree_ac, agree_bc)
    return 2 * right[0] - 1, 2 * right[1] - 1, 2 * right[2] - 1


def _others_exchanged(agree_ab: float, agree_ac: float, agree_bc: float) -> tuple[float, float, float]:
    right = accuracies(agree_ab, agree_ac, agree_bc)
    return right[2], right[1], right[0]


JUDGES = Exercise(
    title="Three judges and no truth",
    level="hard",
    minutes=25,
    hints=(
        "Two judges agree if both are right or both are wrong. Write p = (1 + a)/2 and q = (1 + b)/2, and see what becomes of "
        "pq + (1 − p)(1 − q).",
        "It is (1 + ab)/2, so that 2 · agreement − 1 = ab. From ab, ac and bc follows a² = (ab)(ac)/(bc).",
    ),
    solution=accuracies,
    cases=lambda: [
        (0.74, 0.66, 0.62),  # 0.9, 0.8, 0.7 ↔ leads 0.8, 0.6, 0.4
        (0.82, 0.82, 0.82),
        (0.6, 0.7, 0.55),
    ],
    mistakes=(
        Mistake(_mean_agreement, "That is how often a judge agrees with the other two. Agreeing with a bad judge is no merit, and even a perfect one agrees with a bad one only now and then."),
        Mistake(_not_recentred, "Agreement does not multiply: two judges who guess agree half of the time. What multiplies is 2 · agreement − 1."),
        Mistake(_no_root, "You have the square of the lead: take its root."),
        Mistake(_leads_only, "Those are the leads a = 2p − 1. The exercise asks for p = (1 + a)/2."),
        Mistake(_others_exchanged, "Your A and C are exchanged: the agreement that does not involve A stands in the denominator of a²."),
    ),
)  # fmt: skip
