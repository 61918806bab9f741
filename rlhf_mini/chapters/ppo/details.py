"""PPO's details, each in another way than ours: what a run of the ablation is made of.

A run is described by plain settings, so that it is kept under them (`Pipeline.measured`); which runs there are
is the business of `variants.py`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Rollout
from rlhf_mini.chapters.ppo.runs import Ingredients, changed, usual, watched_run
from rlhf_mini.estimators import gae, kl_k1, kl_k2, kl_k3, whiten
from rlhf_mini.methods.ppo import value_model_for, whitened_gae
from rlhf_mini.models import new_reward_model, response_logp, response_logp_and_entropy
from rlhf_mini.models.build import scalar_head
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.tensors import last_true_index, masked_mean, masked_sum, zero_off_mask

GAE = Callable[..., tuple[Tensor, Tensor]]  # rewards, values, response, gae_lambda -> advantages, returns


# ---- advantages and returns


def as_they_are(
    rewards: Tensor, values: Tensor, response: Tensor, *, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """GAE, not whitened."""
    return gae(rewards, values, response, discount=1.0, gae_lambda=gae_lambda)


def mean_only(
    rewards: Tensor, values: Tensor, response: Tensor, *, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """GAE less its mean over the rollout, not brought to variance 1."""
    advantages, returns = gae(rewards, values, response, discount=1.0, gae_lambda=gae_lambda)
    return zero_off_mask(advantages - masked_mean(advantages, response), response), returns


def rewards_whitened(
    rewards: Tensor, values: Tensor, response: Tensor, *, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """As the code of Ziegler et al.: token rewards brought to variance 1, their mean kept; then as usual."""
    return whitened_gae(whiten(rewards, response, shift_mean=False), values, response, gae_lambda=gae_lambda)


def all_at_the_end(
    rewards: Tensor, values: Tensor, response: Tensor, *, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """The answer as one action: all of its rewards, the KL penalty's too, come with the last token."""
    rows = torch.arange(len(rewards), device=rewards.device)
    totals = masked_sum(rewards, response, dim=1)
    at_end = torch.zeros_like(rewards).index_put((rows, last_true_index(response)), totals)
    return whitened_gae(at_end, values, response, gae_lambda=gae_lambda)


def without_values(
    rewards: Tensor, values: Tensor, response: Tensor, *, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """What follows each token, whitened: the mean over the rollout is the only baseline."""
    return whitened_gae(rewards, torch.zeros_like(values), response, gae_lambda=1.0)


ESTIMATES: dict[str, GAE] = {
    "as they are": as_they_are,
    "mean only": mean_only,
    "rewards whitened": rewards_whitened,
    "all at the end": all_at_the_end,
    "without values": without_values,
}


# ---- parts: from the ingredients of a run, and a setting, to other ingredients


def _estimate(pipeline: Pipeline, ingredients: Ingredients, name: str) -> Ingredients:
    estimate = partial(ESTIMATES[name], gae_lambda=ingredients.config.gae_lambda)
    return replace(ingredients, estimate=estimate)


def _value_model(pipeline: Pipeline, ingredients: Ingredients, name: str) -> Ingredients:
    return replace(ingredients, value_model=VALUE_MODELS[name](pipeline).requires_grad_(True))


def zero_head(pipeline: Pipeline) -> PreTrainedModel:
    """The reward model's backbone under a head of zeros."""
    model = value_model_for(pipeline.reward_model())
    _scale_head(model, factor=0.0, shift=0.0)
    return model


def from_sft(pipeline: Pipeline) -> PreTrainedModel:
    """The SFT model's backbone under a head drawn at random."""
    return value_model_for(new_reward_model(pipeline.policy("sft"), seed=pipeline.seed))


VALUE_MODELS = {"zero head": zero_head, "from SFT": from_sft}


def _raw_scores(pipeline: Pipeline, ingredients: Ingredients, on: bool) -> Ingredients:
    """The score as the reward model gives it, not normalised."""
    config = pipeline.reward_model().config
    return _rescaled(ingredients, factor=config.std, shift=config.mean)


def _scores_times(pipeline: Pipeline, ingredients: Ingredients, factor: float) -> Ingredients:
    return _rescaled(ingredients, factor=factor, shift=0.0)


def _rescaled(ingredients: Ingredients, *, factor: float, shift: float) -> Ingredients:
    """The score times `factor` plus `shift`, and a value model that starts in the same units."""
    score = ingredients.score
    _scale_head(ingredients.value_model, factor=factor, shift=shift)
    return replace(ingredients, score=lambda sequences: score(sequences) * factor + shift)


@torch.no_grad()
def _scale_head(model: PreTrainedModel, *, factor: float, shift: float) -> None:
    head = scalar_head(model)
    head.weight.mul_(factor)
    if head.bias is not None:
        head.bias.mul_(factor).add_(shift)


def _kl_loss(pipeline: Pipeline, ingredients: Ingredients, setting: Sequence[Any]) -> Ingredients:
    """An estimate of KL(policy ‖ reference) as a loss, a mean over tokens."""
    name, weight = setting
    estimator, policy = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}[name], ingredients.policy

    def loss(batch: Rollout) -> Tensor:
        parts = batch.sequences
        logp = response_logp(policy, parts.tokens, parts.mask, parts.response)
        return weight * masked_mean(estimator(logp, batch.logp_ref), parts.response)

    return replace(ingredients, auxiliary=loss)


