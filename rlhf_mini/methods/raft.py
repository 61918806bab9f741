"""RAFT: draw K answers to a batch of prompts, fine-tune on the best, and again with the policy so made.

Paper: Dong et al. 2023, arXiv 2304.06767. One iteration is a round of rejection sampling; RAFT is to do it
often and in small batches, with fresh prompts each time and no answers kept from before. Without an error of
training, two iterations of K = 2 are one of K = 4 (`exact.best_of_n`); the KL to the first policy grows with
each.

Simplifications: the optimizer starts anew in each iteration, and there is no KL term, as in the paper's main
runs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.answers import Drawing, PromptsOf, best_of_each, draw_answers
from rlhf_mini.methods.mixed_batches import fine_tune_mixed
from rlhf_mini.methods.rejection_sampling import Score
from rlhf_mini.methods.sft import SFTConfig

OnRound = Callable[[int, dict[str, float]], None]  # number of the round, from 1, and its log entry


@dataclass(frozen=True, kw_only=True)
class RAFTConfig:
    """`iterations` rounds of drawing K answers a prompt and fine-tuning on a K-th of them."""

    iterations: int
    drawing: Drawing
    sft: SFTConfig

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")


def raft(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts_of: PromptsOf,
    score: Score,
    *,
    config: RAFTConfig,
    generator: torch.Generator,
    keep: Callable[[Tensor], Tensor] = best_of_each,
    on_round: OnRound = lambda number, entry: None,
) -> list[dict[str, float]]:
    """Train `policy` in place; returns one log entry an iteration.

    - `prompts_of`: the prompts of each iteration, from 1.
    - `keep`: rewards (N, K) → which are learned from; `answers.best_overall` lets prompts compete.
    - `on_round`: called after each iteration; what it adds to the entry stays in the log.

    An entry holds the mean `reward` of what the policy drew, that of what was `kept_reward`, and the last
    `loss`.
    """
    log: list[dict[str, float]] = []
    for number in range(1, config.iterations + 1):
        answers = draw_answers(
            policy, tokenizer, prompts_of(number), score, config=config.drawing, generator=generator
        )
        mask = keep(answers.rewards)
        chosen = answers.kept(mask)
        history = fine_tune_mixed(
            policy,
            pack_texts(tokenizer, chosen.prompts, chosen.answers),
            config=config.sft,
            generator=generator,
        )
        log.append(
            {
                "reward": float(answers.rewards.mean()),
                "kept_reward": float(answers.rewards[mask].mean()),
                "loss": history[-1]["loss"],
            }
        )
        on_round(number, log[-1])
    return log
