"""Exercises of chapter 11 on curves: how far best-of-n goes, what a pool says of it, the two forms, and how well one tells."""

import math

import numpy as np

from rlhf_mini.reader import Exercise, Mistake

# ---------------------------------------------------------------------------------------- 1 · how far best-of-n goes


def best_of(probabilities: list[float], n: int) -> tuple[list[float], float]:
    """Best-of-n over listed texts, the worst first, none of which tie: how likely each is to be the best of n draws, and
    KL(best of n ‖ the probabilities given), in nats."""
    chances, below = [], 0.0
    for probability in probabilities:
        chances.append((below + probability) ** n - below**n)
        below += probability
    kl = sum(q * math.log(q / p) for q, p in zip(chances, probabilities, strict=True) if q > 0)
    return chances, kl


def _by_the_bound(probabilities: list[float], n: int) -> tuple[list[float], float]:
    return best_of(probabilities, n)[0], math.log(n) - (n - 1) / n


def _by_log_n(probabilities: list[float], n: int) -> tuple[list[float], float]:
    return best_of(probabilities, n)[0], math.log(n)


def _other_direction(probabilities: list[float], n: int) -> tuple[list[float], float]:
    chances, _ = best_of(probabilities, n)
    return chances, sum(p * math.log(p / q) for q, p in zip(chances, probabilities, strict=True))


def _worst_of(probabilities: list[float], n: int) -> tuple[list[float], float]:
    turned, kl = best_of(probabilities[::-1], n)
    return turned[::-1], kl


def _as_density(probabilities: list[float], n: int) -> tuple[list[float], float]:
    chances, below = [], 0.0
    for probability in probabilities:
        below += probability
        chances.append(n * probability * below ** (n - 1))
    return chances, sum(q * math.log(q / p) for q, p in zip(chances, probabilities, strict=True))


def _drawn_at_all(probabilities: list[float], n: int) -> tuple[list[float], float]:
    chances = [1 - (1 - p) ** n for p in probabilities]
    return chances, sum(q * math.log(q / p) for q, p in zip(chances, probabilities, strict=True))


def _in_bits(probabilities: list[float], n: int) -> tuple[list[float], float]:
    chances, kl = best_of(probabilities, n)
    return chances, kl / math.log(2)


DISTANCE = Exercise(
    title="How far best-of-n goes",
    level="easy",
    minutes=10,
    hints=(
        "The best of n is at most as good as text k if all n draws are: with probability Fⁿ, F being the sum of the probabilities "
        "up to k.",
        "So text k has Fₖⁿ − Fₖ₋₁ⁿ. For the KL sum q log(q/p) over the texts, q being the new probability; 0 log 0 is 0.",
    ),
    solution=best_of,
    cases=lambda: [
        ([0.5, 0.5], 2),
        ([0.7, 0.2, 0.1], 4),
        ([0.1, 0.2, 0.3, 0.4], 3),
        ([0.25] * 4, 16),
    ],
    mistakes=(
        Mistake(_by_the_bound, "Your KL is log n − (n − 1)/n. That is exact where no two draws are ever equal; with a few texts draws repeat, and the KL is smaller. No n leads further than −log of the best text's probability."),
        Mistake(_by_log_n, "Your KL is log n: that would be a choice of the n-th part that is best, a filter. Best-of-n also writes the good and the middling now and then, and pays (n − 1)/n less; with few texts still less."),
        Mistake(_other_direction, "You took KL(given ‖ best of n). What counts is how far the new one has gone: it stands first, and the sum is over what it writes."),
        Mistake(_worst_of, "You keep the worst of n. The worst text stands first in the list."),
        Mistake(_as_density, "n p Fⁿ⁻¹ is the density of a best among endlessly many values. Of listed texts it is not quite a distribution: add yours up. Take the difference of two powers."),
        Mistake(_drawn_at_all, "That is the chance that a text is drawn at all. To be kept it must also be the best of what is drawn; your numbers add up to more than 1."),
        Mistake(_in_bits, "Your KL is in bits. The book counts in nats: the natural logarithm."),
    ),
)  # fmt: skip


# ----------------------------------------------------------------------------------------- 2 · what a pool says of it


def expected_best(golds: list[float], proxies: list[float], n: int) -> float:
    """The expected gold of the best of n by the proxy, without bias, from a pool of N ≥ n answers whose proxies differ."""
    order = sorted(range(len(golds)), key=lambda place: proxies[place])
    subsets = math.comb(len(golds), n)
    return sum(math.comb(rank, n - 1) / subsets * golds[place] for rank, place in enumerate(order))


