"""The chapter's judges: language models of several sizes, taught from more or fewer lessons; or any model of the hub.

A `Choice` of a judge is what every run of the chapter takes as its one argument: None for the chapter's own, settings of
`trained` for another of ours, a name or folder for a model of the hub, which is asked with the chat templates.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from rlhf_mini.chapters.rlaif.schooling import ALL_IN_ALL, SKILLS, STORY_RUBRIC
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.judging import (
    CHAT_PAIRS,
    CHAT_RATINGS,
    CHAT_THOUGHTS,
    STORY_PAIRS,
    STORY_RATINGS,
    STORY_THOUGHTS,
)
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.judge import (
    Ask,
    LanguageJudge,
    Rate,
    asking,
    asking_after_thoughts,
    load_judge,
    rating,
    with_context,
)
from rlhf_mini.methods.rubric_reward import Classify, Rubric, classifying
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories.rubric import RUBRIC

Choice = str | Mapping[str, Any] | None
EXAMPLES, BATCH, RATE, WARMUP = 12_000, 32, 2e-3, 30
CONTEXT = 768  # two answers, a principle and thoughts, with room for models that ramble
ASKED_AT_ONCE = 64
LONGEST_THOUGHT = {"ours": 80, "hub": 256}  # tokens
SIZES: Mapping[str, Mapping[str, Any]] = {
    "width 16": {"width": 16, "layers": 1, "heads": 2},
    "width 32": {"width": 32, "layers": 1, "heads": 2},
    "width 64": {"width": 64, "layers": 2, "heads": 4},
}


def trained(
    pipeline: Pipeline,
    folder: Path,
    *,
    skill: str,
    examples: int | None = None,
    size: str | None = None,
    rate: float = RATE,
) -> None:
    """A kept model, fine-tuned on lessons in a skill (one of `SKILLS`); a lesson longer than the context is left out.

    - `examples`: how many lessons; None is `EXAMPLES`.
    - `size`: one of `SIZES`, pretrained as the pipeline's base model is; None is that base model itself.
    """
    source = pipeline
    if size is not None:
        profile = replace(pipeline.profile, **SIZES[size])
        source = Pipeline(profile, seed=pipeline.seed, cache=pipeline.store.root)
    model = with_context(source.policy("base"), context=CONTEXT)
    rows = SKILLS[skill](pipeline, EXAMPLES if examples is None else examples)
    taught = pack_texts(
        pipeline.tokenizer(), [row["prompt"] for row in rows], [row["completion"] for row in rows]
    )
    optimizer = OptimizerConfig(learning_rate=rate, warmup_steps=WARMUP, final_fraction=0.05)
    sft(
        model,
        taught.rows((taught.lengths <= CONTEXT).nonzero().flatten()),
        config=SFTConfig(epochs=1, batch=BATCH, optimizer=optimizer),
        generator=pipeline.generator(f"chapter 10 {skill}"),
    )
    model.save_pretrained(folder)


def judge_of(pipeline: Pipeline, **run: Any) -> LanguageJudge:
    """The kept model of `trained`, frozen."""
    model = AutoModelForCausalLM.from_pretrained(pipeline.kept(trained, **run))
    return LanguageJudge(freeze(model).to(pipeline.device), pipeline.tokenizer(), batch=ASKED_AT_ONCE)


def ask_of(pipeline: Pipeline, choice: Choice = None, *, thoughts: bool = False) -> Ask:
    """Asks a judge which of two answers is better, with thoughts before the choice or without."""
    if isinstance(choice, str):
        judge = load_judge(choice)
        if thoughts:
            return asking_after_thoughts(judge, CHAT_THOUGHTS, max_new_tokens=LONGEST_THOUGHT["hub"])
        return asking(judge, CHAT_PAIRS)
    if thoughts:
        judge = judge_of(pipeline, **{"skill": "thinking", **(choice or {})})
        return asking_after_thoughts(judge, STORY_THOUGHTS, max_new_tokens=LONGEST_THOUGHT["ours"])
    return asking(judge_of(pipeline, **{"skill": "choosing", **(choice or {})}), STORY_PAIRS)


def rate_of(pipeline: Pipeline, choice: Choice = None) -> Rate:
    """Asks a judge how good an answer is, all in all: from −1 to 1."""
    if isinstance(choice, str):
        return rating(load_judge(choice), CHAT_RATINGS, ALL_IN_ALL)
    return rating(judge_of(pipeline, **{"skill": "rating", **(choice or {})}), STORY_RATINGS, ALL_IN_ALL)


def classifier_of(pipeline: Pipeline, choice: Choice = None) -> tuple[Classify, Rubric]:
    """Asks a judge for an answer's class, and the rubric that it is asked by."""
    if isinstance(choice, str):
        rubric = Rubric(classes=RUBRIC)
        return classifying(load_judge(choice), rubric), rubric
    judge = judge_of(pipeline, **{"skill": "classifying", **(choice or {})})
    return classifying(judge, STORY_RUBRIC), STORY_RUBRIC
