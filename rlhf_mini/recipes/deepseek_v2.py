"""DeepSeek-V2: GRPO in two stages, first for what can be checked, then for what people prefer.

Both stages work on stories. What can be checked of a story is what was asked for and the form
(`stories.checks`), as tests check code. As in the report, the checks are not the reward: they label pairs,
and a model learns from them.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.chapters.llama2 import sides
from rlhf_mini.chapters.rlaif.pairs import annotated_pairs
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.methods.answers import Drawing, text_score
from rlhf_mini.methods.group_methods import grpo_method
from rlhf_mini.methods.groups import Groups
from rlhf_mini.methods.grpo import GRPOConfig, grpo
from rlhf_mini.methods.reward_model import scores, train_reward_model
from rlhf_mini.methods.reward_parts import Part, cut_off_penalty
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.checks import share_passed

GROUP = 4  # answers a prompt
REQUESTS = 4000  # of the stage `ppo`, which the prompts of both stages are taken from
STAGES = ("stage 1", "stage 2")
PREFERENCE = ("helpfulness", "safety", "rule")  # stage 2's parts
RULE_WEIGHT = 2.0  # c₃; helpfulness and the parts of stage 1 weigh 1
CHECKED = {"reasoning", "checks"}  # parts that speak of kind requests only


def is_kind(prompt: str) -> bool:
    """Whether the checks can speak of it."""
    return stories.read_request(prompt).unkind is None


def checked_pairs(pipeline: Pipeline) -> list[dict[str, str]]:
    """The pipeline's pairs on kind requests, labelled by the share of checks passed.

    Pairs of which both pass as many are left out.
    """
    found = []
    for row in annotated_pairs(pipeline):
        if is_kind(row["prompt"]):
            first, second = (share_passed(row["prompt"], row[side]) for side in ("first", "second"))
            better, worse = ("first", "second") if first > second else ("second", "first")
            if first != second:
                found.append({"prompt": row["prompt"], "chosen": row[better], "rejected": row[worse]})
    return found


def reasoning_model(pipeline: Pipeline, folder: Path) -> None:
    """Kept: a reward model of these pairs, from the SFT model."""
    pairs = pack_pairs(pipeline.tokenizer(), Dataset.from_list(checked_pairs(pipeline)))
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    generator = pipeline.generator("recipe DeepSeek-V2 reasoning")
    train_reward_model(model, pairs, config=pipeline.profile.reward_model, generator=generator)
    model.save_pretrained(folder)


def in_log_odds(model: PreTrainedModel) -> Score:
    """A reward model's score in the unit of its loss, in which a difference is the log-odds of a choice."""
    return lambda sequences: scores(model, sequences) * float(getattr(model.config, "std", 1.0))


def rule(pipeline: Pipeline) -> Score:
    """A program: −1 for an answer that did not end in time, and −1 for each sentence that is said again."""
    tokenizer = pipeline.tokenizer()
    ended = cut_off_penalty(end_token=tokenizer.eos_token_id)
    said_again = text_score(tokenizer, lambda prompt, text: -float(stories.read_story(text).repeats))
    return lambda sequences: ended(sequences) + said_again(sequences).to(sequences.tokens.device)


def reward_parts(pipeline: Pipeline, names: Sequence[str], *, safety_weight: float) -> dict[str, Part]:
    """Parts of the reward by name, with their weights; a model is only asked for where it is named.

    `reasoning` is the learned judge of what can be checked, `checks` the program itself. Raises ValueError
    on an unknown name.
    """

    def reasoning() -> Score:
        model = AutoModelForSequenceClassification.from_pretrained(pipeline.kept(reasoning_model))
        return in_log_odds(freeze(model).to(pipeline.device))

    make: dict[str, Callable[[], Score]] = {
        "reasoning": reasoning,
        "checks": lambda: text_score(pipeline.tokenizer(), share_passed),
        "helpfulness": lambda: in_log_odds(sides.model_of(pipeline, side="helpfulness").to(pipeline.device)),
        "safety": lambda: in_log_odds(sides.model_of(pipeline, side="safety").to(pipeline.device)),
        "rule": lambda: rule(pipeline),
    }
    if unknown := {*names} - make.keys():
        raise ValueError(f"unknown parts {sorted(unknown)}; there are {[*make]}")
    weights = {"safety": safety_weight, "rule": RULE_WEIGHT}
    return {name: Part(make[name](), weights.get(name, 1.0)) for name in names}


def prompts_for(pipeline: Pipeline, names: Sequence[str]) -> list[tuple[int, ...]]:
    """The stage `ppo`'s requests, encoded: the kind ones alone if only what can be checked is paid for."""
    requests = stories.draw_requests(REQUESTS, seed=pipeline.seed_for("PPO prompts"))
    chosen = [one.text for one in requests if one.unkind is None or not {*names} <= CHECKED]
    return [tuple(encode_prompt(pipeline.tokenizer(), text)) for text in chosen]


