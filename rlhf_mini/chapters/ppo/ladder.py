"""The ladder of chapter 05: what to test, from the exact to the real, when PPO does not improve a model."""

import dataclasses
from typing import Any

import torch

from rlhf_mini.chapters.band import gold_rises
from rlhf_mini.chapters.judging import held_out_requests
from rlhf_mini.chapters.ppo import hacking, measures
from rlhf_mini.chapters.ppo.runs import usual
from rlhf_mini.chapters.ppo.variants import OURS
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.estimators import gae, token_rewards
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.exact import TablePolicy, ToyLanguage, kl_objective, values_and_advantages
from rlhf_mini.losses import ppo_policy_loss
from rlhf_mini.methods.ppo import collect, ppo, ppo_loss
from rlhf_mini.methods.rollouts import rollout_metrics
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung
from rlhf_mini.tensors import masked_sum

Seen = tuple[bool, str]
KL_WEIGHT, CLIP_RANGE, GAE_LAMBDA = 0.5, 0.2, 0.95
# What of a run must lie in the band of good seeds: metric of the records → how far outside is still inside.
BAND = {"gold": 0.25, "proxy": 0.25, "kl_k1": 1.5}


def gradient_error(*, seed: int, gae_lambda: float = GAE_LAMBDA) -> float:
    """The largest difference between PPO's gradient at ratio 1 and that of E[r] − β KL(π ‖ π_ref).

    PPO's is the sum over all texts of a toy language of its clipped losses, with the token rewards that hold
    the score and the KL, and GAE on exact values. With those any λ gives the same gradient.
    """
    generator = torch.Generator().manual_seed(seed)
    language = ToyLanguage(vocabulary=5, steps=3)
    policy, reference = (TablePolicy.random(language, generator=generator) for _ in range(2))
    scores = torch.randn(len(language.texts), generator=generator, dtype=torch.float64)
    token_logp, token_logp_ref = language.token_logp(policy), language.token_logp(reference).detach()
    old, response = token_logp.detach(), language.response
    (wanted,) = torch.autograd.grad(
        kl_objective(token_logp.sum(1), token_logp_ref.sum(1), scores, kl_weight=KL_WEIGHT),
        [policy.logits],
        retain_graph=True,
    )
    rewards = token_rewards(scores, old, token_logp_ref, response, kl_weight=KL_WEIGHT)
    values, _ = values_and_advantages(language, old, rewards)
    advantages, _ = gae(rewards, values, response, discount=1.0, gae_lambda=gae_lambda)
    losses = ppo_policy_loss(token_logp, old, advantages, clip_range=CLIP_RANGE)
    loss = (old.sum(1).exp() * masked_sum(losses, response, dim=1)).sum()
    (ours,) = torch.autograd.grad(loss, [policy.logits])
    return float((ours + wanted).abs().max())


def exact() -> Seen:
    """PPO's gradient, KL in the reward and GAE included, against the objective's, summed over all texts."""
    error = max(gradient_error(seed=seed) for seed in range(3))
    return error < 1e-12, f"largest difference {error:.0e}"


def invariants(pipeline: Pipeline, *, episodes: int = 32) -> dict[str, float]:
    """One rollout before any training: the mean |ρ − 1| of its first minibatch, and KL to the reference.

    `frozen` is 1 where the reference and the reward model take no gradient.
    """
    parts, tokenizer = usual(pipeline), pipeline.tokenizer()
    reference = pipeline.policy("sft")
    config = dataclasses.replace(parts.config, episodes=episodes, minibatch=episodes)
    parts.policy.eval()  # as `ppo` sets them
    parts.value_model.eval()
    prompts = [encode_prompt(tokenizer, request.text) for request in held_out_requests(pipeline)[:episodes]]
    rollout = collect(
        parts.policy,
        parts.value_model,
        reference,
        parts.score,
        tokenizer,
        prompts,
        config=config,
        kl_weight=config.kl_weight,
        generator=pipeline.generator("first minibatch"),
    )
    with torch.no_grad():
        _, metrics = ppo_loss(parts.policy, parts.value_model, rollout, config=config)
    told = rollout_metrics(rollout, kl_weight=config.kl_weight, end_token=tokenizer.eos_token_id)
    still = not any(parameter.requires_grad for parameter in reference.parameters())
    return {"ratio": float(metrics["ratio_deviation"]), "kl": told["kl_k3"], "frozen": float(still)}


