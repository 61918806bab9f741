"""Online DPO: the policy writes both answers, a judge picks one, and the policy learns from the pair.

Paper: Guo et al. 2024 (OAIF), arXiv 2402.04792. Each step: draw prompts, let the policy as it is now answer
each twice, ask the judge which it prefers, and lower a direct objective on these fresh pairs. The judge is
any function of prompts and answers: people, a reward model (`prefer_higher`), or a language model. What
offline pairs cannot give is feedback on what the policy writes *now*.

Simplifications: both answers come from the policy in training, and one step is made on every batch of pairs.
Answers are handed on as words: one that was cut off at `max_new_tokens` is learned as if it ended there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Pairs
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.loop import Hook, OptimizerConfig, Training
from rlhf_mini.methods.dpo import Compared, Objective, compare, kept_reference, require_apart
from rlhf_mini.methods.rollouts import Score, scored

Judge = Callable[
    [list[str], list[str], list[str]], Tensor
]  # prompts, first, second → (N,) bool: is first better?


@dataclass(frozen=True, kw_only=True)
class OnlineDPOConfig:
    """`steps` steps, each on `batch` prompts that are answered twice at `temperature`."""

    steps: int
    batch: int
    max_new_tokens: int
    optimizer: OptimizerConfig
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.max_new_tokens) < 1:
            raise ValueError(f"steps, batch and max_new_tokens must be at least 1, got {self}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0 and finite, got {self.temperature}")


def prefer_higher(score: Score, tokenizer: PreTrainedTokenizerBase) -> Judge:
    """A judge that prefers the answer to which `score` (a reward model) gives more; the first of equals."""

    def judge(prompts: list[str], first: list[str], second: list[str]) -> Tensor:
        one, other = (scored(score, pack_texts(tokenizer, prompts, texts)).cpu() for texts in (first, second))
        return one >= other

    return judge


def judged_pairs(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    first_better: Tensor,
) -> Pairs:
    """What a judge preferred, as pairs.

    Raises ValueError unless there is one boolean verdict a prompt.
    """
    if first_better.shape != (len(prompts),) or first_better.dtype != torch.bool:
        raise ValueError(
            f"the judge must return one boolean for each of {len(prompts)} prompts; it returned "
            f"{tuple(first_better.shape)} of {first_better.dtype}"
        )
    rows = list(zip(first, second, first_better.tolist(), strict=True))
    return Pairs(
        chosen=pack_texts(tokenizer, prompts, [a if better else b for a, b, better in rows]),
        rejected=pack_texts(tokenizer, prompts, [b if better else a for a, b, better in rows]),
    )


def online_dpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    judge: Judge,
    objective: Objective,
    *,
    config: OnlineDPOConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `policy` in place on pairs that it writes and `judge` orders; returns one entry a step.

    The prompts are used in a random order, all of them before any comes again. Besides the loop's own numbers
    an entry has `chosen`, `rejected` and `lead`, the mean log-ratios of the pairs to the reference before the
    step, and `length`, the mean number of the answers' tokens. The policy is left in eval mode.

    Raises ValueError without prompts, if the judge does not return one boolean a prompt, or if the reference
    shares its weights with the policy.
    """
    if not prompts:
        raise ValueError("online DPO needs prompts to answer; there are none")
    require_apart(policy, reference)
    queue: list[int] = []
    policy.eval()  # no dropout, as in sampling: what learns is what wrote
    training = Training(
        policy, optimizer=config.optimizer, steps=config.steps, hooks=hooks, description="online DPO"
    )
    with training:
        for _ in range(config.steps):
            while len(queue) < config.batch:
                queue += torch.randperm(len(prompts), generator=generator).tolist()
            asked, queue = [prompts[place] for place in queue[: config.batch]], queue[config.batch :]
            written = answer(
                policy,
                tokenizer,
                [*asked, *asked],  # both answers of every prompt in one go
                max_new_tokens=config.max_new_tokens,
                generator=generator,
                temperature=config.temperature,
            )
            first, second = written[: config.batch], written[config.batch :]
            pairs = judged_pairs(tokenizer, asked, first, second, judge(asked, first, second))
            take_step(training, policy, reference, pairs, objective)
    return training.history


def take_step(
    training: Training,
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    pairs: Pairs,
    objective: Objective,
) -> dict[str, float]:
    """One step of a direct objective on fresh pairs; returns the history's new entry."""
    kept = kept_reference(reference, pairs)

    def loss_fn(batch: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        compared: Compared = compare(policy, torch.arange(len(batch)), batch, kept)
        chosen, rejected = (ratio.detach().mean() for ratio in compared.log_ratios)
        tokens = torch.cat([compared.chosen_length, compared.rejected_length])
        return objective(compared).mean(), {
            "chosen": chosen,
            "rejected": rejected,
            "lead": chosen - rejected,
            "length": tokens.float().mean(),
        }

    return training.step(pairs.to(policy.device), loss_fn)
