"""Proximal policy optimisation of a language model against a reward.

Papers: Ziegler et al. 2019; Ouyang et al. 2022.
Every token is an action, the reward comes with the last one, and each token pays for its distance from the
reference:

    r_t = −kl_weight · (log π(a_t|s_t) − log π_ref(a_t|s_t)),  and at the last token also the score.

One iteration: roll out the policy and store its log-probabilities; score; estimate advantages by GAE; take
`epochs` passes of clipped steps over the rollout in minibatches; forget the rollout. Policy and value model
do not share a backbone; the value model starts as a copy of the reward model.

Simplifications: no pretraining mix (PPO-ptx), no early stop by KL, no dropout, one device.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.data.chat import draw
from rlhf_mini.data.pretrained import check_lengths
from rlhf_mini.devices import autocast
from rlhf_mini.estimators import gae, kl_k1, kl_k3, token_rewards, whiten
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import clip_fraction, ppo_policy_loss, ppo_value_loss
from rlhf_mini.models import new_value_model, response_logp, response_logp_and_entropy, token_values
from rlhf_mini.models.build import scalar_head
from rlhf_mini.tensors import last_true_index, masked_mean, masked_sum

Score = Callable[[Sequences], Tensor]  # sequences -> (B,) scores, higher is better


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of PPO; the published ones are in the chapter on PPO.

    - `kl_weight`: what one nat of KL to the reference costs, in units of the score; `kl_target` (nats per
      sequence) makes it adaptive over a `kl_horizon` of episodes, and None leaves it fixed.
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
    value_weight: float = 0.1
    gae_lambda: float = 0.95
    missing_eos_penalty: float = 1.0

    def __post_init__(self) -> None:
        counts = ("iterations", "episodes", "minibatch", "epochs", "max_new_tokens", "kl_horizon")
        if min(getattr(self, name) for name in counts) < 1:
            raise ValueError(f"{', '.join(counts)} must be at least 1, got {self}")
        if self.episodes % self.minibatch:
            raise ValueError(f"episodes ({self.episodes}) must be a multiple of minibatch ({self.minibatch})")
        if not math.isfinite(self.kl_weight) or self.kl_weight < 0:
            raise ValueError(f"kl_weight must be finite and not negative, got {self.kl_weight}")
        if self.kl_target is not None and not 0 < self.kl_target < math.inf:
            raise ValueError(f"kl_target must be finite and above 0, or None, got {self.kl_target}")

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.iterations * self.epochs * (self.episodes // self.minibatch)


class AdaptiveKL:
    """Ziegler et al. 2019, §2.2: move the KL weight until the KL sits at the target.

    error = clip(KL / target − 1, ±0.2);  weight ← weight · (1 + error · episodes / horizon).

    >>> controller = AdaptiveKL(weight=0.1, target=6.0, horizon=100)
    >>> controller.update(kl=12.0, episodes=10)
    >>> round(controller.weight, 4)
    0.102
    """

    def __init__(self, *, weight: float, target: float | None, horizon: int) -> None:
        self.weight, self.target, self.horizon = weight, target, horizon

    def update(self, *, kl: float, episodes: int) -> None:
        """Adapt to the measured KL (nats per sequence); without a target the weight stays."""
        if self.target is not None:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.weight *= 1 + error * episodes / self.horizon


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


@torch.no_grad()
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
) -> Rollout:
    """Roll out, score, and estimate advantages: everything that one iteration learns from.

    Raises ValueError if `score` does not return one finite number for each answer.
    """
    drawn = draw(policy, tokenizer, prompts, max_new_tokens=config.max_new_tokens, generator=generator)
    sequences = Sequences(drawn.tokens, drawn.mask, drawn.response)
    logp_old = drawn.logp
    with autocast(policy.device):
        logp_ref = response_logp(reference, sequences.tokens, sequences.mask, sequences.response)
        values_old = token_values(value_model, sequences.tokens, sequences.mask) * sequences.response
    last = sequences.tokens.gather(1, last_true_index(sequences.response)[:, None]).squeeze(1)
    unfinished = last != tokenizer.eos_token_id
    scores = _checked_scores(score(sequences), count=len(sequences)).to(logp_old.device)
    shaped = scores - config.missing_eos_penalty * unfinished
    rewards = token_rewards(shaped, logp_old, logp_ref, sequences.response, kl_weight=kl_weight)
    advantages, returns = gae(
        rewards, values_old, sequences.response, discount=1.0, gae_lambda=config.gae_lambda
    )
    return Rollout(
        sequences=sequences,
        logp_old=logp_old,
        logp_ref=logp_ref,
        values_old=values_old,
        scores=scores,
        rewards=rewards,
        advantages=whiten(advantages, sequences.response, shift_mean=True),
        returns=returns,
    )


def _checked_scores(scores: Tensor, *, count: int) -> Tensor:
    if scores.shape != (count,):
        raise ValueError(
            f"the reward must return one score for each of {count} answers, shape ({count},); "
            f"it returned shape {tuple(scores.shape)}"
        )
    bad = (~torch.isfinite(scores)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"the reward returned NaN or infinity for {len(bad)} of {count} answers, the first in row "
            f"{bad[0]}; PPO would train on it. Make the reward finite for every text"
        )
    return scores


def ppo_loss(
    policy: PreTrainedModel, value_model: PreTrainedModel, batch: Rollout, *, config: PPOConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped policy loss plus `value_weight` times the clipped value loss, and metrics to watch.

    Each is a mean over the response tokens of the batch.
    """
    tokens, mask, response = batch.sequences.tokens, batch.sequences.mask, batch.sequences.response
    logp, entropy = response_logp_and_entropy(policy, tokens, mask, response)
    values = token_values(value_model, tokens, mask) * response
    policy_loss = ppo_policy_loss(logp, batch.logp_old, batch.advantages, clip_range=config.clip_range)
    value_loss = ppo_value_loss(values, batch.values_old, batch.returns, clip_range=config.clip_range)
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


