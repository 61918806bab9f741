"""The chapter's exercises: solutions, and the wrong programs that readers write."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake, OpenExercise


def join_pair(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Every occurrence of the pair joined, from left to right."""
    result: list[str] = []
    place = 0
    while place < len(symbols):
        if tuple(symbols[place : place + 2]) == pair:
            result.append(pair[0] + pair[1])
            place += 2
        else:
            result.append(symbols[place])
            place += 1
    return result


def joins_only_the_first(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Stops after one."""
    for place in range(len(symbols) - 1):
        if (symbols[place], symbols[place + 1]) == pair:
            return [*symbols[:place], "".join(pair), *symbols[place + 2 :]]
    return list(symbols)


def keeps_the_second_symbol(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Joins, but goes on by one place instead of two."""
    result = []
    for place, symbol in enumerate(symbols):
        found = tuple(symbols[place : place + 2]) == pair
        result.append("".join(pair) if found else symbol)
    return result


JOIN = Exercise(
    title="One merge of byte-pair encoding",
    level="easy",
    minutes=10,
    hints=(
        "Walk through the symbols with an index. At each place there are two cases.",
        "Where symbols[i] and symbols[i + 1] are the pair, append their concatenation and move on by two.",
    ),
    solution=join_pair,
    cases=lambda: [
        (list("abcab"), ("a", "b")),
        (list("aaab"), ("a", "a")),
        (["Ġ", "t", "h", "e"], ("h", "e")),
        (["ab", "c"], ("c", "ab")),
        ([], ("a", "b")),
    ],
    mistakes=(
        Mistake(joins_only_the_first, "You return after the first pair; join every occurrence."),
        Mistake(
            keeps_the_second_symbol,
            "The second symbol of a joined pair is still there: after a merge, go on by two places.",
        ),
    ),
)


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q Kᵀ / √D) V over each position and those to its left."""
    scores = query @ key.T / math.sqrt(query.shape[-1])
    future = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
    return scores.masked_fill(future, -torch.inf).softmax(-1) @ value


def attention_without_scale(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """No division by the root of the width."""
    scores = query @ key.T
    future = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
    return scores.masked_fill(future, -torch.inf).softmax(-1) @ value


def attention_to_the_future(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The wrong triangle."""
    scores = query @ key.T / math.sqrt(query.shape[-1])
    past = torch.ones_like(scores, dtype=torch.bool).tril(diagonal=-1)
    return scores.masked_fill(past, -torch.inf).softmax(-1) @ value


