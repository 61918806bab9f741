"""What travels between the parts: sequences, pairs of them, a finished rollout. All frozen, all checked."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from rlhf_mini.shapes import Tensor
from rlhf_mini.tensors import require_finite, require_mask, require_same_shape

Index = Tensor | slice | list[int]


@dataclass(frozen=True, eq=False)
class Sequences:
    """A batch of token sequences, padded on the right.

    Attributes:
        tokens: ``(B, T)`` int64.
        mask: ``(B, T)`` bool, true on real tokens: a run of them from column 0 in every row.
        response: ``(B, T)`` bool, true on the tokens that count for learning: what the model or the
            demonstrator wrote, its end token included. At least one in every row, never column 0, which
            nothing predicts.

    Raises:
        ValueError: if a shape, a dtype or one of these conditions is wrong; the message names the row.

    Example:
        >>> batch = pack_rows([[1, 5], [1]], [[7, 2], [8]], pad_token=0)
        >>> batch.tokens
        tensor([[1, 5, 7, 2],
                [1, 8, 0, 0]])
    """

    tokens: Tensor
    mask: Tensor
    response: Tensor

    def __post_init__(self) -> None:
        """Check everything that later code relies on."""
        require_same_shape(tokens=self.tokens, mask=self.mask, response=self.response)
        require_mask(self.mask)
        require_mask(self.response)
        if self.tokens.ndim != 2 or 0 in self.tokens.shape:
            raise ValueError(
                f"tokens must be (B, T) with both at least 1; received {tuple(self.tokens.shape)}."
            )
        if self.tokens.dtype != torch.int64:
            raise ValueError(f"tokens must be int64; received {self.tokens.dtype}. Use tokens.long().")
        _refuse_rows(~self.mask[:, 0], "do not begin with a real token; pad on the right, not on the left")
        _refuse_rows((self.mask[:, 1:] & ~self.mask[:, :-1]).any(1), "have padding between real tokens")
        _refuse_rows((self.response & ~self.mask).any(1), "count padding as response")
        _refuse_rows(self.response[:, 0], "count column 0 as response, but nothing predicts the first token")
        _refuse_rows(~self.response.any(1), "have no response token, so there is nothing to learn from them")

    def __len__(self) -> int:
        """The number of rows, B."""
        return len(self.tokens)

    @property
    def lengths(self) -> Tensor:
        """Real tokens in each row, ``(B,)``."""
        return self.mask.sum(1)

    def rows(self, index: Index) -> "Sequences":
        """The chosen rows, in the order chosen, without the columns that are padding in all of them."""
        mask = self.mask[index]
        width = int(mask.sum(1).max())
        return Sequences(self.tokens[index][:, :width], mask[:, :width], self.response[index][:, :width])

    def to(self, device: torch.device | str) -> "Sequences":
        """The same batch on another device."""
        return Sequences(self.tokens.to(device), self.mask.to(device), self.response.to(device))


@dataclass(frozen=True, eq=False)
class Pairs:
    """A batch of preferences: row by row, ``chosen`` was preferred to ``rejected``.

    Attributes:
        chosen: the preferred sequences.
        rejected: the others, as many.
        margin: ``(B,)``, by how much the scores should differ at least; None for no margin.
        weight: ``(B,)``, how much each pair counts, 0 or above, 1 being as usual; None for all alike.

    Raises:
        ValueError: if the numbers of rows differ, a margin or a weight is not finite, or a weight is below 0.
    """

    chosen: Sequences
    rejected: Sequences
    margin: Tensor | None = None
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that the parts belong together."""
        if len(self.chosen) != len(self.rejected):
            raise ValueError(
                f"{len(self.chosen)} chosen and {len(self.rejected)} rejected sequences are not pairs: "
                "every row needs a winner and a loser."
            )
        for name, numbers in (("margin", self.margin), ("weight", self.weight)):
            if numbers is not None:
                _require_one_each(len(self), "pair", **{name: numbers})
        if self.weight is not None and (self.weight < 0).any():
            raise ValueError(f"A weight must be 0 or above; the least is {float(self.weight.min())}.")

    def __len__(self) -> int:
        """The number of pairs, B."""
        return len(self.chosen)

    @property
    def lengths(self) -> Tensor:
        """Real tokens in each pair, both sequences together, ``(B,)``."""
        return self.chosen.lengths + self.rejected.lengths

    def rows(self, index: Index) -> "Pairs":
        """The chosen pairs, in the order chosen."""
        margin = None if self.margin is None else self.margin[index]
        weight = None if self.weight is None else self.weight[index]
        return Pairs(self.chosen.rows(index), self.rejected.rows(index), margin, weight)

    def to(self, device: torch.device | str) -> "Pairs":
        """The same batch on another device."""
        margin = None if self.margin is None else self.margin.to(device)
        weight = None if self.weight is None else self.weight.to(device)
        return Pairs(self.chosen.to(device), self.rejected.to(device), margin, weight)