def rollout_metrics(rollout: Rollout, *, kl_weight: float, end_token: int) -> dict[str, float]:
    """What one rollout says of the policy, as means over its answers.

    The score before any penalty, KL to the reference (nats per sequence), length, and the finished share.
    """
    response = rollout.sequences.response
    last = rollout.sequences.tokens.gather(1, last_true_index(response)[:, None])
    return {
        "score": float(rollout.scores.mean()),
        "kl_k1": float(masked_sum(kl_k1(rollout.logp_old, rollout.logp_ref), response, dim=1).mean()),
        "kl_k3": float(masked_sum(kl_k3(rollout.logp_old, rollout.logp_ref), response, dim=1).mean()),
        "kl_weight": kl_weight,
        "length": float(response.sum(1).float().mean()),
        "finished": float((last == end_token).float().mean()),
    }


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
    on_rollout: Callable[[int, Rollout, dict[str, float]], None] = lambda iteration, rollout, metrics: None,
    description: str = "PPO",
) -> list[dict[str, float]]:
    """Train `policy` and `value_model` in place; returns one entry an iteration.

    - `reference`: the frozen policy that KL is measured from.
    - `score`: any function from sequences to scores (B,).
    - `prompts`: encoded; each iteration draws `episodes` of them with `generator` (on the CPU).
    - `on_rollout(iteration, rollout, metrics)`: called on every fresh rollout; the first iteration is 0.

    An entry holds the rollout's metrics and what the training steps on it logged, averaged over them;
    `seconds` is the whole iteration's. Both models are left in eval mode.

    Raises ValueError, before anything is trained, for a prompt that with `max_new_tokens` exceeds the
    context; and for scores that are not finite.
    """
    check_lengths(prompts, context=policy.config.max_position_embeddings, new_tokens=config.max_new_tokens)
    controller = AdaptiveKL(weight=config.kl_weight, target=config.kl_target, horizon=config.kl_horizon)
    log: list[dict[str, float]] = []
    state = {"fresh": False}

    def minibatches() -> Iterator[Rollout]:
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
            )
            metrics = rollout_metrics(rollout, kl_weight=controller.weight, end_token=tokenizer.eos_token_id)
            log.append(metrics)
            on_rollout(iteration, rollout, metrics)
            controller.update(kl=metrics["kl_k1"], episodes=config.episodes)
            state["fresh"] = True
            for _ in range(config.epochs):
                order = torch.randperm(config.episodes, generator=generator)
                for rows in order.split(config.minibatch):
                    yield rollout.rows(rows.to(rollout.scores.device))

    def loss_fn(batch: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = ppo_loss(policy, value_model, batch, config=config)
        if state["fresh"]:  # nothing has been trained on this rollout yet: the ratio must be 1
            _assert_ratio_is_one(float(metrics["ratio_deviation"]), policy)
            state["fresh"] = False
        return loss, metrics

    # No dropout, as in sampling: the distribution that is scored must be the one that was sampled.
    policy.eval()
    value_model.eval()
    history = fit(
        nn.ModuleDict({"policy": policy, "value": value_model}),
        minibatches(),
        loss_fn,
        optimizer=config.optimizer,
        steps=config.steps,
        hooks=hooks,
        description=description,
    )
    return [
        {**_mean_of(history[start : start + len(history) // len(log)]), **metrics}
        for start, metrics in zip(range(0, len(history), len(history) // len(log)), log, strict=True)
    ]


def _mean_of(entries: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every number over an iteration's training steps, but their seconds in all."""
    means = {name: sum(entry[name] for entry in entries) / len(entries) for name in entries[0]}
    return {**means, "seconds": sum(entry["seconds"] for entry in entries)}


def _assert_ratio_is_one(deviation: float, policy: PreTrainedModel) -> None:
    tolerance = 1e-3 if policy.device.type == "cpu" else 0.05  # bfloat16 sampling and scoring differ by more
    assert deviation < tolerance, (
        f"mean |ratio − 1| is {deviation:.2g} on the first minibatch of a rollout: the distribution that was "
        "sampled is not the one that is scored (temperature, truncation, dropout or a stale model)"
    )
