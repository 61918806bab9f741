"""Llama 2's iterations: fresh preferences, new reward models, rejection sampling, round after round; then PPO.

A round: (1) two answers of the current policy to fresh prompts, judged by either panel; (2) both reward models
anew, from the fine-tuned policy, on all pairs so far; (3) K answers to fresh prompts, the best by R_c kept;
(4) fine-tuning on what was kept, in this round alone or in all rounds. From round `SHIFT` on nobody asks for
anything unkind any more, as the prompts of one week differ from those of another: will the policy still decline
when somebody does? The pairs of the first rounds stay, so that the safety model knows it all along.

Four rounds make V1 to V4; V5 is PPO on top of V4 (`on_top`). The random campaign keeps any answer of the K and
needs no reward model.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.llama2 import combining, sides
from rlhf_mini.data.chat import answer
from rlhf_mini.estimators import piecewise_reward
from rlhf_mini.evaluation.policy import Judged, judge_policy
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.rejection_sampling import (
    Chosen,
    RejectionSamplingConfig,
    best_of,
    draw_candidates,
    fine_tune_on,
    keep,
    pooled,
    random_of,
    score_candidates,
)
from rlhf_mini.methods.reward_model import normalise, train_reward_model
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories

ROUNDS, SHIFT = 4, 3
PROMPTS, SAMPLES, TEMPERATURE = 384, 8, 1.0
START = {"helpfulness": 2000, "safety": 1000}  # pairs of the sides that there are before the first round
PAIRS = {"helpfulness": 500, "safety": 200}  # fresh ones a round
REFERENCE_ANSWERS = 500
UNKIND_LOOKS = 128  # unkind requests on which a policy is looked at after each round
CAMPAIGNS = {  # name: (which answer is kept, what is learned from)
    "best of all rounds": ("best", "all"),
    "best of the last round": ("best", "last"),
    "random, all rounds": ("random", "all"),
}

Models = dict[str, PreTrainedModel]  # by side


def fresh_requests(pipeline: Pipeline, count: int, *, round_: int, purpose: str) -> list[stories.Request]:
    """Everyday training requests; kind ones only from round `SHIFT` on."""
    seed = pipeline.seed_for(f"chapter 06 {purpose} round {round_}")
    drawn = stories.draw_requests(2 * count, seed=seed)
    return [r for r in drawn if round_ < SHIFT or r.unkind is None][:count]


def fresh_pairs(
    pipeline: Pipeline, policy: PreTrainedModel, *, side: str, round_: int, generator: torch.Generator
) -> list[dict[str, Any]]:
    """Pairs of the current policy's answers, judged by one side's panel."""
    seed = pipeline.seed_for(f"chapter 06 pairs {side} round {round_}")
    if side == "safety":
        requests = sides.unkind_requests(PAIRS[side], seed=seed, held_out=False)
    else:
        requests = fresh_requests(pipeline, PAIRS[side], round_=round_, purpose="pairs")
    prompts = [request.text for request in requests]
    length = pipeline.profile.max_new_tokens
    first, second = (
        answer(policy, pipeline.tokenizer(), prompts, max_new_tokens=length, generator=generator)
        for _ in range(2)
    )
    rows = [{"prompt": p, "first": a, "second": b} for p, a, b in zip(prompts, first, second, strict=True)]
    return stories.annotate(rows, seed=seed, panel=sides.PANELS[side])


def first_pairs(pipeline: Pipeline, *, side: str) -> list[dict[str, Any]]:
    """The pairs of a side that there are before the first round, of the fine-tuned policy's answers."""
    rows = sides.judged_pairs(pipeline, side=side, split="train")
    return list(rows.select(range(min(START[side], len(rows)))))


def reward_model_on(
    pipeline: Pipeline, rows: list[dict[str, Any]], *, generator: torch.Generator
) -> PreTrainedModel:
    """A reward model on all pairs so far, its zero where that of the sides' models is."""
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    pairs = pack_pairs(pipeline.tokenizer(), Dataset.from_list(rows))
    train_reward_model(model, pairs, config=pipeline.profile.reward_model, generator=generator)
    normalise(model, sides.reference_answers(pipeline).rows(slice(0, REFERENCE_ANSWERS)))
    return freeze(model)


def asks_for_harm(pipeline: Pipeline, sequences: Sequences) -> Tensor:
    """IS_SAFETY: whether each row's prompt asks for something unkind, (B,)."""
    prompts = sequences.mask & ~sequences.response
    tokenizer = pipeline.tokenizer()
    texts = [
        tokenizer.decode(tokens[prompt], skip_special_tokens=True)
        for tokens, prompt in zip(sequences.tokens.cpu(), prompts.cpu(), strict=True)
    ]
    return torch.tensor([stories.read_request(text).unkind is not None for text in texts])


def combined_score(pipeline: Pipeline, models: Models) -> Callable[[Sequences], Tensor]:
    """R_c as a score of sequences, its sigmoid undone."""

    def score(sequences: Sequences) -> Tensor:
        rewards = {side: sides.probabilities(models[side], sequences) for side in sides.SIDES}
        about_safety = asks_for_harm(pipeline, sequences)
        both = piecewise_reward(
            rewards["helpfulness"], rewards["safety"], about_safety, threshold=combining.THRESHOLD
        )
        return torch.logit(both, eps=1e-6)

    return score


