"""A language small enough to list, as one batch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch

from rlhf_mini.shapes import Bool, Float, Int, Tensor
from rlhf_mini.tensors import token_logp, zero_off_mask

MOST_TEXTS = 100_000
LogitsOf = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ToyLanguage:
    """All texts of at most ``steps`` tokens: those that close with the end token, and those cut off there.

    The end token also stands in column 0, where a text begins, and fills up short rows, so that a model of
    the language needs no other tokens than these ``vocabulary``.

    Attributes:
        vocabulary: number of tokens, the end token included, at least 2.
        steps: the most tokens in a text, the end token included, at least 1.
        end_token: the token that ends a text.

    Raises:
        ValueError: on a number out of range, or on more than 100,000 texts.

    Example:
        >>> ToyLanguage(vocabulary=3, steps=2).texts  # 0 ends a text
        ((0,), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2))
    """

    vocabulary: int = 5
    steps: int = 4
    end_token: int = 0

    def __post_init__(self) -> None:
        """Check the numbers before anything is listed."""
        if self.vocabulary < 2 or self.steps < 1 or not 0 <= self.end_token < self.vocabulary:
            raise ValueError(
                "A toy language needs vocabulary >= 2, steps >= 1 and an end_token in the vocabulary; "
                f"received {self}."
            )
        others = self.vocabulary - 1
        texts = sum(others**length for length in range(self.steps)) + others**self.steps
        if texts > MOST_TEXTS:
            raise ValueError(f"{self} has {texts} texts, over {MOST_TEXTS}. Use fewer tokens or fewer steps.")

    @cached_property
    def states(self) -> tuple[tuple[int, ...], ...]:
        """The S beginnings that can go on, shortest first: the rows of every table. State 0 is empty."""
        others = [token for token in range(self.vocabulary) if token != self.end_token]
        return tuple(begin for length in range(self.steps) for begin in product(others, repeat=length))

    @cached_property
    def texts(self) -> tuple[tuple[int, ...], ...]:
        """The B texts, as tuples of tokens, the end token included."""
        return tuple(
            (*state, token)
            for state in self.states
            for token in range(self.vocabulary)
            if token == self.end_token or len(state) == self.steps - 1
        )

    @cached_property
    def tokens(self) -> Int[Tensor, "B T"]:
        """All texts as one batch, ``(B, 1 + steps)``."""
        rows = [[self.end_token, *text] + [self.end_token] * (self.steps - len(text)) for text in self.texts]
        return torch.tensor(rows)

    @cached_property
    def mask(self) -> Bool[Tensor, "B T"]:
        """True on column 0 and on the text; false on what fills up the row."""
        lengths = torch.tensor([[len(text)] for text in self.texts])
        return torch.arange(1 + self.steps) <= lengths

    @cached_property
    def response(self) -> Bool[Tensor, "B T"]:
        """True on the text, its end token included."""
        return self.mask & (torch.arange(1 + self.steps) > 0)

    @cached_property
    def next_state(self) -> Int[Tensor, "S1 V"]:
        """``(S + 1, V)``: the state after a token. S stands for "ended", and is never left."""
        number = {state: index for index, state in enumerate(self.states)}
        ended = len(self.states)
        rows = [
            [number.get((*state, token), ended) for token in range(self.vocabulary)] for state in self.states
        ]
        return torch.tensor([*rows, [ended] * self.vocabulary])

    @cached_property
    def state_before(self) -> Int[Tensor, "B T"]:
        """``(B, T)``: the state in which each token was chosen; S off the response."""
        number = {state: index for index, state in enumerate(self.states)}
        ended = len(self.states)
        rows = []
        for text in self.texts:
            visited = [number[text[:length]] for length in range(len(text))]
            rows.append([ended, *visited] + [ended] * (self.steps - len(text)))
        return torch.tensor(rows)

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor]:
        """Each counted token's number of state and token, and for each number the first token that has it."""
        pair = (self.state_before * self.vocabulary + self.tokens)[self.response]
        first: dict[int, int] = {}
        for index, number in enumerate(pair.tolist()):
            first.setdefault(number, index)
        return pair, torch.tensor([first[number] for number in range(len(first))])

    def token_logp(self, logits_of: LogitsOf) -> Float[Tensor, "B T"]:
        """The log-probability of every token of every text, float64, 0 off the response."""
        return zero_off_mask(token_logp(logits_of(self.tokens).double(), self.tokens), self.response)

    def sequence_logp(self, logits_of: LogitsOf) -> Float[Tensor, " B"]:
        """The log-probability of every text, float64. The probabilities add up to 1."""
        return self.token_logp(logits_of).sum(1)

    def score(self, reward: Callable[[tuple[int, ...]], float]) -> Float[Tensor, " B"]:
        """The reward of every text, float64.

        Example:
            >>> ToyLanguage(vocabulary=2, steps=2).score(len)
            tensor([1., 2., 2.], dtype=torch.float64)
        """
        return torch.tensor([float(reward(text)) for text in self.texts], dtype=torch.float64)

    def at_last_token(self, rewards: Float[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """Rewards of whole texts as rewards of tokens: all of it on the last token, 0 before."""
        last = torch.tensor([[len(text)] for text in self.texts])
        return torch.where(torch.arange(1 + self.steps) == last, rewards[:, None], 0.0)

    def to_table(self, per_token: Float[Tensor, "B T"]) -> Float[Tensor, "S V"]:
        """What stands at each token, as a table over states and tokens.

        Raises:
            ValueError: if texts that share a beginning disagree about a token in it, for then the number
                depends on what comes later and is no function of state and token.
        """
        counted = per_token[self.response]
        pair, place = self._pairs
        table = counted[place]
        # allclose, because rows of a float32 model differ in the last digits
        if not torch.allclose(table[pair], counted, rtol=0, atol=1e-5):
            raise ValueError(
                "Texts that share a beginning disagree about its tokens: the numbers look ahead."
            )
        return table.view(len(self.states), self.vocabulary)

    def from_table(self, table: Float[Tensor, "S V"]) -> Float[Tensor, "B T"]:
        """What a table over states and tokens says about each token; 0 off the response."""
        ended = table.new_zeros(1, self.vocabulary)
        return torch.cat([table, ended])[self.state_before, self.tokens]

    def from_states(self, values: Float[Tensor, " S"]) -> Float[Tensor, "B T"]:
        """What is said about each state, at the token chosen there; 0 off the response."""
        return torch.cat([values, values.new_zeros(1)])[self.state_before]
