"""How varied a set of texts is. All three numbers depend on how many texts there are: compare sets of equal
size.
"""

import re
from collections.abc import Sequence
from itertools import combinations

_WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")


def words(text: str) -> list[str]:
    """Lower-case words and single punctuation marks.

    >>> words("Tom's cat, Tom!")
    ["tom's", 'cat', ',', 'tom', '!']
    """
    return _WORD.findall(text.lower())


def _ngrams(text: str, *, n: int) -> list[tuple[str, ...]]:
    tokens = words(text)
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def _check_texts(texts: Sequence[str], *, at_least: int) -> None:
    if isinstance(texts, str) or len(texts) < at_least:
        got = "one string" if isinstance(texts, str) else f"{len(texts)} text(s)"
        raise ValueError(f"diversity is measured on a list of at least {at_least} text(s), got {got}")


def _check_order(n: int) -> None:
    if n < 1:
        raise ValueError(f"n-grams need n >= 1, got {n}")


def distinct_n(texts: Sequence[str], *, n: int) -> float:
    """Distinct-n: different n-grams over all n-grams, pooled over the texts, in [0, 1].

    n-grams do not cross from one text into the next. If no text is n words long the answer is 0: there is
    nothing to vary.

    Paper: Li et al. 2016, arXiv 1510.03055.

    Example:
        >>> distinct_n(["a b a b"], n=1), distinct_n(["a b a b"], n=2)
        (0.5, 0.6666666666666666)
    """
    _check_texts(texts, at_least=1)
    _check_order(n)
    grams = [gram for text in texts for gram in _ngrams(text, n=n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def unique_fraction(texts: Sequence[str]) -> float:
    """Different texts over all texts, whitespace aside: 1 when no two agree, 1/N when all do.

    >>> unique_fraction(["a cat", "a  cat ", "a dog", "a hen"])
    0.75
    """
    _check_texts(texts, at_least=1)
    return len({" ".join(text.split()) for text in texts}) / len(texts)


def pairwise_overlap(texts: Sequence[str], *, n: int = 2) -> float:
    """Mean over all pairs of texts of the Jaccard overlap of their n-gram sets, |A ∩ B| / |A ∪ B|, in [0, 1].

    It plays the part of self-BLEU (high means alike) and is symmetric, with no smoothing to choose. Two texts
    that are both shorter than n words overlap by 1 if they are the same words and by 0 otherwise.

    Example:
        >>> round(pairwise_overlap(["a b c", "a b d"], n=2), 4)  # shares "a b" of "a b", "b c", "b d"
        0.3333
    """
    _check_texts(texts, at_least=2)
    _check_order(n)
    grams = [frozenset(_ngrams(text, n=n)) or frozenset([tuple(words(text))]) for text in texts]
    total = 0.0
    for first, second in combinations(grams, 2):
        shared = len(first & second)
        total += shared / (len(first) + len(second) - shared)
    return total / (len(grams) * (len(grams) - 1) / 2)


def diversity(texts: Sequence[str]) -> dict[str, float]:
    """distinct_1, distinct_2, unique_fraction and pairwise_overlap (of 2-grams) of at least two texts, for a
    record.
    """
    return {
        "distinct_1": distinct_n(texts, n=1),
        "distinct_2": distinct_n(texts, n=2),
        "unique_fraction": unique_fraction(texts),
        "pairwise_overlap": pairwise_overlap(texts, n=2),
    }
