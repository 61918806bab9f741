"""The chapter's bug hunt: the ratio is 1, the critic foresees more than usual, and the policy learns too little."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.chapters.hunts import two_trainings
from rlhf_mini.chapters.ppo.toy import PROMPT, ToyWorld
from rlhf_mini.chapters.toy_language import LANGUAGE, exact_logp
from rlhf_mini.estimators import explained_variance, token_rewards
from rlhf_mini.exact import kl_divergence
from rlhf_mini.loop import OptimizerConfig, Training
from rlhf_mini.losses import ppo_policy_loss, ppo_value_loss, value_loss
from rlhf_mini.methods.ppo import whitened_gae
from rlhf_mini.models import copy_of, freeze, response_logp
from rlhf_mini.models.build import scalar_head
from rlhf_mini.models.forward import hidden_states
from rlhf_mini.models.sampler import sample
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt, Picture
from rlhf_mini.tensors import align_to_tokens, masked_mean

WARM_UP, ITERATIONS, EPISODES, MINIBATCH, EPOCHS = 25, 40, 128, 64, 2
KL_WEIGHT, CLIP_RANGE, VALUE_WEIGHT = 0.3, 0.2, 0.5
ValuesOf = Callable[[PreTrainedModel, Tensor, Tensor], Tensor]
Loss = Callable[[Rollout], tuple[Tensor, dict[str, Tensor]]]


def values_wrong(value_model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> Tensor:
    """The value that belongs to each token, (B, T): what was to be expected there; 0 on padding."""
    hidden = hidden_states(value_model, tokens, mask)
    values = scalar_head(value_model)(hidden).squeeze(-1)
    return values.masked_fill(~mask, 0.0)


def values_right(value_model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> Tensor:
    """The value that belongs to each token, (B, T): what was to be expected there; 0 on padding."""
    hidden = hidden_states(value_model, tokens, mask)
    values = align_to_tokens(scalar_head(value_model)(hidden).squeeze(-1))
    return values.masked_fill(~mask, 0.0)


WAYS: dict[str, ValuesOf] = {"wrong": values_wrong, "right": values_right}


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """PPO on the toy world of the pipeline's seed, with one of the two functions for the values.

    The value model first learns alone, from rollouts of the fixed policy, so that it begins knowing something,
    as one that was a reward model does. Then both learn. Lists of one number an iteration, from the first on
    in which the policy learned: `score` (mean over the rollout), `distance` (KL(π ‖ π*), exact, after it),
    `explained` (the share of the returns' variance that the values had foreseen), `first_ratio` (the largest
    |ρ − 1| on the first minibatch). `start_distance` is the distance before.
    """
    world, values_of = ToyWorld(seed=pipeline.seed), WAYS[way]
    run = _Run(world, values_of, torch.Generator().manual_seed(pipeline.seed))
    best = world.optimum(kl_weight=KL_WEIGHT).logp
    start = float(kl_divergence(exact_logp(run.policy), best))
    steps = EPOCHS * (EPISODES // MINIBATCH)
    critic_alone = OptimizerConfig(learning_rate=1e-2, final_fraction=0.1)
    with Training(run.value_model, optimizer=critic_alone, steps=WARM_UP * steps) as training:
        for _ in range(WARM_UP):
            run.learn(training, run.rollout(), run.value_loss)
    seen: dict[str, list[float]] = {"score": [], "distance": [], "explained": [], "first_ratio": []}
    both = nn.ModuleDict({"policy": run.policy, "value": run.value_model})
    with Training(
        both,
        optimizer=OptimizerConfig(learning_rate=5e-3, final_fraction=0.0),
        steps=ITERATIONS * steps,
        description=way,
    ) as training:
        for _ in range(ITERATIONS):
            rollout = run.rollout()
            first, *_ = run.learn(training, rollout, run.loss)
            response = rollout.sequences.response
            explained = explained_variance(rollout.values_old, rollout.returns, response)
            seen["score"].append(float(rollout.scores.mean()))
            seen["distance"].append(float(kl_divergence(exact_logp(run.policy), best)))
            seen["explained"].append(explained)
            seen["first_ratio"].append(first["ratio"])
    return {**seen, "start_distance": start}


class _Run:
    """The models of one run, and PPO's steps on them with a function for the values that can be exchanged."""

    def __init__(self, world: ToyWorld, values_of: ValuesOf, generator: torch.Generator) -> None:
        self.world, self.values_of, self.generator = world, values_of, generator
        self.reference, self.policy = freeze(world.policy()), copy_of(world.policy())
        self.value_model = world.value_model()

    @torch.no_grad()
    def rollout(self) -> Rollout:
        """PPO's first three steps, with λ = 1 as in the profile."""
        samples = sample(
            self.policy,
            [PROMPT] * EPISODES,
            max_new_tokens=LANGUAGE.steps,
            stop_tokens=[LANGUAGE.end_token],
            pad_token=LANGUAGE.vocabulary - 1,
            generator=self.generator,
        )
        tokens, mask, response = samples.tokens, samples.mask, samples.response
        sequences = Sequences(tokens, mask, response)
        scores = self.world.score(sequences)
        logp_ref = response_logp(self.reference, tokens, mask, response)
        values = self.values_of(self.value_model, tokens, mask) * response
        rewards = token_rewards(scores, samples.logp, logp_ref, response, kl_weight=KL_WEIGHT)
        advantages, returns = whitened_gae(rewards, values, response, gae_lambda=1.0)
        return Rollout(
            sequences=sequences,
            logp_old=samples.logp,
            logp_ref=logp_ref,
            values_old=values,
            scores=scores,
            rewards=rewards,
            advantages=advantages,
            returns=returns,
        )

    def learn(self, training: Training, rollout: Rollout, loss: Loss) -> list[dict[str, float]]:
        """PPO's fourth step: some epochs of minibatches."""
        return [
            training.step(rollout.rows(rows), loss)
            for _ in range(EPOCHS)
            for rows in torch.randperm(len(rollout), generator=self.generator).split(MINIBATCH)
        ]

    def value_loss(self, batch: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """The plain value loss."""
        sequences = batch.sequences
        values = self.values_of(self.value_model, sequences.tokens, sequences.mask) * sequences.response
        return masked_mean(value_loss(values, batch.returns), sequences.response), {}

    def loss(self, batch: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """PPO's loss, and the largest distance of a ratio from 1."""
        tokens, mask, response = batch.sequences.tokens, batch.sequences.mask, batch.sequences.response
        logp = response_logp(self.policy, tokens, mask, response)
        values = self.values_of(self.value_model, tokens, mask) * response
        policy_losses = ppo_policy_loss(logp, batch.logp_old, batch.advantages, clip_range=CLIP_RANGE)
        value_losses = ppo_value_loss(values, batch.values_old, batch.returns, clip_range=CLIP_RANGE)
        loss = masked_mean(policy_losses, response) + VALUE_WEIGHT * masked_mean(value_losses, response)
        return loss, {"ratio": ((logp - batch.logp_old).exp() - 1).abs().amax()}


def symptom_figures(wrong: list[dict[str, Any]], right: list[dict[str, Any]]) -> tuple[Picture, Picture]:
    """Score and distance from the optimum along training, one thin line a seed."""
    panels = {
        "score": ("mean score of a rollout", "mean score (reward)"),
        "distance": ("distance from the optimum", "KL(π ‖ π*) (nats per text)"),
    }
    training = f"{len(wrong[0]['score'])} iterations of PPO"
    score, distance = two_trainings(
        wrong, right, panels, names=("wrong", "right"), training=training, xlabel="iteration"
    )
    return score, distance


BUG_HUNT = BugHunt(
    title="The ratio is 1, the critic starts out better than usual, and the policy learns too little",
    wrong=values_wrong,
    right=values_right,
    explanation=(
        "The value model's output at a token has read that token: it is the value of the beginning that ends with "
        "it, and so belongs to the next decision. Left where it stands, it tells every action what the action "
        "itself was worth. A baseline may depend on anything that was known before the action, never on the "
        "action: taken off the return, it takes off the very difference that the policy should learn from. So the "
        "better the critic, the less is left of the advantage but its noise, which whitening blows up to the usual "
        "size, and the KL penalty, too, is taken off. Nothing that the policy logs about itself shows it: the "
        "ratio starts at 1, as it should. The critic's log does: no value that stands before its token can foresee "
        "what the token will be. Shift the values by one, as log-probabilities are shifted."
    ),
    source="llm_related issue 36, where the critic's values of an answer's tokens were those after each token",
    link="https://github.com/wyf3/llm_related/issues/36",
)
