"""The book's methods on a model of one's own: for each, what is prepared, how it trains, what is measured.

Every function here takes the loaded model and gives a `Work`: the model that learns, and two functions. The
methods themselves are those of `rlhf_mini.methods`, unchanged; what is decided here is what stands around
them: which models are in memory, what the reference is, and by what number the result is judged.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.devices import uses_bfloat16
from rlhf_mini.loop import Hook
from rlhf_mini.losses import dpo_loss, pairwise_loss
from rlhf_mini.methods.dpo import (
    Compared,
    DPOConfig,
    KeptReference,
    answer_logps,
    kept_reference,
    train_on_pairs,
)
from rlhf_mini.methods.kto import Labelled, kto
from rlhf_mini.methods.orpo import ORPOConfig, orpo
from rlhf_mini.methods.pretrain import PretrainConfig, block_batches, pretrain
from rlhf_mini.methods.reward_model import (
    RewardModelConfig,
    normalise,
    pair_accuracy,
    scores,
    train_reward_model,
)
from rlhf_mini.methods.sft import SFTConfig, response_loss, sft
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.real.planned import prepared
from rlhf_mini.real.rows import Encoded, repeated
from rlhf_mini.real.settings import Method, Settings

Numbers = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all methods are given.

    - `rows`, `steps`: to learn from, and how often.
    - `hook`: told of every optimizer step; `rollout`: of what was drawn for it, before it.
    """

    method: Method
    settings: Settings
    rows: Encoded
    tokenizer: PreTrainedTokenizerBase
    steps: int
    hook: Hook
    rollout: Callable[[int, Any, Numbers], None]

    @property
    def generator(self) -> torch.Generator:
        """Random numbers from the seed, always the same."""
        return torch.Generator().manual_seed(self.settings.seed)

    @property
    def common(self) -> dict[str, Any]:
        """What every method's function is given."""
        return {"generator": self.generator, "hooks": (self.hook,)}

    def times(self) -> tuple[Tensor | None, int]:
        """Which rows to learn from, None for all of them, and how many passes over these."""
        settings = self.settings
        if settings.steps is None:
            return None, settings.epochs
        steps, batch = settings.steps, settings.batch
        return repeated(self.rows.train, steps=steps, batch=batch, generator=self.generator), 1

    def config(self, epochs: int) -> dict[str, Any]:
        """Epochs, batch and optimizer, which all methods on fixed rows share."""
        optimizer = self.settings.optimizer(self.method, steps=self.steps)
        return {"epochs": epochs, "batch": self.settings.batch, "optimizer": optimizer}


class Work(NamedTuple):
    """The model that learns and is saved, its training, and what is measured before and after it."""

    model: PreTrainedModel
    train: Callable[[], object]
    measure: Callable[[], Numbers]


def bfloat16(settings: Settings, device: torch.device) -> AbstractContextManager:
    """Autocast in bfloat16 where it is asked for and the library does not do so anyway.

    Without the cache of casts: it is emptied only when the outermost context ends, and would hand weights of
    before the first step to all later ones.
    """
    if not settings.bf16 or uses_bfloat16(device):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


# ------------------------------------------------------------------------------------------------- fixed rows


def pretraining(job: Job, base: PreTrainedModel) -> Work:
    """Next-token prediction on blocks of text; measured by the loss, nats per token."""
    model, settings = prepared(base, job.settings), job.settings
    config = PretrainConfig(
        steps=job.steps,
        batch=settings.batch,
        block=job.rows.longest,
        optimizer=settings.optimizer(job.method, steps=job.steps),
    )

    def train() -> None:
        batches = block_batches(job.rows.train, config=config, generator=job.generator)
        pretrain(model, batches, config=config, hooks=(job.hook,))

    return Work(model, train, lambda: {"loss": _eval_loss(model, job.rows.held, job)})


def fine_tuning(job: Job, base: PreTrainedModel) -> Work:
    """Demonstrations; measured by the loss of the responses, nats per token."""
    model = prepared(base, job.settings)

    def train() -> None:
        index, epochs = job.times()
        rows = job.rows.train if index is None else job.rows.train.rows(index)
        sft(model, rows, config=SFTConfig(**job.config(epochs)), **job.common)

    return Work(model, train, lambda: {"loss": _eval_loss(model, job.rows.held, job)})


