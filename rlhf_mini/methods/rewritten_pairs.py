"""Preference pairs that contradict a rule, rewritten before a reward model learns from them.

Paper: OpenAI 2023, arXiv 2303.08774, System Card §3.1: "we rewrite some conflicting RM training data". How,
and how many, it does not say; here a part of the contradicting pairs has its two answers exchanged.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_mini.methods.judge import Rate


def contradictions(rows: Sequence[Mapping[str, Any]], rate: Rate, *, margin: float) -> list[int]:
    """The places of the rows whose rejected answer the rating puts above the chosen by more than `margin`.

    Rows have `prompt`, `chosen` and `rejected`; `rate` rates answers in words, 0 where it has nothing to say.
    Raises ValueError for a negative margin.
    """
    if not margin >= 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    prompts = [str(row["prompt"]) for row in rows]
    chosen, rejected = (rate(prompts, [str(row[side]) for row in rows]) for side in ("chosen", "rejected"))
    return ((rejected - chosen) > margin).nonzero().flatten().tolist()


def rewritten(
    rows: Sequence[Mapping[str, Any]], rate: Rate, *, share: float, margin: float, rng: random.Random
) -> list[dict[str, Any]]:
    """The rows as pairs, a share of their `contradictions` exchanged; in the same order.

    Each row returns with `prompt`, `chosen`, `rejected`, and `rewritten`, whether it was exchanged. Raises
    ValueError for a share outside [0, 1] or a negative margin.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}")
    found = contradictions(rows, rate, margin=margin) if share else []
    turned = {*rng.sample(found, round(share * len(found)))}
    sides = {False: ("chosen", "rejected"), True: ("rejected", "chosen")}
    return [
        {
            "prompt": row["prompt"],
            **dict(zip(("chosen", "rejected"), (row[side] for side in sides[place in turned]), strict=True)),
            "rewritten": place in turned,
        }
        for place, row in enumerate(rows)
    ]
