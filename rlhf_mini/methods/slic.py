"""SLiC-HF: calibrate a policy's log-probabilities on pairs, and hold on to a target answer.

Paper: Zhao et al. 2023, arXiv 2305.10425. The pairs are answers of the fine-tuned policy itself, ranked by a
reward model (`pairs_of`, its "sample and rank"), or come from people ("direct"). The target is the answer
that fine-tuning had, or the best one drawn. No reference model is needed: the target stands in for it.

Simplifications: log-probabilities are sums over the answer's tokens; the target of a pair belongs to its
prompt.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import slic_loss
from rlhf_mini.methods.answers import Answers
from rlhf_mini.methods.dpo import answer_logp
from rlhf_mini.methods.mixed_batches import mixed_batches
from rlhf_mini.methods.sft import check_fits


@dataclass(frozen=True, kw_only=True)
class SLiCConfig:
    """`epochs` passes over the pairs in batches of `batch`; a last incomplete batch is dropped.

    - `margin`: δ, nats per sequence by which the better answer should lead.
    - `target_weight`: λ, the weight of the target's likelihood.
    """

    epochs: int
    batch: int
    optimizer: OptimizerConfig
    margin: float = 1.0
    target_weight: float = 0.1

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise ValueError(f"epochs and batch must be at least 1, got {self}")
        if not (0 <= self.margin < math.inf and 0 <= self.target_weight < math.inf):
            raise ValueError(f"margin and target_weight must be finite, 0 or above, got {self}")


class RankedPairs(NamedTuple):
    """For each prompt whose answers differ in reward, its best and its worst answer."""

    prompts: list[str]
    chosen: list[str]
    rejected: list[str]


def pairs_of(answers: Answers) -> RankedPairs:
    """The best and the worst answer to each prompt, the first of those that tie; prompts of one reward are
    left out.

    >>> pairs_of(Answers(["p", "q"], [["a", "b"], ["c", "d"]], torch.tensor([[0.0, 1.0], [2.0, 2.0]])))
    RankedPairs(prompts=['p'], chosen=['b'], rejected=['a'])
    """
    found = RankedPairs([], [], [])
    for prompt, texts, rewards in zip(answers.prompts, answers.texts, answers.rewards.tolist(), strict=True):
        if min(rewards) < max(rewards):
            found.prompts.append(prompt)
            found.chosen.append(texts[rewards.index(max(rewards))])
            found.rejected.append(texts[rewards.index(min(rewards))])
    return found


def pack_pairs(tokenizer: PreTrainedTokenizerBase, ranked: RankedPairs) -> Pairs:
    """The pairs as token sequences."""
    return Pairs(
        pack_texts(tokenizer, ranked.prompts, ranked.chosen),
        pack_texts(tokenizer, ranked.prompts, ranked.rejected),
    )


def slic(
    policy: PreTrainedModel,
    pairs: Pairs,
    targets: Sequences,
    *,
    config: SLiCConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `policy` in place; returns `fit`'s history, with `ordered`, the share of pairs led by the better
    one.

    `targets` has a sequence for each pair: the answer whose likelihood must not be lost. Raises ValueError,
    before anything is trained, if their numbers differ, a text is longer than the context, or the pairs do
    not fill a batch.
    """
    if len(targets) != len(pairs):
        raise ValueError(f"{len(pairs)} pairs but {len(targets)} targets: one each is needed")
    for sequences in (pairs.chosen, pairs.rejected, targets):
        check_fits(sequences, policy)

    def batches() -> Iterator[tuple[Pairs, Sequences]]:
        for rows in mixed_batches(len(pairs), batch=config.batch, epochs=config.epochs, generator=generator):
            yield pairs.rows(rows).to(policy.device), targets.rows(rows).to(policy.device)

    def loss_fn(batch: tuple[Pairs, Sequences]) -> tuple[Tensor, dict[str, Tensor]]:
        of_pairs, of_targets = batch
        chosen, rejected = answer_logp(policy, of_pairs.chosen), answer_logp(policy, of_pairs.rejected)
        losses = slic_loss(
            chosen,
            rejected,
            answer_logp(policy, of_targets),
            margin=config.margin,
            target_weight=config.target_weight,
        )
        return losses.mean(), {"ordered": (chosen > rejected).float().mean()}

    policy.train()
    steps = max(config.epochs * (len(pairs) // config.batch), 1)
    return fit(
        policy, batches(), loss_fn, optimizer=config.optimizer, steps=steps, hooks=hooks, description="SLiC"
    )
