"""The ladder of chapter 00: PPO climbed from the exact test to the real run."""

import dataclasses
import math
from typing import Any

import torch

from rlhf_mini.chapters.whole_story.experiments import held_out_requests, ppo_with_kl
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.evaluation.intervals import student_interval
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.exact import (
    TablePolicy,
    ToyLanguage,
    kl_objective,
    kl_optimum,
    policy_gradient,
    sample_rows,
    values_and_advantages,
)
from rlhf_mini.losses import ppo_policy_loss
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung
from rlhf_mini.tensors import masked_sum

KL_WEIGHT, CLIP_RANGE = 0.5, 0.2
BANDS = {"gold_ppo": "gold", "proxy_ppo": "proxy", "kl": "KL"}  # metric of the records → its name


def gradient_error(*, seed: int) -> float:
    """The largest difference between PPO's gradient at ratio 1 and the exact policy gradient.

    Both are sums over all texts of a toy language, the one of PPO's loss token by token with exact
    advantages.
    """
    generator = torch.Generator().manual_seed(seed)
    language = ToyLanguage()
    policy = TablePolicy.random(language, generator=generator)
    rewards = torch.randn(len(language.texts), generator=generator, dtype=torch.float64)
    token_logp, logp = language.token_logp(policy), language.sequence_logp(policy)
    (exact,) = policy_gradient(logp, rewards, [policy.logits])
    _, advantages = values_and_advantages(language, token_logp.detach(), language.at_last_token(rewards))
    losses = ppo_policy_loss(token_logp, token_logp.detach(), advantages, clip_range=CLIP_RANGE)
    loss = (logp.detach().exp() * masked_sum(losses, language.response, dim=1)).sum()
    (ours,) = torch.autograd.grad(loss, [policy.logits])
    return float((ours + exact).abs().max())


def toy_run(*, seed: int, iterations: int = 300, episodes: int = 256) -> dict[str, float]:
    """PPO from samples on a toy language: the objective at the start and the end, and the best reachable."""
    generator = torch.Generator().manual_seed(seed)
    language = ToyLanguage()
    reference = TablePolicy.random(language, generator=generator)
    policy = TablePolicy(language, reference.logits.detach())
    rewards = torch.randn(len(language.texts), generator=generator, dtype=torch.float64)
    logp_ref = language.sequence_logp(reference).detach()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)

    def objective() -> float:
        logp = language.sequence_logp(policy).detach()
        return float(kl_objective(logp, logp_ref, rewards, kl_weight=KL_WEIGHT))

    start = objective()
    for _ in range(iterations):
        old = language.token_logp(policy).detach()
        rows = sample_rows(old.sum(1), episodes, generator=generator)
        gains = rewards - KL_WEIGHT * (old.sum(1) - logp_ref)
        advantages = (gains[rows] - gains[rows].mean())[:, None].expand(episodes, old.shape[1])
        for _ in range(2):
            logp = language.token_logp(policy)[rows]
            losses = ppo_policy_loss(logp, old[rows], advantages, clip_range=CLIP_RANGE)
            optimizer.zero_grad()
            masked_sum(losses, language.response[rows], dim=1).mean().backward()
            optimizer.step()
    best = float(kl_optimum(logp_ref, rewards, kl_weight=KL_WEIGHT).value)
    return {"start": start, "end": objective(), "best": best}


def one_prompt(pipeline: Pipeline, *, iterations: int, episodes: int) -> dict[str, Any]:
    """PPO without a KL penalty on a single held-out prompt: the mean score of every iteration's answers."""
    tokenizer, reward_model = pipeline.tokenizer(), pipeline.reward_model()
    settings: dict[str, Any] = {
        "iterations": iterations,
        "episodes": episodes,
        "minibatch": episodes,
        "epochs": 2,
    }
    log = ppo(
        copy_of(pipeline.policy("sft")),
        value_model_for(reward_model).requires_grad_(True),
        pipeline.policy("sft"),
        lambda sequences: scores(reward_model, sequences),
        tokenizer,
        [encode_prompt(tokenizer, held_out_requests(pipeline)[0].text)],
        config=dataclasses.replace(pipeline.profile.ppo_without_kl, **settings),
        generator=pipeline.generator("one prompt"),
        description="one prompt",
    )
    return {"scores": [entry["score"] for entry in log]}


def _exact() -> tuple[bool, str]:
    error = gradient_error(seed=0)
    return error < 1e-12, f"largest difference {error:.0e}"


def _overfits(pipeline: Pipeline) -> tuple[bool, str]:
    found = pipeline.measured(one_prompt, iterations=12, episodes=32)["scores"]
    seen = f"{found[0]:.2f} at first, {found[-1]:.2f} after {len(found)} iterations"
    return found[-1] > found[0] + 0.5, seen.replace("-", "−")


def _toy() -> tuple[bool, str]:
    run = toy_run(seed=0)
    share = (run["end"] - run["start"]) / (run["best"] - run["start"])
    return share > 0.99, f"from {run['start']:.2f} to {run['end']:.2f} of {run['best']:.2f}: {share:.1%}"


def band(values: list[float]) -> tuple[float, float]:
    """Where one more seed should fall with 95% probability: Student's prediction interval."""
    interval = student_interval(values)
    width = interval.half_width * (len(values) + 1) ** 0.5  # of one value, not of the mean
    return interval.mean - width, interval.mean + width


def _in_the_band(pipeline: Pipeline) -> tuple[bool, str]:
    here = pipeline.measured(ppo_with_kl)
    try:
        rows = read_records(
            "chapter_00", experiment="claims", method="PPO with KL", profile=pipeline.profile.name
        )
    except (ValueError, FileNotFoundError):
        return True, f"no seeds of the profile {pipeline.profile.name} on record to compare with"
    told, held = [], True
    for metric, name in BANDS.items():
        values = [row.metrics[metric] for row in rows]
        if name == "KL":  # a scale, never below 0: its spread is one of factors
            low, high = (math.exp(end) for end in band([math.log(value) for value in values]))
        else:
            low, high = band(values)
        held = held and low <= here[metric] <= high
        told.append(f"{name} {here[metric]:.2f} in {low:.2f} to {high:.2f}")
    return held, "; ".join(told).replace("-", "−")


def _real(pipeline: Pipeline) -> tuple[bool, str]:
    found = pipeline.measured(ppo_with_kl)
    return found["gap_closed"] >= 0.5, f"{found['gap_closed']:.0%} of the gap closed"


def rungs(pipeline: Pipeline) -> tuple[Rung, ...]:
    """The five rungs, from what is proved to what is hoped for."""
    return (
        Rung(
            "Exact test", "at ratio 1, PPO's gradient is the policy gradient, summed over all texts", _exact
        ),
        Rung(
            "One prompt",
            "without a KL penalty, the mean score on one prompt rises by 0.5",
            lambda: _overfits(pipeline),
        ),
        Rung("Known optimum", "on a toy language, PPO gains 99% of what the optimum gains", _toy),
        Rung(
            "Band of good seeds",
            "held-out gold, proxy and KL lie where one more good seed should fall",
            lambda: _in_the_band(pipeline),
        ),
        Rung(
            "Real run", "at least half of the gap to the best gold reward is closed", lambda: _real(pipeline)
        ),
    )
