"""Several reward models from the same labels: what they agree on, and where they stop agreeing."""

import random
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from rlhf_mini.chapters.reward_models.runs import (
    TESTED,
    Judgement,
    judgement,
    member,
    pack,
)
from rlhf_mini.data.chat import answer
from rlhf_mini.estimators.ensembles import disagreement, mean_score
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

MEMBERS = 3
TEXTS = 64  # of each kind
KINDS = ("SFT model", "base model", "words shuffled", "sentences repeated", "other prompt")


def member_scores(pipeline: Pipeline, prompts: Sequence[str], texts: Sequence[str]) -> Tensor:
    """What each member gives each text, (M, B), in deviations on its own training answers."""
    sequences = pack(pipeline, prompts, texts)
    return torch.stack([scores(member(pipeline, number), sequences) for number in range(MEMBERS)])


def ensemble(pipeline: Pipeline) -> dict[str, float]:
    """Held-out judgements of the members, on average, and of the mean of their leads."""
    members = [judgement(pipeline, member(pipeline, number), count=TESTED) for number in range(MEMBERS)]
    single = [found.metrics() for found in members]
    together = Judgement(mean_score(torch.stack([found.leads for found in members])), members[0].golds)
    numbers = {f"{name}_member": sum(m[name] for m in single) / len(single) for name in single[0]}
    return numbers | {f"{name}_mean": value for name, value in together.metrics().items()}


@lru_cache(maxsize=2)
def texts_of(pipeline: Pipeline, kind: str) -> tuple[list[str], list[str]]:
    """Held-out prompts with texts of one kind: like the training answers, or unlike them in one respect.

    A text that has become longer than the model's context is left out.
    """
    seed = pipeline.seed_for("chapter 04 doubt")
    prompts = [request.text for request in stories.draw_requests(TEXTS, seed=seed, held_out=True)]
    generator, rng = pipeline.generator("chapter 04 doubt"), random.Random(seed)
    writer = pipeline.policy("base" if kind == "base model" else "sft")
    texts = answer(
        writer,
        pipeline.tokenizer(),
        prompts,
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=generator,
    )
    if kind == "words shuffled":
        texts = [" ".join(rng.sample(words, len(words))) for words in (text.split() for text in texts)]
    if kind == "sentences repeated":
        texts = [repeated(text) for text in texts]
    if kind == "other prompt":
        texts = texts[1:] + texts[:1]
    texts = [text if text.strip() else "." for text in texts]
    fits = (pack(pipeline, prompts, texts).lengths <= pipeline.profile.context).nonzero().flatten().tolist()
    return [prompts[row] for row in fits], [texts[row] for row in fits]


def repeated(text: str) -> str:
    """The last sentence four times more."""
    last = text.rstrip(".").rsplit(".", 1)[-1].strip()
    return f"{text} {' '.join([last + '.'] * 4)}"


def doubts(pipeline: Pipeline) -> dict[str, float]:
    """Mean disagreement of the members, their mean score, that of the pipeline's model, and gold, by kind of text."""
    whole = pipeline.reward_model()
    numbers: dict[str, float] = {}
    for kind in KINDS:
        prompts, texts = texts_of(pipeline, kind)
        found = member_scores(pipeline, prompts, texts)
        golds = stories.gold_scores(prompts, texts)
        numbers |= {
            f"disagreement {kind}": float(disagreement(found).mean()),
            f"score {kind}": float(found.mean()),
            f"stage {kind}": float(scores(whole, pack(pipeline, prompts, texts)).mean()),
            f"gold {kind}": sum(golds) / len(golds),
        }
    return numbers
