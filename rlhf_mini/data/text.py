"""Plain text as one long stream of tokens, the windows taken from it, and bits per byte."""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


def token_stream(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Tensor:
    """All texts in a row, `<|begin|> text <|end|> <|begin|> text <|end|> …`, as one 1-D int64 tensor.

    A control token spelled in a text is only letters. Raises ValueError if there is no text.
    """
    texts = list(texts)
    if not any(texts):
        raise ValueError(f"token_stream got {len(texts)} texts and not one character; give at least one text")
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    encoded = tokenizer(
        texts, add_special_tokens=False, split_special_tokens=True, verbose=False, return_attention_mask=False
    )
    rows = [torch.tensor([*begin, *row, tokenizer.eos_token_id]) for row in encoded["input_ids"]]
    return torch.cat(rows)


def text_blocks(stream: Tensor, *, block: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless (batch, block) excerpts of the stream, each starting anywhere with equal chance.

    >>> blocks = text_blocks(torch.arange(5), block=4, batch=2, generator=torch.Generator().manual_seed(0))
    >>> next(blocks).shape
    torch.Size([2, 4])
    """
    _check_long_enough(stream, block)
    offsets_within = torch.arange(block)
    while True:
        starts = torch.randint(len(stream) - block + 1, (batch, 1), generator=generator)
        yield stream[starts + offsets_within]


def scoring_windows(stream: Tensor, *, block: int, context: int) -> tuple[Tensor, Tensor]:
    """The whole stream in (N, block) windows, and a mask (N, block) of the tokens that each is to score.

    Every token but the very first is scored exactly once, and all but those of the first window have at least
    `context` tokens before them. Windows start every `block - context` tokens, the last one so that it ends
    with the stream.

    >>> windows, counted = scoring_windows(torch.arange(6), block=4, context=2)
    >>> windows.tolist()
    [[0, 1, 2, 3], [2, 3, 4, 5]]
    >>> counted.tolist()
    [[False, True, True, True], [False, False, True, True]]
    """
    _check_long_enough(stream, block)
    if not 1 <= context < block:
        raise ValueError(f"context must be between 1 and block - 1 = {block - 1}, got {context}")
    last = len(stream) - block
    starts = torch.tensor([*range(0, last, block - context), last])[:, None]
    positions = starts + torch.arange(block)
    already_scored = torch.cat([starts.new_zeros(1, 1), starts[:-1] + block - 1])
    return stream[positions], positions > already_scored


def held_out(texts: Sequence[str], *, fraction: float) -> tuple[list[str], list[str]]:
    """`texts` in two parts, the second of them the last `fraction` of the characters, for measuring only.

    The cut falls between two texts where that costs no more than doubling the second part, and otherwise
    behind a line break. Nothing is shuffled: neighbouring passages are alike, and a random cut would leak.
    Raises ValueError if a part would be empty.

    >>> held_out(["one line\\nanother line\\nlast\\n"], fraction=0.15)
    (['one line\\nanother line\\n'], ['last\\n'])
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    wanted = fraction * sum(map(len, texts))
    first: list[str] = list(texts)
    second: list[str] = []
    while first and sum(map(len, second)) < wanted:
        text, missing = first.pop(), wanted - sum(map(len, second))
        if len(text) > 2 * missing or not first:
            cut = text.rfind("\n", 0, len(text) - math.ceil(missing)) + 1 or len(text) - math.ceil(missing)
            first, text = [*first, text[:cut]], text[cut:]
        second.insert(0, text)
    if not any(first) or not any(second):
        raise ValueError(
            f"{len(texts)} texts of {wanted / fraction:.0f} characters are too few to hold some out"
        )
    return first, second


def byte_count(texts: Iterable[str]) -> int:
    """How many bytes the texts take in UTF-8.

    >>> byte_count(["né"])
    3
    """
    return sum(len(text.encode()) for text in texts)


def bits_per_byte(nats: float, byte_count: int) -> float:
    """A text's negative log-likelihood in `nats` as bits for each of its bytes: `nats / (ln 2 · bytes)`.

    Unlike the loss per token it can be compared between tokenizers.

    >>> bits_per_byte(math.log(256) * 10, 10)
    8.0
    """
    if byte_count < 1:
        raise ValueError(
            f"bits per byte of {byte_count} bytes does not exist; give at least one byte of text"
        )
    return nats / (math.log(2) * byte_count)


def _check_long_enough(stream: Tensor, block: int) -> None:
    if stream.ndim != 1 or len(stream) < block or block < 2:
        raise ValueError(
            f"need a 1-D stream of at least block={block} tokens and a block of 2 or more, got shape "
            f"{tuple(stream.shape)}; give more text, or a smaller block"
        )
