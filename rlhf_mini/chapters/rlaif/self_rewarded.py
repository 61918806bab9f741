"""Self-rewarding: one model that answers and rates, and learns by DPO from its best and worst answers, in rounds.

The control has the same rounds with a judge that stays the model of the start. All rounds together draw as many answers
as the pipeline's PPO, one prompt giving `SAMPLES` of them.
"""

import json
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.rlaif.judges import ASKED_AT_ONCE, judge_of
from rlhf_mini.chapters.rlaif.schooling import ALL_IN_ALL
from rlhf_mini.data.judging import STORY_RATINGS
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.dpo import DPOConfig
from rlhf_mini.methods.judge import LanguageJudge, Rate, as_score, rating
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.methods.self_rewarding import SelfRewardingConfig, self_rewarding
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

ROUNDS, SAMPLES, BATCH, RATE, WARMUP = 3, 4, 16, 3e-4, 3
KL_WEIGHT = 0.3
JUDGES = ("itself", "the start")


def prompts_a_round(pipeline: Pipeline) -> int:
    """As many prompts a round as make all rounds' answers as many as PPO's."""
    config = pipeline.profile.ppo
    return config.iterations * config.episodes // (ROUNDS * SAMPLES)


def start_of(pipeline: Pipeline) -> PreTrainedModel:
    """The model that has learned to answer and to rate, frozen."""
    return judge_of(pipeline, skill="answering and rating").model


def rate_by(pipeline: Pipeline, model: PreTrainedModel) -> Rate:
    """The model as a judge that rates answers all in all."""
    judge = LanguageJudge(model, pipeline.tokenizer(), batch=ASKED_AT_ONCE)
    return rating(judge, STORY_RATINGS, ALL_IN_ALL)


def trained(
    pipeline: Pipeline,
    folder: Path,
    *,
    judge: str = "itself",
    kl_weight: float = KL_WEIGHT,
    rate: float = RATE,
) -> None:
    """Kept: the policy after every round, and the log; `judge` is one of `JUDGES`.

    Raises ValueError for another judge.
    """
    if judge not in JUDGES:
        raise ValueError(f"judge must be one of {JUDGES}, got {judge!r}")
    start, words, size = start_of(pipeline), pipeline.tokenizer(), prompts_a_round(pipeline)
    seed = pipeline.seed_for("chapter 10 self-rewarding prompts")
    asked = [one.text for one in stories.draw_requests(ROUNDS * size, seed=seed)]

    def prompts_of(number: int) -> list[str]:
        return asked[(number - 1) * size : number * size]

    def score_of(model: PreTrainedModel) -> Score:
        return as_score(rate_by(pipeline, model if judge == "itself" else start), words)

    policy = copy_of(start)
    optimizer = OptimizerConfig(learning_rate=rate, warmup_steps=WARMUP, final_fraction=0.05)
    config = SelfRewardingConfig(
        rounds=ROUNDS,
        drawing=Drawing(samples=SAMPLES, temperature=1.0, max_new_tokens=pipeline.profile.max_new_tokens),
        dpo=DPOConfig(epochs=1, batch=BATCH, optimizer=optimizer),
        kl_weight=kl_weight,
    )
    log = self_rewarding(
        policy,
        words,
        prompts_of,
        score_of,
        config=config,
        generator=pipeline.generator("chapter 10 self-rewarding"),
        on_round=lambda number, entry: policy.save_pretrained(folder / f"round {number}"),
    )
    (folder / "log.json").write_text(json.dumps(log))


def policy_of(pipeline: Pipeline, *, after: int | None = None, **run: Any) -> PreTrainedModel:
    """The policy after a round, the last if None, frozen; round 0 is the start."""
    after = ROUNDS if after is None else after
    if after == 0:
        return start_of(pipeline)
    folder = pipeline.kept(trained, **run) / f"round {after}"
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)
