"""Conversations of several turns: as tokens, as training rows, and carried on by a policy.

A dialogue is a list of turns, a turn what the user says and what the model answers:

    <|begin|><|user|>question<|assistant|>answer<|end|><|user|>question<|assistant|>answer<|end|> …
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.tokenizer import encode_prompt, encode_response

Turn = tuple[str, str]


def encode_history(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], question: str) -> list[int]:
    """The tokens of finished turns and of a new question, ready for the model to answer.

    The begin token stands once, before everything. Raises ValueError if a question spells a control token.
    """
    before, _ = _encode_turns(tokenizer, turns)
    return before + _question(tokenizer, question, first=not turns)


def pack_dialogues(tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[Sequence[Turn]]) -> Sequences:
    """One row a dialogue; `response` is true on every answer, its end token included.

    Raises ValueError for no dialogues, or one without turns.
    """
    if not dialogues or not all(dialogues):
        empty = [row for row, turns in enumerate(dialogues) if not turns]
        raise ValueError(f"need dialogues of at least one turn; got {len(dialogues)}, without turns: {empty}")
    rows = [_encode_turns(tokenizer, turns) for turns in dialogues]
    width = max(len(tokens) for tokens, _ in rows)
    length = torch.tensor([[len(tokens)] for tokens, _ in rows])
    filled = [tokens + [tokenizer.pad_token_id] * (width - len(tokens)) for tokens, _ in rows]
    counted = [answered + [False] * (width - len(answered)) for _, answered in rows]
    return Sequences(torch.tensor(filled), torch.arange(width) < length, torch.tensor(counted))


def last_answers(dialogues: Sequences) -> Sequences:
    """The same rows with `response` true on the last answer alone: the loss of earlier turns is zeroed.

    >>> tokens, mask = torch.ones(1, 6, dtype=torch.int64), torch.ones(1, 6, dtype=torch.bool)
    >>> two_answers = torch.tensor([[False, True, True, False, True, True]])
    >>> last_answers(Sequences(tokens, mask, two_answers)).response
    tensor([[False, False, False, False,  True,  True]])
    """
    response = dialogues.response
    gaps_after = (dialogues.mask & ~response).flip(1).cumsum(1).flip(1)  # question tokens from here on
    return Sequences(dialogues.tokens, dialogues.mask, response & (gaps_after == 0))


def converse(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Sequence[str]],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
    temperature: float = 1.0,
) -> list[list[Turn]]:
    """Whole dialogues: the policy answers each row's questions one by one, its own answers before its eyes.

    Raises ValueError for rows of unequal length, and if a dialogue outgrows the policy's context.
    """
    if len({len(row) for row in questions}) > 1:
        raise ValueError(
            f"need as many questions in every row, got {sorted({len(row) for row in questions})}"
        )
    dialogues: list[list[Turn]] = [[] for _ in questions]
    for asked in zip(*questions, strict=True):
        encoded = [
            encode_history(tokenizer, turns, question)
            for turns, question in zip(dialogues, asked, strict=True)
        ]
        drawn = draw(
            policy,
            tokenizer,
            encoded,
            max_new_tokens=max_new_tokens,
            generator=generator,
            temperature=temperature,
        )
        for turns, question, text in zip(dialogues, asked, response_texts(tokenizer, drawn), strict=True):
            turns.append((question, text))
    return dialogues


def _question(tokenizer: PreTrainedTokenizerBase, question: str, *, first: bool) -> list[int]:
    """A user turn, with the begin token only where the dialogue begins."""
    tokens = encode_prompt(tokenizer, question)
    return tokens if first or tokens[0] != tokenizer.bos_token_id else tokens[1:]


def _encode_turns(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> tuple[list[int], list[bool]]:
    """The tokens of a dialogue, and which of them belong to an answer."""
    tokens: list[int] = []
    answered: list[bool] = []
    for question, text in turns:
        asked, said = _question(tokenizer, question, first=not tokens), encode_response(tokenizer, text)
        tokens += asked + said
        answered += [False] * len(asked) + [True] * len(said)
    return tokens, answered
