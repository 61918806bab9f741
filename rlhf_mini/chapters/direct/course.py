"""What a training of DPO logs on the way, and two answers to read beside it."""

from collections.abc import Sequence

from rlhf_mini.chapters.direct.data import packed, pairs_of
from rlhf_mini.chapters.direct.family import PAIRS, RATE, run
from rlhf_mini.chapters.direct.training import settings
from rlhf_mini.data.chat import answer
from rlhf_mini.methods.dpo import dpo
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Sample
from rlhf_mini.worlds.stories import Request, gold

LOGGED = ("chosen", "rejected", "accuracy", "loss")
ROLES = {"SFT": "reference", "PPO": "reward", "β = 0.1": "loss"}
BLOCK = 5  # steps that make one point of a curve


def course(pipeline: Pipeline, *, kl_weight: float) -> dict[str, list[float]]:
    """DPO on the chapter's pairs: what `dpo` logs, as means of `BLOCK` steps, and the middle `step` of each.

    In one pass every batch is new to the policy when it is logged, as a held-out one would be.
    """
    reference = pipeline.policy("sft")
    history = dpo(
        copy_of(reference),
        reference,
        packed(pipeline, pairs_of(pipeline, count=PAIRS)),
        kl_weight=kl_weight,
        config=settings(RATE),
        generator=pipeline.generator("chapter 07"),
    )
    blocks = [history[start : start + BLOCK] for start in range(0, len(history), BLOCK)]
    return {
        "step": [place * BLOCK + (len(block) + 1) / 2 for place, block in enumerate(blocks)],
        **{name: [sum(entry[name] for entry in block) / len(block) for block in blocks] for name in LOGGED},
    }


def answers_of(pipeline: Pipeline, request: Request, names: Sequence[str]) -> dict[str, Sample]:
    """What the policies of some runs write for one request, each with the same random numbers, and its gold."""
    cards = {}
    for name in names:
        (text,) = answer(
            run(name).policy(pipeline),
            pipeline.tokenizer(),
            [request.text],
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=pipeline.generator("chapter 07 side by side"),
        )
        cards[name] = Sample(text=text, gold=gold(request, text).total, role=ROLES.get(name, "policy"))
    return cards
