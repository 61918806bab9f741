"""Which checkpoint to keep, by what one is able to look at; and what each rule costs.

Along a run against a proxy, gold rises and falls, and the proxy does not say when. Each function is one rule:
it looks at some numbers of K checkpoints, in the order of training, and returns the index of one. `regret` is
the gold that is lost against the best of them. Two rules look at gold itself, which has a price: they say how
many labels they used.

Papers: Gao et al. 2022, §4 (early stopping by KL); Karnin, Koren and Somekh 2013 (sequential halving).
"""

import math
from dataclasses import dataclass

import numpy as np

from rlhf_mini.evaluation.intervals import Values, as_values
from rlhf_mini.evaluation.overoptimisation import Table, as_table


@dataclass(frozen=True)
class Choice:
    """The index of a checkpoint, and how many gold labels choosing it took."""

    index: int
    labels: int


def regret(golds: Values, index: int) -> float:
    """``max_k G_k − G_index``: the gold given away by keeping this checkpoint; never negative.

    Args:
        golds: (K,), every checkpoint's true mean gold.
        index: from 0 to K − 1.

    Raises:
        ValueError: on an index out of range.

    Example:
        >>> regret([1.0, 3.0, 2.0], 2)
        1.0
    """
    true = as_values(golds, at_least=1)
    if not 0 <= index < len(true):
        raise ValueError(f"index must be from 0 to {len(true) - 1}, got {index}")
    return float(true.max() - true[index])


def by_score(scores: Values) -> int:
    """The checkpoint with the highest mean score, the first of them if several have it.

    With the proxy's scores this is the naive rule; with those of a reward model that was trained on other
    labels and never optimised, a validation score.

    >>> by_score([1.0, 3.0, 3.0])
    1
    """
    return int(as_values(scores, at_least=1).argmax())


def by_patience(scores: Values, *, patience: int) -> int:
    """Early stopping: the best so far, at the first moment when `patience` checkpoints in a row brought none
    better.

    Unlike `by_score` it needs no checkpoint beyond that moment to be trained.

    Args:
        scores: (K,), of a held-out reward model, say.
        patience: at least 1.

    Raises:
        ValueError: on a patience below 1.

    Example:
        >>> by_patience([1.0, 2.0, 1.5, 1.5, 9.0], patience=2)
        1
    """
    if patience < 1:
        raise ValueError(f"patience must be at least 1, got {patience}")
    seen, best = as_values(scores, at_least=1), 0
    for index, score in enumerate(seen):
        if score > seen[best]:
            best = index
        elif index - best >= patience:
            break
    return best


def by_kl_budget(kl: Values, *, budget: float) -> int:
    """The last checkpoint before KL first exceeds the budget; the first one if that is already beyond it.

    Args:
        kl: (K,), nats per sequence.
        budget: nats per sequence, above 0: from experience, or d*² of a form fitted to another seed's run.

    Raises:
        ValueError: on a budget that is not above 0.

    Example:
        >>> by_kl_budget([0.0, 2.0, 5.0, 3.0], budget=4.0)
        1
    """
    if not budget > 0:
        raise ValueError(f"budget must be above 0 nats, got {budget}")
    beyond = (as_values(kl, at_least=1) > budget).nonzero()[0]
    return max(0, int(beyond[0]) - 1) if len(beyond) else len(as_values(kl, at_least=1)) - 1


def by_gold_labels(golds: Table, *, labels: int, generator: np.random.Generator) -> Choice:
    """The highest mean of `labels` gold labels a checkpoint, of the same prompts for all of them.

    Args:
        golds: (K, M), the gold of each checkpoint's answers to the same M prompts; M ≥ labels ≥ 1.
        labels: how many prompts, drawn without replacement; the price is K times as many.

    Raises:
        ValueError: on a number of labels out of range.

    Example:
        >>> by_gold_labels([[0.0, 1.0], [2.0, 2.0]], labels=2, generator=np.random.default_rng(0))
        Choice(index=1, labels=4)
    """
    table = _table(golds, labels)
    asked = generator.choice(table.shape[1], size=labels, replace=False)
    return Choice(int(table[:, asked].mean(1).argmax()), labels * len(table))


def by_halving(golds: Table, *, labels: int, generator: np.random.Generator) -> Choice:
    """Sequential halving: label a little, drop the worse half, spend what was saved on the rest, and again.

    There are ⌈log₂ K⌉ rounds with the same budget each, ⌊K · labels / rounds⌋, shared evenly among those
    still in; a round's means are over all labels so far, and the better half, rounded up, stays. No
    checkpoint can get more than M labels.

    Args:
        golds: (K, M), K ≥ 2, as in `by_gold_labels`.
        labels: what the budget would be a checkpoint if all were treated alike, at least ⌈log₂ K⌉, so that
            every one is seen in the first round.

    Returns:
        The choice, with the labels that were really used: at most K · labels.

    Raises:
        ValueError: on a number of labels out of range, or a single checkpoint.
    """
    table = _table(golds, labels)
    count, most = table.shape
    if count < 2:
        raise ValueError(f"there is nothing to choose from in {count} checkpoint")
    rounds = math.ceil(math.log2(count))
    if labels < rounds:
        raise ValueError(f"{rounds} rounds need at least as many labels a checkpoint, got {labels}")
    order, alive = generator.permutation(most), np.arange(count)
    seen, used = 0, 0
    for _ in range(rounds):
        further = min(seen + count * labels // rounds // len(alive), most)
        used += (further - seen) * len(alive)
        seen = further
        means = table[np.ix_(alive, order[:seen])].mean(1)
        alive = np.sort(alive[np.argsort(-means, kind="stable")[: math.ceil(len(alive) / 2)]])
    return Choice(int(alive[0]), used)


def _table(golds: Table, labels: int) -> np.ndarray:
    table = as_table(golds)
    if not 1 <= labels <= table.shape[1]:
        raise ValueError(f"labels must be from 1 to the {table.shape[1]} prompts, got {labels}")
    return table
