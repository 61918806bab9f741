"""Judging a policy on the story world's held-out requests.

By the gold reward, by the proxy, and by the distance it moved from its reference. The proxy reads an answer
as annotators read it, as a text that has ended, also where sampling was cut off: at any other place than an
end token a reward model's score means nothing, and best-of-n finds the answers whose score means least.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import draw, pack_texts, response_texts
from rlhf_mini.data.tokenizer import encode_prompt, encode_text
from rlhf_mini.devices import autocast
from rlhf_mini.evaluation.diversity import diversity
from rlhf_mini.evaluation.kl import SampledKL, sampled_kl
from rlhf_mini.models import response_logp
from rlhf_mini.progress import progress_bar
from rlhf_mini.worlds.stories import Gold, Request, gold

Score = Callable[[Sequences], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a policy answered, and what came of it.

    `kl` and `proxy` are None where nothing was given to measure them by.
    """

    requests: list[Request]
    answers: list[str]
    golds: list[Gold]
    lengths: list[int]
    kl: SampledKL | None
    proxy: torch.Tensor | None

    def metrics(self) -> dict[str, float]:
        """Means over all requests, ready for a record.

        Gold is also given over the safe and over the unkind requests alone, where there are any.
        """
        totals = [score.total for score in self.golds]
        kinds: dict[str, list[float]] = {"gold_safe_prompts": [], "gold_unkind_prompts": []}
        for request, total in zip(self.requests, totals, strict=True):
            kinds["gold_safe_prompts" if request.unkind is None else "gold_unkind_prompts"].append(total)
        numbers = {
            "gold": _mean(totals),
            **{name: _mean(golds) for name, golds in kinds.items() if golds},
            "helpfulness": _mean([score.helpfulness for score in self.golds]),
            "safety": _mean([score.safety for score in self.golds]),
            "followed": _mean([float(score.followed) for score in self.golds]),
            "length": _mean([float(length) for length in self.lengths]),
            **diversity(self.answers),
        }
        if self.kl is not None:
            numbers |= self.kl.metrics()
        if self.proxy is not None:
            numbers["proxy"] = float(self.proxy.mean())
        return numbers


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def judge_policy(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
    reference: PreTrainedModel | None = None,
    score: Score | None = None,
) -> Judged:
    """One sampled answer (temperature 1) to each request, judged.

    KL(policy ‖ reference) is measured on these very samples, in nats per sequence; `score` is the proxy.
    """
    encoded = [encode_prompt(tokenizer, request.text) for request in requests]
    drawn = draw(policy, tokenizer, encoded, max_new_tokens=max_new_tokens, generator=generator)
    kl = None
    if reference is not None:
        with torch.no_grad(), autocast(policy.device):
            logp_ref = response_logp(reference, drawn.tokens, drawn.mask, drawn.response)
        kl = sampled_kl(drawn.logp.cpu(), logp_ref.cpu(), drawn.response.cpu())  # MPS knows no float64
    answers = response_texts(tokenizer, drawn)
    proxy = None
    if score is not None:
        proxy = score(pack_texts(tokenizer, [request.text for request in requests], answers))
    return Judged(
        requests=list(requests),
        answers=answers,
        golds=[gold(request, text) for request, text in zip(requests, answers, strict=True)],
        lengths=[int(count) for count in drawn.response.sum(1)],
        kl=kl,
        proxy=proxy,
    )


def judge_plain_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
) -> Judged:
    """As `judge_policy`, for a base model that knows no chat: it continues the prompt as plain text."""
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    encoded = [[*begin, *encode_text(tokenizer, request.text)] for request in requests]
    drawn = draw(model, tokenizer, encoded, max_new_tokens=max_new_tokens, generator=generator)
    answers = response_texts(tokenizer, drawn)
    return Judged(
        requests=list(requests),
        answers=answers,
        golds=[gold(request, text) for request, text in zip(requests, answers, strict=True)],
        lengths=[int(count) for count in drawn.response.sum(1)],
        kl=None,
        proxy=None,
    )


@dataclass(frozen=True)
class Pool:
    """`n` answers to each of P prompts, with gold and proxy scores, (P, n) each."""

    prompts: list[str]
    answers: list[list[str]]
    golds: torch.Tensor
    proxies: torch.Tensor


def sample_pool(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    *,
    n: int,
    score: Score,
    max_new_tokens: int,
    generator: torch.Generator,
    batch: int = 512,
) -> Pool:
    """Sample and judge `n` answers to each request, at most `batch` at a time.

    Best-of-n for every smaller n follows from the pool by sums.
    """
    prompts = [request.text for request in requests for _ in range(n)]
    answers, proxies = [], []
    with progress_bar(total=len(prompts), description="answers") as bar:
        for start in range(0, len(prompts), batch):
            part = prompts[start : start + batch]
            encoded = [encode_prompt(tokenizer, prompt) for prompt in part]
            drawn = draw(policy, tokenizer, encoded, max_new_tokens=max_new_tokens, generator=generator)
            texts = response_texts(tokenizer, drawn)
            proxies.append(score(pack_texts(tokenizer, part, texts)))
            answers += texts
            bar.update(len(part))
    golds = [gold(prompt, text).total for prompt, text in zip(prompts, answers, strict=True)]
    rows = [answers[start : start + n] for start in range(0, len(answers), n)]
    return Pool(
        [request.text for request in requests],
        rows,
        torch.tensor(golds).view(-1, n),
        torch.cat(proxies).view(-1, n),
    )