def config_of(pipeline: Pipeline) -> RejectionSamplingConfig:
    """K samples a prompt; fine-tuning as the profile's, at half its rate and one pass."""
    sft = dataclasses.replace(
        pipeline.profile.sft,
        epochs=1,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=4, final_fraction=0.1),
    )
    return RejectionSamplingConfig(
        samples=SAMPLES, temperature=TEMPERATURE, max_new_tokens=pipeline.profile.max_new_tokens, sft=sft
    )


class Judging:
    """All pairs so far and the two models that were trained on them; fresh pairs make new models."""

    def __init__(self, pipeline: Pipeline, *, generator: torch.Generator) -> None:
        self.pipeline, self.generator = pipeline, generator
        self.pairs = {side: first_pairs(pipeline, side=side) for side in sides.SIDES}
        self.models: Models = {}

    def renew(self, policy: PreTrainedModel, *, round_: int) -> None:
        """Fresh pairs of this policy's answers, and the models anew; no pair on safety, no new model of it."""
        for side in sides.SIDES if round_ < SHIFT else ("helpfulness",):
            self.pairs[side] += fresh_pairs(
                self.pipeline, policy, side=side, round_=round_, generator=self.generator
            )
            self.models[side] = reward_model_on(self.pipeline, self.pairs[side], generator=self.generator)


def campaign(pipeline: Pipeline, folder: Path, *, choose: str, memory: str) -> None:
    """A kept campaign: the policy after each round (`v1` …), the last reward models, and what was measured.

    `choose` is "best" or "random", `memory` is "all" or "last".
    """
    if choose not in ("best", "random") or memory not in ("all", "last"):
        raise ValueError(f"choose must be best or random, memory all or last; got {choose!r} and {memory!r}")
    config, generator = config_of(pipeline), pipeline.generator("chapter 06 campaign")
    policy, judging = copy_of(pipeline.policy("sft")), Judging(pipeline, generator=generator)
    kept: list[Chosen] = []
    history = [look(pipeline, policy)]
    for round_ in range(1, ROUNDS + 1):
        prompts = [r.text for r in fresh_requests(pipeline, PROMPTS, round_=round_, purpose="prompts")]
        if choose == "best":
            judging.renew(policy, round_=round_)
        answers = draw_candidates(policy, pipeline.tokenizer(), prompts, config=config, generator=generator)
        if choose == "best":
            score = combined_score(pipeline, judging.models)
            picked = best_of(score_candidates(score, pipeline.tokenizer(), prompts, answers))
        else:
            picked = random_of(torch.zeros(len(answers), config.samples), generator=generator)
        kept.append(keep(prompts, answers, picked))
        learned = pooled(kept) if memory == "all" else kept[-1]
        fine_tune_on(policy, pipeline.tokenizer(), learned, config=config, generator=generator)
        policy.save_pretrained(folder / f"v{round_}")
        history.append({"kept_gold": _gold(kept[-1]), "learned": len(learned), **look(pipeline, policy)})
    for side, model in judging.models.items():
        model.save_pretrained(folder / side)
    (folder / "history.json").write_text(json.dumps(history))


def _gold(chosen: Chosen) -> float:
    golds = stories.gold_scores(chosen.prompts, chosen.answers)
    return sum(golds) / len(golds)


def look(pipeline: Pipeline, policy: PreTrainedModel) -> dict[str, float]:
    """Gold on held-out everyday requests, its KL to the start, and how often unkind requests are declined."""
    seed = pipeline.seed_for("chapter 06 judged requests")
    length, generator = pipeline.profile.max_new_tokens, torch.Generator().manual_seed(pipeline.seed)
    everyday = judge_policy(
        policy,
        pipeline.tokenizer(),
        stories.draw_requests(pipeline.profile.test_prompts, seed=seed, held_out=True),
        max_new_tokens=length,
        generator=generator,
        reference=pipeline.policy("sft"),
    )
    unkind = judge_policy(
        policy,
        pipeline.tokenizer(),
        sides.unkind_requests(UNKIND_LOOKS, seed=seed, held_out=True),
        max_new_tokens=length,
        generator=generator,
    )
    count = len(unkind.answers)
    names = ("gold", "gold_safe_prompts", "gold_unkind_prompts", "helpfulness", "safety", "kl_k3", "length")
    metrics = everyday.metrics()
    return {
        **{name: metrics[name] for name in names},
        "politely_declined": sum(gold.safety > 0 for gold in unkind.golds) / count,
        "unkind_told": sum(gold.safety < 0 for gold in unkind.golds) / count,
        "kind_declined": _kind_declined(everyday),
    }


def _kind_declined(judged: Judged) -> float:
    kind = [
        stories.read_story(text).declined
        for request, text in zip(judged.requests, judged.answers, strict=True)
        if request.unkind is None
    ]
    return sum(kind) / len(kind)


def history_of(pipeline: Pipeline, *, choose: str, memory: str) -> list[dict[str, float]]:
    """What a campaign measured after each round, the fine-tuned policy first."""
    folder = pipeline.kept(campaign, choose=choose, memory=memory)
    return json.loads((folder / "history.json").read_text())


def along(pipeline: Pipeline, *, choose: str, memory: str) -> dict[str, list[float]]:
    """The same as one list a measure, the fine-tuned policy first; without what only the rounds have."""
    history = history_of(pipeline, choose=choose, memory=memory)
    return {
        **{name: [float(look[name]) for look in history] for name in history[0]},
        "kept_gold": [float(look["kept_gold"]) for look in history[1:]],
    }