def _ranked_by_gold(golds: list[float], proxies: list[float], n: int) -> float:
    return expected_best(golds, golds, n)


def _proxy_of_the_best(golds: list[float], proxies: list[float], n: int) -> float:
    return expected_best(proxies, proxies, n)


def _put_back(golds: list[float], proxies: list[float], n: int) -> float:
    total = len(golds)
    order = sorted(range(total), key=lambda place: proxies[place])
    weights = [((rank + 1) / total) ** n - (rank / total) ** n for rank in range(total)]
    return sum(weight * golds[place] for weight, place in zip(weights, order, strict=True))


def _first_n(golds: list[float], proxies: list[float], n: int) -> float:
    return golds[max(range(n), key=lambda place: proxies[place])]


def _of_the_pool(golds: list[float], proxies: list[float], n: int) -> float:
    return golds[max(range(len(golds)), key=lambda place: proxies[place])]


def _worst(golds: list[float], proxies: list[float], n: int) -> float:
    return expected_best(golds, [-proxy for proxy in proxies], n)


def _one_rank_off(golds: list[float], proxies: list[float], n: int) -> float:
    order = sorted(range(len(golds)), key=lambda place: proxies[place])
    subsets = math.comb(len(golds), n)
    return sum(math.comb(rank + 1, n - 1) / subsets * golds[place] for rank, place in enumerate(order))


