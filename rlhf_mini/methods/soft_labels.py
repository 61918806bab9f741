"""A reward model from a judge's probabilities: distilled RLAIF, and constitutional AI's preference model.

Papers: Bai et al. 2022, arXiv 2212.08073, §4.1: a model's normalised choice probabilities, each under a
principle drawn for it, are the targets of the preference model, mixed with people's labels on helpfulness;
Lee et al. 2023, arXiv 2309.00267, §2. A person's label is a probability of 1, so that both kinds stand in one
list (`Labelled`) and are learned by one loss.

Simplification: both kinds count alike, pair by pair; how much each weighs is how many pairs it has.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Index, Sequences
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.judging import Comparison
from rlhf_mini.loop import Hook, fit
from rlhf_mini.losses import soft_preference_loss
from rlhf_mini.methods.bucketing import shuffled_batches
from rlhf_mini.methods.judge import Ask, both_orders
from rlhf_mini.methods.reward_model import RewardModelConfig, raw_scores
from rlhf_mini.methods.sft import check_fits


@dataclass(frozen=True)
class Labelled:
    """Two answers to a prompt, and the probability that the first is better.

    Raises ValueError for a probability outside [0, 1].
    """

    prompt: str
    first: str
    second: str
    preference: float

    def __post_init__(self) -> None:
        if not 0 <= self.preference <= 1:
            raise ValueError(f"a preference is a probability from 0 to 1, got {self.preference}")


@dataclass(frozen=True, eq=False)
class SoftPairs:
    """A batch of pairs with soft labels.

    Attributes:
        first, second: the answers, as many.
        preference: ``(B,)``, the probability that the first is better.

    Raises:
        ValueError: if the numbers differ, or a preference is not in [0, 1].
    """

    first: Sequences
    second: Sequences
    preference: Tensor

    def __post_init__(self) -> None:
        """Check that the parts belong together."""
        if not len(self.first) == len(self.second) == len(self.preference) or self.preference.ndim != 1:
            raise ValueError(
                f"need as many preferences as pairs; got {len(self.first)} first and {len(self.second)} "
                f"second answers, and preferences of shape {tuple(self.preference.shape)}"
            )
        if not ((self.preference >= 0) & (self.preference <= 1)).all():
            raise ValueError(
                "a preference is a probability from 0 to 1; these reach from "
                f"{self.preference.min():.3g} to {self.preference.max():.3g}"
            )

    def __len__(self) -> int:
        """The number of pairs, B."""
        return len(self.first)

    @property
    def lengths(self) -> Tensor:
        """Real tokens in each pair, both answers together, ``(B,)``."""
        return self.first.lengths + self.second.lengths

    def rows(self, index: Index) -> "SoftPairs":
        """The chosen pairs, in the order chosen."""
        return SoftPairs(self.first.rows(index), self.second.rows(index), self.preference[index])

    def to(self, device: torch.device | str) -> "SoftPairs":
        """The same batch on another device."""
        return SoftPairs(self.first.to(device), self.second.to(device), self.preference.to(device))


def label(
    ask: Ask,
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    *,
    principles: Sequence[str],
    rng: random.Random,
) -> list[Labelled]:
    """The judge's soft label of each pair, both orders averaged, under a principle drawn for each.

    Raises ValueError without principles.
    """
    if not principles:
        raise ValueError("a judge needs at least one principle to judge by, got none")
    rows = list(zip(prompts, first, second, strict=True))
    verdicts = both_orders(ask, [Comparison(rng.choice(principles), *row) for row in rows])
    return [Labelled(*row, p) for row, p in zip(rows, verdicts.preference.tolist(), strict=True)]


def from_people(rows: Iterable[Mapping[str, Any]]) -> list[Labelled]:
    """People's choices, from rows with `prompt`, `chosen` and `rejected`: the chosen stands first, at 1.

    >>> from_people([{"prompt": "Who?", "chosen": "a fox", "rejected": "an owl"}])[0].preference
    1.0
    """
    return [Labelled(str(r["prompt"]), str(r["chosen"]), str(r["rejected"]), 1.0) for r in rows]


def mixed(
    from_judge: Sequence[Labelled],
    from_people: Sequence[Labelled],
    *,
    people_share: float,
    rng: random.Random,
) -> list[Labelled]:
    """As many labels of both kinds as there are, so that people's make up `people_share`; shuffled.

    Of the kind that is too many a random part is left out. Raises ValueError for a share outside [0, 1], and
    if a kind that is asked for is missing.
    """
    if not 0 <= people_share <= 1:
        raise ValueError(f"people_share must be from 0 to 1, got {people_share}")
    kinds = [(from_judge, 1 - people_share), (from_people, people_share)]
    if any(share > 0 and not labels for labels, share in kinds):
        raise ValueError(
            f"a share of {people_share} from people needs both kinds of labels; there are {len(from_judge)} "
            f"from the judge and {len(from_people)} from people"
        )
    total = min(int(len(labels) / share + 1e-9) for labels, share in kinds if share > 0)
    counts = [round(total * share) for _, share in kinds]
    kept = [
        row
        for (labels, _), count in zip(kinds, counts, strict=True)
        for row in rng.sample(list(labels), min(count, len(labels)))
    ]
    rng.shuffle(kept)
    return kept


def pack_soft_pairs(tokenizer: PreTrainedTokenizerBase, labels: Sequence[Labelled]) -> SoftPairs:
    """The labels as token sequences."""
    prompts = [row.prompt for row in labels]
    return SoftPairs(
        first=pack_texts(tokenizer, prompts, [row.first for row in labels]),
        second=pack_texts(tokenizer, prompts, [row.second for row in labels]),
        preference=torch.tensor([row.preference for row in labels]),
    )


def train_on_soft_labels(
    reward_model: PreTrainedModel,
    pairs: SoftPairs,
    *,
    config: RewardModelConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train a reward model in place on soft labels; returns the history of `fit`, with `accuracy`.

    The batch's accuracy is the probability that its scores put the better answer first, by the labels'
    probabilities. The model is left in eval mode. Raises ValueError, before anything is trained, for a
    sequence longer than its context.
    """
    check_fits(pairs.first, reward_model)
    check_fits(pairs.second, reward_model)

    def batches() -> Iterator[SoftPairs]:
        for rows in shuffled_batches(
            pairs.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        ):
            yield pairs.rows(rows).to(reward_model.device)

    def loss_fn(batch: SoftPairs) -> tuple[Tensor, dict[str, Tensor]]:
        first, second = raw_scores(reward_model, batch.first), raw_scores(reward_model, batch.second)
        right = torch.where(first > second, batch.preference, 1 - batch.preference)
        losses = soft_preference_loss(first.float(), second.float(), preference=batch.preference)
        return losses.mean(), {"accuracy": right.mean()}

    reward_model.train()
    history = fit(
        reward_model,
        batches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=max(1, config.epochs * (len(pairs) // config.batch)),
        hooks=hooks,
        description="reward model",
    )
    reward_model.eval()
    return history
