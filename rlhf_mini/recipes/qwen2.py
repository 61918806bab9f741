"""Qwen2: offline DPO, online DPO on best and worst answers, and an optimizer that merges at every step."""

import json
from functools import partial
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.loop import Hook
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.best_worst_dpo import BestWorstConfig, best_worst_dpo
from rlhf_mini.methods.dpo import Compared, dpo
from rlhf_mini.methods.online_merging import ondare, onties
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.recipes.direct_settings import direct_settings
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories

STEPS = ("offline", "online")
MERGINGS = ("OnDARE", "OnTIES", "none")
SAMPLES = 4  # answers a prompt, of which the best and the worst are a pair
KL_WEIGHT = 1.0


def objective(pair: Compared) -> Tensor:
    """DPO, in both stages."""
    return dpo_loss(*pair.log_ratios, kl_weight=KL_WEIGHT)


def merging_hooks(
    pipeline: Pipeline, policy: PreTrainedModel, *, merging: str, merge_rate: float, keep: float
) -> list[Hook]:
    """The optimizer's merging as hooks, one or none. Raises ValueError on another name than `MERGINGS`."""
    if merging not in MERGINGS:
        raise ValueError(f"unknown merging {merging!r}: choose one of {', '.join(MERGINGS)}")
    if merging == "none":
        return []
    make = onties
    if merging == "OnDARE":
        make = partial(ondare, generator=pipeline.generator("Qwen2 merging"))
    base, tuned = pipeline.policy("base"), pipeline.policy("sft")
    return [make(policy, base, tuned, merge_rate=merge_rate, keep=keep)]


def online_settings(pipeline: Pipeline) -> BestWorstConfig:
    """As many episodes as PPO has iterations, and twice its answers in each."""
    usual, direct = pipeline.profile.ppo, direct_settings(pipeline)
    return BestWorstConfig(
        episodes=usual.iterations,
        prompts=2 * usual.episodes // SAMPLES,
        drawing=Drawing(samples=SAMPLES, temperature=usual.temperature, max_new_tokens=usual.max_new_tokens),
        batch=direct.batch,
        optimizer=direct.optimizer,
    )


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    merging: str = "OnDARE",
    merge_rate: float = 5e-4,
    keep: float = 0.5,
) -> None:
    """Offline DPO on half of the pipeline's pairs, then the episodes; saves the policy after each stage.

    - `merging`: "OnDARE", "OnTIES" or "none"; `merge_rate`: α; `keep`: p, the share of each step that is
      kept.
    """
    start, tokenizer, rows = pipeline.policy("sft"), pipeline.tokenizer(), pipeline.preferences("train")
    reward_model, policy = pipeline.reward_model(), copy_of(start)
    hooks = merging_hooks(pipeline, policy, merging=merging, merge_rate=merge_rate, keep=keep)
    offline = dpo(
        policy,
        start,
        pack_pairs(tokenizer, rows.select(range(len(rows) // 2))),
        kl_weight=KL_WEIGHT,
        config=direct_settings(pipeline),
        generator=pipeline.generator("Qwen2 offline"),
        hooks=hooks,
    )
    policy.save_pretrained(folder / "offline")
    requests = stories.draw_requests(4000, seed=pipeline.seed_for("PPO prompts"))
    online = best_worst_dpo(
        policy,
        start,
        tokenizer,
        [request.text for request in requests],
        lambda sequences: scores(reward_model, sequences),
        objective,
        config=online_settings(pipeline),
        generator=pipeline.generator("Qwen2 online"),
        hooks=hooks,
    )
    policy.save_pretrained(folder / "online")
    (folder / "log.json").write_text(json.dumps({"offline": offline, "online": online}))


RECIPE = Recipe(
    name="qwen2",
    title="Qwen2",
    year=2024,
    report="Qwen Team 2024, Qwen2 Technical Report, §4; Lu et al. 2024 for the optimizer (2405.17931)",
    address="https://arxiv.org/abs/2407.10671",
    data="Answers of Qwen models of several sizes, ranked by people; synthetic pairs beside them",
    reward="Reward models choose the most and the least preferred of several answers; no more is stated",
    optimiser="Offline DPO, then online DPO on pairs of the current policy; the Online Merging Optimizer",
    anchor="DPO's reference, not stated which; merging with the SFT step, against the alignment tax",
    rounds="Two stages, offline and online; the pairs are renewed in each episode",
    reported=(
        "72B-Instruct: MT-Bench 9.12, Arena-Hard 48.1, AlignBench 8.27 (model card)",
        "7B-Instruct “greatly falls behind” in instruction following, it says of itself (§5.2.1)",
    ),
    left_out=(
        "Any ablation of the stages or of the optimizer",
        "Everything about the reward models: training, size, loss, number",
        "β, rates, batch, K and the number of episodes, of either stage",
        "Which of the two merging optimizers, and its α and p",
        "The number of preference pairs",
    ),
    set_right=(
        "“Online DPO needs no reward model”: one chooses the best and the worst answer",
        "“Merging after training”: it is done at every step of the optimizer",
        "“An average with the SFT model”: it adds a little of SFT − base, and goes on beyond SFT",
        "150,000 pairs at a rate of 7e-7 are Qwen2.5's settings, not those of Qwen2",
    ),
    train=train,
    steps=STEPS,
    departures=(
        "The reward model is the pipeline's, and its pairs are those of offline DPO too",
        "Both stages keep the SFT model as their reference, and merge; the report does not say where",
        "OnDARE with α = 5e-4 and p = 0.5; the released script has 1e-7 and 0.01, for thousands of steps",
        "Four answers a prompt, and β = 1, which chapter 7 found for this world",
    ),
    settings={"merging": "OnDARE", "merge_rate": 5e-4, "keep": 0.5},
    variants={"AdamW": {"merging": "none"}, "sparse steps alone": {"merge_rate": 0.0}},
)