def reward_modelling(job: Job, base: PreTrainedModel) -> Work:
    """Pairs; measured by the loss and by the share of pairs whose preferred answer scores higher.

    After training the scores of the rejected answers have mean 0 and deviation 1, by the configuration.
    """
    model = prepared(new_reward_model(base, seed=job.settings.seed), job.settings, head=True)

    def train() -> None:
        index, epochs = job.times()
        pairs = job.rows.train if index is None else job.rows.train.rows(index)
        train_reward_model(model, pairs, config=RewardModelConfig(**job.config(epochs)), **job.common)
        normalise(model, job.rows.train.rejected)

    def measure() -> Numbers:
        held, model_was_training = job.rows.held, model.training
        model.eval()
        std = getattr(model.config, "std", 1.0)  # the loss is in units of the raw scores
        chosen, rejected = (std * scores(model, side) for side in (held.chosen, held.rejected))
        model.train(model_was_training)
        return {
            "loss": float(pairwise_loss(chosen, rejected).mean()),
            "accuracy": pair_accuracy(model, held),
        }

    return Work(model, train, measure)


def direct_preferences(job: Job, base: PreTrainedModel) -> Work:
    """DPO; measured by its loss and by the share of pairs with the larger log-ratio on the preferred answer.

    The reference is the model before its first step, asked once about all rows and not kept.
    """
    kept = [kept_reference(base, pairs) for pairs in (job.rows.train, job.rows.held)]
    model, beta = prepared(base, job.settings), job.settings.weight_for(job.method)

    def objective(pair: Compared) -> Tensor:
        return dpo_loss(*pair.log_ratios, kl_weight=beta)

    def train() -> None:
        index, epochs = job.times()
        pairs, reference = job.rows.train, kept[0]
        if index is not None:
            pairs = pairs.rows(index)
            reference = KeptReference(reference.chosen[index], reference.rejected[index])
        train_on_pairs(
            model, pairs, reference, objective, config=DPOConfig(**job.config(epochs)), **job.common
        )

    def measure() -> Numbers:
        chosen, rejected = _sides(model, job.rows.held)
        ratios = chosen - kept[1].chosen, rejected - kept[1].rejected
        return {
            "loss": float(dpo_loss(*ratios, kl_weight=beta).mean()),
            "accuracy": _share_ahead(*ratios),
            "log-ratio of the chosen": float(ratios[0].mean()),
        }

    return Work(model, train, measure)


def unpaired_feedback(job: Job, base: PreTrainedModel) -> Work:
    """KTO; measured by the mean log-ratio to the reference of desirable and undesirable answers, nats."""
    reference = freeze(copy_of(base))
    model, held = prepared(base, job.settings), job.rows.held
    kept = answer_logps(reference, held.answers)

    def train() -> None:
        index, epochs = job.times()
        rows: Labelled = job.rows.train
        if index is not None:
            rows = Labelled(rows.answers.rows(index), rows.desirable[index])
        weight = job.settings.weight_for(job.method)
        config = DPOConfig(**job.config(epochs))
        kto(model, reference, rows, kl_weight=weight, config=config, **job.common)

    def measure() -> Numbers:
        ratios = answer_logps(model, held.answers) - kept
        kinds = {"desirable": held.desirable, "undesirable": ~held.desirable}
        return {
            f"log-ratio of the {name}": float(ratios[kind].mean())
            for name, kind in kinds.items()
            if kind.any()
        }

    return Work(model, train, measure)


def odds_ratio(job: Job, base: PreTrainedModel) -> Work:
    """ORPO; measured by the preferred answers' loss and the share of pairs in which they are the likelier.

    Both are per token.
    """
    model, held = prepared(base, job.settings), job.rows.held

    def train() -> None:
        index, epochs = job.times()
        pairs = job.rows.train if index is None else job.rows.train.rows(index)
        weight = job.settings.weight_for(job.method)
        orpo(model, pairs, config=ORPOConfig(**job.config(epochs), odds_weight=weight), **job.common)

    def measure() -> Numbers:
        chosen, rejected = _sides(model, held)
        means = chosen / held.chosen.response.sum(1), rejected / held.rejected.response.sum(1)
        return {"loss": -float(means[0].mean()), "accuracy": _share_ahead(*means)}

    return Work(model, train, measure)


# -------------------------------------------------------------------------------------------------- measuring


def _eval_loss(model: PreTrainedModel, rows: Sequences, job: Job) -> float:
    was_training = model.training
    model.eval()
    loss = response_loss(model, rows, batch=job.settings.batch)
    model.train(was_training)
    return loss


def _sides(model: PreTrainedModel, pairs: Pairs) -> tuple[Tensor, Tensor]:
    return answer_logps(model, pairs.chosen), answer_logps(model, pairs.rejected)


def _share_ahead(one: Tensor, other: Tensor) -> float:
    """How often the first is the larger; a tie counts one half."""
    return float(((one > other).float() + 0.5 * (one == other).float()).mean())
