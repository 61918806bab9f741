"""Constitutional AI, second phase: preferences of the judge under the constitution, mixed with people's, and PPO.

Harmlessness is labelled by the judge alone: an answer of the first phase's policy and one of the helper that it came from
to each red-team request, under a principle drawn for each pair. (In the paper both are the first phase's. Ours declines nine
requests in ten, and of two declines there is nothing to learn.) Helpfulness is labelled by people: annotators who look at helpfulness and at nothing else,
on those of the pipeline's pairs whose prompts are kind.
"""

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rlhf_mini.chapters.rlaif import feedback_runs, phase_one, schooling
from rlhf_mini.chapters.rlaif.judges import Choice, ask_of
from rlhf_mini.chapters.rlaif.labels import Reading, labelled, read_verdicts, save_verdicts
from rlhf_mini.chapters.rlaif.pairs import annotated_pairs
from rlhf_mini.data.chat import answer
from rlhf_mini.data.judging import Comparison
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.methods.judge import both_orders
from rlhf_mini.methods.soft_labels import Labelled, from_people, mixed
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.principles import HARMLESSNESS
from rlhf_mini.worlds.stories.rubric import is_unkind_request

PAIRS = 6000  # that the preference model learns from, whoever labelled them, and that the judge labels
KL_WEIGHT = (
    0.1  # twice the pipeline's: fewer labels on each matter, and a preference model that is wrong sooner
)
RED_TEAM_PROMPTS = 1000  # besides the pipeline's prompts of PPO


def pairs(pipeline: Pipeline, folder: Path) -> None:
    """Kept: answers of the first phase's policy and of the helper to each of `PAIRS` red-team requests."""
    prompts = schooling.requests_for(pipeline, "compared", rows="red team", count=PAIRS)
    generator = pipeline.generator("chapter 10 compared answers")
    first, second = (
        answer(
            model,
            pipeline.tokenizer(),
            prompts,
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=generator,
        )
        for model in (phase_one.policy_of(pipeline), phase_one.helper(pipeline))
    )
    rows = [{"prompt": p, "first": a, "second": b} for p, a, b in zip(prompts, first, second, strict=True)]
    (folder / "rows.json").write_text(json.dumps(rows))


def compared(pipeline: Pipeline) -> list[schooling.Row]:
    """The rows of `pairs`: `prompt`, `first`, `second`."""
    return json.loads((pipeline.kept(pairs) / "rows.json").read_text())


def judged(pipeline: Pipeline, folder: Path, *, judge: Choice = None, thoughts: bool = False) -> None:
    """Kept: what the judge says of these pairs, each under a wording of a principle of harmlessness drawn for it."""
    rng = pipeline.rng("chapter 10 drawn principles")
    wordings = [wording for one in HARMLESSNESS for wording in one.wordings]
    shown = [
        Comparison(rng.choice(wordings), row["prompt"], row["first"], row["second"])
        for row in compared(pipeline)
    ]
    save_verdicts(folder, both_orders(ask_of(pipeline, judge, thoughts=thoughts), shown))


def by_judge(
    pipeline: Pipeline, *, judge: Choice = None, thoughts: bool = False, **reading: bool
) -> list[Labelled]:
    """The judge's labels on harmlessness; `reading`: see `labels.Reading`."""
    verdicts = read_verdicts(pipeline.kept(judged, judge=judge, thoughts=thoughts))
    return labelled(compared(pipeline), Reading(**reading)(verdicts))


def by_people(pipeline: Pipeline) -> list[Labelled]:
    """People's labels on helpfulness, of pairs whose prompts are kind."""
    rows = [
        {name: row[name] for name in ("prompt", "first", "second")}
        for row in annotated_pairs(pipeline)
        if not is_unkind_request(row["prompt"])
    ]
    seed = pipeline.seed_for("chapter 10 helpfulness")
    return from_people(stories.annotate(rows, seed=seed, panel=stories.HELPFULNESS_PANEL))


def preference_model(pipeline: Pipeline, folder: Path, *, people_share: float = 0.5, **labels: Any) -> None:
    """Kept: a preference model on `PAIRS` labels, whatever people's share of them; `labels`: see `by_judge`."""
    peoples = round(people_share * PAIRS)
    chosen = mixed(
        by_judge(pipeline, **labels)[: PAIRS - peoples] if people_share < 1 else [],
        by_people(pipeline)[:peoples],
        people_share=people_share,
        rng=pipeline.rng("chapter 10 mixed labels"),
    )
    policy = phase_one.policy_of(pipeline)
    feedback_runs.train_on_labels(pipeline, policy, chosen).save_pretrained(folder)


def preference_model_of(pipeline: Pipeline, **run: Any) -> PreTrainedModel:
    """The kept preference model, frozen."""
    return feedback_runs.read_reward_model(pipeline, pipeline.kept(preference_model, **run))


def prompts(pipeline: Pipeline) -> list[tuple[int, ...]]:
    """The pipeline's prompts of PPO and red-team requests, encoded."""
    asked = schooling.requests_for(pipeline, "PPO", rows="red team", count=RED_TEAM_PROMPTS)
    red_team = [tuple(encode_prompt(pipeline.tokenizer(), text)) for text in asked]
    return [*prompts_for_ppo(pipeline)[0], *red_team]


def trained(pipeline: Pipeline, folder: Path, *, kl_weight: float = KL_WEIGHT, **run: Any) -> None:
    """Kept: PPO from the first phase's policy, which is the reference too; `run`: see `preference_model`."""
    start = feedback_runs.start_with(phase_one.policy_of(pipeline), preference_model_of(pipeline, **run))
    feedback_runs.by_ppo(pipeline, folder, start, prompts=prompts(pipeline), kl_weight=kl_weight)
