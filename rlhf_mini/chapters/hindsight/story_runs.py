"""Stories: hindsight relabelling and filtered behaviour cloning from the SFT model, at PPO's number of samples.

All runs are asked the same requests in the same rounds and draw one story each. They differ in what the script makes of
a story, and in the three terms. Judged is by gold, on held-out requests.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.hindsight import story_labels
from rlhf_mini.chapters.hindsight.script import Script
from rlhf_mini.chapters.hindsight.story_labels import GOOD, with_verdict
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing, text_score
from rlhf_mini.methods.hir import Contrast, Hindsight, HIRConfig, Task, hir, two_way
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo
from rlhf_mini.worlds import stories

ROUNDS, EPOCHS, BATCH, RATE, WARMUP = 4, 1, 32, 1e-3, 3
JUDGED = 2  # times the profile's number of held-out requests


def _good(request: str) -> Task:
    return GOOD, request


SCRIPTS: Mapping[str, Script] = {
    "request": Script(story_labels.by_request),
    "request, as asked only": Script(story_labels.only_as_asked),
    "no script": Script(story_labels.whatever_asked),
    "verdict": Script(story_labels.by_verdict, _good, with_verdict),
}


def four_way(rows: Sequence[Hindsight]) -> list[list[str]]:
    """Each row's own instruction, the one that the script names against it, and the next of the batch, four in all.

    All instructions of a batch would be the paper's contrast; at 32 rows it costs thirty times as much as two.
    Raises ValueError if the batch has fewer than four.
    """
    chosen = []
    for place, row in enumerate(rows):
        around = [other.fulfilled for other in (*rows[place + 1 :], *rows[:place])]
        named = dict.fromkeys([row.fulfilled, *([row.instead] if row.instead else []), *around])
        if len(named) < 4:
            raise ValueError(
                f"the batch has {len(named)} instructions for a row, and four are told apart: {[*named]}"
            )
        chosen.append([*named][:4])
    return chosen


CONTRASTS: Mapping[str, Contrast] = {"two-way": two_way, "four-way": four_way}


def samples_a_round(pipeline: Pipeline) -> int:
    """As many stories a round as make PPO's in all rounds."""
    config = pipeline.profile.ppo
    return config.iterations * config.episodes // ROUNDS


def config_of(pipeline: Pipeline, terms: Mapping[str, float], *, epochs: int) -> HIRConfig:
    """The settings that all runs share, and the three terms' numbers; a term that is not named is left out."""
    return HIRConfig(
        rounds=ROUNDS,
        epochs=epochs,
        batch=BATCH,
        drawing=Drawing(samples=1, temperature=1.0, max_new_tokens=pipeline.profile.max_new_tokens),
        optimizer=OptimizerConfig(learning_rate=RATE, warmup_steps=WARMUP, final_fraction=0.05),
        **{"contrast_weight": 0.0, "entropy_weight": 0.0, "label_smoothing": 0.0, **terms},
    )


def trained(
    pipeline: Pipeline,
    folder: Path,
    *,
    script: str,
    contrast: str = "two-way",
    terms: Mapping[str, float] | None = None,
    epochs: int = EPOCHS,
) -> None:
    """A kept policy after each round of `script` (one of `SCRIPTS`) with the numbers `terms`; the log beside them."""
    policy, relabelling = copy_of(pipeline.policy("sft")), SCRIPTS[script]
    size = samples_a_round(pipeline)
    seed = pipeline.seed_for("chapter 08 prompts")
    asked = [request.text for request in stories.draw_requests(ROUNDS * size, seed=seed)]

    def tasks_of(number: int) -> list[Task]:
        return [relabelling.task(request) for request in asked[(number - 1) * size : number * size]]

    log = hir(
        policy,
        pipeline.tokenizer(),
        tasks_of,
        relabelling.relabel,
        ask=relabelling.ask,
        config=config_of(pipeline, terms or {}, epochs=epochs),
        generator=pipeline.generator("chapter 08 stories"),
        contrast=CONTRASTS[contrast],
        on_round=lambda number, entry: policy.save_pretrained(folder / f"round {number}"),
    )
    (folder / "log.json").write_text(json.dumps(log))


def by_ppo(pipeline: Pipeline, folder: Path, *, kl_weight: float) -> None:
    """A kept policy of PPO with the script as its reward: 1 for what fulfils the request that was asked, else 0.

    Everything else is as in the pipeline's stage, the value model's start among it.
    """
    words, policy = pipeline.tokenizer(), copy_of(pipeline.policy("sft"))

    def reward(prompt: str, text: str) -> float:
        return float(bool(story_labels.only_as_asked(prompt, "", text)))

    prompts, add_gold = prompts_for_ppo(pipeline)
    ppo(
        policy,
        value_model_for(pipeline.reward_model()).requires_grad_(True),
        pipeline.policy("sft"),
        text_score(words, reward),
        words,
        prompts,
        config=replace(pipeline.profile.ppo, kl_weight=kl_weight),
        generator=pipeline.generator("chapter 08 PPO"),
        on_rollout=add_gold,
    )
    policy.save_pretrained(folder / f"round {ROUNDS}")


def policy_of(
    pipeline: Pipeline, *, kind: str = "rounds", after: int = ROUNDS, **run: Any
) -> PreTrainedModel:
    """The policy of a kept run after a round, frozen; round 0 is the SFT model. `kind`: "rounds" or "PPO"."""
    if after == 0:
        return pipeline.policy("sft")
    builds: Mapping[str, Callable[..., None]] = {"rounds": trained, "PPO": by_ppo}
    folder = pipeline.kept(builds[kind], **run) / f"round {after}"
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)
