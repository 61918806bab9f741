"""Gemma 2: a reward model an order of magnitude larger than the policy, and averages after each phase.

The report gives the idea in a page. What is averaged here are runs that differ in learning rate and order, of
the three phases: fine-tuning, reward model, reinforcement learning. The variant WARP fills in what the report
cites: an anchor that follows the policy, spherical interpolation of two runs, a part of the way back, twice.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.chapters.reward_scaling.sizes import sized
from rlhf_mini.chapters.scoreboard.runs import group_config
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.methods.group_methods import reinforce_method
from rlhf_mini.methods.grpo import grpo
from rlhf_mini.methods.moving_anchor import moving_anchor
from rlhf_mini.methods.reward_model import normalise, scores, train_reward_model
from rlhf_mini.methods.reward_parts import Part, cut_off_penalty
from rlhf_mini.methods.sft import sft
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.models.averaging import uniform_average, weighted_average
from rlhf_mini.models.task_vectors import spherical_interpolation, task_vector_angle
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.recipes.larger import larger, slower
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories

LABELS_SHARE = 0.5  # of the profile's pairs, which every member of the reward model sees in its own order
Merge = Callable[[PreTrainedModel, Sequence[PreTrainedModel]], PreTrainedModel]  # start, runs → one model


def average(start: PreTrainedModel, runs: Sequence[PreTrainedModel]) -> PreTrainedModel:
    """The mean of the runs' weights: what the report says."""
    return uniform_average(runs)


def spherical(start: PreTrainedModel, runs: Sequence[PreTrainedModel]) -> PreTrainedModel:
    """The middle of the arc between two task vectors: WARP's. Raises ValueError unless there are two runs."""
    if len(runs) != 2:
        raise ValueError(f"spherical interpolation merges two runs, got {len(runs)}")
    return spherical_interpolation(start, *runs)


MERGES: Mapping[str, Merge] = {"average": average, "spherical": spherical}


