"""A ranking of K answers made of a judge's verdicts on pairs of them.

Paper: Zhu et al. 2024 (Starling-7B), whose judge ranks seven answers after comparing them in pairs, in an
order drawn at random, because a judge favours places. Here every pair is asked about once, and which of the
two is shown first is drawn: a favourite place then costs accuracy and favours no answer. An answer's rank is
by its wins, each counted as the judge's probability of it.

Simplification: the comparisons are separate questions and not one long answer that ends in a ranking.
"""

import random
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from rlhf_mini.data.judging import Comparison
from rlhf_mini.methods.judge import Ask


def compared(
    ask: Ask, principle: str, prompts: Sequence[str], texts: Sequence[Sequence[str]], *, rng: random.Random
) -> Tensor:
    """What the judge says of every pair of the answers to every prompt.

    - `texts`: K answers to each of N prompts.
    - `rng`: draws which of the two is shown first.

    Returns (N, K, K): P(answer i is better than answer j) in row i and column j, ½ on the diagonal; the
    entries for i, j and j, i add up to 1.

    Raises ValueError unless every prompt has the same number of answers, at least two, and if the judge does
    not return one probability a comparison.
    """
    counts = {len(row) for row in texts}
    if len(prompts) != len(texts) or len(counts) != 1 or min(counts) < 2:
        raise ValueError(
            f"need as many answers, at least 2, to each of {len(prompts)} prompts; got {len(texts)} lists of "
            f"{sorted(counts)}"
        )
    k = counts.pop()
    shown: list[tuple[int, int, int]] = []  # the prompt, and the answers in the order shown
    for row in range(len(prompts)):
        for pair in combinations(range(k), 2):
            first, second = rng.sample(pair, 2)
            shown.append((row, first, second))
    said = ask(
        [Comparison(principle, prompts[row], texts[row][i], texts[row][j]) for row, i, j in shown]
    ).cpu()
    if said.shape != (len(shown),) or not ((said >= 0) & (said <= 1)).all():
        raise ValueError(
            f"the judge must return one probability for each of {len(shown)} comparisons, got {said.shape}"
        )
    wins = torch.full((len(prompts), k, k), 0.5, dtype=said.dtype)
    rows, first, second = torch.tensor(shown).T
    wins[rows, first, second] = said
    wins[rows, second, first] = 1 - said
    return wins


def ranked(wins: Tensor) -> Tensor:
    """The answers of each prompt from the one with the most wins to the one with the fewest, (N, K) int64.

    Of answers with as many wins the one with the lower number stands first.

    >>> ranked(torch.tensor([[[0.5, 0.1, 0.6], [0.9, 0.5, 0.8], [0.4, 0.2, 0.5]]]))  # wins 1.2, 2.2, 1.1
    tensor([[1, 0, 2]])
    """
    return wins.sum(2).argsort(dim=1, descending=True, stable=True)
