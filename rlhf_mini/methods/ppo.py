"""Proximal policy optimisation of a language model against a reward.

Papers: Ziegler et al. 2019; Ouyang et al. 2022.
Every token is an action, the reward comes with the last one, and each token pays for its distance from the
reference:

    r_t = −kl_weight · (log π(a_t|s_t) − log π_ref(a_t|s_t)),  and at the last token also the score.

An iteration has four steps, each a function that can be called alone:

1. roll out: `data.chat.draw` samples an answer to each prompt and stores its log-probabilities;
2. score: `scored` asks the reward, which may be any callable from sequences to numbers;
3. advantages: `estimated` makes token rewards of the scores and estimates advantages and returns by GAE;
4. update: `update` takes `epochs` passes of clipped steps over the rollout in minibatches.

Then the rollout is forgotten. `collect` is the first three in a row, `ppo` all of it. Policy and value model
do not share a backbone; the value model starts as a copy of the reward model.

Simplifications: no early stop by KL, no dropout.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.data.chat import draw
from rlhf_mini.data.pretrained import check_lengths
from rlhf_mini.devices import autocast
from rlhf_mini.estimators import gae, token_rewards, whiten
from rlhf_mini.loop import Hook, OptimizerConfig, Training
from rlhf_mini.losses import clip_fraction, ppo_policy_loss, ppo_value_loss
from rlhf_mini.methods.rollouts import AdaptiveKL, Score, rollout_metrics, scored, unfinished
from rlhf_mini.models import new_value_model, response_logp, response_logp_and_entropy, token_values
from rlhf_mini.models.build import scalar_head
from rlhf_mini.models.sampler import Samples
from rlhf_mini.tensors import masked_mean

# token rewards, values and response mask, each (B, T) -> advantages, returns
Estimate = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
Auxiliary = Callable[[Rollout], Tensor]  # a minibatch -> a scalar loss with a gradient
OnRollout = Callable[[int, Rollout, dict[str, float]], None]  # iteration, rollout, its metrics


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of PPO; the published ones are in the chapter on PPO.

    - `kl_weight`: what one nat of KL to the reference costs, in units of the score; `kl_target` (nats per
      sequence) makes it adaptive over a `kl_horizon` of episodes, and None leaves it fixed.
    - `clip_range`: of the ratio; `value_clip_range`: of the values, in units of the score, `math.inf` for no
      clipping.
    - `temperature`: at which answers are drawn, and at which policy and reference score them.
    - `missing_eos_penalty`: subtracted from the score of an answer that did not end in time.
    """

    iterations: int
    episodes: int
    minibatch: int
    epochs: int
    max_new_tokens: int
    optimizer: OptimizerConfig
    kl_weight: float
    kl_target: float | None = None
    kl_horizon: int = 10_000
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    value_weight: float = 0.1
    gae_lambda: float = 0.95
    temperature: float = 1.0
    missing_eos_penalty: float = 1.0

    def __post_init__(self) -> None:
        counts = ("iterations", "episodes", "minibatch", "epochs", "max_new_tokens", "kl_horizon")
        if min(getattr(self, name) for name in counts) < 1:
            raise ValueError(f"{', '.join(counts)} must be at least 1, got {self}")
        if self.episodes % self.minibatch:
            raise ValueError(f"episodes ({self.episodes}) must be a multiple of minibatch ({self.minibatch})")
        if not math.isfinite(self.kl_weight) or self.kl_weight < 0:
            raise ValueError(f"kl_weight must be finite and not negative, got {self.kl_weight}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be finite and above 0, got {self.temperature}")
        if self.kl_target is not None and not 0 < self.kl_target < math.inf:
            raise ValueError(f"kl_target must be finite and above 0, or None, got {self.kl_target}")

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.iterations * self.epochs * (self.episodes // self.minibatch)


def value_model_for(reward_model: PreTrainedModel) -> PreTrainedModel:
    """A value model that starts by giving every prefix the *normalised* score it would get if it ended there.

    The copied reward model's normalisation (the configuration's `mean` and `std`) is folded into the head.
    """
    value_model = new_value_model(reward_model)
    mean, std = getattr(reward_model.config, "mean", 0.0), getattr(reward_model.config, "std", 1.0)
    head = scalar_head(value_model)
    with torch.no_grad():
        head.weight /= std
        if head.bias is not None:
            head.bias.sub_(mean).div_(std)
    return value_model


def whitened_gae(
    rewards: Tensor, values: Tensor, response: Tensor, *, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """GAE without discount: advantages whitened over the whole rollout, and returns as they are."""
    advantages, returns = gae(rewards, values, response, discount=1.0, gae_lambda=gae_lambda)
    return whiten(advantages, response, shift_mean=True), returns


@torch.no_grad()
def estimated(
    samples: Samples,
    scores: Tensor,
    value_model: PreTrainedModel,
    reference: PreTrainedModel,
    *,
    config: PPOConfig,
    kl_weight: float,
    end_token: int,
    estimate: Estimate | None = None,
) -> Rollout:
    """The rollout with all that an update learns from; constants, without gradients.

    - `samples`, `scores` (B,): what was drawn, and what the reward said of it.
    - `estimate(rewards, values, response)`: to advantages and returns; `whitened_gae` at the configuration's
      λ if None.
    """
    sequences = Sequences(samples.tokens, samples.mask, samples.response)
    tokens, mask, response = samples.tokens, samples.mask, samples.response
    with autocast(reference.device):
        logp_ref = response_logp(reference, tokens, mask, response, temperature=config.temperature)
        values_old = token_values(value_model, tokens, mask) * response
    shaped = scores - config.missing_eos_penalty * unfinished(sequences, end_token=end_token)
    rewards = token_rewards(shaped, samples.logp, logp_ref, response, kl_weight=kl_weight)
    if estimate is None:
        advantages, returns = whitened_gae(rewards, values_old, response, gae_lambda=config.gae_lambda)
    else:
        advantages, returns = estimate(rewards, values_old, response)
    return Rollout(
        sequences=sequences,
        logp_old=samples.logp,
        logp_ref=logp_ref,
        values_old=values_old,
        scores=scores,
        rewards=rewards,
        advantages=advantages,
        returns=returns,
    )


def collect(
    policy: PreTrainedModel,
    value_model: PreTrainedModel,
    reference: PreTrainedModel,
    score: Score,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    config: PPOConfig,
    kl_weight: float,
    generator: torch.Generator,
    estimate: Estimate | None = None,
) -> Rollout:
    """Roll out, score, and estimate advantages: everything that one iteration learns from.

    Raises ValueError if `score` does not return one finite number for each answer.
    """
    samples = draw(
        policy,
        tokenizer,
        prompts,
        max_new_tokens=config.max_new_tokens,
        generator=generator,
        temperature=config.temperature,
    )
    scores = scored(score, Sequences(samples.tokens, samples.mask, samples.response))
    return estimated(
        samples,
        scores,
        value_model,
        reference,
        config=config,
        kl_weight=kl_weight,
        end_token=tokenizer.eos_token_id,
        estimate=estimate,
    )


def ppo_loss(
    policy: PreTrainedModel, value_model: PreTrainedModel, batch: Rollout, *, config: PPOConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped policy loss plus `value_weight` times the clipped value loss, and metrics to watch.

    Each is a mean over the response tokens of the batch.
    """
    tokens, mask, response = batch.sequences.tokens, batch.sequences.mask, batch.sequences.response
    logp, entropy = response_logp_and_entropy(policy, tokens, mask, response, temperature=config.temperature)
    values = token_values(value_model, tokens, mask) * response
    policy_loss = ppo_policy_loss(logp, batch.logp_old, batch.advantages, clip_range=config.clip_range)
    value_loss = ppo_value_loss(values, batch.values_old, batch.returns, clip_range=config.value_clip_range)
    loss = masked_mean(policy_loss, response) + config.value_weight * masked_mean(value_loss, response)
    with torch.no_grad():
        clipped = clip_fraction(logp, batch.logp_old, batch.advantages, clip_range=config.clip_range)
        metrics = {
            "policy_loss": masked_mean(policy_loss, response),
            "value_loss": masked_mean(value_loss, response),
            "entropy": masked_mean(entropy, response),
            "clip_fraction": masked_mean(clipped, response),
            "ratio_deviation": masked_mean((logp - batch.logp_old).exp().sub(1).abs(), response),
        }
    return loss, metrics


def update(
    training: Training,
    policy: PreTrainedModel,
    value_model: PreTrainedModel,
    rollout: Rollout,
    *,
    config: PPOConfig,
    generator: torch.Generator,
    auxiliary: Auxiliary | None = None,
    ratio_tolerance: float | None = None,
) -> list[dict[str, float]]:
    """`epochs` passes of minibatch steps over one rollout; returns one entry a step.

    - `training`: the optimizer of both models, which outlives the rollout.
    - `auxiliary(minibatch)`: a loss to add, such as PPO-ptx's; logged as `auxiliary_loss`.
    - `ratio_tolerance`: how far π/π_old may lie from 1 on the first minibatch, on average. Nothing has been
      trained on the rollout yet, so that a larger distance means that the distribution which was sampled is
      not the one that is scored, and raises AssertionError. None allows for rounding; `math.inf` switches
      the check off.
    """
    entries: list[dict[str, float]] = []

    def loss_fn(batch: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = ppo_loss(policy, value_model, batch, config=config)
        if not entries:
            _assert_ratio_is_one(float(metrics["ratio_deviation"]), policy, ratio_tolerance)
        if auxiliary is not None:
            extra = auxiliary(batch)
            loss, metrics = loss + extra, {**metrics, "auxiliary_loss": extra}
        return loss, metrics

    for _ in range(config.epochs):
        order = torch.randperm(len(rollout), generator=generator)
        for rows in order.split(config.minibatch):
            entries.append(training.step(rollout.rows(rows.to(rollout.scores.device)), loss_fn))
    return entries


def ppo(
    policy: PreTrainedModel,
    value_model: PreTrainedModel,
    reference: PreTrainedModel,
    score: Score,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    config: PPOConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
    on_rollout: OnRollout = lambda iteration, rollout, metrics: None,
    estimate: Estimate | None = None,
    auxiliary: Auxiliary | None = None,
    ratio_tolerance: float | None = None,
    description: str = "PPO",
) -> list[dict[str, float]]:
    """Train `policy` and `value_model` in place; returns one entry an iteration.

    - `reference`: the frozen policy that KL is measured from.
    - `score`: any function from sequences to scores (B,).
    - `prompts`: encoded; each iteration draws `episodes` of them with `generator` (on the CPU).
    - `on_rollout(iteration, rollout, metrics)`: called on every fresh rollout; the first iteration is 0.
    - `estimate`: as in `estimated`; `auxiliary`, `ratio_tolerance`: as in `update`.

    An entry holds the rollout's metrics and what the training steps on it logged, averaged over them;
    `seconds` is the whole iteration's. Both models are left in eval mode.

    Raises ValueError, before anything is trained, for a prompt that with `max_new_tokens` exceeds the
    context; and for scores that are not finite.
    """
    check_lengths(prompts, context=policy.config.max_position_embeddings, new_tokens=config.max_new_tokens)
    controller = AdaptiveKL(weight=config.kl_weight, target=config.kl_target, horizon=config.kl_horizon)
    models, log = nn.ModuleDict({"policy": policy, "value": value_model}), []
    # No dropout, as in sampling: the distribution that is scored must be the one that was sampled.
    models.eval()
    with Training(
        models, optimizer=config.optimizer, steps=config.steps, hooks=hooks, description=description
    ) as training:
        for iteration in range(config.iterations):
            chosen = torch.randint(len(prompts), (config.episodes,), generator=generator).tolist()
            rollout = collect(
                policy,
                value_model,
                reference,
                score,
                tokenizer,
                [prompts[i] for i in chosen],
                config=config,
                kl_weight=controller.weight,
                generator=generator,
                estimate=estimate,
            )
            metrics = rollout_metrics(rollout, kl_weight=controller.weight, end_token=tokenizer.eos_token_id)
            on_rollout(iteration, rollout, metrics)
            entries = update(
                training,
                policy,
                value_model,
                rollout,
                config=config,
                generator=generator,
                auxiliary=auxiliary,
                ratio_tolerance=ratio_tolerance,
            )
            controller.update(kl=metrics["kl_k1"], episodes=config.episodes)
            log.append({**_mean_of(entries), **metrics})
    return log


def _mean_of(entries: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every number over an iteration's training steps, but their seconds in all."""
    means = {name: sum(entry[name] for entry in entries) / len(entries) for name in entries[0]}
    return {**means, "seconds": sum(entry["seconds"] for entry in entries)}


def _assert_ratio_is_one(deviation: float, policy: PreTrainedModel, tolerance: float | None) -> None:
    if tolerance is None:  # bfloat16 sampling and scoring differ by more
        tolerance = 1e-3 if policy.device.type == "cpu" else 0.05
    assert deviation < tolerance, (
        f"mean |ratio − 1| is {deviation:.2g} on the first minibatch of a rollout: the distribution that was "
        "sampled is not the one that is scored (temperature, truncation, dropout or a stale model)"
    )