def demonstrated(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The demonstrations of the stage `sft`, whose prompts are those of reinforcement learning too."""
    count = pipeline.profile.demonstrations
    return stories.demonstrations(count, seed=pipeline.seed_for("demonstrations"))


def tuned(pipeline: Pipeline, folder: Path, *, rate: float, member: int) -> None:
    """Kept: the base model fine-tuned as in the stage `sft`, at its rate times `rate`, in its own order."""
    rows, config, model = demonstrated(pipeline), pipeline.profile.sft, copy_of(pipeline.policy("base"))
    shown = pack_texts(pipeline.tokenizer(), [r["prompt"] for r in rows], [r["completion"] for r in rows])
    config = dataclasses.replace(config, optimizer=slower(config.optimizer, rate))
    sft(model, shown, config=config, generator=pipeline.generator(f"Gemma 2 fine-tuning {member}"))
    model.save_pretrained(folder)


def judge(pipeline: Pipeline, folder: Path, *, rates: Sequence[float], times: int) -> None:
    """Kept: a reward model on a base model of `times` the policy's parameters, one run a rate, averaged.

    All runs start from the same head and see the same pairs (as in WARM, arXiv 2401.12187).
    """
    source = sized(pipeline, larger(pipeline.profile, times=times))
    start = new_reward_model(source.policy("base"), seed=pipeline.seed_for("Gemma 2 reward head"))
    rows = pipeline.preferences("train")
    pairs = pack_pairs(pipeline.tokenizer(), rows.select(range(round(LABELS_SHARE * len(rows)))))
    members = []
    for member, rate in enumerate(rates):
        model, config = copy_of(start), source.profile.reward_model
        config = dataclasses.replace(config, optimizer=slower(config.optimizer, rate))
        generator = pipeline.generator(f"Gemma 2 reward model {member}")
        train_reward_model(model, pairs, config=config, generator=generator)
        members.append(freeze(model))
    model = uniform_average(members)
    normalise(model, pairs.rejected)
    model.save_pretrained(folder)


def reinforced(
    pipeline: Pipeline,
    start: PreTrainedModel,
    reward_model: PreTrainedModel,
    *,
    rate: float,
    iterations: int,
    kl_weight: float,
    anchor_rate: float,
    purpose: str,
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    """One run of REINFORCE with KL to an anchor that begins at its start; the frozen policy, and the log."""
    policy, anchor, words = copy_of(start), freeze(copy_of(start)), pipeline.tokenizer()
    usual = group_config(
        pipeline, kl_weight=kl_weight, rate=rate * pipeline.profile.ppo.optimizer.learning_rate
    )
    penalty = Part(cut_off_penalty(end_token=words.eos_token_id), pipeline.profile.ppo.missing_eos_penalty)
    log = grpo(
        policy,
        anchor,
        words,
        [encode_prompt(words, row["prompt"]) for row in demonstrated(pipeline)],
        {"reward model": Part(lambda sequences: scores(reward_model, sequences)), "ended": penalty},
        reinforce_method(),
        config=dataclasses.replace(usual, iterations=iterations),
        generator=pipeline.generator(f"Gemma 2 {purpose}"),
        hooks=[moving_anchor(policy, anchor, rate=anchor_rate)] if anchor_rate else [],
        description=purpose,
    )
    return freeze(policy), log


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    rates: Sequence[float],
    reward_times: int,
    rounds: int,
    kl_weight: float,
    merge: str = "average",
    anchor_rate: float = 0.0,
    back: float = 1.0,
) -> None:
    """Saves the policies `sft` and `rl`, each an average of one run a rate, and `log.json`.

    - `rates`: of the runs, times the profile's; `reward_times`: the reward model's size, in policies.
    - `rounds`: of reinforcement learning; every run takes its part of the profile's iterations of PPO.
    - `merge`: a key of `MERGES`, of the runs of a round; `anchor_rate`: μ of `moving_anchor`, 0 for none.
    - `back`: η, how far from the start of a round to the merged model the round ends.
    """
    members = [pipeline.kept(tuned, rate=rate, member=member) for member, rate in enumerate(rates)]
    policy = uniform_average([AutoModelForCausalLM.from_pretrained(one) for one in members])
    policy = policy.to(pipeline.device)
    policy.save_pretrained(folder / "sft")
    place = pipeline.kept(judge, rates=list(rates), times=reward_times)
    reward_model = freeze(AutoModelForSequenceClassification.from_pretrained(place)).to(pipeline.device)
    told: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        runs, logs = [], []
        for member, rate in enumerate(rates):
            run, log = reinforced(
                pipeline,
                policy,
                reward_model,
                rate=rate,
                iterations=max(1, pipeline.profile.ppo.iterations // rounds),
                kl_weight=kl_weight,
                anchor_rate=anchor_rate,
                purpose=f"round {number} run {member}",
            )
            runs.append(run)
            logs.append(log)
        angle = task_vector_angle(policy, runs[0], runs[-1])
        merged = MERGES[merge](policy, runs)
        policy = weighted_average([policy, merged], weights=[1 - back, back])
        told.append({"angle": angle, "runs": logs})
    policy.save_pretrained(folder / "rl")
    ratio = reward_model.num_parameters() / policy.num_parameters()
    (folder / "log.json").write_text(json.dumps({"reward_parameters": ratio, "rounds": told}))


RECIPE = Recipe(
    name="gemma2",
    title="Gemma 2",
    year=2024,
    report="Gemma Team, Gemma 2: Improving open language models at a practical size, §4",
    address="https://arxiv.org/abs/2408.00118",
    data="Synthetic and human prompts, answers mostly by a larger teacher; English pairs; no sizes stated",
    reward="A model an order of magnitude larger than the policy; its loss and data are not stated",
    optimiser='"A similar RLHF algorithm as Gemma 1.1"; which one is not stated, nor is any setting',
    anchor="Averages of models: after each phase, and of runs with other hyperparameters; KL is not stated",
    rounds="Not stated: fine-tuning, then reinforcement learning on the same prompts, then the average",
    reported=(
        "Chatbot Arena (Table 14): 27B Elo 1218, Llama 3 70B 1206",
        "Chatbot Arena (Table 14): 9B Elo 1187, GPT-4-0314 1186",
        "Chatbot Arena (Table 14): 2.6B Elo 1126, GPT-3.5-Turbo-0613 1116",
    ),
    left_out=(
        "The algorithm of reinforcement learning and every setting of it",
        "The preference data, the reward model's loss, and whether it is an average itself",
        "How many models are averaged, and with which weights",
        "Any ablation of the large reward model or of the averages",
    ),
    set_right=(
        '"Nothing is said of averages": they are in the report, twice',
        '"It used WARP\'s three steps": the report says average and cites WARP; which steps is not stated',
        '"It used WARM": the name does not occur in §4',
        '"It was trained with REINFORCE": an early wording of the report on Gemma 1 says so of Gemma 1.0',
        '"An automatic rater watched its RLHF": that sentence is in the report on Gemma 1',
    ),
    train=train,
    steps=("sft", "rl"),
    departures=(
        "REINFORCE with KL in the reward, which is documented for Gemma 1.0: the report names no algorithm",
        "Two runs in each phase, at the profile's learning rate and at half of it: the report has no number",
        "The reward model is averaged too, as in WARM: the report says only that phases are averaged",
        "The demonstrators' answers are the teacher's; distillation on the student's own answers is left out",
        "In WARP the anchor moves by 0.1 a step and not by 0.01: a run has tens of steps here, not thousands",
        "WARP interpolates layer by layer: a layer is one weight tensor here",
    ),
    settings={"rates": [1.0, 0.5], "reward_times": 10, "rounds": 1, "kl_weight": 0.05},
    variants={
        "one run": {"rates": [1.0]},
        "reward model of the policy's size": {"reward_times": 1},
        "WARP": {"rounds": 2, "merge": "spherical", "anchor_rate": 0.1, "back": 0.3},
    },
)
