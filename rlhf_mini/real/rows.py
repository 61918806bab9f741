"""Other people's rows as what the methods learn from: encoded, checked against the context, some held out.

Everything that can be wrong with a row is found here, before a weight is loaded; the message names the row,
counted from 1 among those that the loader gave.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf_mini.batch import Pairs, Sequences, pack_rows
from rlhf_mini.data.instructions import load_instructions
from rlhf_mini.data.load import Source, load_preferences, load_prompts, load_text
from rlhf_mini.data.text import token_stream
from rlhf_mini.data.tokenizer import encode_prompt, encode_response
from rlhf_mini.data.unpaired import load_unpaired
from rlhf_mini.data.verifiable import load_verifiable
from rlhf_mini.methods.kto import Labelled
from rlhf_mini.real.settings import Method, Settings

LOADERS: Mapping[str, Callable[..., Any]] = {
    "text": load_text,
    "instructions": load_instructions,
    "preferences": load_preferences,
    "unpaired": load_unpaired,
    "prompts": load_prompts,
    "verifiable": load_verifiable,
}
LONGEST_BLOCK = 1024  # of plain text, where the context is longer and no length was asked for

Prompts = list[tuple[int, ...]]


class Data(NamedTuple):
    """Rows as a loader gives them, and what they are called."""

    rows: Sequence[Any]
    name: str


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows in tokens, ready for a method.

    Attributes:
        train, held: `Sequences`, `Pairs`, `Labelled` or prompts, as the method wants them.
        longest: tokens of the longest row, the answer that may be drawn included.
        mean: tokens of a row on average.
        left_out: rows that were longer than `Settings.max_length`.
        answers: the right answer by prompt, where a program checks it.
    """

    train: Any
    held: Any
    longest: int
    mean: float
    left_out: int = 0
    answers: Mapping[tuple[int, ...], str] | None = None


class Row(NamedTuple):
    """One row in tokens: its prompt, and no answer, one, or the preferred and the other."""

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    note: Any = None  # KTO's label, the right answer of a problem

    @property
    def length(self) -> int:
        """Tokens of the prompt and its longest answer."""
        return len(self.prompt) + max(map(len, self.answers), default=0)


def read_data(method: Method, source: Source, *, split: str = "train", config: str | None = None) -> Data:
    """The rows of a source through the loader that the method learns from; errors are the loader's."""
    return Data(LOADERS[method.data](source, split=split, config=config), str(source))