def first_minibatch(pipeline: Pipeline) -> Seen:
    """Ratio 1 and KL 0 before the first step: what is sampled is what is scored."""
    found = invariants(pipeline)
    tolerance = 1e-3 if pipeline.device.type == "cpu" else 0.05  # as `update` has it
    held = found["ratio"] < tolerance and found["kl"] < tolerance and found["frozen"] == 1
    return held, f"mean |ρ − 1| {found['ratio']:.0e}, KL {found['kl']:.0e} nats per answer"


def one_prompt(pipeline: Pipeline, *, iterations: int, episodes: int) -> dict[str, Any]:
    """PPO without a penalty on one held-out prompt: the mean score of every iteration's answers."""
    parts, tokenizer = usual(pipeline), pipeline.tokenizer()
    log = ppo(
        parts.policy,
        parts.value_model,
        pipeline.policy("sft"),
        parts.score,
        tokenizer,
        [encode_prompt(tokenizer, held_out_requests(pipeline)[0].text)],
        config=dataclasses.replace(
            parts.config,
            iterations=iterations,
            episodes=episodes,
            minibatch=episodes,
            epochs=2,
            kl_weight=0.0,
        ),
        generator=pipeline.generator("chapter 05 one prompt"),
        description="one prompt",
    )
    return {"scores": [entry["score"] for entry in log]}


def overfits(pipeline: Pipeline) -> Seen:
    """One prompt, twelve small iterations: the score must rise, for nothing else is asked."""
    found = pipeline.measured(one_prompt, iterations=12, episodes=32)["scores"]
    seen = f"{found[0]:.2f} at first, {found[-1]:.2f} after {len(found)} iterations"
    return found[-1] > found[0] + 0.5, seen.replace("-", "−")


def known_optimum(pipeline: Pipeline) -> Seen:
    """The library's PPO on the toy language: nearer to the exact optimum than to be explained by half the β."""
    way = measures.optimum(pipeline)
    first, last, half = way["to_optimum"][0], way["to_optimum"][-1], way["from half the weight"]
    seen = (
        f"KL(π ‖ π*) {first:.2f} nats at first, {last:.3f} at the end; with half the β it would be {half:.2f}"
    )
    return last < min(0.05, half / 3), seen


def in_the_band(pipeline: Pipeline) -> Seen:
    """Gold, proxy and KL of this run on held-out requests, against the seeds on record."""
    here = pipeline.measured(hacking.with_and_without)
    try:
        rows = read_records("chapter_05", experiment="details", method=OURS, profile=pipeline.profile.name)
    except FileNotFoundError:
        rows = []
    if not rows:
        return True, f"no seeds of the profile {pipeline.profile.name} on record to compare with"
    held, told = True, []
    for metric, margin in BAND.items():
        found, good = here[f"{metric} ppo"], [row.metrics[metric] for row in rows]
        held = held and min(good) - margin <= found <= max(good) + margin
        told.append(f"{metric} {found:.2f} in {min(good):.2f} to {max(good):.2f}")
    return held, f"{'; '.join(told)} ({len(rows)} seeds)".replace("-", "−")


def real(pipeline: Pipeline) -> Seen:
    """Gold on held-out requests, which nothing was trained on, before and after."""
    found = pipeline.measured(hacking.with_and_without)
    after = {name: found[f"{name} ppo"] for name in ("gold", "kl_k1")}
    return gold_rises({"gold": found["gold sft"]}, after, by=0.5)


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The six rungs for one pipeline."""
    return [
        Rung("exact test", "PPO's gradient is that of the score less β KL, summed over all texts", exact),
        Rung("first minibatch", "ratio 1 and KL 0 before the first step; the reference is frozen", lambda: first_minibatch(pipeline)),
        Rung("one prompt", "without a penalty, the score of one prompt's answers rises by 0.5", lambda: overfits(pipeline)),
        Rung("known optimum", "on the toy language, within 0.05 nats of the optimum", lambda: known_optimum(pipeline)),
        Rung("band of good seeds", "gold, proxy and KL are where other seeds have them", lambda: in_the_band(pipeline)),
        Rung("real run", "gold on held-out requests rises by at least 0.5", lambda: real(pipeline)),
    ]  # fmt: skip