def _mean_of_the_top(golds: list[float], proxies: list[float], n: int) -> float:
    order = sorted(range(len(golds)), key=lambda place: proxies[place])
    top = order[-max(1, len(golds) // n) :]
    return sum(golds[place] for place in top) / len(top)


POOL = Exercise(
    title="Best of n from a pool of N",
    level="medium",
    minutes=15,
    hints=(
        "There are C(N, n) ways to choose n of the pool, all as likely. In how many of them is the answer of rank r the best? "
        "The n − 1 others must lie below it.",
        "Sort by the proxy. The r-th lowest, r from 1, is the best of C(r − 1, n − 1) subsets: add up its gold times that, over "
        "C(N, n). math.comb(a, b) is 0 where b > a, as it should be.",
    ),
    solution=expected_best,
    cases=lambda: [
        ([0.0, 1.0, 5.0], [0.5, 0.1, 0.2], 1),
        ([0.0, 1.0, 5.0, 2.0], [0.4, 0.1, 0.2, 0.3], 2),
        ([3.0, -1.0, 0.0, 2.0, 4.0, -2.0], [0.1, 0.7, 0.5, 0.6, 0.3, 0.9], 3),
        ([3.0, -1.0, 0.0, 2.0, 4.0, -2.0], [0.1, 0.8, 0.5, 0.6, 0.3, 0.7], 6),
    ],
    mistakes=(
        Mistake(_ranked_by_gold, "You rank by gold. Nobody has gold when answers are chosen: it would rise for ever, whatever the proxy is worth."),
        Mistake(_proxy_of_the_best, "That is what the proxy thinks of its own choice. It can only rise with n; what is asked for is gold."),
        Mistake(_put_back, "You draw with replacement, as if the pool were the policy. The best of N from N would then often not be the pool's best: near n = N the estimate is biased. Count subsets."),
        Mistake(_first_n, "You take the best of the first n. That is unbiased, too, and wastes the rest of the pool: average over all subsets."),
        Mistake(_of_the_pool, "You take the best of the whole pool, whatever n is."),
        Mistake(_worst, "You keep the lowest by the proxy. Sort from the lowest to the highest, and count what lies below."),
        Mistake(_one_rank_off, "Below the r-th lowest lie r − 1 answers, not r. Your weights add up to more than 1."),
        Mistake(_mean_of_the_top, "The mean of the top N/n is a filter, that keeps each of them as gladly as the best. Best-of-n has the best more often than the second."),
    ),
)  # fmt: skip


# --------------------------------------------------------------------------------------- 3 · where the two forms turn


def peaks(alpha: float, beta: float) -> list[float]:
    """Where Gao's forms are highest, for α > 0 and β > 0: d* and R* of d (α − β d), then d* and R* of d (α − β log d)."""
    turn = math.exp(alpha / beta - 1)
    return [alpha / (2 * beta), alpha**2 / (4 * beta), turn, beta * turn]


def _back_at_the_start(alpha: float, beta: float) -> list[float]:
    return [alpha / beta, 0.0, math.exp(alpha / beta), 0.0]


def _constant_forgotten(alpha: float, beta: float) -> list[float]:
    turn = math.exp(alpha / beta)
    return [*peaks(alpha, beta)[:2], turn, turn * (alpha - beta * math.log(turn))]


def _as_kl(alpha: float, beta: float) -> list[float]:
    first, gold, turn, reached = peaks(alpha, beta)
    return [first**2, gold, turn**2, reached]


def _one_form_twice(alpha: float, beta: float) -> list[float]:
    return peaks(alpha, beta)[:2] * 2


def _alpha_for_beta(alpha: float, beta: float) -> list[float]:
    first, gold, turn, _ = peaks(alpha, beta)
    return [first, gold, turn, alpha * turn]


def _in_tens(alpha: float, beta: float) -> list[float]:
    first, gold, *_ = peaks(alpha, beta)
    turn = 10 ** (alpha / beta - 1)
    return [first, gold, turn, beta * turn]


PEAKS = Exercise(
    title="Where the two forms turn",
    level="easy",
    minutes=10,
    hints=(
        "Set the slope to 0: α − 2βd for the first form; for the second α − β log d − β, because d · log d has the slope log d + 1.",
        "The first gives d* = α / 2β, and there α − βd* is α/2. The second gives log d* = α/β − 1, and there α − β log d* is β.",
    ),
    solution=peaks,
    cases=lambda: [(2.0, 0.5), (1.0, 1.0), (0.6, 0.2)],
    mistakes=(
        Mistake(_back_at_the_start, "There the bracket is 0: gold has come all the way back to the start. The peak lies before."),
        Mistake(_constant_forgotten, "The slope of d log d is log d + 1. You forgot the 1: at your second distance gold is back at the start."),
        Mistake(_as_kl, "You return the KL at the peaks, d*². Asked for is d*, a root of nats."),
        Mistake(_one_form_twice, "You treat both forms alike. The second has log d where the first has d, and turns elsewhere."),
        Mistake(_alpha_for_beta, "At the second peak α − β log d* is not α: put log d* = α/β − 1 in, and β is left."),
        Mistake(_in_tens, "All logarithms of the book are natural: e to the power, and not 10."),
    ),
)  # fmt: skip


# ----------------------------------------------------------------------------------------------- 4 · fitting the form


def fitted(distances: np.ndarray, golds: np.ndarray) -> tuple[float, float]:
    """α and β of d (α − β d) by least squares: they make Σ (gold − d (α − β d))² over the points (N,) the smallest."""
    columns = np.stack([distances, -(distances**2)], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(columns, golds, rcond=None)
    return float(alpha), float(beta)


def _with_intercept(distances: np.ndarray, golds: np.ndarray) -> tuple[float, float]:
    square, slope, _ = np.polyfit(distances, golds, 2)
    return float(slope), float(-square)


def _divided(distances: np.ndarray, golds: np.ndarray) -> tuple[float, float]:
    slope, alpha = np.polyfit(distances, golds / distances, 1)
    return float(alpha), float(-slope)


def _beta_turned(distances: np.ndarray, golds: np.ndarray) -> tuple[float, float]:
    alpha, beta = fitted(distances, golds)
    return alpha, -beta


def _in_kl(distances: np.ndarray, golds: np.ndarray) -> tuple[float, float]:
    return fitted(distances**2, golds)


def _through_the_ends(distances: np.ndarray, golds: np.ndarray) -> tuple[float, float]:
    return fitted(distances[[0, -1]], golds[[0, -1]])


def _by_the_peak(distances: np.ndarray, golds: np.ndarray) -> tuple[float, float]:
    top = int(golds.argmax())
    return 2 * float(golds[top] / distances[top]), float(golds[top] / distances[top] ** 2)


FIT = Exercise(
    title="Fitting the form",
    level="medium",
    minutes=15,
    hints=(
        "The form is linear in α and β, though not in d: gold ≈ α · d + β · (−d²). Two columns, two coefficients.",
        "np.linalg.lstsq(columns, golds, rcond=None)[0], with columns of shape (N, 2) and no column of ones: R(0) = 0.",
    ),
    solution=fitted,
    cases=lambda: [
        (np.array([0.5, 1.0, 2.0]), np.array([0.875, 1.5, 2.0])),
        (np.array([0.4, 0.8, 1.1, 1.5, 1.9]), np.array([0.5, 0.7, 0.9, 0.8, 0.2])),
        (np.array([0.5, 1.0, 2.0, 3.0]), np.array([0.2, 0.6, 0.7, 0.4])),
    ],
    mistakes=(
        Mistake(_with_intercept, "Your parabola need not go through the start. Gold is counted from there, R(0) = 0: no constant term."),
        Mistake(_divided, "You fit gold / d by a line. Near the start that divides small errors by small numbers, and lets the first points decide."),
        Mistake(_beta_turned, "Your β has the other sign: the form has −βd², so that β is above 0 where gold turns."),
        Mistake(_in_kl, "You fit KL in the place of d. The form is in d = √KL, which is what you are given."),
        Mistake(_through_the_ends, "You draw the form through the first and the last point. All points count."),
        Mistake(_by_the_peak, "You read α and β off the highest point. That throws the others away, and is wrong where gold has not turned yet."),
    ),
)  # fmt: skip


# --------------------------------------------------------------------------- 5 · how much of held-out gold a form tells


def told_of_others(distances: np.ndarray, golds: np.ndarray) -> float:
    """R² on points that were not fitted: of the form d (α − β d), fitted to every second point from the first on, the share
    of the variance that it explains of the other points; 1 − Σ(gold − form)² / Σ(gold − their mean)²."""
    alpha, beta = fitted(distances[::2], golds[::2])
    others, apart = golds[1::2], distances[1::2]
    told = apart * (alpha - beta * apart)
    return float(1 - ((others - told) ** 2).sum() / ((others - others.mean()) ** 2).sum())


def _explained(fitted_to: slice, told: slice, distances: np.ndarray, golds: np.ndarray) -> float:
    alpha, beta = fitted(distances[fitted_to], golds[fitted_to])
    others, apart = golds[told], distances[told]
    left = others - apart * (alpha - beta * apart)
    return float(1 - (left**2).sum() / ((others - others.mean()) ** 2).sum())


def _told_of_its_own(distances: np.ndarray, golds: np.ndarray) -> float:
    return _explained(np.s_[::2], np.s_[::2], distances, golds)


def _fitted_to_all(distances: np.ndarray, golds: np.ndarray) -> float:
    return _explained(np.s_[:], np.s_[1::2], distances, golds)


def _first_half(distances: np.ndarray, golds: np.ndarray) -> float:
    half = (len(golds) + 1) // 2
    return _explained(np.s_[:half], np.s_[half:], distances, golds)


def _mean_of_the_fitted(distances: np.ndarray, golds: np.ndarray) -> float:
    others, theirs = golds[1::2], golds[::2]
    about = ((others - others.mean()) ** 2).sum() / ((others - theirs.mean()) ** 2).sum()
    return float(1 - (1 - told_of_others(distances, golds)) * about)


def _correlation(distances: np.ndarray, golds: np.ndarray) -> float:
    alpha, beta = fitted(distances[::2], golds[::2])
    apart = distances[1::2]
    return float(np.corrcoef(golds[1::2], apart * (alpha - beta * apart))[0, 1] ** 2)


def _never_negative(distances: np.ndarray, golds: np.ndarray) -> float:
    return max(0.0, told_of_others(distances, golds))


def _unexplained(distances: np.ndarray, golds: np.ndarray) -> float:
    return 1 - told_of_others(distances, golds)


HELD_OUT = Exercise(
    title="How much of held-out gold a form tells",
    level="medium",
    minutes=10,
    hints=(
        "Three steps: fit [::2] (`fitted` of the exercise before will do), tell the gold of [1::2], compare with their gold.",
        "One less the sum of squared errors over the sum of squared deviations from the mean, both of the held-out points alone. "
        "It can be below 0.",
    ),
    solution=told_of_others,
    cases=lambda: [
        (np.array([0.3, 0.6, 0.9, 1.2, 1.5, 1.8]), np.array([0.5, 0.7, 1.0, 0.9, 0.8, 0.3])),
        (np.array([0.5, 1.0, 1.5, 2.0, 2.5]), np.array([0.6, 0.8, 1.1, 0.7, 0.6])),
        (np.array([0.5, 1.0, 1.5, 2.0, 2.5]), np.array([0.1, 0.9, 0.2, 1.0, 0.1])),
    ],
    mistakes=(
        Mistake(_told_of_its_own, "You tell the points that you fitted. Two coefficients always explain their own points rather well."),
        Mistake(_fitted_to_all, "You fitted all points, the ones that are told included. They are no longer held out."),
        Mistake(_mean_of_the_fitted, "The variance is that of the held-out points about their own mean, and not about that of the fitted ones."),
        Mistake(_correlation, "A squared correlation forgives a wrong scale and a wrong level: a form that tells twice the gold would have 1."),
        Mistake(_never_negative, "You cut off at 0. A form can be worse than the mean of the points, and then one should see it."),
        Mistake(_unexplained, "That is the share that is left unexplained."),
        Mistake(_first_half, "You fit the first half and tell the second. That asks for more than was asked here: to tell points beyond the ones measured."),
    ),
)  # fmt: skip
