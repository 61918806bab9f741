"""Condition texts in front of a dialogue, for a reward model that judges by more than one measure.

A conditional reward model reads, before the prompt, what it is to judge by. The policy, its reference and
the value model read the same dialogue without it.

Paper: Cai et al. 2024 (InternLM2), arXiv 2403.17297, §4.2.1, where the condition is a system prompt.
"""

from collections.abc import Sequence

import torch

from rlhf_mini.batch import Sequences


def with_conditions(
    sequences: Sequences, conditions: Sequence[Sequence[int]], *, pad_token: int
) -> Sequences:
    """The same rows, each with its condition's tokens behind its first token.

    Args:
        sequences: B rows whose first token begins the text, as `encode_prompt` writes it.
        conditions: B lists of tokens; an empty one leaves its row as it is.
        pad_token: what fills the rest.

    Returns:
        The longer rows. What counted as response counts, the condition does not.

    Raises:
        ValueError: if there is not one condition a row.

    Example:
        >>> from rlhf_mini.batch import pack_rows
        >>> dialogues = pack_rows([[1, 5], [1]], [[7, 2], [8, 2]], pad_token=0)
        >>> with_conditions(dialogues, [[9], []], pad_token=0).tokens
        tensor([[1, 9, 5, 7, 2],
                [1, 8, 2, 0, 0]])
    """
    if len(conditions) != len(sequences):
        raise ValueError(f"need one condition for each of {len(sequences)} rows, got {len(conditions)}")
    device = sequences.tokens.device
    added = torch.tensor([len(condition) for condition in conditions], device=device)
    lengths = sequences.lengths + added
    width = int(lengths.max())
    columns = torch.arange(width, device=device)
    mask = columns < lengths[:, None]
    # where each new column comes from: column 0 stays, those behind the condition move back by its length
    source = (columns - added[:, None] * (columns > 0)).clamp(0, sequences.tokens.shape[1] - 1)
    inserted = (columns > 0) & (columns <= added[:, None])
    tokens = sequences.tokens.gather(1, source).masked_fill(~mask, pad_token)
    for row, condition in enumerate(conditions):
        tokens[row, 1 : 1 + len(condition)] = torch.tensor([*condition], dtype=torch.int64, device=device)
    return Sequences(tokens, mask, sequences.response.gather(1, source) & mask & ~inserted)