def attention_to_everything(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """No mask."""
    return (query @ key.T / math.sqrt(query.shape[-1])).softmax(-1) @ value


def attention_masked_too_late(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Weights of the future set to zero after the softmax, and not shared out again."""
    weights = (query @ key.T / math.sqrt(query.shape[-1])).softmax(-1)
    return weights.tril() @ value


def _heads() -> list[tuple[Tensor, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (1, 4), (5, 2)]
    return [
        (
            2 * torch.randn(shape, generator=generator),
            2 * torch.randn(shape, generator=generator),
            torch.randn(shape, generator=generator),
        )
        for shape in shapes
    ]


ATTENTION = Exercise(
    title="One causal attention head",
    level="medium",
    minutes=15,
    hints=(
        "Scores first: a (T, T) matrix of inner products. What must a row not see, and when must it be hidden?",
        "Divide by √D, put −∞ where the column is greater than the row (triu with diagonal 1), then softmax.",
    ),
    solution=causal_attention,
    cases=_heads,
    mistakes=(
        Mistake(attention_without_scale, "The scores are not divided by √D, the root of the head's width."),
        Mistake(attention_to_the_future, "You hid the past and show the future: take the other triangle."),
        Mistake(attention_to_everything, "Every position sees every other: there is no causal mask yet."),
        Mistake(
            attention_masked_too_late,
            "You mask after the softmax, so a row's weights no longer sum to 1. Put −∞ in before it.",
        ),
    ),
)


def bits_for_each_byte(losses: Sequence[float], text: str) -> float:
    """Total nats over ln 2 times the bytes of the text."""
    return sum(losses) / (math.log(2) * len(text.encode()))


def bits_for_each_token(losses: Sequence[float], text: str) -> float:
    """Divided by the tokens."""
    return sum(losses) / (math.log(2) * len(losses))


def bits_for_each_character(losses: Sequence[float], text: str) -> float:
    """Divided by the characters."""
    return sum(losses) / (math.log(2) * len(text))


def nats_for_each_byte(losses: Sequence[float], text: str) -> float:
    """In the wrong unit."""
    return sum(losses) / len(text.encode())


BITS = Exercise(
    title="Bits per byte",
    level="easy",
    minutes=5,
    hints=(
        "The total surprise of the text does not depend on how it was cut into tokens. What does it divide by?",
        "Sum the losses (nats), divide by ln 2 (now bits), divide by len(text.encode()).",
    ),
    solution=bits_for_each_byte,
    cases=lambda: [([0.7, 1.2], "abc"), ([2.0, 0.1, 0.4], "né"), ([3.0], "🐈!")],
    mistakes=(
        Mistake(bits_for_each_token, "You divide by the tokens. That number changes with the tokenizer."),
        Mistake(
            bits_for_each_character,
            "You divide by characters. é is one character and two bytes: use len(text.encode()).",
        ),
        Mistake(nats_for_each_byte, "These are nats: a bit is ln 2 nats."),
    ),
)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The smallest set of likeliest tokens that reaches top_p, with its probabilities made to sum to 1."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(0) - ordered
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(before < top_p, ordered, 0.0)
    return kept / kept.sum()


def nucleus_that_stops_early(probabilities: Tensor, top_p: float) -> Tensor:
    """Leaves out the token that crosses the threshold."""
    ordered, order = probabilities.sort(descending=True)
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(ordered.cumsum(0) <= top_p, ordered, 0.0)
    return kept / kept.sum()


def nucleus_that_does_not_sum_to_one(probabilities: Tensor, top_p: float) -> Tensor:
    """Not renormalised."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(0) - ordered
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(before < top_p, ordered, 0.0)
    return kept


def threshold_instead_of_nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Keeps tokens that are likely by themselves."""
    kept = torch.where(probabilities >= 1 - top_p, probabilities, 0.0)
    return kept / kept.sum()


def nucleus_left_in_order(probabilities: Tensor, top_p: float) -> Tensor:
    """Sorted, and never put back."""
    ordered = probabilities.sort(descending=True).values
    kept = torch.where(ordered.cumsum(0) - ordered < top_p, ordered, 0.0)
    return kept / kept.sum()


NUCLEUS = Exercise(
    title="The nucleus of a distribution",
    level="medium",
    minutes=15,
    hints=(
        "Sort in descending order, add up, cut, and put everything back in its place.",
        "A token is kept if what stands before it in that order sums to less than top_p. Then renormalise.",
    ),
    solution=nucleus,
    cases=lambda: [
        (torch.tensor([0.5, 0.3, 0.2]), 0.7),
        (torch.tensor([0.1, 0.15, 0.25, 0.5]), 0.9),
        (torch.tensor([0.4, 0.6]), 0.5),
        (torch.tensor([0.2, 0.8]), 1.0),
    ],
    mistakes=(
        Mistake(
            nucleus_that_stops_early,
            "The token that crosses top_p belongs to the nucleus: the set must reach top_p.",
        ),
        Mistake(nucleus_that_does_not_sum_to_one, "What is kept must sum to 1 again: divide by its sum."),
        Mistake(
            threshold_instead_of_nucleus,
            "You keep tokens by their own probability. It is the sum of the likeliest that must reach top_p.",
        ),
        Mistake(nucleus_left_in_order, "The result is still sorted: put each probability back in its place."),
    ),
)


def span_target(tokens: list[str], spans: list[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """Source and target of span corruption, with sentinels X0, X1, …"""
    source: list[str] = []
    target: list[str] = []
    place = 0
    for number, (start, end) in enumerate(spans):
        source += [*tokens[place:start], f"X{number}"]
        target += [f"X{number}", *tokens[start:end]]
        place = end
    return [*source, *tokens[place:]], [*target, f"X{len(spans)}"]


def span_target_without_end(tokens: list[str], spans: list[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """No closing sentinel."""
    source, target = span_target(tokens, spans)
    return source, target[:-1]


def span_target_with_many_sentinels(
    tokens: list[str], spans: list[tuple[int, int]]
) -> tuple[list[str], list[str]]:
    """One sentinel for each token of a span."""
    source, target = span_target(tokens, spans)
    wide: list[str] = []
    for symbol in source:
        number = int(symbol[1:]) if symbol[:1] == "X" and symbol[1:].isdigit() else None
        wide += [symbol] if number is None else [symbol] * (spans[number][1] - spans[number][0])
    return wide, target


def span_target_with_inclusive_ends(
    tokens: list[str], spans: list[tuple[int, int]]
) -> tuple[list[str], list[str]]:
    """Takes the end of a span to belong to it."""
    return span_target(tokens, [(start, end + 1) for start, end in spans])


SPANS = Exercise(
    title="Span corruption",
    level="medium",
    minutes=20,
    hints=(
        "Keep the place up to which the text is dealt with; each span moves it to the span's end.",
        "Source: text up to the span, then Xi. Target: Xi, then the span. At the end: the rest; one more X.",
    ),
    solution=span_target,
    cases=lambda: [
        ("the fox found a red kite .".split(), [(1, 2), (4, 6)]),
        ("a fox ran".split(), [(0, 1)]),
        ("a fox ran".split(), [(1, 3)]),
    ],
    mistakes=(
        Mistake(span_target_without_end, "The target needs a last sentinel, which says that it is complete."),
        Mistake(
            span_target_with_many_sentinels,
            "One sentinel stands for the whole span; with one for each token the source tells its length.",
        ),
        Mistake(span_target_with_inclusive_ends, "Spans are half open: (1, 2) is the token at 1 alone."),
    ),
)


OPEN = OpenExercise(
    title="A text of your own",
    level="hard",
    minutes=45,
    hints=(
        "`Pipeline(text='my.txt')` trains tokenizer and base model on the file and holds its last tenth out.",
        "Score the held-out part with `stream_loss` and `bits_per_byte`, and set it beside `ngram_baseline`.",
    ),
    good_answer=(
        "It states the bits per byte on the held-out part beside those of the best n-gram model on the same "
        "part, and says how large the text was and how often it was seen. It shows that the model was not "
        "scored on text it was trained on, looks at the training and the held-out loss together for signs of "
        "learning by heart, and gives two samples that were not picked. A comparison with a published number "
        "names the text, the tokenizer and the context; without these, it is no comparison."
    ),
)

EXERCISES = (JOIN, ATTENTION, BITS, NUCLEUS, SPANS, OPEN)
