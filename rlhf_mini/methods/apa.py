"""Advantage-induced policy alignment (APA): PPO's rollouts, and a regression in the place of its ratio.

Papers: Zhu et al. 2023, arXiv 2306.02231; the settings are those of the authors' code (microsoft/RLHF-APA).
An iteration draws answers, scores them and estimates whitened advantages, all as PPO does, but for the KL
penalty in the reward, which is left out: the initial policy stands in the loss instead (`losses.induced`).
One number, λ, says how far the policy may go.

Simplifications: the initial policy is the reference that is given; no early stop.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Rollout
from rlhf_mini.data.pretrained import check_lengths
from rlhf_mini.loop import Hook, OptimizerConfig, Training
from rlhf_mini.losses import value_loss
from rlhf_mini.losses.induced import apa_loss
from rlhf_mini.methods.dpo import require_apart
from rlhf_mini.methods.ppo import OnRollout, PPOConfig, collect
from rlhf_mini.methods.rollouts import Score, rollout_metrics
from rlhf_mini.models import response_logp, token_values
from rlhf_mini.tensors import masked_mean


@dataclass(frozen=True, kw_only=True)
class APAConfig:
    """Settings of APA.

    - `kl_weight`: λ, what one nat costs in units of the whitened advantage; the authors' code has 0.1.
    - All others are as in `PPOConfig`.
    """

    iterations: int
    episodes: int
    minibatch: int
    epochs: int
    max_new_tokens: int
    optimizer: OptimizerConfig
    kl_weight: float = 0.1
    value_weight: float = 0.1
    gae_lambda: float = 0.95
    temperature: float = 1.0
    missing_eos_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.kl_weight < math.inf:
            raise ValueError(f"kl_weight must be finite and above 0, got {self.kl_weight}")
        _ = self.rollouts  # which refuses what PPO refuses

    @property
    def rollouts(self) -> PPOConfig:
        """How PPO draws and scores the same rollouts, with no price on KL."""
        return PPOConfig(
            iterations=self.iterations,
            episodes=self.episodes,
            minibatch=self.minibatch,
            epochs=self.epochs,
            max_new_tokens=self.max_new_tokens,
            optimizer=self.optimizer,
            kl_weight=0.0,
            value_weight=self.value_weight,
            gae_lambda=self.gae_lambda,
            temperature=self.temperature,
            missing_eos_penalty=self.missing_eos_penalty,
        )


def apa_step_loss(
    policy: PreTrainedModel, value_model: PreTrainedModel, batch: Rollout, *, config: APAConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """`apa_loss` plus `value_weight` times the value loss, each a mean over the response tokens of the batch.

    The metrics: `policy_loss`, `value_loss`, and `distance`, the mean of |log π − log π_init| in nats.
    """
    tokens, mask, response = batch.sequences.tokens, batch.sequences.mask, batch.sequences.response
    logp = response_logp(policy, tokens, mask, response, temperature=config.temperature)
    values = token_values(value_model, tokens, mask) * response
    regression = apa_loss(logp, batch.logp_ref, batch.advantages, kl_weight=config.kl_weight)
    policy_part = masked_mean(regression, response)
    value_part = masked_mean(value_loss(values, batch.returns), response)
    return policy_part + config.value_weight * value_part, {
        "policy_loss": policy_part.detach(),
        "value_loss": value_part.detach(),
        "distance": masked_mean((logp.detach() - batch.logp_ref).abs(), response),
    }


def apa(
    policy: PreTrainedModel,
    value_model: PreTrainedModel,
    initial: PreTrainedModel,
    score: Score,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    config: APAConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
    on_rollout: OnRollout = lambda iteration, rollout, metrics: None,
) -> list[dict[str, float]]:
    """Train `policy` and `value_model` in place; returns one entry an iteration, with what PPO's would have.

    - `initial`: the frozen policy that training starts from.
    - `score`, `prompts`, `on_rollout`: as in `ppo`.

    Both models are left in eval mode. Raises ValueError as `ppo` does, and for an initial policy that shares
    its weights with the one in training.
    """
    check_lengths(prompts, context=policy.config.max_position_embeddings, new_tokens=config.max_new_tokens)
    require_apart(policy, initial)
    models, drawing = nn.ModuleDict({"policy": policy, "value": value_model}), config.rollouts
    log: list[dict[str, float]] = []
    models.eval()

    def loss_fn(batch: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        return apa_step_loss(policy, value_model, batch, config=config)

    with Training(
        models, optimizer=config.optimizer, steps=drawing.steps, hooks=hooks, description="APA"
    ) as training:
        for iteration in range(config.iterations):
            chosen = torch.randint(len(prompts), (config.episodes,), generator=generator).tolist()
            rollout = collect(
                policy,
                value_model,
                initial,
                score,
                tokenizer,
                [prompts[place] for place in chosen],
                config=drawing,
                kl_weight=0.0,
                generator=generator,
            )
            metrics = rollout_metrics(rollout, kl_weight=0.0, end_token=tokenizer.eos_token_id)
            on_rollout(iteration, rollout, metrics)
            entries = [
                training.step(rollout.rows(rows.to(rollout.scores.device)), loss_fn)
                for _ in range(config.epochs)
                for rows in torch.randperm(len(rollout), generator=generator).split(config.minibatch)
            ]
            means = {name: sum(one[name] for one in entries) / len(entries) for name in entries[0]}
            log.append({**means, "seconds": sum(one["seconds"] for one in entries), **metrics})
    return log
