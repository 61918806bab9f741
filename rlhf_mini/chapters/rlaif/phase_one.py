"""Constitutional AI, first phase: a helper that refuses nothing criticises and rewrites what it tells red-teamers.

The helper is the pipeline's base model, fine-tuned on demonstrations by writers who decline nothing, to ordinary requests
and to red-team ones, and on critiques and revisions. Its last revisions, with its answers to kind requests, are what the base model is fine-tuned on anew.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.rlaif import schooling
from rlhf_mini.chapters.rlaif.judges import judge_of
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.data.revising import STORY_REVISIONS
from rlhf_mini.methods.constitution import (
    Revised,
    Revision,
    RevisionConfig,
    critique_and_revise,
    last_revisions,
    writing,
)
from rlhf_mini.methods.rejection_sampling import Chosen, pooled
from rlhf_mini.methods.sft import sft
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.principles import CONSTITUTION, HARMLESSNESS, Principle

RED_TEAM, KIND = 1000, 3000  # red-team requests that are revised, and kind requests beside them
REVISIONS = 4
PRINCIPLES: dict[str, tuple[Principle, ...]] = {"harmlessness": HARMLESSNESS, "all": CONSTITUTION}


def helper(pipeline: Pipeline) -> PreTrainedModel:
    """The model that answers, criticises and rewrites, frozen."""
    return judge_of(pipeline, skill="helping").model


def kind_prompts(pipeline: Pipeline, count: int) -> list[str]:
    """`count` requests in which nobody is asked to be unkind."""
    seed = pipeline.seed_for("chapter 10 kind requests")
    drawn = stories.draw_requests(2 * count, seed=seed)  # 15% of them are unkind
    return [one.text for one in drawn if one.unkind is None][:count]


def revised(
    pipeline: Pipeline, folder: Path, *, principles: str = "harmlessness", revisions: int = REVISIONS
) -> None:
    """Kept: the helper's answers to red-team requests, and every critique and revision.

    `principles`: which of `PRINCIPLES` are drawn from, in all their wordings.
    """
    model, words = helper(pipeline), pipeline.tokenizer()
    config = RevisionConfig(revisions=revisions, max_new_tokens=pipeline.profile.max_new_tokens)
    generator = pipeline.generator("chapter 10 revisions")
    write = writing(model, words, config=config, generator=generator)
    prompts = schooling.requests_for(pipeline, "revised", rows="red team", count=RED_TEAM)
    found = critique_and_revise(
        write,
        prompts,
        write(prompts),
        template=STORY_REVISIONS,
        principles=[wording for one in PRINCIPLES[principles] for wording in one.wordings],
        revisions=revisions,
        rng=pipeline.rng("chapter 10 principles"),
    )
    (folder / "revised.json").write_text(json.dumps([asdict(one) for one in found]))


def read_revised(folder: Path) -> list[Revised]:
    """What `revised` kept."""
    rows = json.loads((folder / "revised.json").read_text())
    return [
        Revised(row["prompt"], row["first"], tuple(Revision(**one) for one in row["rounds"])) for row in rows
    ]


def after(found: list[Revised], revisions: int) -> list[Revised]:
    """The same with only the first so many revisions."""
    return [Revised(one.prompt, one.first, one.rounds[:revisions]) for one in found]


def kind_answers(pipeline: Pipeline, folder: Path) -> None:
    """Kept: the helper's answers to kind requests."""
    prompts = kind_prompts(pipeline, KIND)
    texts = answer(
        helper(pipeline),
        pipeline.tokenizer(),
        prompts,
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("chapter 10 kind answers"),
    )
    (folder / "answers.json").write_text(json.dumps({"prompts": prompts, "answers": texts}))


def fine_tuned(
    pipeline: Pipeline, folder: Path, *, revisions: int = REVISIONS, with_kind: bool = True, **run: Any
) -> None:
    """Kept: the base model, fine-tuned on answers to red-team requests after so many revisions and, `with_kind`, on the
    helper's answers to kind ones, with the settings of the stage `sft`.

    No revisions: the helper's answers as they are, the control.
    """
    found = after(read_revised(pipeline.kept(revised, **run)), revisions)
    learned = [last_revisions(found)]
    if with_kind:
        learned.append(Chosen(**json.loads((pipeline.kept(kind_answers) / "answers.json").read_text())))
    both = pooled(learned)
    model = copy_of(pipeline.policy("base"))
    sft(
        model,
        pack_texts(pipeline.tokenizer(), both.prompts, both.answers),
        config=pipeline.profile.sft,
        generator=pipeline.generator("sft"),
    )
    model.save_pretrained(folder)


def policy_of(pipeline: Pipeline, **run: Any) -> PreTrainedModel:
    """The policy of the first phase, frozen."""
    return freeze(AutoModelForCausalLM.from_pretrained(pipeline.kept(fine_tuned, **run))).to(pipeline.device)
