"""What is said of a policy that tells stories: gold on held-out requests, and whether it does what it is told.

Every policy is asked the same requests with the same random numbers, in the words that its training gave them. Whatever
these are, gold judges the answer to the request, and KL is to the SFT model's answers to the plain request.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from rlhf_mini.batch import pack_rows
from rlhf_mini.chapters.hindsight.story_labels import POOR, request_fulfilled, with_verdict
from rlhf_mini.chapters.hindsight.story_runs import JUDGED, ROUNDS, SCRIPTS, policy_of
from rlhf_mini.data.chat import draw, pack_texts, response_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.devices import autocast
from rlhf_mini.evaluation.kl import sampled_kl
from rlhf_mini.evaluation.policy import Judged
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import response_logp
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories


def requests(pipeline: Pipeline, *, rehearsal: bool = False) -> list[stories.Request]:
    """The held-out requests that the chapter's policies are judged on; for `rehearsal` others, to choose settings."""
    seed = pipeline.seed_for(f"chapter 08 requests {'rehearsal' if rehearsal else 'judged'}")
    return stories.draw_requests(JUDGED * pipeline.profile.test_prompts, seed=seed, held_out=True)


def judged(
    pipeline: Pipeline, policy: PreTrainedModel, *, prompts: list[str], asked: list[stories.Request]
) -> Judged:
    """One answer (temperature 1) to each of `prompts`, judged as an answer to the request in the same place."""
    words = pipeline.tokenizer()
    drawn = draw(
        policy,
        words,
        [encode_prompt(words, prompt) for prompt in prompts],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 08 judge"),
    )
    answers, plain = response_texts(words, drawn), [request.text for request in asked]
    rows = zip(drawn.tokens, drawn.response, strict=True)
    same = pack_rows(
        [encode_prompt(words, prompt) for prompt in plain],
        [tokens[response].tolist() for tokens, response in rows],
        pad_token=words.pad_token_id,
    ).to(policy.device)
    with torch.no_grad(), autocast(policy.device):
        logp_ref = response_logp(pipeline.policy("sft"), same.tokens, same.mask, same.response)
    own, others = _answers_only(drawn.logp, drawn.response), _answers_only(logp_ref, same.response)
    lengths = drawn.response.sum(1).cpu()
    return Judged(
        requests=asked,
        answers=answers,
        golds=[stories.gold(request, text) for request, text in zip(asked, answers, strict=True)],
        lengths=lengths.tolist(),
        kl=sampled_kl(own, others, torch.arange(own.shape[1]) < lengths[:, None]),
        proxy=scores(pipeline.reward_model(), pack_texts(words, plain, answers)),
    )


def _answers_only(values: Tensor, response: Tensor) -> Tensor:
    """The answers' numbers (B, T) moved to the left: after another prompt a token stands in another place."""
    rows = zip(values.cpu(), response.cpu(), strict=True)
    return pad_sequence([row[mask] for row, mask in rows], batch_first=True)


def said_of(
    pipeline: Pipeline,
    policy: PreTrainedModel,
    *,
    prompt: Callable[[str], str] = str,
    rehearsal: bool = False,
) -> dict[str, float]:
    """The judge's numbers, and what the script says: how many answers fulfil the very request, or any at all.

    `prompt` puts a request in the words that the policy was trained with.
    """
    asked = requests(pipeline, rehearsal=rehearsal)
    verdict = judged(pipeline, policy, prompts=[prompt(request.text) for request in asked], asked=asked)
    pairs = list(zip(asked, verdict.answers, strict=True))
    found = [request_fulfilled(request, text) for request, text in pairs]
    declined = [float(stories.read_story(text).polite) for request, text in pairs if request.unkind]
    return {
        **verdict.metrics(),
        "fulfilled": sum(one == request for one, request in zip(found, asked, strict=True)) / len(asked),
        "fulfil_something": sum(one is not None for one in found) / len(asked),
        "unkind_declined": sum(declined) / max(1, len(declined)),
    }


def outcome(pipeline: Pipeline, *, script: str, rehearsal: bool = False, **run: Any) -> dict[str, Any]:
    """`said_of` the policy of a kept run after its last round, and `by_round`, its gold from the start on."""
    said = [
        said_of(
            pipeline,
            policy_of(pipeline, after=after, script=script, **run),
            prompt=SCRIPTS[script].prompt,
            rehearsal=rehearsal,
        )
        for after in range(ROUNDS + 1)
    ]
    return {**said[-1], "by_round": [one["gold"] for one in said]}


def ppo_outcome(pipeline: Pipeline, *, kl_weight: float, rehearsal: bool = False) -> dict[str, float]:
    """`said_of` the policy of PPO with the script as its reward."""
    return said_of(pipeline, policy_of(pipeline, kind="PPO", kl_weight=kl_weight), rehearsal=rehearsal)


def stage_outcome(pipeline: Pipeline, *, stage: str, rehearsal: bool = False) -> dict[str, float]:
    """`said_of` a policy of the pipeline: `sft`, `ppo`."""
    return said_of(pipeline, pipeline.policy(stage), rehearsal=rehearsal)


def asked_for_poor(pipeline: Pipeline, *, rehearsal: bool = False, **run: Any) -> dict[str, float]:
    """`said_of` the policy of a kept run that learned verdicts, if it is asked for a poor story."""
    policy = policy_of(pipeline, **run)
    return said_of(pipeline, policy, prompt=lambda text: with_verdict(POOR, text), rehearsal=rehearsal)
