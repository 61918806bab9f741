"""What is said of a policy, the same of all: answers to the book's held-out requests at temperature 1, and plain stories.

A policy is named by its address in the cache. Nothing here knows how it was trained, so that another chapter's change
leaves these numbers where they are as long as the policy stays.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from transformers import AutoModelForCausalLM

from rlhf_mini.chapters.judged_policies import declines, plain_stories
from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.evaluation.policy import Judged
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

DIGITS = 4  # of a gold that is kept for every request
TIMED = 256  # answers that prices are measured on, each time
TIMES = 3


def of_weights(pipeline: Pipeline, *, address: str) -> dict[str, Any]:
    """`told_of` the policy whose weights lie at this address of the cache."""
    policy = freeze(AutoModelForCausalLM.from_pretrained(pipeline.store.root / address)).to(pipeline.device)
    return {**told_of(judged_on_requests(pipeline, policy)), **plain_stories(pipeline, policy)}


def told_of(judged: Judged) -> dict[str, Any]:
    """The judge's means, how often unkind and kind requests are declined, and `golds`, a number a request."""
    return {
        **judged.metrics(),
        **declines(judged),
        "golds": [round(gold.total, DIGITS) for gold in judged.golds],
    }


def prices(pipeline: Pipeline) -> dict[str, float]:
    """The processor's seconds for an answer `drawn`, `read` (one pass of one model) and `learned` from (one step's share).

    The best of `TIMES` measurements on `TIMED` answers each, in minibatches of the pipeline's PPO. What another program does
    at the same time lengthens them far less than it lengthens seconds by the clock.
    """
    policy, reward_model, tokenizer = pipeline.policy("sft"), pipeline.reward_model(), pipeline.tokenizer()
    requests = stories.draw_requests(TIMED, seed=pipeline.seed_for("chapter 14 prices"))
    asked = [request.text for request in requests]
    generator = pipeline.generator("chapter 14 prices")
    longest = pipeline.profile.max_new_tokens
    texts = answer(policy, tokenizer, asked, max_new_tokens=longest, generator=generator)
    sequences = pack_texts(tokenizer, asked, texts)
    learner = copy_of(policy)
    return {
        "drawn": _price(
            lambda: answer(policy, tokenizer, asked, max_new_tokens=longest, generator=generator)
        ),
        "read": _price(lambda: scores(reward_model, sequences)),
        "learned": _price(
            lambda: sft(learner, sequences, config=_once(pipeline), generator=pipeline.generator("sft"))
        ),
    }


def _once(pipeline: Pipeline) -> SFTConfig:
    return replace(pipeline.profile.sft, epochs=1, batch=min(TIMED, pipeline.profile.ppo.minibatch))


def _price(work: Callable[[], object]) -> float:
    found = []
    for _ in range(TIMES):
        started = time.process_time()
        work()
        found.append((time.process_time() - started) / TIMED)
    return min(found)