@dataclass(frozen=True, eq=False)
class Rankings:
    """A batch of rankings: k answers to each of B prompts, the best first.

    Where only the best was picked, as by the labellers of Ziegler et al. (2019), it stands first and the
    others behind it in any order.

    Attributes:
        answers: ``B · k`` sequences, the k of a prompt one after the other, from best to worst.
        k: answers a prompt, at least 2.

    Raises:
        ValueError: if k is below 2, or the sequences do not divide into groups of k.

    Example:
        >>> answers = pack_rows([[1]] * 4, [[7, 2], [8, 2], [9, 2], [6, 2]], pad_token=0)
        >>> Rankings(answers, k=2).rows([1]).answers.tokens  # the second prompt's two answers
        tensor([[1, 9, 2],
                [1, 6, 2]])
    """

    answers: Sequences
    k: int

    def __post_init__(self) -> None:
        """Check that the groups are whole."""
        if self.k < 2 or len(self.answers) % self.k:
            raise ValueError(
                f"{len(self.answers)} sequences are no rankings of k = {self.k} answers each: give k of them "
                "for every prompt, at least 2."
            )

    def __len__(self) -> int:
        """The number of prompts, B."""
        return len(self.answers) // self.k

    @property
    def lengths(self) -> Tensor:
        """Real tokens in each ranking, all its sequences together, ``(B,)``."""
        return self.answers.lengths.view(-1, self.k).sum(1)

    def rows(self, index: Index) -> "Rankings":
        """The chosen prompts with all their answers, in the order chosen."""
        places = torch.arange(len(self.answers)).view(-1, self.k)[index]
        return Rankings(self.answers.rows(places.flatten()), self.k)

    def to(self, device: torch.device | str) -> "Rankings":
        """The same batch on another device."""
        return Rankings(self.answers.to(device), self.k)


@dataclass(frozen=True, eq=False)
class Ratings:
    """A batch of answers, each with the number that somebody gave it.

    Attributes:
        answers: the sequences.
        ratings: ``(B,)``, one a sequence, higher for better.

    Raises:
        ValueError: if there is not one rating a sequence, or one is not finite.
    """

    answers: Sequences
    ratings: Tensor

    def __post_init__(self) -> None:
        """Check that every answer has its rating."""
        _require_one_each(len(self), "sequence", ratings=self.ratings)

    def __len__(self) -> int:
        """The number of rated answers, B."""
        return len(self.answers)

    @property
    def lengths(self) -> Tensor:
        """Real tokens in each sequence, ``(B,)``."""
        return self.answers.lengths

    def rows(self, index: Index) -> "Ratings":
        """The chosen answers, in the order chosen."""
        return Ratings(self.answers.rows(index), self.ratings[index])

    def to(self, device: torch.device | str) -> "Ratings":
        """The same batch on another device."""
        return Ratings(self.answers.to(device), self.ratings.to(device))


