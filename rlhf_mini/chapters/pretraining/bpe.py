"""Byte-pair encoding by hand: learn merges by counting, then apply them in the order they were learned in.

The library's tokenizer is trained by `tokenizers`; this is the same algorithm in the open. Words are counted
once, and a merge never crosses from one word into the next.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from tokenizers import pre_tokenizers

Pair = tuple[str, str]


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs, cut as byte-level tokenizers cut: a word carries the space before it, as Ġ.

    >>> count_words(["a cat, a hat"])
    Counter({'a': 1, 'Ġcat': 1, ',': 1, 'Ġa': 1, 'Ġhat': 1})
    """
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Counter(word for text in texts for word, _ in cut.pre_tokenize_str(text))


def merge(symbols: Sequence[str], pair: Pair) -> list[str]:
    """The symbols with every occurrence of the pair joined, from left to right.

    >>> merge(["a", "a", "a", "b"], ("a", "a"))
    ['aa', 'a', 'b']
    """
    result: list[str] = []
    place = 0
    while place < len(symbols):
        found = tuple(symbols[place : place + 2]) == pair
        result.append("".join(pair) if found else symbols[place])
        place += 2 if found else 1
    return result


def learn_merges(words: Mapping[str, int], count: int) -> list[Pair]:
    """The first `count` merges: each joins the pair of neighbours that is then the most frequent.

    Of equally frequent pairs the one whose symbols came into the vocabulary first is taken.
    """
    splits = {word: list(word) for word in words}
    age = {symbol: place for place, symbol in enumerate(sorted(set("".join(words))))}
    merges: list[Pair] = []
    for _ in range(count):
        pairs: Counter[Pair] = Counter()
        for word, symbols in splits.items():
            for pair in pairwise(symbols):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], age[pair[0]], age[pair[1]]))
        age.setdefault("".join(best), len(age))
        splits = {word: merge(symbols, best) for word, symbols in splits.items()}
        merges.append(best)
    return merges


def split_word(word: str, merges: Sequence[Pair]) -> list[str]:
    """A word in tokens: its letters, joined by every merge in turn.

    >>> split_word("Ġcat", [("a", "t"), ("Ġ", "c")])
    ['Ġc', 'at']
    """
    symbols = list(word)
    for pair in merges:
        symbols = merge(symbols, pair)
    return symbols
