"""Self-rewarding: a policy rates its own answers, learns from its best and worst, and does so again.

Paper: Yuan et al. 2024, arXiv 2401.10020. A round: the policy as it is answers every prompt N times, rates
the answers as a judge would, and DPO against the round's start learns from the best and the worst of each
prompt; prompts whose ratings do not differ are left out. The judge improves, or does not, with the policy,
because it is the policy: what it rates is its own doing, and so are its mistakes.

Simplifications: the rating is a mean over the judge's probabilities, which the paper estimates by three
drawn ratings; the prompts are given, where the paper's model writes them (`self_synthesis` does).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Pairs
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.answers import Answers, Drawing, PromptsOf, draw_answers
from rlhf_mini.methods.dpo import DPOConfig, dpo
from rlhf_mini.methods.rejection_sampling import Score
from rlhf_mini.models import copy_of, freeze

ScoreOf = Callable[[PreTrainedModel], Score]  # the frozen policy → the score that it gives as a judge


@dataclass(frozen=True, kw_only=True)
class SelfRewardingConfig:
    """`rounds` rounds of drawing, rating and DPO with `kl_weight`.

    - `least_lead`: by how much the best rating must exceed the worst for a prompt to give a pair.
    """

    rounds: int
    drawing: Drawing
    dpo: DPOConfig
    kl_weight: float = 0.1
    least_lead: float = 0.0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.drawing.samples < 2:
            raise ValueError(
                f"need at least one round and two answers a prompt, got {self.rounds} and "
                f"{self.drawing.samples}"
            )
        if not (0 < self.kl_weight < math.inf and 0 <= self.least_lead < math.inf):
            raise ValueError(
                f"kl_weight must be above 0 and least_lead 0 or above, got {self.kl_weight} and "
                f"{self.least_lead}"
            )


@dataclass(frozen=True)
class Preferred:
    """Prompts with a preferred and a rejected answer each."""

    prompts: list[str]
    chosen: list[str]
    rejected: list[str]

    def __len__(self) -> int:
        return len(self.prompts)


def best_and_worst(rewards: Tensor, *, least_lead: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Of each row of (N, K) the place of the best and of the worst, and whether they differ by more.

    Of those that tie, the first. The third tensor, (N,) bool, is true where best − worst > `least_lead`.

    >>> best_and_worst(torch.tensor([[1.0, 3.0, 2.0], [2.0, 2.0, 2.0]]))
    (tensor([1, 0]), tensor([0, 0]), tensor([ True, False]))
    """
    best = (
        (rewards == rewards.amax(1, keepdim=True)).int().argmax(1)
    )  # first of the maxima, as argmax of ints
    worst = (rewards == rewards.amin(1, keepdim=True)).int().argmax(1)
    return best, worst, rewards.amax(1) - rewards.amin(1) > least_lead


def preferred(answers: Answers, *, least_lead: float = 0.0) -> Preferred:
    """Best against worst of every prompt whose answers are told apart."""
    best, worst, apart = best_and_worst(answers.rewards, least_lead=least_lead)
    rows = [
        (answers.prompts[row], answers.texts[row][best[row]], answers.texts[row][worst[row]])
        for row in apart.nonzero().flatten().tolist()
    ]
    return Preferred([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


def pack_preferred(tokenizer: PreTrainedTokenizerBase, pairs: Preferred) -> Pairs:
    """The same as token sequences."""
    return Pairs(
        chosen=pack_texts(tokenizer, pairs.prompts, pairs.chosen),
        rejected=pack_texts(tokenizer, pairs.prompts, pairs.rejected),
    )


def self_rewarding(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts_of: PromptsOf,
    score_of: ScoreOf,
    *,
    config: SelfRewardingConfig,
    generator: torch.Generator,
    on_round: Callable[[int, dict[str, float]], None] = lambda number, entry: None,
) -> list[dict[str, float]]:
    """Train `policy` in place; returns one log entry a round.

    - `prompts_of`: the prompts of each round, from 1.
    - `score_of`: how a model scores answers as a judge; called every round with a frozen copy of the policy
      as it then is (`judge.as_score` of `judge.rating`). A function that ignores its argument is a judge that
      stays as it is, the control without self-reference.
    - `on_round`: called after each round; what it adds to the entry stays in the log.

    An entry holds `pairs` and `pair_share`, the prompts that gave a pair; `rating`, `best_rating` and
    `worst_rating`, means of what the judge said; `chosen_words` and `rejected_words`, mean lengths, which
    show a taste for long answers; and DPO's last `loss` and `accuracy`. Raises ValueError if a round has
    fewer pairs than a batch.
    """
    log = []
    for number in range(1, config.rounds + 1):
        start = freeze(copy_of(policy))
        answers = draw_answers(
            start, tokenizer, prompts_of(number), score_of(start), config=config.drawing, generator=generator
        )
        pairs = preferred(answers, least_lead=config.least_lead)
        if len(pairs) < config.dpo.batch:
            raise ValueError(
                f"round {number}: the ratings tell the answers to {len(pairs)} of {len(answers.prompts)} "
                f"prompts apart, and a batch is {config.dpo.batch}: give more prompts, draw more answers or "
                "warmer, or train the judge further"
            )
        history = dpo(
            policy,
            start,
            pack_preferred(tokenizer, pairs),
            kl_weight=config.kl_weight,
            config=config.dpo,
            generator=generator,
        )
        entry = {
            "pairs": float(len(pairs)),
            "pair_share": len(pairs) / len(answers.prompts),
            "rating": float(answers.rewards.mean()),
            "best_rating": float(answers.rewards.amax(1).mean()),
            "worst_rating": float(answers.rewards.amin(1).mean()),
            "chosen_words": _mean_words(pairs.chosen),
            "rejected_words": _mean_words(pairs.rejected),
            "loss": history[-1]["loss"],
            "accuracy": history[-1]["accuracy"],
        }
        log.append(entry)
        on_round(number, entry)
    return log


def _mean_words(texts: list[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)