@dataclass(frozen=True, eq=False)
class Rollout:
    """What a policy wrote, and all that is computed about it before the first update: constants, no gradient.

    Attributes:
        sequences: the prompts with what was written after them.
        logp_old: ``(B, T)``, log-probabilities under the policy that wrote them.
        logp_ref: ``(B, T)``, under the frozen reference.
        values_old: ``(B, T)``, value of the prefix before each token, at the time of writing.
        scores: ``(B,)``, the reward model's verdict on each sequence.
        rewards: ``(B, T)``, per token: the score on the last, less the price of the KL divergence on each.
        advantages: ``(B, T)``.
        returns: ``(B, T)``, what the value model should have said.

    Raises:
        ValueError: on a wrong shape; on a number that counts and is not finite; on a field that requires a
            gradient.
    """

    sequences: Sequences
    logp_old: Tensor
    logp_ref: Tensor
    values_old: Tensor
    scores: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor

    def __post_init__(self) -> None:
        """Check shapes, and that nothing that counts is NaN or infinite."""
        numbers = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name != "sequences"
        }
        attached = [name for name, tensor in numbers.items() if tensor.requires_grad]
        if attached:
            raise ValueError(
                f"A rollout holds constants, but {', '.join(attached)} require a gradient. Use .detach()."
            )
        scores = numbers.pop("scores")
        _require_one_each(len(self), "sequence", scores=scores)
        require_same_shape(tokens=self.sequences.tokens, **numbers)
        require_finite(self.sequences.response, **numbers)

    def __len__(self) -> int:
        """The number of sequences, B."""
        return len(self.sequences)

    def rows(self, index: Index) -> "Rollout":
        """The chosen rows, in the order chosen, without the columns that are padding in all of them."""
        sequences = self.sequences.rows(index)
        width = sequences.tokens.shape[1]
        numbers = [getattr(self, field.name)[index] for field in fields(self)[1:]]
        return Rollout(sequences, *(number[:, :width] if number.ndim == 2 else number for number in numbers))

    def to(self, device: torch.device | str) -> "Rollout":
        """The same rollout on another device."""
        return Rollout(*(getattr(self, field.name).to(device) for field in fields(self)))


def pack_rows(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], *, pad_token: int
) -> Sequences:
    """Put each prompt and its response into one row, padded on the right to the longest.

    Args:
        prompts: token numbers, at least one a row (a begin token will do).
        responses: token numbers, at least one a row, the end token included if the text ended.
        pad_token: what fills the rest.

    Returns:
        The batch; ``response`` is true on the responses' tokens.

    Raises:
        ValueError: if there are no rows, not as many prompts as responses, or an empty prompt or response
            (the message names the row).

    Example:
        >>> pack_rows([[1, 5], [1]], [[7, 2], [8]], pad_token=0).response
        tensor([[False, False,  True,  True],
                [False,  True, False, False]])
    """
    if len(prompts) != len(responses) or not len(prompts):
        raise ValueError(
            f"Need as many prompts as responses, at least one; there are {len(prompts)} and {len(responses)}."
        )
    for name, rows in (("prompt", prompts), ("response", responses)):
        empty = [index for index, row in enumerate(rows) if not len(row)]
        if empty:
            raise ValueError(
                f"The {name} of rows {empty} is empty; it needs at least one token. Drop these rows."
            )
    lengths = torch.tensor(
        [[len(prompt), len(response)] for prompt, response in zip(prompts, responses, strict=True)]
    )
    ends = lengths.sum(1, keepdim=True)
    width = int(ends.max())
    column = torch.arange(width)
    tokens = torch.tensor(
        [
            [*prompt, *response] + [pad_token] * (width - len(prompt) - len(response))
            for prompt, response in zip(prompts, responses, strict=True)
        ],
        dtype=torch.int64,
    )
    mask = column < ends
    return Sequences(tokens, mask, mask & (column >= lengths[:, :1]))


def _require_one_each(count: int, what: str, **numbers: Tensor) -> None:
    for name, tensor in numbers.items():
        if tensor.shape != (count,):
            raise ValueError(f"{name} must be ({count},), one a {what}; received {tuple(tensor.shape)}.")
        require_finite(torch.ones_like(tensor, dtype=torch.bool), **{name: tensor})


def _refuse_rows(bad: Tensor, what: str) -> None:
    if bad.any():
        raise ValueError(f"Rows {bad.nonzero().flatten().tolist()} {what}.")
