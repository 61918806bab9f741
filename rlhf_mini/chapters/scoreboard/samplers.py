"""Ways to answer better, or otherwise, without training: best of n, a lower temperature, and the base model as it is.

All answer the same held-out requests as the trained policies and are judged by the same program.
"""

from typing import Any

import torch

from rlhf_mini.chapters.judged_policies import plain_stories
from rlhf_mini.chapters.judging import held_out_requests, judged_on_requests
from rlhf_mini.chapters.ppo.runs import cooled
from rlhf_mini.chapters.scoreboard.measuring import told_of
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.evaluation.best_of_n import best_of_n_kl_bound
from rlhf_mini.evaluation.policy import Judged, judge_plain_text
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories


def best_of(pipeline: Pipeline, *, n: int) -> dict[str, Any]:
    """Of n answers of the SFT model to each request, the one that the proxy likes best, judged.

    The first m of the n are those of best of m. `kl_bound` is log n − (n − 1)/n, which the KL of best of n never exceeds;
    there is no `kl_k1`, because no model gives the answers that are picked a probability. Raises ValueError for n below 2.
    """
    if n < 2:
        raise ValueError(f"best of n is of at least 2 answers, got {n}")
    requests, tokenizer, policy = held_out_requests(pipeline), pipeline.tokenizer(), pipeline.policy("sft")
    prompts, generator = [request.text for request in requests], pipeline.generator("chapter 14 best of n")
    drawn, told = [], []
    for _ in range(n):
        texts = answer(
            policy,
            tokenizer,
            prompts,
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=generator,
        )
        drawn.append(texts)
        told.append(scores(pipeline.reward_model(), pack_texts(tokenizer, prompts, texts)))
    proxy, best = torch.stack(told).max(0)
    answers = [drawn[which][place] for place, which in enumerate(best.tolist())]
    judged = Judged(
        requests=requests,
        answers=answers,
        golds=[stories.gold(request, text) for request, text in zip(requests, answers, strict=True)],
        lengths=[int(count) for count in pack_texts(tokenizer, prompts, answers).response.sum(1)],
        kl=None,
        proxy=proxy,
    )
    size = float(policy.num_parameters())
    return {**told_of(judged), "kl_bound": best_of_n_kl_bound(n), "parameters": size}


def colder(pipeline: Pipeline, *, temperature: float) -> dict[str, Any]:
    """The SFT model at this temperature; KL is to itself at temperature 1, and plain stories are read as the colder model."""
    policy = cooled(pipeline.policy("sft"), temperature=temperature)
    return {**told_of(judged_on_requests(pipeline, policy)), **plain_stories(pipeline, policy)}


def plain_text(pipeline: Pipeline) -> dict[str, Any]:
    """The base model, which knows no chat and continues the request as plain text; no KL and no proxy, as in chapter 00."""
    base = pipeline.policy("base")
    judged = judge_plain_text(
        base,
        pipeline.tokenizer(),
        held_out_requests(pipeline),
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("judge"),
    )
    return {**told_of(judged), **plain_stories(pipeline, base)}