def _entropy_bonus(pipeline: Pipeline, ingredients: Ingredients, weight: float) -> Ingredients:
    """Minus the policy's mean entropy as a loss."""
    policy = ingredients.policy

    def loss(batch: Rollout) -> Tensor:
        parts = batch.sequences
        spread = response_logp_and_entropy(policy, parts.tokens, parts.mask, parts.response).entropy
        return -weight * masked_mean(spread, parts.response)

    return replace(ingredients, auxiliary=loss)


def _dropout(pipeline: Pipeline, ingredients: Ingredients, probability: float) -> Ingredients:
    """Attention weights dropped out of the policy while it learns, but not while it writes.

    PPO puts its models in evaluation mode before the first rollout; this puts the policy back.
    """
    policy = ingredients.policy
    policy.config.attention_dropout = probability
    for layer in policy.base_model.layers:
        layer.self_attn.attention_dropout = probability
    return replace(ingredients, on_rollout=[lambda *rollout: policy.train()], ratio_tolerance=math.inf)


def _rate_times(pipeline: Pipeline, ingredients: Ingredients, factor: float) -> Ingredients:
    config = ingredients.config
    rate = config.optimizer.learning_rate * factor
    return replace(ingredients, config=changed(config, optimizer={"learning_rate": rate}))


def _minibatch_times(pipeline: Pipeline, ingredients: Ingredients, factor: float) -> Ingredients:
    config = ingredients.config
    return replace(ingredients, config=changed(config, minibatch=round(config.minibatch * factor)))


PARTS: dict[str, Callable[[Pipeline, Ingredients, Any], Ingredients]] = {
    "estimate": _estimate,
    "value_model": _value_model,
    "raw_scores": _raw_scores,
    "scores_times": _scores_times,
    "kl_loss": _kl_loss,
    "entropy_bonus": _entropy_bonus,
    "dropout": _dropout,
    "rate_times": _rate_times,
    "minibatch_times": _minibatch_times,
}


# ---- a run


def varied(
    pipeline: Pipeline, *, config: dict[str, Any] | None = None, parts: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A watched run that differs from the stage `ppo` in what is given; see `runs.outcome`.

    - `config`: fields of `PPOConfig`, with `optimizer` a mapping of fields of its own. None stands for infinity,
      which JSON does not know.
    - `parts`: of `PARTS`, with their settings.
    """
    ingredients = usual(pipeline)
    ingredients = replace(ingredients, config=changed(ingredients.config, **_with_infinity(config or {})))
    for name, setting in (parts or {}).items():
        ingredients = PARTS[name](pipeline, ingredients, setting)
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global random numbers
        torch.manual_seed(pipeline.seed)
        return watched_run(pipeline, ingredients)


def _with_infinity(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _with_infinity(value) if isinstance(value, dict) else math.inf if value is None else value
        for name, value in fields.items()
    }
