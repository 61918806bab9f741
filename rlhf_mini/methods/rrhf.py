"""RRHF: put the policy's own mean log-probabilities of several answers into the order of their rewards.

Paper: Yuan et al. 2023, arXiv 2304.05302. The answers may come from anywhere, people and other models among
them (`answers.side_by_side`); they are scored once and trained on for a few epochs. Two terms: the ranking
loss on means over tokens, and the likelihood of the best answer. There is no reference, no value model and no
sampling while training; to resample now and then is the caller's loop.

The paper adds the two terms with weight 1 and sums the best answer's log-probability over its tokens. The
released program weighs the ranking term by 100 and takes the mean, so that the ranking counts about 100 times
the length of an answer more. Both are reached by `ranking_weight`.

Simplifications: batches are drawn over prompts, all answers to a prompt in one batch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import best_answer_loss, rrhf_ranking_loss
from rlhf_mini.methods.answers import Answers
from rlhf_mini.methods.dpo import answer_logp
from rlhf_mini.methods.mixed_batches import mixed_batches
from rlhf_mini.methods.sft import check_fits


@dataclass(frozen=True, kw_only=True)
class RRHFConfig:
    """`epochs` passes over the prompts in batches of `batch` prompts; a last incomplete batch is dropped.

    - `ranking_weight`: what the ranking term is multiplied by, 0 or above; 0 is fine-tuning on the best
    answer.
    """

    epochs: int
    batch: int
    optimizer: OptimizerConfig
    ranking_weight: float = 1.0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise ValueError(f"epochs and batch must be at least 1, got {self}")
        if not 0 <= self.ranking_weight < math.inf:
            raise ValueError(f"ranking_weight must be finite, 0 or above, got {self.ranking_weight}")


def rrhf(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    answers: Answers,
    *,
    config: RRHFConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train `policy` in place on K answers a prompt and their rewards; returns `fit`'s history.

    An entry also has the two terms, `ranking_loss` and `best_loss`, and `ordered`: the share of pairs with
    different rewards of which the better one has the higher mean log-probability. Raises ValueError, before
    anything is trained, for a text longer than the context, for fewer than two answers a prompt, and for
    fewer prompts than a batch.
    """
    samples = answers.samples
    prompts = [prompt for prompt in answers.prompts for _ in range(samples)]
    packed = pack_texts(tokenizer, prompts, [text for texts in answers.texts for text in texts])
    check_fits(packed, policy)

    def batches() -> Iterator[tuple[Sequences, Tensor]]:
        for rows in mixed_batches(
            len(answers.prompts), batch=config.batch, epochs=config.epochs, generator=generator
        ):
            flat = (rows[:, None] * samples + torch.arange(samples)).flatten()
            yield packed.rows(flat).to(policy.device), answers.rewards[rows].to(policy.device)

    def loss_fn(batch: tuple[Sequences, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        sequences, rewards = batch
        logp = answer_logp(policy, sequences).view(-1, samples)
        means = logp / sequences.response.sum(1).view(-1, samples)
        ranking, best = rrhf_ranking_loss(means, rewards).mean(), best_answer_loss(logp, rewards).mean()
        metrics = {"ranking_loss": ranking, "best_loss": best, "ordered": ordered_share(means, rewards)}
        return config.ranking_weight * ranking + best, metrics

    policy.train()
    steps = max(config.epochs * (len(answers.prompts) // config.batch), 1)
    return fit(
        policy, batches(), loss_fn, optimizer=config.optimizer, steps=steps, hooks=hooks, description="RRHF"
    )


def ordered_share(logp: Tensor, rewards: Tensor) -> Tensor:
    """Of the pairs of a row with different rewards, the share with log-probabilities in the same order; 1 if
    none.

    >>> logp, rewards = torch.tensor([[-3.0, -1.0, -2.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    >>> ordered_share(logp, rewards)  # two pairs of three
    tensor(0.6667)
    """
    worse = rewards[:, :, None] < rewards[:, None, :]
    right = worse & (logp[:, :, None] < logp[:, None, :])
    return right.sum() / worse.sum() if worse.any() else torch.ones(())
