"""What is said of a policy: gold, the reward model's opinion, the distance travelled, and how varied it still is.

Every policy is asked the same held-out requests, and every draw begins with the same random numbers. Variety is
measured where it would be lost: among several answers to one request, and as the entropy of an answer.
"""

from typing import Any

import torch
from transformers import PreTrainedModel

from rlhf_mini.chapters.filtering.data import reward_of
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.evaluation.diversity import distinct_n, pairwise_overlap, unique_fraction
from rlhf_mini.evaluation.policy import Judged, judge_policy
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.parser import read_story

JUDGED = 2  # times the profile's number of held-out requests, at the end of a run; once after a round
REPEATED, AGAIN = 32, 8  # requests that are answered several times, and how often


def requests(pipeline: Pipeline, *, rehearsal: bool = False, times: int = JUDGED) -> list[stories.Request]:
    """The held-out requests that the chapter's policies are judged on; for `rehearsal` others, to choose settings."""
    purpose = "rehearsal" if rehearsal else "judged"
    seed = pipeline.seed_for(f"chapter 09 requests {purpose}")
    return stories.draw_requests(times * pipeline.profile.test_prompts, seed=seed, held_out=True)


def judged(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool, times: int) -> Judged:
    """A policy's answers to the chapter's requests, with gold, the proxy's opinion, and KL to the SFT model."""
    return judge_policy(
        policy,
        pipeline.tokenizer(),
        requests(pipeline, rehearsal=rehearsal, times=times),
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 09 judge"),
        reference=pipeline.policy("sft"),
        score=reward_of(pipeline),
    )


def variety(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False) -> dict[str, float]:
    """How much answers still differ.

    - `entropy`: −log π of a sampled answer, nats, on average over held-out requests.
    - `unique`: the share of different texts among several answers to one request; `overlap`: the mean overlap of
      two of them, |A ∩ B| / |A ∪ B| of their pairs of words.
    - `distinct_2`: different pairs of words over all pairs of words, all answers taken together.
    """
    few = requests(pipeline, rehearsal=rehearsal, times=1)[:REPEATED]
    asked = [request.text for request in few for _ in range(AGAIN)]
    tokenizer = pipeline.tokenizer()
    drawn = draw(
        policy,
        tokenizer,
        [encode_prompt(tokenizer, prompt) for prompt in asked],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 09 variety"),
    )
    texts = response_texts(tokenizer, drawn)
    groups = [texts[start : start + AGAIN] for start in range(0, len(texts), AGAIN)]
    logp = torch.where(drawn.response, drawn.logp, 0.0).sum(1)
    return {
        "entropy": -float(logp.mean()),
        "unique": sum(map(unique_fraction, groups)) / len(groups),
        "overlap": sum(map(pairwise_overlap, groups)) / len(groups),
        "distinct_2": distinct_n(texts, n=2),
    }


def declines(verdict: Judged) -> dict[str, float]:
    """Shares of unkind requests that are politely declined, and of kind ones that are declined at all."""
    read = [
        (request.unkind is not None, read_story(text))
        for request, text in zip(verdict.requests, verdict.answers, strict=True)
    ]
    unkind = [float(reading.polite) for asked, reading in read if asked]
    kind = [float(reading.declined) for asked, reading in read if not asked]
    return {"unkind_declined": _mean(unkind), "kind_declined": _mean(kind)}


def _mean(values: list[float]) -> float:
    """Of no values, as in a tiny profile, it is 0."""
    return sum(values) / len(values) if values else 0.0


def look(
    pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False, times: int = 1
) -> dict[str, Any]:
    """The judge's numbers, how often the policy declines, and how varied its answers are."""
    training, _ = policy.training, policy.eval()
    with torch.no_grad():
        verdict = judged(pipeline, policy, rehearsal=rehearsal, times=times)
        found = {**verdict.metrics(), **declines(verdict), **variety(pipeline, policy, rehearsal=rehearsal)}
    policy.train(training)
    return found
