"""Critic pretraining: teach the value model what the policy's rewards are, before the policy moves.

PPO's first advantages are only as good as the values that they are measured against, and a value model that
starts as a copy of the reward model says what a beginning would score if it ended there. Here the policy
stays fixed for some iterations and the value model alone learns from its rollouts.

Papers: Starling-7B (Zhu et al. 2024) and InternLM2 (Cai et al. 2024, arXiv 2403.17297) report it.

Simplifications: the value loss is the unclipped one, for nothing else moves; the settings of PPO that concern
the policy are not read.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Rollout
from rlhf_mini.data.pretrained import check_lengths
from rlhf_mini.estimators import discounted_returns, explained_variance
from rlhf_mini.loop import Hook, Training
from rlhf_mini.losses import value_loss
from rlhf_mini.methods.ppo import Estimate, PPOConfig, collect
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import token_values
from rlhf_mini.tensors import masked_mean


def pretrain_critic(
    value_model: PreTrainedModel,
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    score: Score,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    config: PPOConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
    estimate: Estimate | None = None,
) -> list[dict[str, float]]:
    """Train `value_model` in place on rollouts of the fixed policy; returns one entry an iteration.

    - `config`: PPO's; `iterations`, `episodes`, `minibatch`, `epochs`, `optimizer`, λ (of the targets) and
      all that makes rewards count, with a fixed `kl_weight`.
    - `reference`: usually the policy itself, so that no KL is paid.

    An entry holds `value_loss` (averaged over the iteration's steps), the rollout's mean `score`, and
    `explained_variance`: of the sums of rewards that came, by the values before they were trained on them.
    The model is left in eval mode.

    Raises ValueError as `ppo` does.
    """
    check_lengths(prompts, context=policy.config.max_position_embeddings, new_tokens=config.max_new_tokens)
    log: list[dict[str, float]] = []
    value_model.eval()

    def loss_fn(batch: Rollout) -> tuple[Tensor, dict[str, float]]:
        tokens, mask, response = batch.sequences.tokens, batch.sequences.mask, batch.sequences.response
        values = token_values(value_model, tokens, mask) * response
        return masked_mean(value_loss(values, batch.returns), response), {}

    with Training(
        value_model,
        optimizer=config.optimizer,
        steps=config.steps,
        hooks=hooks,
        description="critic pretraining",
    ) as training:
        for _ in range(config.iterations):
            chosen = torch.randint(len(prompts), (config.episodes,), generator=generator).tolist()
            rollout = collect(
                policy,
                value_model,
                reference,
                score,
                tokenizer,
                [prompts[i] for i in chosen],
                config=config,
                kl_weight=config.kl_weight,
                generator=generator,
                estimate=estimate,
            )
            response = rollout.sequences.response
            to_come = discounted_returns(rollout.rewards, response, discount=1.0)  # the targets if λ = 1
            losses = [
                training.step(rollout.rows(rows.to(rollout.scores.device)), loss_fn)["loss"]
                for _ in range(config.epochs)
                for rows in torch.randperm(len(rollout), generator=generator).split(config.minibatch)
            ]
            log.append(
                {
                    "value_loss": sum(losses) / len(losses),
                    "score": float(rollout.scores.mean()),
                    "explained_variance": explained_variance(rollout.values_old, to_come, response),
                }
            )
    return log
