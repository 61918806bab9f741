"""Exercises of chapter 10 on labels: two letters, both orders, the soft loss and its clamp, an expected rating."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.reader import Exercise, Mistake


def _numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------------------------------ 1 · a label from two letters


def letters(logits: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    """The label and the mass of one question: P(first | one of the two), and P(one of the two).

    logits (V,) are the judge's for its next token, not normalised; first and second are the tokens of the letters.
    """
    logp = logits.log_softmax(0)[[first, second]]
    return logp.softmax(0)[0], logp.exp().sum()


def _not_among_two(logits: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    p = logits.softmax(0)
    return p[first], p[[first, second]].sum()


def _one_sigmoid(logits: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    return logits[first].sigmoid(), logits.softmax(0)[[first, second]].sum()


def _exchanged(logits: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    return letters(logits, second, first)


def _mass_of_two(logits: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    p = logits[[first, second]].softmax(0)
    return p[0], p.sum()


def _hard(logits: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    label, mass = letters(logits, first, second)
    return (label > 0.5).to(label), mass


LETTERS = Exercise(
    title="A label from two letters",
    level="easy",
    minutes=10,
    hints=(
        "Two things are asked: which letter, if it says one of them; and whether it says one of them at all.",
        "The mass is p(A) + p(B) of the softmax over the whole vocabulary, and the label p(A) divided by it. The same "
        "label is σ(logit A − logit B): what all other tokens weigh cancels.",
    ),
    solution=letters,
    cases=lambda: [
        (3 * _numbers(6), 1, 4),
        (2 * _numbers(9, seed=1), 0, 8),
        (_numbers(4, seed=2) - 5, 2, 1),
    ],
    mistakes=(
        Mistake(_not_among_two, "That is P(A) among all tokens. A judge who says neither letter nine times in ten would then never prefer anything: divide by the mass of the two."),
        Mistake(_one_sigmoid, "A logit by itself says nothing: add 7 to all of them, and the judge is the same. It is their difference that goes into σ."),
        Mistake(_exchanged, "That is the label of the second letter. Asked is how likely the first is."),
        Mistake(_mass_of_two, "Your mass is always 1, since you have left all other tokens out before. It should tell whether the judge has understood that a letter is wanted."),
        Mistake(_hard, "You return a verdict. How sure the judge is, is the better half of what it said."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# -------------------------------------------------------------------------------------------------- 2 · both orders


def both_orders(as_given: Tensor, swapped: Tensor) -> tuple[Tensor, float]:
    """The labels (N,) with both orders averaged, and the share of pairs in which both orders name the same place.

    as_given (N,): P(first shown is better) with y1 shown first. swapped (N,): the same with y2 shown first. The label
    is P(y1 is better). A place is named if its probability is above ½.
    """
    labels = (as_given + 1 - swapped) / 2
    same_place = (as_given > 0.5) == (swapped > 0.5)
    return labels, float(same_place.double().mean())


def _not_turned_back(as_given: Tensor, swapped: Tensor) -> tuple[Tensor, float]:
    return (as_given + swapped) / 2, both_orders(as_given, swapped)[1]


def _same_answer(as_given: Tensor, swapped: Tensor) -> tuple[Tensor, float]:
    labels, same_place = both_orders(as_given, swapped)
    return labels, 1 - same_place


def _one_order(as_given: Tensor, swapped: Tensor) -> tuple[Tensor, float]:
    return as_given, both_orders(as_given, swapped)[1]


def _first_place(as_given: Tensor, swapped: Tensor) -> tuple[Tensor, float]:
    first = torch.cat([as_given, swapped]) > 0.5
    return both_orders(as_given, swapped)[0], float(first.double().mean())


def _verdicts(as_given: Tensor, swapped: Tensor) -> tuple[Tensor, float]:
    votes = ((as_given > 0.5).to(as_given) + (swapped <= 0.5).to(swapped)) / 2
    return votes, both_orders(as_given, swapped)[1]


_GIVEN = torch.tensor([0.9, 0.6, 0.3, 0.55, 0.2], dtype=torch.float64)
_SWAPPED = torch.tensor([0.2, 0.7, 0.4, 0.1, 0.85], dtype=torch.float64)

BOTH = Exercise(
    title="Both orders",
    level="easy",
    minutes=10,
    hints=(
        "In the second question the first place belongs to y2. What the judge says of it is 1 − what it says of y1.",
        "The label is (as_given + 1 − swapped) / 2. If the judge reads, the two probabilities lie on different sides of "
        "½; if it likes a place, on the same.",
    ),
    solution=both_orders,
    cases=lambda: [
        (_GIVEN.clone(), _SWAPPED.clone()),
        (_numbers(7).sigmoid(), _numbers(7, seed=1).sigmoid()),
        (torch.tensor([0.99, 0.98, 0.97]).double(), torch.tensor([0.95, 0.9, 0.2]).double()),
    ],
    mistakes=(
        Mistake(_not_turned_back, "The second answer is about y2, since y2 was shown first. You average a probability with that of the opposite, and what is left is the taste for a place."),
        Mistake(_same_answer, "Your share counts pairs in which the same answer wins. It is the others that show the fault: the same place, and so two different answers."),
        Mistake(_one_order, "Where is the second order? One look alone cannot tell a better answer from a better place."),
        Mistake(_first_place, "That is how often the first place is named, ½ for a judge without a favourite. Asked is in how many pairs both orders name the same one, be it the first or the second."),
        Mistake(_verdicts, "You average two verdicts, so that every doubtful pair becomes ½ or 1. Average the probabilities."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# --------------------------------------------------------------------------- 3 · a soft loss, and a clamp after thoughts


def after_thoughts(first: Tensor, second: Tensor, preference: Tensor, thought: bool) -> Tensor:
    """The loss of each pair, (N,), with a soft label; a judge that has thought aloud is drawn back to 0.4 … 0.6.

    first, second (N,) are the reward model's scores, preference (N,) the judge's P(first is better).
    """
    label = preference.clamp(0.4, 0.6) if thought else preference
    lead = first - second
    return -label * logsigmoid(lead) - (1 - label) * logsigmoid(-lead)


def _always_clamped(first: Tensor, second: Tensor, preference: Tensor, thought: bool) -> Tensor:
    return after_thoughts(first, second, preference, True)


def _squeezed(first: Tensor, second: Tensor, preference: Tensor, thought: bool) -> Tensor:
    label = 0.4 + 0.2 * preference if thought else preference
    return after_thoughts(first, second, label, False)


def _half_a_loss(first: Tensor, second: Tensor, preference: Tensor, thought: bool) -> Tensor:
    label = preference.clamp(0.4, 0.6) if thought else preference
    return -label * logsigmoid(first - second)


def _squared(first: Tensor, second: Tensor, preference: Tensor, thought: bool) -> Tensor:
    label = preference.clamp(0.4, 0.6) if thought else preference
    return ((first - second).sigmoid() - label).square()


def _mean(first: Tensor, second: Tensor, preference: Tensor, thought: bool) -> Tensor:
    return after_thoughts(first, second, preference, thought).mean()


def _less_entropy(first: Tensor, second: Tensor, preference: Tensor, thought: bool) -> Tensor:
    label = preference.clamp(0.4, 0.6) if thought else preference
    own = -torch.special.xlogy(label, label) - torch.special.xlogy(1 - label, 1 - label)
    return after_thoughts(first, second, preference, thought) - own


def _scores_and_labels(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return 2 * _numbers(6, seed=seed), _numbers(6, seed=seed + 1), (3 * _numbers(6, seed=seed + 2)).sigmoid()


AFTER_THOUGHTS = Exercise(
    title="A soft loss, and a clamp after thoughts",
    level="medium",
    minutes=15,
    hints=(
        "A cross-entropy between two coins: the label's and the reward model's, which is σ(r1 − r2).",
        "−p log σ(lead) − (1 − p) log σ(−lead), with p.clamp(0.4, 0.6) if there were thoughts, and p as it is if not.",
    ),
    solution=after_thoughts,
    cases=lambda: [(*_scores_and_labels(0), False), (*_scores_and_labels(3), True)],
    mistakes=(
        Mistake(_always_clamped, "You clamp the labels of a judge that answered at once, too. They are probabilities and worth something as such; it is after thoughts that they are all nearly 0 or 1."),
        Mistake(_squeezed, "You squeeze all labels into the range. A clamp leaves those that lie in it as they are, and cuts the others off."),
        Mistake(_half_a_loss, "Half of it is missing: with probability 1 − p the second is better. As it stands the loss falls for ever as the lead grows, for every p above 0."),
        Mistake(_squared, "A squared error of probabilities is least in the same place, but is no cross-entropy: it hardly pulls at a pair that is very wrong."),
        Mistake(_mean, "Return one loss a pair, not their mean."),
        Mistake(_less_entropy, "You have taken the label's own entropy off: that is the divergence between the two coins. It has the same gradient; the loss of the papers is the cross-entropy."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# ------------------------------------------------------------------------------------------- 4 · an expected rating


def expected_rating(logits: Tensor, ratings: list[int]) -> Tensor:
    """The judge's mean rating as a reward from −1 to 1.

    logits (V,) are not normalised; ratings lists the tokens of the ratings 1, 2, …, K, in this order.
    """
    p = logits[ratings].softmax(0)
    mean = (p * torch.arange(1, len(ratings) + 1)).sum()
    return 2 * (mean - 1) / (len(ratings) - 1) - 1


def _whole_vocabulary(logits: Tensor, ratings: list[int]) -> Tensor:
    p = logits.softmax(0)[ratings]
    mean = (p * torch.arange(1, len(ratings) + 1)).sum()
    return 2 * (mean - 1) / (len(ratings) - 1) - 1


def _likeliest(logits: Tensor, ratings: list[int]) -> Tensor:
    return 2 * logits[ratings].argmax() / (len(ratings) - 1) - 1


def _from_nought(logits: Tensor, ratings: list[int]) -> Tensor:
    mean = (logits[ratings].softmax(0) * torch.arange(len(ratings))).sum()
    return 2 * (mean - 1) / (len(ratings) - 1) - 1


def _as_it_is(logits: Tensor, ratings: list[int]) -> Tensor:
    return (logits[ratings].softmax(0) * torch.arange(1, len(ratings) + 1)).sum()


def _over_the_highest(logits: Tensor, ratings: list[int]) -> Tensor:
    return 2 * _as_it_is(logits, ratings) / len(ratings) - 1


RATING = Exercise(
    title="An expected rating",
    level="easy",
    minutes=10,
    hints=(
        "Normalise over the tokens of the ratings only, and take the mean of 1, 2, …, K under these probabilities.",
        "The lowest mean is 1 and the highest K. 2 (mean − 1)/(K − 1) − 1 sends the one to −1 and the other to 1.",
    ),
    solution=expected_rating,
    cases=lambda: [
        (2 * _numbers(12), [3, 4, 5, 6, 7]),
        (3 * _numbers(15, seed=1), [10, 2, 5]),
        (_numbers(20, seed=2), list(range(4, 14))),
    ],
    mistakes=(
        Mistake(_whole_vocabulary, "Your probabilities do not add up to 1: other tokens have some. The less the judge cares to give a rating at all, the lower your reward."),
        Mistake(_likeliest, "That is the likeliest rating. It is a whole number and the same for most answers; the mean tells them apart."),
        Mistake(_from_nought, "You count the ratings from 0, and then take 1 off as if they began at 1."),
        Mistake(_as_it_is, "Asked is a reward from −1 to 1. As it stands every answer is rewarded, the worst with 1."),
        Mistake(_over_the_highest, "The lowest rating is 1, not 0: with your scale the worst answer has not −1 but more. Take 1 off first, and divide by K − 1."),
    ),
    tolerance=1e-9,
)  # fmt: skip
