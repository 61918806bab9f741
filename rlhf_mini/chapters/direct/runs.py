"""What is said of a policy: answers to held-out requests, and what it did to the answers of held-out pairs.

Every policy is asked the same requests with the same random numbers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.direct import online, training
from rlhf_mini.chapters.direct.data import Row, asks_unkind, held_out_pairs, packed, reference_of
from rlhf_mini.evaluation.policy import Judged, judge_policy
from rlhf_mini.methods.dpo import answer_logps
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.parser import read_story

JUDGED = 2  # times the profile's number of held-out requests
KINDS: Mapping[str, Callable[..., None]] = {
    "direct": training.trained,
    "online": online.online,
    "iterated": online.iterated,
}


def policy_of(pipeline: Pipeline, *, kind: str = "direct", **run: Any) -> PreTrainedModel:
    """The policy of a kept run, frozen; `kind` names what trains it, `run` are its settings."""
    folder = pipeline.kept(KINDS[kind], **run)
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)


def requests(pipeline: Pipeline, *, rehearsal: bool = False) -> list[stories.Request]:
    """The held-out requests that the chapter's policies are judged on; for `rehearsal` others, to choose settings."""
    purpose = "rehearsal" if rehearsal else "judged"
    seed = pipeline.seed_for(f"chapter 07 requests {purpose}")
    return stories.draw_requests(JUDGED * pipeline.profile.test_prompts, seed=seed, held_out=True)


def judged(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False) -> Judged:
    """A policy's answers to the chapter's requests, with gold, the proxy's opinion, and KL to the SFT model."""
    reward_model = pipeline.reward_model()
    return judge_policy(
        policy,
        pipeline.tokenizer(),
        requests(pipeline, rehearsal=rehearsal),
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 07 judge"),
        reference=pipeline.policy("sft"),
        score=lambda sequences: scores(reward_model, sequences),
    )


def said_of(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False) -> dict[str, float]:
    """The judge's numbers, how often the policy declines, and what it did to the held-out pairs."""
    verdict = judged(pipeline, policy, rehearsal=rehearsal)
    return {**verdict.metrics(), **declines(verdict), **on_pairs(pipeline, policy)}


def declines(verdict: Judged) -> dict[str, float]:
    """Shares of unkind requests that are politely declined, and of kind ones that are declined at all."""
    read = [
        (request.unkind is not None, read_story(text))
        for request, text in zip(verdict.requests, verdict.answers, strict=True)
    ]
    unkind = [float(reading.polite) for asked, reading in read if asked]
    kind = [float(reading.declined) for asked, reading in read if not asked]
    return {"unkind_declined": sum(unkind) / len(unkind), "kind_declined": sum(kind) / len(kind)}


def on_pairs(pipeline: Pipeline, policy: PreTrainedModel) -> dict[str, float]:
    """How a policy moved the answers of the held-out pairs, relative to the SFT model, in nats an answer.

    - `chosen_shift`, `rejected_shift`: mean log-ratios; `chosen_rose`: the share of chosen answers above 0.
    - `pair_accuracy`: the share of pairs with the larger log-ratio on the chosen answer, ties counting one half.
    - `lead`: the mean of chosen less rejected, and `lead_spread` its standard deviation.
    - `decline_shift`, `story_shift`: mean log-ratios where an unkind prompt's decline was preferred to a story.
    - `overcautious_shift`: mean log-ratio of declines of kind prompts that lost against a story.
    """
    rows = held_out_pairs(pipeline)
    pairs = packed(pipeline, rows)
    before = reference_of(pipeline, held_out=True)
    chosen = answer_logps(policy, pairs.chosen) - before.chosen
    rejected = answer_logps(policy, pairs.rejected) - before.rejected
    lead = chosen - rejected
    right, wrong = (_one_declines(rows, preferred=side) for side in ("chosen", "rejected"))
    unkind = asks_unkind(rows)
    return {
        "chosen_shift": float(chosen.mean()),
        "rejected_shift": float(rejected.mean()),
        "chosen_rose": float((chosen > 0).float().mean()),
        "pair_accuracy": float((lead > 0).float().mean() + 0.5 * (lead == 0).float().mean()),
        "lead": float(lead.mean()),
        "lead_spread": float(lead.std()),
        "decline_shift": _mean(chosen[right & unkind]),
        "story_shift": _mean(rejected[right & unkind]),
        "overcautious_shift": _mean(rejected[wrong & ~unkind]),
    }


def _mean(values: Tensor) -> float:
    """Of no values, as in a tiny profile, it is 0."""
    return float(values.mean()) if len(values) else 0.0


def _one_declines(rows: list[Row], *, preferred: str) -> Tensor:
    """Which pairs have a decline on this side (`chosen` or `rejected`) and a story on the other, (N,) bool."""
    other = "rejected" if preferred == "chosen" else "chosen"
    return torch.tensor(
        [read_story(row[preferred]).declined and not read_story(row[other]).declined for row in rows]
    )


def outcome(pipeline: Pipeline, *, rehearsal: bool = False, **run: Any) -> dict[str, float]:
    """`said_of` the policy of a kept run."""
    return said_of(pipeline, policy_of(pipeline, **run), rehearsal=rehearsal)


def stage_outcome(pipeline: Pipeline, *, stage: str, rehearsal: bool = False) -> dict[str, float]:
    """`said_of` a policy of the pipeline: `sft`, `ppo`."""
    return said_of(pipeline, pipeline.policy(stage), rehearsal=rehearsal)
