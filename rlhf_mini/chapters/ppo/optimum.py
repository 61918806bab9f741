"""PPO, the library's own, on the toy language: its way to the optimum, which is known exactly."""

import torch

from rlhf_mini.batch import Rollout
from rlhf_mini.chapters.ppo.toy import PROMPT, ToyWorld, toy_tokenizer
from rlhf_mini.chapters.toy_language import LANGUAGE, exact_logp
from rlhf_mini.exact import kl_divergence, kl_objective
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.ppo import PPOConfig, ppo
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline


def way_to_the_optimum(pipeline: Pipeline, *, kl_weight: float, iterations: int) -> dict[str, list[float]]:
    """PPO's distance from the optimum before every iteration and at the end, each a sum over all texts.

    `to_optimum` is KL(π ‖ π*) in nats; `objective` is E[r] − β KL(π ‖ π_ref), and `best` the most that it can be.
    """
    world, config = ToyWorld(pipeline.seed), settings(kl_weight=kl_weight, iterations=iterations)
    policy, start = world.policy(), exact_logp(world.policy())
    best = world.optimum(kl_weight=kl_weight, missing_eos_penalty=config.missing_eos_penalty)
    unfinished = LANGUAGE.score(lambda text: text[-1] != LANGUAGE.end_token)
    rewards = world.rewards - config.missing_eos_penalty * unfinished
    found: dict[str, list[float]] = {"to_optimum": [], "objective": [], "best": [float(best.value)]}

    def look() -> None:
        logp = exact_logp(policy)
        found["to_optimum"].append(float(kl_divergence(logp, best.logp)))
        found["objective"].append(float(kl_objective(logp, start, rewards, kl_weight=kl_weight)))

    def on_rollout(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        look()

    ppo(
        policy,
        world.value_model(),
        freeze(world.policy()),
        world.score,
        toy_tokenizer(),
        [PROMPT],
        config=config,
        generator=torch.Generator().manual_seed(pipeline.seed),
        on_rollout=on_rollout,
    )
    look()
    return found


def between_optima(pipeline: Pipeline, *, kl_weight: float, other: float) -> float:
    """KL from the optimum of another KL weight to that of `kl_weight`, in nats: what such a mistake would leave."""
    world, penalty = ToyWorld(pipeline.seed), settings(kl_weight=kl_weight, iterations=1).missing_eos_penalty
    optima = [world.optimum(kl_weight=weight, missing_eos_penalty=penalty) for weight in (other, kl_weight)]
    return float(kl_divergence(*(optimum.logp for optimum in optima)))


def settings(*, kl_weight: float, iterations: int) -> PPOConfig:
    """PPO's settings for so small a world."""
    return PPOConfig(
        iterations=iterations,
        episodes=256,
        minibatch=128,
        epochs=2,
        max_new_tokens=LANGUAGE.steps,
        kl_weight=kl_weight,
        missing_eos_penalty=0.5,
        value_weight=0.5,
        optimizer=OptimizerConfig(learning_rate=5e-3, final_fraction=0.0),
    )
