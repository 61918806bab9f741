"""Texts that a reward model likes and the gold reward does not, found by hill climbing."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.reward_models.doubt import member_scores
from rlhf_mini.chapters.reward_models.runs import labelled, pack
from rlhf_mini.data.chat import answer
from rlhf_mini.estimators.ensembles import disagreement
from rlhf_mini.methods.adversarial import SENTENCE_END, Climb, climb, word_and_sentence_edits
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

STARTS = 8
ROUNDS = 30
TRIES = 10
FRAMES = 10  # moments of one search that are kept


def search(pipeline: Pipeline) -> tuple[list[str], list[Climb]]:
    """Climb the pipeline's reward model from one answer of the SFT model to each of `STARTS` held-out prompts.

    Edits take their words and sentences from the training answers, so that nothing in them is new to the model.
    """
    tokenizer, reward_model = pipeline.tokenizer(), pipeline.reward_model()
    seed = pipeline.seed_for("chapter 04 fooling")
    prompts = [request.text for request in stories.draw_requests(STARTS, seed=seed, held_out=True)]
    starts = answer(
        pipeline.policy("sft"),
        tokenizer,
        prompts,
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 04 fooling"),
    )
    answers = labelled(pipeline).select(range(200))["chosen"]
    sentences = sorted({sentence for text in answers for sentence in SENTENCE_END.split(text)})
    words = sorted({word for text in answers for word in text.split()})
    edit = word_and_sentence_edits(words, sentences)
    context = pipeline.profile.context

    def score(rows: Sequence[int], texts: Sequence[str]) -> Tensor:
        sequences = pack(pipeline, [prompts[row] for row in rows], texts)
        found = torch.full((len(texts),), -torch.inf)
        fits = (sequences.lengths <= context).nonzero().flatten()
        found[fits] = scores(reward_model, sequences.rows(fits))
        return found

    rng = random.Random(seed)
    return prompts, climb(starts, score, edit, rounds=ROUNDS, tries=TRIES, rng=rng)


def fooled(pipeline: Pipeline) -> dict[str, Any]:
    """Score and gold before and after, what other models think of the texts found, and the texts."""
    prompts, climbs = search(pipeline)
    before, after = ([found.texts[place] for found in climbs] for place in (0, -1))
    numbers: dict[str, Any] = {"prompts": prompts, "before": before, "after": after}
    for name, texts in (("before", before), ("after", after)):
        others = member_scores(pipeline, prompts, texts)
        golds = stories.gold_scores(prompts, texts)
        place = 0 if name == "before" else -1
        numbers |= {
            f"score_{name}": sum(found.scores[place] for found in climbs) / STARTS,
            f"gold_{name}": sum(golds) / STARTS,
            f"others_{name}": float(others.mean()),
            f"disagreement_{name}": float(disagreement(others).mean()),
            f"golds_{name}": golds,
            f"scores_{name}": [found.scores[place] for found in climbs],
        }
    losses = [b - a for b, a in zip(numbers["golds_before"], numbers["golds_after"], strict=True)]
    numbers["shown"] = losses.index(max(losses))
    shown = climbs[numbers["shown"]]
    places = sorted({round(step * (len(shown.texts) - 1) / (FRAMES - 1)) for step in range(FRAMES)})
    numbers["shown_texts"] = [shown.texts[place] for place in places]
    numbers["shown_scores"] = [shown.scores[place] for place in places]
    prompt = prompts[numbers["shown"]]
    numbers["shown_golds"] = [stories.gold(prompt, text).total for text in numbers["shown_texts"]]
    numbers["shown_edits"] = places
    numbers["worse"] = sum(loss > 0 for loss in losses) / len(climbs)
    return numbers