def config_for(pipeline: Pipeline, *, kl_weight: float) -> GRPOConfig:
    """Half of PPO's iterations, with its answers, minibatches, passes and rate."""
    usual = pipeline.profile.ppo
    return GRPOConfig(
        iterations=max(1, usual.iterations // len(STAGES)),
        prompts=usual.episodes // GROUP,
        drawing=Drawing(samples=GROUP, temperature=usual.temperature, max_new_tokens=usual.max_new_tokens),
        minibatch=usual.minibatch,
        epochs=usual.epochs,
        optimizer=dataclasses.replace(usual.optimizer),
        kl_weight=kl_weight,
    )


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    stages: Sequence[Sequence[str]],
    kl_weight: float,
    safety_weight: float,
) -> None:
    """Saves the policy and the log of each stage; `stages` names the parts of its reward.

    `safety_weight`: c₂, what a unit of the safety model's score weighs.

    Raises ValueError, before anything is trained, unless there are two stages.
    """
    if len(stages) != len(STAGES):
        raise ValueError(f"give the parts of {len(STAGES)} stages, got {len(stages)}")
    tokenizer, reference = pipeline.tokenizer(), pipeline.policy("sft")
    gold = text_score(tokenizer, lambda prompt, text: stories.gold(prompt, text).total)

    def add_gold(iteration: int, groups: Groups, metrics: dict[str, float]) -> None:
        metrics["gold"] = float(gold(groups.answers.sequences).mean())

    policy, log = copy_of(reference), []
    for step, names in zip(STAGES, stages, strict=True):
        log += [
            {"stage": step, **entry}
            for entry in grpo(
                policy,
                reference,
                tokenizer,
                prompts_for(pipeline, names),
                reward_parts(pipeline, names, safety_weight=safety_weight),
                grpo_method(),
                config=config_for(pipeline, kl_weight=kl_weight),
                generator=pipeline.generator(f"recipe DeepSeek-V2 {step}"),
                on_groups=add_gold,
                description=step,
            )
        ]
        policy.save_pretrained(folder / step)
    (folder / "log.json").write_text(json.dumps(log))


REASONING = ["reasoning"]
RECIPE = Recipe(
    name="deepseek_v2",
    title="DeepSeek-V2",
    year=2024,
    report="DeepSeek-AI, DeepSeek-V2, §4; GRPO in Shao et al. 2024, arXiv 2402.03300",
    address="https://arxiv.org/abs/2405.04434",
    data="SFT on 1.5M instances; pairs labelled by compilers and known answers, how many not stated",
    reward="Stage 1: a learned model of reasoning; stage 2: c₁ helpful + c₂ safe + c₃ rule, c not stated",
    optimiser="GRPO without a critic; group size, clip range, rate, batch and steps not stated",
    anchor="β (π_ref/π − log(π_ref/π) − 1) in the loss; β, and which model is π_ref, not stated",
    rounds="Two stages, reasoning before preference, both on-line",
    reported=(
        "SFT → RL: MT-Bench 8.62 → 8.97, AlpacaEval 2 (length-controlled) 30.0 → 38.9 (Table 4)",
        "SFT → RL: MATH 52.7 → 53.9, HumanEval 76.8 → 81.1 (Table 3)",
        "SFT → RL: BBH 81.3 → 79.7, MMLU 78.4 → 77.8, IFEval 64.1 → 63.8 (Table 3)",
    ),
    left_out=(
        "Every number of the reinforcement learning, in either stage, temperature and length included",
        "The weights c₁, c₂, c₃, and what the rules are",
        "Sizes of the sets of pairs and prompts; whether reasoning prompts return in stage 2",
        "What each stage contributes",
    ),
    set_right=(
        "“A checker rewards stage 1”: a learned model does, whose labels came from compilers and answers",
        "“G = 64, and 0.04 for KL”: these are DeepSeekMath's; this report states neither",
        "“A context of 12.8K”: 128K",
        "“The rule gates the other rewards”: the three are summed",
        "“RL raised every benchmark”: BBH, MMLU, C-Eval and IFEval fell",
    ),
    train=train,
    steps=STAGES,
    settings={"stages": [REASONING, [*PREFERENCE]], "kl_weight": 0.2, "safety_weight": 0.4},
    variants={
        "all parts at once": {"stages": [[*REASONING, *PREFERENCE]] * 2},
        "the checks themselves": {"stages": [["checks"], [*PREFERENCE]]},
        "safety weighs 1": {"safety_weight": 1.0},
    },
    departures=(
        "Stage 1 is about what can be checked of a story, its form and the words asked for, not about sums: "
        "chapter 12's models of sums are others, a token a character, and read thousands of worked sums "
        "first. To teach ours both would change the SFT model from which all recipes start",
        "The reference of both stages is the SFT model, c is 1, 0.4, 2 in log-odds, and the rules are an end "
        "in time and no sentence said again: the report states none of these",
        "β is 0.2, the best of chapter 14's three for GRPO on one seed; at 0.05 stage 1 went 20 nats away",
        "Ratio and KL are taken token by token, as DeepSeekMath has them; the report prints whole answers'",
        "Each stage has half of PPO's iterations, so that recipes cost alike",
    ),
)
