"""One run of each method of the chapter, all from the SFT model and at one price in samples.

A method is a function that trains a policy in place and returns a log, one entry a round; of methods without rounds,
the first and the last step's. `METHODS` names them, and `trained` keeps what comes out.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.chapters.filtering import data, looks
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import advantage_weights
from rlhf_mini.methods.answers import Answers, best_of_each, draw_answers
from rlhf_mini.methods.mixed_batches import fine_tune_mixed
from rlhf_mini.methods.raft import RAFTConfig, raft
from rlhf_mini.methods.rest import ReSTConfig, rest
from rlhf_mini.methods.rrhf import RRHFConfig, rrhf
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.methods.slic import SLiCConfig, pack_pairs, pairs_of, slic
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

BATCH, WARMUP = 16, 2  # small: a high threshold keeps few answers, and a small round draws few
WATCHED = 128  # answers by which a run that stops itself looks at its own reward, each time
Log = list[dict[str, Any]]
OnRound = Callable[[int, dict[str, float]], None]


def optimizer(rate: float) -> OptimizerConfig:
    """A peak learning rate that decays to a tenth; of every round anew."""
    return OptimizerConfig(learning_rate=rate, warmup_steps=WARMUP, final_fraction=0.1)


def fine_tuning(pipeline: Pipeline, rate: float, epochs: int = 1) -> SFTConfig:
    """How what was kept is learned; in a tiny profile in small batches."""
    return SFTConfig(epochs=epochs, batch=min(BATCH, pipeline.profile.sft.batch), optimizer=optimizer(rate))


def in_grows(
    pipeline: Pipeline,
    policy: PreTrainedModel,
    on_round: OnRound,
    *,
    grows: int,
    thresholds: list[float],
    rate: float,
    decay: float,
    epochs: int = 1,
    samples: int = data.SAMPLES,
    stops: bool = False,
    by_prompt: bool = False,
) -> Log:
    """ReST, without demonstrations beside what it draws. One Grow and one threshold are filtering once.

    `by_prompt`: an answer is compared with the others to its prompt; otherwise all are on one scale.

    `stops` watches the mean reward on prompts of its own. The answers that it looks at, as often as it may have to, are
    paid for out of the same budget.
    """
    looks_at_most = 1 + grows * len(thresholds) if stops else 0
    config = ReSTConfig(
        grows=grows,
        thresholds=tuple(thresholds),
        drawing=data.drawing(pipeline, samples=samples),
        sft=fine_tuning(pipeline, rate, epochs),
        rate_decay=decay,
    )
    return rest(
        policy,
        pipeline.tokenizer(),
        data.rounds_of_prompts(pipeline, rounds=grows, samples=samples, spent=WATCHED * looks_at_most),
        data.reward_of(pipeline),
        config=config,
        generator=pipeline.generator(data.DRAWING),
        scale=data.reward_scale(pipeline, by_prompt=by_prompt),
        evaluate=(lambda model: watched_reward(pipeline, model)) if stops else None,
        on_improve=on_round,
    )


def watched_reward(pipeline: Pipeline, policy: PreTrainedModel) -> float:
    """The mean reward of answers to prompts that neither train nor judge: what may be watched while training."""
    seed = pipeline.seed_for("chapter 09 prompts watched")
    watched = draw_answers(
        policy,
        pipeline.tokenizer(),
        [request.text for request in stories.draw_requests(WATCHED, seed=seed)],
        data.reward_of(pipeline),
        config=data.drawing(pipeline, samples=1),
        generator=pipeline.generator("chapter 09 watching"),
    )
    return float(watched.rewards.mean())


def in_batches(
    pipeline: Pipeline,
    policy: PreTrainedModel,
    on_round: OnRound,
    *,
    iterations: int,
    samples: int,
    rate: float,
    epochs: int = 1,
) -> Log:
    """RAFT; one iteration is rejection sampling, once."""
    config = RAFTConfig(
        iterations=iterations,
        drawing=data.drawing(pipeline, samples=samples),
        sft=fine_tuning(pipeline, rate, epochs),
    )
    return raft(
        policy,
        pipeline.tokenizer(),
        data.rounds_of_prompts(pipeline, rounds=iterations, samples=samples),
        data.reward_of(pipeline),
        config=config,
        generator=pipeline.generator(data.DRAWING),
        on_round=on_round,
    )


def by_rank(
    pipeline: Pipeline,
    policy: PreTrainedModel,
    on_round: OnRound,
    *,
    ranking_weight: float,
    rate: float,
    epochs: int = 1,
    samples: int = data.SAMPLES,
    per_token: bool = False,
) -> Log:
    """RRHF; a step sees as many answers as a step of the others.

    `per_token` is nearly the published program's way: the best answer's likelihood as a mean over its tokens. Both
    terms times a number of tokens, the mean of the best answers, are a sum and a larger ranking weight; neither Adam
    nor the clipping of a gradient that is long anyhow sees the common factor.
    """
    answers = data.answers_of_sft(pipeline, samples=samples)
    weight = ranking_weight * (mean_length(pipeline, answers) if per_token else 1.0)
    config = RRHFConfig(
        epochs=epochs,
        batch=max(1, fine_tuning(pipeline, rate).batch // samples),
        optimizer=optimizer(rate),
        ranking_weight=weight,
    )
    history = rrhf(
        policy,
        pipeline.tokenizer(),
        answers,
        config=config,
        generator=pipeline.generator(data.DRAWING),
    )
    return [{**history[0], "first": 1.0}, history[-1]]


def mean_length(pipeline: Pipeline, answers: Answers) -> float:
    """The mean number of tokens of the best answers, their end tokens included."""
    best = answers.kept(best_of_each(answers.rewards))
    packed = pack_texts(pipeline.tokenizer(), best.prompts, best.answers)
    return float(packed.response.sum(1).float().mean())


def by_margin(
    pipeline: Pipeline,
    policy: PreTrainedModel,
    on_round: OnRound,
    *,
    margin: float,
    target_weight: float,
    rate: float,
    epochs: int = 1,
    samples: int = data.SAMPLES,
) -> Log:
    """SLiC on the best and the worst answer to each prompt; the best is also what must not be lost.

    A step sees as many answers as a step of the others, two of each of its prompts.
    """
    ranked = pairs_of(data.answers_of_sft(pipeline, samples=samples))
    tokenizer = pipeline.tokenizer()
    config = SLiCConfig(
        epochs=epochs,
        batch=max(1, fine_tuning(pipeline, rate).batch // 2),
        optimizer=optimizer(rate),
        margin=margin,
        target_weight=target_weight,
    )
    history = slic(
        policy,
        pack_pairs(tokenizer, ranked),
        pack_texts(tokenizer, ranked.prompts, ranked.chosen),
        config=config,
        generator=pipeline.generator(data.DRAWING),
    )
    return [{**history[0], "first": 1.0}, history[-1]]


def by_weight(
    pipeline: Pipeline,
    policy: PreTrainedModel,
    on_round: OnRound,
    *,
    kl_weight: float | None,
    largest: float,
    rate: float,
    epochs: int = 1,
    samples: int = data.SAMPLES,
) -> Log:
    """Every answer, at the weight of its advantage over the mean of its prompt; without a `kl_weight`, all alike."""
    answers = data.answers_of_sft(pipeline, samples=samples)
    everything = answers.kept(torch.ones_like(answers.rewards, dtype=torch.bool))
    history = fine_tune_mixed(
        policy,
        pack_texts(pipeline.tokenizer(), everything.prompts, everything.answers),
        config=fine_tuning(pipeline, rate, epochs),
        generator=pipeline.generator(data.DRAWING),
        weights=None if kl_weight is None else weights_of(answers, kl_weight=kl_weight, largest=largest),
    )
    return [{**history[0], "first": 1.0}, history[-1]]


def weights_of(answers: Answers, *, kl_weight: float, largest: float) -> Tensor:
    """One weight an answer, (N K,): exp of its advantage over its prompt's mean, capped."""
    advantages = answers.rewards - answers.rewards.mean(1, keepdim=True)
    return advantage_weights(advantages, kl_weight=kl_weight, largest=largest).flatten()


METHODS: Mapping[str, Callable[..., Log]] = {
    "ReST": in_grows,
    "RAFT": in_batches,
    "RRHF": by_rank,
    "SLiC": by_margin,
    "weighted": by_weight,
}


def trained(pipeline: Pipeline, folder: Path, *, method: str, looked: bool = False, **numbers: Any) -> None:
    """A kept policy, and the log of its rounds; with `looked`, each round's entry says what was seen after it."""
    policy, seen = copy_of(pipeline.policy("sft")), []

    def on_round(number: int, entry: dict[str, float]) -> None:
        if looked:
            seen.append(looks.look(pipeline, policy))

    log = METHODS[method](pipeline, policy, on_round, **numbers)
    policy.save_pretrained(folder)
    (folder / "log.json").write_text(json.dumps({"rounds": log, "seen": seen}))