def encoded(
    method: Method,
    data: Data,
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    settings: Settings,
) -> Encoded:
    """Encode, check and divide the rows of `data`.

    Raises ValueError for a row that is longer than `context`, that spells a control token or lacks a column,
    for a `max_length` beyond the context, and where too few rows are left for one batch.
    """
    if settings.max_length is not None and settings.max_length > context:
        raise ValueError(
            f"max_length is {settings.max_length} tokens, and the model's context {context}: ask for less"
        )
    if method.data == "text":
        return _blocks(data, tokenizer, context=context, settings=settings)
    drawn = settings.max_new_tokens if method.draws else 0
    rows = [_encoded_row(method, tokenizer, data, place) for place in range(len(data.rows))]
    fitting = [row for row in rows if row.length + drawn <= (settings.max_length or row.length + drawn)]
    if settings.max_length is None:
        _check_context(rows, data, drawn, context)
    _check_enough(len(fitting), len(rows), data, settings)
    order = torch.randperm(len(fitting), generator=torch.Generator().manual_seed(settings.seed)).tolist()
    held = min(settings.held_out, max(1, len(fitting) // 5))
    parts = [[fitting[place] for place in places] for places in (order[held:], order[:held])]
    train, test = (_packed(method, part, pad_token=tokenizer.pad_token_id) for part in parts)
    longest = max(row.length for row in fitting) + drawn
    if method.data == "unpaired":
        longest = _check_moved(fitting, context)
    return Encoded(
        train=train,
        held=test,
        longest=longest,
        mean=sum(row.length + drawn for row in fitting) / len(fitting),
        left_out=len(rows) - len(fitting),
        answers=_right_answers(fitting) if method.data == "verifiable" else None,
    )


def repeated(data: Any, *, steps: int, batch: int, generator: torch.Generator) -> Tensor:
    """Row numbers for exactly `steps` batches: all rows in random order, again and again."""
    wanted = steps * batch
    orders: list[Tensor] = []
    while len(orders) * len(data) < wanted:
        orders.append(torch.randperm(len(data), generator=generator))
    return torch.cat(orders)[:wanted]


def _encoded_row(method: Method, tokenizer: PreTrainedTokenizerBase, data: Data, place: int) -> Row:
    row = data.rows[place]
    try:
        if method.data == "prompts":
            text = row if isinstance(row, str) else row["prompt"]
            return Row(tuple(encode_prompt(tokenizer, text)), ())
        prompt = tuple(encode_prompt(tokenizer, row["prompt"]))
        if method.data == "verifiable":
            return Row(prompt, (), row["answer"])
        names = ("chosen", "rejected") if method.data == "preferences" else ("completion",)
        answers = tuple(tuple(encode_response(tokenizer, row[name])) for name in names)
        return Row(prompt, answers, row.get("label"))
    except ValueError as error:
        raise ValueError(f"{data.name}, row {place + 1}: {error}") from None
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{data.name}, row {place + 1}: expected the columns of `{LOADERS[method.data].__name__}`, got "
            f"{row!r:.80} ({type(error).__name__}: {error})"
        ) from None


def _check_context(rows: Sequence[Row], data: Data, drawn: int, context: int) -> None:
    for number, row in enumerate(rows, start=1):
        if row.length + drawn > context:
            following = f" and {drawn} new ones" if drawn else ""
            raise ValueError(
                f"{data.name}, row {number}: {row.length} tokens{following} exceed the model's context of "
                f"{context}. Leave longer rows out with max_length={context}, shorten them, or use a model "
                "with a longer context"
            )


def _check_enough(fitting: int, rows: int, data: Data, settings: Settings) -> None:
    held = min(settings.held_out, max(1, fitting // 5))
    batch = settings.batch
    if fitting < 2 or fitting - held < 1:
        raise ValueError(
            f"{data.name}: {fitting} of {rows} rows are left, too few to learn from and to hold some out"
        )
    if fitting - held < batch:
        raise ValueError(
            f"{data.name}: {fitting - held} rows to learn from ({held} of {fitting} are held out) do not "
            f"fill one batch of {batch}: give more rows, or a smaller batch"
        )


def _check_moved(rows: Sequence[Row], context: int) -> int:
    """The most tokens of any prompt followed by any answer, as KTO's baseline has them."""
    longest = max(len(row.prompt) for row in rows) + max(row.length - len(row.prompt) for row in rows)
    if longest > context:
        raise ValueError(
            f"KTO puts answers behind other prompts, and the longest of both have {longest} tokens, more "
            f"than the model's context of {context}: leave long rows out with a max_length of {context // 2}"
        )
    return longest


def _packed(method: Method, rows: Sequence[Row], *, pad_token: int) -> Any:
    if method.draws:
        return [row.prompt for row in rows]
    sides = [
        pack_rows([row.prompt for row in rows], [row.answers[side] for row in rows], pad_token=pad_token)
        for side in range(len(rows[0].answers))
    ]
    if method.data == "preferences":
        return Pairs(chosen=sides[0], rejected=sides[1])
    if method.data == "unpaired":
        return Labelled(sides[0], torch.tensor([bool(row.note) for row in rows]))
    return sides[0]


def _right_answers(rows: Iterable[Row]) -> dict[tuple[int, ...], str]:
    answers: dict[tuple[int, ...], str] = {}
    for row in rows:
        if answers.setdefault(row.prompt, row.note) != row.note:
            raise ValueError(
                f"the same problem stands there with two answers, {answers[row.prompt]} and {row.note}"
            )
    return answers


def _blocks(data: Data, tokenizer: PreTrainedTokenizerBase, *, context: int, settings: Settings) -> Encoded:
    """Plain text as one stream of tokens; the last blocks are held out, since neighbours are alike."""
    block = settings.max_length or min(context, LONGEST_BLOCK)
    texts = [text if isinstance(text, str) else text["text"] for text in data.rows]
    stream = token_stream(tokenizer, texts)
    blocks = len(stream) // block
    held = min(settings.held_out, max(1, blocks // 10))
    if blocks - held < 1:
        raise ValueError(
            f"{data.name}: {len(stream)} tokens are fewer than two blocks of {block}, one to learn from and "
            "one to hold out: give more text, or a smaller max_length"
        )
    tokens = stream[-held * block :].view(held, block)
    real = torch.ones_like(tokens, dtype=torch.bool)
    counts = real.clone()
    counts[:, 0] = False
    test = Sequences(tokens, real, counts)
    return Encoded(train=stream[: -held * block], held=test, longest=block, mean=float(block))
