"""What InternLM2's reward model learns from: pairs under two conditions, a fast path and a slow one.

The same people judge helpfulness and safety, each under a condition text of its own. Answers to unkind
requests are judged under both, and there the two labels often contradict each other.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.chapters.llama2 import sides
from rlhf_mini.chapters.reward_models.ranking import focal_loss
from rlhf_mini.chapters.rlaif.pairs import annotated_pairs
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.conditional_reward import ConditionedPair, conditional_score, pack_conditioned
from rlhf_mini.methods.patches import Patch, find_patches
from rlhf_mini.methods.reward_model import train_reward_model
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.hacks import HABITS

CONDITIONS = {"helpfulness": "Is it the story that I asked for?", "safety": "Is it kind to everyone?"}
RED_TEAM = 5  # one in so many of the profile's judgements is about the safety of an answer
PATCHES = {"least": 20, "most": 100}  # pairs of a pattern
LOOKED_AT = 3  # times PPO's episodes: the prompts on which a round's policies are compared
REPLAYED = 8  # one in so many of the first judgements is learned again in an update
UPDATE_RATE = 0.5  # of an update, as a share of the profile's


def side_of(prompt: str) -> str:
    """Which measure the answers to a prompt are judged by: safety if it asks for something unkind."""
    return "safety" if stories.read_request(prompt).unkind is not None else "helpfulness"


def condition_of(prompt: str) -> str:
    """The text in front of a prompt, for the reward model alone."""
    return CONDITIONS[side_of(prompt)]


def judged(rows: Sequence[dict[str, str]], *, side: str, seed: int) -> list[ConditionedPair]:
    """Rows with `prompt`, `first`, `second` as people prefer them by one measure, under its condition."""
    return [
        {
            "prompt": str(row["prompt"]),
            "chosen": str(row["chosen"]),
            "rejected": str(row["rejected"]),
            "condition": CONDITIONS[side],
        }
        for row in stories.annotate([*rows], seed=seed, panel=sides.PANELS[side])
    ]


def unconditioned(rows: Sequence[ConditionedPair]) -> list[ConditionedPair]:
    """The same pairs and labels without a condition."""
    return [{**row, "condition": ""} for row in rows]


def first_pairs(pipeline: Pipeline, folder: Path) -> None:
    """Kept: what the first reward model learns from, as many judgements as the stage `preferences` has.

    A fifth of them are about the safety of answers to unkind requests, whose helpfulness is judged as well;
    the others are about the helpfulness of the stage's answers.
    """
    seed = pipeline.seed_for("recipe InternLM2 first pairs")
    requests = sides.unkind_requests(pipeline.profile.pairs // RED_TEAM, seed=seed, held_out=False)
    red_team = sides.red_team_pairs(pipeline, requests, purpose="recipe InternLM2 red team")
    everyday = [
        {name: str(row[name]) for name in ("prompt", "first", "second")} for row in annotated_pairs(pipeline)
    ][: pipeline.profile.pairs - 2 * len(red_team)]
    rows = [
        *judged([*everyday, *red_team], side="helpfulness", seed=seed),
        *judged(red_team, side="safety", seed=seed),
    ]
    (folder / "rows.json").write_text(json.dumps(rows))


def first_rows(pipeline: Pipeline) -> list[ConditionedPair]:
    """The rows of `first_pairs`."""
    return json.loads((pipeline.kept(first_pairs) / "rows.json").read_text())


def learn(
    pipeline: Pipeline,
    model: PreTrainedModel,
    rows: Sequence[ConditionedPair],
    *,
    conditional: bool,
    purpose: str,
    rate: float = 1.0,
) -> list[dict[str, float]]:
    """Train the reward model in place by the focal ranking loss and the barrier at ±5; returns the history.

    `rate`: the learning rate as a share of the profile's.
    """
    usual = pipeline.profile.reward_model
    optimizer = replace(usual.optimizer, learning_rate=rate * usual.optimizer.learning_rate)
    pairs = pack_conditioned(pipeline.tokenizer(), rows if conditional else unconditioned(rows))
    return train_reward_model(
        model.requires_grad_(True),
        pairs,
        config=replace(usual, optimizer=optimizer),
        generator=pipeline.generator(f"recipe InternLM2 {purpose}"),
        loss=focal_loss,
    )


def first_model(pipeline: Pipeline, folder: Path, *, conditional: bool) -> None:
    """Kept: the reward model of the first round, from the SFT model; its scores are not normalised."""
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed)
    learn(pipeline, model, first_rows(pipeline), conditional=conditional, purpose="reward model")
    model.save_pretrained(folder)


def first_model_of(pipeline: Pipeline, *, conditional: bool) -> PreTrainedModel:
    """The kept model, to be trained further."""
    folder = pipeline.kept(first_model, conditional=conditional)
    return AutoModelForSequenceClassification.from_pretrained(folder).to(pipeline.device)


def update(
    pipeline: Pipeline,
    model: PreTrainedModel,
    found: Sequence[ConditionedPair],
    *,
    conditional: bool,
    purpose: str,
) -> list[dict[str, float]]:
    """Train the reward model further on what the rounds found, among some of what it learned first."""
    first = first_rows(pipeline)
    replayed = pipeline.rng(f"recipe InternLM2 replayed {purpose}").sample(first, len(first) // REPLAYED)
    return learn(
        pipeline,
        model,
        [*found, *replayed],
        conditional=conditional,
        purpose=f"update {purpose}",
        rate=UPDATE_RATE,
    )


def score_of(pipeline: Pipeline, model: PreTrainedModel, *, conditional: bool) -> Score:
    """The reward model's raw score, each prompt's answer under its condition."""
    condition = condition_of if conditional else lambda prompt: ""
    return conditional_score(model, pipeline.tokenizer(), condition)


def answered(
    pipeline: Pipeline, policies: dict[str, PreTrainedModel], *, purpose: str
) -> tuple[list[str], dict[str, list[str]]]:
    """Fresh prompts, and an answer of each policy to each."""
    seed = pipeline.seed_for(f"recipe InternLM2 looked at {purpose}")
    count = LOOKED_AT * pipeline.profile.ppo.episodes
    prompts = [request.text for request in stories.draw_requests(count, seed=seed)]
    generator = pipeline.generator(f"recipe InternLM2 answers {purpose}")
    length = pipeline.profile.max_new_tokens
    return prompts, {
        name: answer(policy, pipeline.tokenizer(), prompts, max_new_tokens=length, generator=generator)
        for name, policy in policies.items()
    }


def fast_path(
    pipeline: Pipeline, prompts: Sequence[str], early: Sequence[str], late: Sequence[str], score: Score
) -> tuple[list[Patch], list[ConditionedPair]]:
    """The habits that the late policy is paid for, and the pairs against them: early over late."""
    gains: list[Tensor] = [score(pack_texts(pipeline.tokenizer(), prompts, texts)) for texts in (late, early)]
    patches = find_patches(HABITS, prompts, early, late, gains[0] - gains[1], **PATCHES)
    rows = dict.fromkeys(row for patch in patches for row in patch.rows)
    return patches, [
        {
            "prompt": prompts[row],
            "chosen": early[row],
            "rejected": late[row],
            "condition": condition_of(prompts[row]),
        }
        for row in rows
    ]


def slow_path(
    pipeline: Pipeline, prompts: Sequence[str], texts: dict[str, list[str]], *, purpose: str
) -> list[ConditionedPair]:
    """People's labels on two of the policies' answers to each prompt, by the measure that it calls for."""
    rng = pipeline.rng(f"recipe InternLM2 slow path {purpose}")
    seed = pipeline.seed_for(f"recipe InternLM2 annotators {purpose}")
    rows = []
    for place, prompt in enumerate(prompts):
        one, other = rng.sample(sorted(texts), 2)
        rows.append({"prompt": prompt, "first": texts[one][place], "second": texts[other][place]})
    by_side = {side: [row for row in rows if side_of(row["prompt"]) == side] for side in CONDITIONS}
    return [row for side, shown in by_side.items() for row in judged(shown, side=side, seed=seed)]
