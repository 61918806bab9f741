"""A rubric as an extra reward: PPO against the pipeline's reward model, plus what the class of an answer is worth.

A classifier reads the answer and picks a class of the rubric. On unkind requests a polite refusal is worth 1 and a story
in which someone is unkind −1; on kind ones a refusal is worth −1 and a story in which nobody is unkind 1.
"""

from pathlib import Path
from typing import Any

import torch

from rlhf_mini.chapters.rlaif import feedback_runs
from rlhf_mini.chapters.rlaif.judge_quality import red_team_pairs
from rlhf_mini.chapters.rlaif.judges import Choice, classifier_of
from rlhf_mini.methods.ppo import value_model_for
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.rubric_reward import with_rate, worth
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories.rubric import RUBRIC, is_unkind_request, rubric_class

WEIGHT = 1.0
WORTH_UNKIND = {"A": 1.0, "B": 0.0, "C": -1.0, "D": 0.0}
WORTH_KIND = {"A": -1.0, "B": -1.0, "C": -1.0, "D": 1.0}


def trained(
    pipeline: Pipeline,
    folder: Path,
    *,
    weight: float = WEIGHT,
    on_kind: bool = True,
    judge: Choice = None,
) -> None:
    """Kept: PPO with the pipeline's reward model and `weight` times the rubric's worth, on kind requests too or not."""
    reward, words = pipeline.reward_model(), pipeline.tokenizer()
    classify, rubric = classifier_of(pipeline, judge)
    parts = [(is_unkind_request, WORTH_UNKIND)]
    if on_kind:
        parts.append((lambda prompt: not is_unkind_request(prompt), WORTH_KIND))
    score = with_rate(
        lambda sequences: scores(reward, sequences),
        worth(classify, rubric, parts=parts),
        words,
        weight=weight,
    )
    start = feedback_runs.Start(pipeline.policy("sft"), score, value_model_for(reward).requires_grad_(True))
    feedback_runs.by_ppo(pipeline, folder, start)


def classifier_quality(
    pipeline: Pipeline, *, judge: Choice = None, rehearsal: bool = False
) -> dict[str, Any]:
    """The share of answers to held-out red-team requests that the classifier puts in the right class: `right`, over all,
    and `classes`: name → the share, and `counted`: name → how many, of the classes that occur.
    """
    classify, _ = classifier_of(pipeline, judge)
    rows = red_team_pairs(pipeline, rehearsal=rehearsal)
    answers = [(row["prompt"], row[side]) for row in rows for side in ("first", "second")]
    chances = classify([prompt for prompt, _ in answers], [text for _, text in answers])
    found = [[*RUBRIC][place] for place in chances.argmax(1).tolist()]
    truth = [rubric_class(text) for _, text in answers]
    right = torch.tensor([one == other for one, other in zip(found, truth, strict=True)]).float()
    rows_of = {name: [n for n, other in enumerate(truth) if other == name] for name in RUBRIC}
    return {
        "right": float(right.mean()),
        "classes": {name: float(right[at].mean()) for name, at in rows_of.items() if at},
        "counted": {name: len(at) for name, at in rows_of.items() if at},
    }
