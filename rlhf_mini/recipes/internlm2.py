"""InternLM2, COOL RLHF: one conditional reward model, patched where the policy has exploited it.

A round: PPO from the SFT model on the reward model as it is, after some training of the critic alone; then
its policies are compared, habits that pay are found and patched (fast path) and people judge answers (slow
path). `cool` has what the reward model learns from.
"""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rlhf_mini.batch import Rollout
from rlhf_mini.estimators import gae
from rlhf_mini.methods.critic_pretraining import pretrain_critic
from rlhf_mini.methods.ppo import PPOConfig, ppo, value_model_for
from rlhf_mini.methods.pretrain import pack_documents
from rlhf_mini.methods.pretraining_mix import pretraining_mix
from rlhf_mini.methods.rehearsal import RehearsalConfig
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.models.fresh_head import with_fresh_head
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo
from rlhf_mini.recipes import cool
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories

ROUNDS = 3
LAMBDA = 0.99
DOCUMENTS = 2000  # of the pretraining text, at most, for the second loss
EARLY = 4  # a policy is early after one in so many of its iterations
CRITIC = 4  # the critic learns alone for one in so many


def config_for(pipeline: Pipeline, *, kl_weight: float) -> PPOConfig:
    """Half of PPO's iterations a round; λ and the KL weight as reported, values not clipped."""
    usual = pipeline.profile.ppo
    return replace(
        usual,
        iterations=max(1, usual.iterations // 2),
        gae_lambda=LAMBDA,
        kl_weight=kl_weight,
        value_clip_range=math.inf,
    )


def critic_config(config: PPOConfig) -> PPOConfig:
    """The critic alone: fewer iterations, with more steps on each."""
    return replace(
        config, iterations=max(1, config.iterations // CRITIC), minibatch=max(1, config.minibatch // 4)
    )


def one_round(
    pipeline: Pipeline,
    reward_model: PreTrainedModel,
    score: Score,
    *,
    number: int,
    kl_weight: float,
    pretraining_weight: float,
) -> tuple[dict[str, PreTrainedModel], dict[str, Any]]:
    """A round's policies, `early` and `late`, and the logs of critic and PPO. Advantages stay as they are."""
    config, tokenizer, reference = (
        config_for(pipeline, kl_weight=kl_weight),
        pipeline.tokenizer(),
        pipeline.policy("sft"),
    )
    estimate = partial(gae, discount=1.0, gae_lambda=config.gae_lambda)  # and no whitening
    prompts, add_gold = prompts_for_ppo(pipeline)
    generator = pipeline.generator(f"recipe InternLM2 round {number}")
    critic = with_fresh_head(value_model_for(reward_model), generator=generator).requires_grad_(True)
    learned = pretrain_critic(
        critic,
        reference,
        reference,
        score,
        tokenizer,
        prompts,
        config=critic_config(config),
        generator=generator,
        estimate=estimate,
    )
    rng = pipeline.rng("documents")
    texts = [stories.draw_document(rng) for _ in range(min(DOCUMENTS, pipeline.profile.documents))]
    policy = copy_of(reference)
    policies = {"early": reference, "late": policy}

    def on_rollout(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        if iteration == config.iterations // EARLY:
            policies["early"] = freeze(copy_of(policy))
        add_gold(iteration, rollout, metrics)

    log = ppo(
        policy,
        critic,
        reference,
        score,
        tokenizer,
        prompts,
        config=config,
        generator=generator,
        on_rollout=on_rollout,
        estimate=estimate,
        auxiliary=pretraining_mix(
            policy,
            pack_documents(tokenizer, texts),
            config=RehearsalConfig(
                documents_per_step=max(1, config.minibatch // 2), document_weight=pretraining_weight
            ),
            generator=pipeline.generator(f"recipe InternLM2 documents {number}"),
        ),
        description=f"round {number}",
    )
    freeze(policy)
    return policies, {"critic": learned, "ppo": log}


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    kl_weight: float,
    pretraining_weight: float,
    conditional: bool = True,
    patched: bool = True,
) -> None:
    """Saves the policy of each round, the last reward model and the logs.

    `conditional`: whether the reward model is told what to judge by; `patched`: whether there is a fast path.
    """
    model = cool.first_model_of(pipeline, conditional=conditional)
    found: list[cool.ConditionedPair] = []
    log = []
    for number in range(1, ROUNDS + 1):
        if number > 1:
            cool.update(pipeline, model, found, conditional=conditional, purpose=f"{number}")
        score = cool.score_of(pipeline, freeze(model), conditional=conditional)
        policies, entry = one_round(
            pipeline, model, score, number=number, kl_weight=kl_weight, pretraining_weight=pretraining_weight
        )
        policies["late"].save_pretrained(folder / f"round {number}")
        log.append(entry)
        if number == ROUNDS:
            break
        prompts, texts = cool.answered(
            pipeline, {"sft": pipeline.policy("sft"), **policies}, purpose=f"{number}"
        )
        patches, pairs = cool.fast_path(pipeline, prompts, texts["early"], texts["late"], score)
        found += pairs if patched else []
        found += cool.slow_path(pipeline, prompts, texts, purpose=f"{number}")
        entry["patterns"] = {patch.pattern: patch.found for patch in patches}
        entry["patched"] = len(pairs) if patched else 0
    model.save_pretrained(folder / "reward model")
    (folder / "log.json").write_text(json.dumps(log))


RECIPE = Recipe(
    name="internlm2",
    title="InternLM2 (COOL RLHF)",
    year=2024,
    report="Cai et al., InternLM2 Technical Report, §4",
    address="https://arxiv.org/abs/2403.17297",
    data="SFT on 10M instances; up to 2.4M pairs; about 200,000 queries for PPO",
    reward="One model, a condition before the dialogue; focal ranking loss, γ 2, + 0.02 × barrier at ±5",
    optimiser="PPO; rates 1e-6, critic 5e-6; λ 0.99; top-p 0.9; no advantage normalising, no value clipping",
    anchor="KL 0.01 to the SFT model; pretraining loss × 0.5 on half as much text; the barrier on scores",
    rounds="Three; between them patches, 20 to 100 pairs a pattern, and labels on the current policies",
    reported=(
        "20B, SFT → RLHF: AlpacaEval 2 8.0 → 21.8, MT-Bench 7.3 → 7.9, IFEval 48.7 → 42.2 (Table 17)",
        "7B, SFT → RLHF: AlpacaEval 2 6.9 → 11.3, MT-Bench 7.1 → 7.7, IFEval 48.5 → 45.9 (Table 17)",
        "Reward model 7B, with conditions: summaries 68.25 → 75.37, PRM800k 72.11 → 77.18 (Table 19)",
    ),
    left_out=(
        "The condition texts, and which pairs got which",
        "How hacking was spotted, and what either path contributes; focal loss and barrier apart",
        "Clip range, passes, minibatch, temperature and answer length of PPO; the number of human labels",
        "Whether each round starts again from the SFT model",
    ),
    set_right=(
        "“The condition is a system prompt of the policy”: of the reward model alone",
        "“20 to 100 pairs a round”: for a pattern; thousands of patches and labels over the rounds",
        "“Focal loss gives hard pairs more weight”: it gives less to pairs ranked right; wrong ones keep 1",
        "“A conditional reward is a weighted sum”: it is one score, and the prompt chooses the condition",
        "“InternLM2 has 48.5 and 48.7 on IFEval”: these are the SFT models; RLHF leaves 45.9 and 42.2",
    ),
    train=train,
    steps=tuple(f"round {number}" for number in range(1, ROUNDS + 1)),
    settings={"kl_weight": 0.01, "pretraining_weight": 0.5},
    variants={"no conditions": {"conditional": False}, "no fast path": {"patched": False}},
    departures=(
        "Two conditions, helpful and kind, of the report's many: the world has two measures",
        "Programs look for five habits; in the report people look",
        "Answers are drawn without top-p, so that the ratio is that of the distribution which was sampled",
        "One learning rate for policy and critic: the library's PPO has one optimiser for both",
        "Each round has half of PPO's iterations and starts from the SFT model, as the report says of "
        "actor and reference, though not of every round",
        "An update goes on from the last reward model and learns an eighth of the first pairs again",
    ),
)
